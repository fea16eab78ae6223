//! The declaration itself: one row per toggle.

use super::{Calls, Domain, Isolation, Max, Need, Spec, Toggle};

const SWITCH: Domain = Domain::Names(&["off", "on"]);

/// A switch; the rows below override what differs.
const BASE: Spec = Spec {
    toggle: Toggle::FixedBuffers,
    key: "",
    domain: SWITCH,
    off: 0,
    on: 1,
    since: "5.1",
    isolation: Isolation::Slice,
    needs: &[],
    doc: "",
    source: "",
    calls: LOOP,
};

/// What is a matter of the program's own loop.
const LOOP: Calls = Calls { rust: "", liburing: "", fio: "" };

const fn calls(rust: &'static str, liburing: &'static str, fio: &'static str) -> Calls {
    Calls { rust, liburing, fio }
}

/// Every toggle, in the order in which tables show them and ladders climb them.
pub const SPECS: [Spec; 19] = [
    Spec {
        toggle: Toggle::FixedBuffers,
        key: "fixed_buffers",
        needs: &[Need::BufferTable],
        doc: "READ_FIXED/WRITE_FIXED on one registered buffer per request in flight.",
        source: "io_uring_register(2) IORING_REGISTER_BUFFERS",
        calls: calls(
            "Submitter::register_buffers; opcode::ReadFixed, WriteFixed",
            "io_uring_register_buffers; io_uring_prep_read_fixed, io_uring_prep_write_fixed",
            "fixedbufs=1",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::FixedFiles,
        key: "fixed_files",
        doc: "The file is registered and requests carry IOSQE_FIXED_FILE.",
        source: "io_uring_register(2) IORING_REGISTER_FILES",
        calls: calls(
            "Submitter::register_files; types::Fixed",
            "io_uring_register_files; io_uring_sqe_set_flags IOSQE_FIXED_FILE",
            "registerfiles=1",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::BatchSubmit,
        key: "batch_submit",
        domain: Domain::Count { min: 1, max: Max::QueueDepth },
        off: 1,
        on: 4,
        doc: "Requests queued before one io_uring_enter submits them.",
        source: "io_uring_enter(2) to_submit",
        calls: calls(
            "SubmissionQueue::push {level} times, then Submitter::submit",
            "io_uring_get_sqe {level} times, then io_uring_submit",
            "iodepth_batch_submit={level}",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::TimeCheckInterval,
        key: "time_check_interval",
        domain: Domain::Count { min: 1, max: Max::Fixed(1_000_000) },
        off: 1,
        on: 1000,
        doc: "Loop turns between two looks at the clock for the deadline.",
        source: "clock_gettime(2)",
        ..BASE
    },
    Spec {
        toggle: Toggle::FastPath,
        key: "fast_path",
        needs: &[Need::SequentialReads],
        doc: "Sequential reads compute the next offset inline instead of asking a pattern object behind a Mutex.",
        source: "the seed, optimisation 5",
        ..BASE
    },
    Spec {
        toggle: Toggle::StatsBatching,
        key: "stats_batching",
        doc: "Shared counters are updated once per reap instead of once per completion.",
        source: "the seed, optimisation 6",
        ..BASE
    },
    Spec {
        toggle: Toggle::LatencySampling,
        key: "latency_sampling",
        domain: Domain::Count { min: 0, max: Max::Fixed(1_000_000) },
        off: 1,
        on: 100,
        doc: "Every N-th request is timed; 0 times none.",
        source: "clock_gettime(2)",
        ..BASE
    },
    Spec {
        toggle: Toggle::Pow2Mask,
        key: "pow2_mask",
        needs: &[Need::PowerOfTwoDepth],
        doc: "The circular queue of free slots advances by a mask instead of a modulo.",
        source: "the seed, optimisation 8",
        ..BASE
    },
    Spec {
        toggle: Toggle::Iopoll,
        key: "iopoll",
        domain: Domain::Names(&["off", "on", "hybrid"]),
        needs: &[Need::DirectIo],
        doc: "Completions are polled from the device instead of interrupting; hybrid sleeps for half the mean time first.",
        source: "io_uring_setup(2) IORING_SETUP_IOPOLL; hybrid: 6.13, kernel commit 01ee194d1aba",
        calls: calls("Builder::setup_iopoll", "IORING_SETUP_IOPOLL", "hipri=1"),
        ..BASE
    },
    Spec {
        toggle: Toggle::QueueRefill,
        key: "queue_refill",
        domain: Domain::Names(&["threshold", "eager"]),
        doc: "Eager flushes what is queued and sleeps when nothing has completed; threshold spins until fewer than 8 requests are pending.",
        source: "the seed, phases 3 and 4; io_uring_enter(2) min_complete",
        calls: calls(
            "Submitter::submit_and_wait(1) whenever nothing has completed",
            "io_uring_submit_and_wait",
            "iodepth_low=iodepth",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::Sqpoll,
        key: "sqpoll",
        isolation: Isolation::Process,
        // Kernels since 5.1 have it, with a thread outside of the process, whose CPU time would be charged to nobody.
        since: "5.12",
        doc: "A kernel thread submits; [engine] sqpoll_idle and sqpoll_cpu set it up.",
        source: "io_uring_setup(2) IORING_SETUP_SQPOLL",
        calls: calls("Builder::setup_sqpoll", "IORING_SETUP_SQPOLL", "sqthread_poll=1"),
        ..BASE
    },
    Spec {
        toggle: Toggle::NumaBind,
        key: "numa_bind",
        isolation: Isolation::Pool,
        needs: &[Need::NumaNode],
        doc: "Buffers and thread live on the device's NUMA node.",
        source: "mbind(2), sched_setaffinity(2)",
        calls: calls("", "", "numa_cpu_nodes, numa_mem_policy=bind"),
        ..BASE
    },
    Spec {
        toggle: Toggle::CpuAffinity,
        key: "cpu_affinity",
        isolation: Isolation::Thread,
        doc: "Each worker is pinned to one CPU, chosen by [engine] cpus.",
        source: "sched_setaffinity(2)",
        calls: calls("", "", "cpus_allowed"),
        ..BASE
    },
    Spec {
        toggle: Toggle::BatchComplete,
        key: "batch_complete",
        domain: Domain::Count { min: 1, max: Max::QueueDepth },
        off: 1,
        on: 16,
        doc: "Completions that one wait asks for.",
        source: "io_uring_enter(2) min_complete",
        calls: calls(
            "Submitter::submit_and_wait({level})",
            "io_uring_submit_and_wait, io_uring_wait_cqes",
            "iodepth_batch_complete_min={level}",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::Taskrun,
        key: "taskrun",
        domain: Domain::Names(&["default", "coop", "defer"]),
        on: 2,
        since: "5.19",
        doc: "When completion work runs in the submitting task.",
        source: "io_uring_setup(2) IORING_SETUP_COOP_TASKRUN, IORING_SETUP_DEFER_TASKRUN (6.1)",
        calls: calls(
            "Builder::setup_single_issuer, setup_{level}_taskrun",
            "IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_{LEVEL}_TASKRUN",
            "",
        ),
        ..BASE
    },
    Spec {
        toggle: Toggle::RegisteredRing,
        key: "registered_ring",
        since: "5.18",
        doc: "The ring's own descriptor is registered.",
        source: "io_uring_register(2) IORING_REGISTER_RING_FDS",
        calls: calls("Submitter::register_ring_fd", "io_uring_register_ring_fd", ""),
        ..BASE
    },
    Spec {
        toggle: Toggle::NoSqarray,
        key: "no_sqarray",
        since: "6.6",
        doc: "The submission queue has no index array.",
        source: "io_uring_setup(2) IORING_SETUP_NO_SQARRAY",
        calls: calls("Builder::setup_no_sqarray", "IORING_SETUP_NO_SQARRAY", ""),
        ..BASE
    },
    Spec {
        toggle: Toggle::HugePages,
        key: "huge_pages",
        domain: Domain::Names(&["off", "thp", "hugetlb"]),
        isolation: Isolation::Pool,
        doc: "Buffers lie in huge pages.",
        source: "madvise(2), mmap(2) MAP_HUGETLB",
        ..BASE
    },
    Spec {
        toggle: Toggle::Passthrough,
        key: "passthrough",
        since: "5.19",
        needs: &[Need::NvmeDevice],
        doc: "NVMe commands through IORING_OP_URING_CMD on the generic device.",
        source: "io_uring_enter(2) IORING_OP_URING_CMD",
        calls: calls(
            "opcode::UringCmd80 in 128-byte entries",
            "IORING_OP_URING_CMD with IORING_SETUP_SQE128",
            "ioengine=io_uring_cmd, cmd_type=nvme",
        ),
        ..BASE
    },
];

//! Causes: what the time spent in a function is the price of, decided by its name and by those of its callers.

use regex::{Regex, RegexSet};
use std::collections::BTreeSet;

/// The side effect of sampling a thread by a timer: see [`Rules::classify`].
const SYSCALL: &str = "syscall";

/// All that is called in the vDSO.
const CLOCK: &str = "clock_read";

/// Time for which the tables have no rule.
pub const UNKNOWN: &str = "unknown";

/// What the loop of this program does besides what has a name in the table.
const ENGINE: &str = "engine";

/// One level of a call chain, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Names of the functions inlined here, innermost first, then that of the function itself; empty where nothing is known of the address.
    pub names: Vec<String>,
    pub kernel: bool,
}

/// Who was running when the sample was taken, whatever it was doing: the same function is another cost elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    User,
    Submit,
    Wait,
    /// In the kernel on behalf of the loop, neither submitting nor waiting.
    System,
    Sqpoll,
    IoWorker,
    Interrupt,
}

impl Context {
    /// As written in `overhead.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Context::User => "user",
            Context::Submit => "submit",
            Context::Wait => "wait",
            Context::System => "system",
            Context::Sqpoll => "sqpoll",
            Context::IoWorker => "io_worker",
            Context::Interrupt => "interrupt",
        }
    }

    /// Of a thread called `thread` with this call chain.
    pub fn of(thread: &str, chain: &[Frame]) -> Context {
        let calls = |starts: &[&str]| chain.iter().flat_map(|f| &f.names).any(|n| starts.iter().any(|s| n.starts_with(s)));
        let interrupts =
            ["asm_common_interrupt", "common_interrupt", "asm_sysvec", "sysvec_", "__irq_exit_rcu", "handle_softirqs"];
        match thread {
            _ if calls(&interrupts) || calls(&["irq_exit", "__do_softirq"]) => Context::Interrupt,
            name if name.starts_with("iou-sqp") => Context::Sqpoll,
            name if name.starts_with("iou-wrk") => Context::IoWorker,
            _ if chain.first().is_none_or(|f| !f.kernel) => Context::User,
            _ if calls(&["io_submit_sqes"]) => Context::Submit,
            _ if calls(&["io_cqring_wait", "io_iopoll_check", "io_do_iopoll"]) => Context::Wait,
            _ => Context::System,
        }
    }
}

/// One table of categories.
struct Table {
    /// Of each line, in order.
    categories: Vec<&'static str>,
    lines: RegexSet,
}

impl Table {
    fn parse(text: &'static str) -> Table {
        let mut rows: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
            match rows.last_mut() {
                Some((_, patterns)) if line.starts_with(' ') => patterns.extend(line.split_whitespace()),
                _ => rows.push((line.trim(), Vec::new())),
            }
        }
        let lines = RegexSet::new(rows.iter().map(|(_, patterns)| format!("^(?:{})", patterns.join("|"))));
        Table {
            categories: rows.into_iter().map(|(category, _)| category).collect(),
            lines: lines.expect("the table's expressions are tested"),
        }
    }

    fn find(&self, name: &str) -> Option<&'static str> {
        self.lines.matches(name).iter().next().map(|line| self.categories[line])
    }
}

/// Every cause that a profile can name.
pub fn names() -> BTreeSet<&'static str> {
    let rules = Rules::default();
    let named = rules.kernel.categories.iter().chain(&rules.user.categories).copied();
    named.filter(|name| *name != GENERIC).chain([ENGINE, UNKNOWN]).collect()
}

/// Both tables.
pub struct Rules {
    kernel: Table,
    user: Table,
    /// What compilers append to the names of parts and clones of functions.
    suffix: Regex,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            kernel: Table::parse(include_str!("kernel.table")),
            user: Table::parse(include_str!("user.table")),
            suffix: Regex::new(r"(\.(isra|constprop|part|cold|llvm|lto_priv)[.\d]*)+$").expect("a constant expression"),
        }
    }
}

impl Rules {
    /// The category of a kernel function; `None` where callers decide or nothing is known.
    pub fn of_kernel_symbol(&self, symbol: &str) -> Option<&'static str> {
        let name = self.suffix.replace(symbol, "");
        self.kernel.find(&name).filter(|category| *category != GENERIC)
    }

    fn is_generic(&self, symbol: &str) -> bool {
        self.kernel.find(&self.suffix.replace(symbol, "")) == Some(GENERIC)
    }

    /// The category of a sample. `after_syscall` says that the interrupted instruction of the program follows a `syscall`: a timer cannot
    /// interrupt the kernel's entry and exit, where interrupts are off, and reports that place instead.
    pub fn classify(&self, chain: &[Frame], after_syscall: bool) -> &'static str {
        let Some(leaf) = chain.first() else { return UNKNOWN };
        if !leaf.kernel {
            if after_syscall {
                return SYSCALL;
            }
            if leaf.names.iter().all(|n| n.starts_with('(')) {
                return if leaf.names == ["([vdso])"] { CLOCK } else { UNKNOWN };
            }
            let names = chain.iter().take(USER_FRAMES).flat_map(|f| &f.names);
            return names.filter_map(|n| self.user.find(n)).next().unwrap_or(ENGINE);
        }
        let frames = || chain.iter().take_while(|f| f.kernel);
        let kernel = || frames().flat_map(|f| &f.names);
        let named = || frames().all(|f| !f.names.is_empty());
        let bare = || chain.iter().any(|f| !f.kernel) && named() && kernel().all(|n| self.is_generic(n));
        // Nothing but generic functions, called straight from the program: the kernel's entry and its mitigations.
        kernel().find_map(|n| self.of_kernel_symbol(n)).unwrap_or_else(|| if bare() { SYSCALL } else { UNKNOWN })
    }
}

const GENERIC: &str = "generic";

/// Callers of the program that may still decide: the loop's helpers are no deeper.
const USER_FRAMES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 162;
    const KNOWN: &[(&str, &str)] = &[
        (
            "page_pinning",
            "gup_fast_fallback internal_get_user_pages_fast iov_iter_get_pages2 iov_iter_extract_pages bio_iov_iter_get_pages \
             __bio_iov_iter_get_pages bio_set_pages_dirty bio_check_pages_dirty __bio_release_pages unpin_user_folio \
             set_page_dirty_lock io_import_reg_buf io_import_fixed __io_import_iovec try_grab_compound_head gup_fast io_import_vec \
             bio_iov_bvec_set",
        ),
        (
            "file_reference",
            "fget fput_many __fget_files __fget_light io_file_get_normal io_rsrc_node_ref_zero __file_ref_put fput __file_ref_get \
             io_put_file",
        ),
        (
            "dma_mapping",
            "dma_map_sg_attrs dma_map_phys iommu_map blk_rq_dma_map_iter_start __blk_rq_map_sg nvme_map_data nvme_unmap_data \
             nvme_free_prps nvme_pci_setup_prps alloc_iova_fast iommu_dma_map_page amd_iommu_map",
        ),
        (
            "driver",
            "nvme_queue_rq nvme_queue_rqs nvme_setup_cmd nvme_complete_rq nvme_irq nvme_pci_complete_batch virtio_queue_rq \
             iowrite16 null_queue_rq zram_submit_bio nvme_uring_cmd_io loop_queue_rq lo_rw_aio",
        ),
        ("poll_spin", "nvme_poll nvme_poll_cq bio_poll blk_mq_poll io_do_iopoll io_sq_thread"),
        (
            "ring_submission",
            "io_submit_sqes io_submit_sqe io_issue_sqe __io_queue_sqe io_read io_read_fixed io_prep_rw __do_sys_io_uring_enter \
             io_init_req io_alloc_async_data rw_verify_area io_kiocb_set_flags io_submit_sqes.part.0",
        ),
        (
            "ring_completion",
            "__io_submit_flush_completions io_submit_flush_completions tctx_task_work io_req_task_work_add __io_req_task_work_add \
             io_complete_rw io_cqring_wait io_fill_cqe_req io_cqring_fill_event io_req_task_complete __io_run_local_work \
             io_free_batch_list io_dismantle_req io_req_rw_complete io_req_complete_post",
        ),
        (
            "io_worker",
            "io_wq_enqueue io_wqe_worker io_worker_handle_work io_queue_iowq io_prep_async_work io_acct_activate_free_worker \
             io_wqe_enqueue",
        ),
        (
            "block_layer",
            "blk_mq_submit_bio submit_bio_noacct_nocheck bio_alloc_bioset bio_put blkdev_direct_IO __blkdev_direct_IO_async \
             blkdev_read_iter blk_update_request sbitmap_find_bit dd_dispatch_request blk_account_io_start wbt_wait \
             blk_cgroup_bio_start bio_associate_blkg blk_mq_flush_plug_list bio_endio",
        ),
        (
            "file_system",
            "iomap_dio_rw __iomap_dio_rw ext4_file_read_iter xfs_file_dio_read filemap_read touch_atime xas_load \
             shmem_file_read_iter shmem_get_folio_gfp",
        ),
        ("memory_copy", "_copy_to_iter copy_user_generic_string copyout rep_movs_alternative copy_page_to_iter"),
        (
            "syscall",
            "entry_SYSCALL_64 do_syscall_64 syscall_return_via_sysret exit_to_user_mode_prepare syscall_exit_to_user_mode \
             clear_bhb_loop entry_untrain_ret srso_alias_untrain_ret x64_sys_call retbleed_untrain_ret",
        ),
        (
            "clock_read",
            "read_tsc ktime_get kvm_clock_get_cycles pvclock_clocksource_read_nowd blk_time_get_ns native_sched_clock \
             __vdso_clock_gettime",
        ),
        (
            "scheduler",
            "__schedule try_to_wake_up hrtimer_start_range_ns __pv_queued_spin_lock_slowpath schedule_timeout pick_next_task_fair \
             update_curr psi_task_switch io_schedule",
        ),
        (
            "interrupt",
            "handle_softirqs __do_softirq common_interrupt handle_edge_irq __irq_exit_rcu asm_sysvec_apic_timer_interrupt",
        ),
        ("idle", "native_safe_halt pv_native_safe_halt mwait_idle cpuidle_enter_state intel_idle"),
        ("memory_management", "handle_mm_fault"),
    ];

    fn chain(frames: &[(&str, bool)]) -> Vec<Frame> {
        frames.iter().map(|(name, kernel)| Frame { names: vec![name.to_string()], kernel: *kernel }).collect()
    }

    #[test]
    fn symbols_of_six_years_of_kernels_are_known() {
        let rules = Rules::default();
        for (category, symbols) in KNOWN {
            for symbol in symbols.split_whitespace() {
                assert_eq!(rules.of_kernel_symbol(symbol), Some(*category), "{symbol}");
            }
        }
        assert_eq!(KNOWN.iter().map(|(_, s)| s.split_whitespace().count()).sum::<usize>(), COUNT);
        assert_eq!(rules.of_kernel_symbol("fget.part.0"), Some("file_reference"));
        assert_eq!(rules.of_kernel_symbol("nobody_knows_this"), None);
    }

    #[test]
    fn the_caller_of_a_generic_function_decides() {
        let rules = Rules::default();
        let of = |frames: &[(&str, bool)]| rules.classify(&chain(frames), false);
        assert_eq!(of(&[("_raw_spin_lock", true), ("blk_mq_submit_bio", true)]), "block_layer");
        assert_eq!(of(&[("kmem_cache_alloc_noprof", true), ("io_issue_sqe", true)]), "ring_submission");
        assert_eq!(of(&[("__pi___x86_indirect_thunk_rax", true), ("main", false)]), "syscall");
        assert_eq!(of(&[("memset", true), ("kfree", true)]), UNKNOWN);
        assert_eq!(of(&[("who_is_this", true), ("fget", true)]), "file_reference");
        let nameless = [Frame { names: vec![], kernel: true }, Frame { names: vec!["main".into()], kernel: false }];
        assert_eq!(rules.classify(&nameless, false), UNKNOWN, "what has no name is not the syscall's");
    }

    #[test]
    fn the_program_is_told_apart_from_its_clock_and_its_statistics() {
        let rules = Rules::default();
        let drive = "/src/engine/drive.rs:drive";
        let of = |name: &str, after| rules.classify(&chain(&[(name, false), (drive, false)]), after);
        assert_eq!(of("__vdso_clock_gettime", false), "clock_read");
        assert_eq!(of("/registry/hdrhistogram-7.5.4/src/lib.rs:record_n_inner", false), "statistics");
        assert_eq!(of("/src/engine/pattern.rs:next_offset", false), "offset_pattern");
        let inlined =
            Frame { names: vec!["/core/src/sync/atomic.rs:fetch_add".into(), "/src/engine/stats.rs:add".into()], kernel: false };
        assert_eq!(rules.classify(&[inlined], false), "statistics");
        assert_eq!(of(drive, false), "engine");
        assert_eq!(of(drive, true), "syscall");
        assert_eq!(of("(libc.so.6)", false), UNKNOWN);
        assert_eq!(of("([vdso])", false), "clock_read");
        assert_eq!(rules.classify(&[Frame { names: vec![], kernel: false }], false), UNKNOWN);
    }

    #[test]
    fn contexts_come_from_the_thread_and_the_stack() {
        let of = |thread: &str, frames: &[(&str, bool)]| Context::of(thread, &chain(frames));
        let submit = [("blk_mq_submit_bio", true), ("io_submit_sqes", true), ("main", false)];
        assert_eq!(of("uring-ablate", &submit), Context::Submit);
        assert_eq!(of("iou-sqp-12", &submit), Context::Sqpoll);
        assert_eq!(of("iou-wrk-12", &submit), Context::IoWorker);
        assert_eq!(of("uring-ablate", &[("schedule", true), ("io_cqring_wait", true)]), Context::Wait);
        assert_eq!(of("uring-ablate", &[("bio_endio", true), ("handle_softirqs", true)]), Context::Interrupt);
        assert_eq!(of("uring-ablate", &[("fput", true), ("__do_sys_io_uring_enter", true)]), Context::System);
        assert_eq!(of("uring-ablate", &[("main", false)]), Context::User);
    }
}

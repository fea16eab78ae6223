//! What a user gets wrong: each mistake has its message and its exit code, and nothing is run.

use crate::support::{Bench, LoopDevice, ONE_TOGGLE, READS, SMALL_TARGET, ablate, experiment, skip};
use insta::assert_snapshot;

fn refused(target: &str, workload: &str, design: &str, extra: &str) -> String {
    let bench = Bench::new(&experiment(target, workload, design, extra));
    let output = bench.run(&[]);
    assert!(!bench.out().exists(), "nothing is written");
    bench.verdict(&output)
}

#[test]
fn unknown_toggle() {
    assert_snapshot!(refused(SMALL_TARGET, READS, "toggles = [\"fixed_bufers\"]", ""), @r#"
    exit 2
    uring-ablate: DIR/test.toml:14: [design] toggles: unknown toggle "fixed_bufers"; toggles are: fixed_buffers, fixed_files, batch_submit, time_check_interval, fast_path, stats_batching, latency_sampling, pow2_mask, iopoll, queue_refill, sqpoll, numa_bind, cpu_affinity, batch_complete, taskrun, registered_ring, no_sqarray, huge_pages, passthrough
    "#);
}

#[test]
fn unknown_key() {
    assert_snapshot!(refused(SMALL_TARGET, "rw = \"read\"\nblocksize = \"4k\"\nbs = \"4k\"\niodepth = 16", ONE_TOGGLE, ""), @"
    exit 2
    uring-ablate: DIR/test.toml:8: unknown field `blocksize`, expected one of `rw`, `bs`, `iodepth`, `numjobs`, `rwmixread`, `random_distribution`, `direct`, `cache`, `rate_iops`, `offset`, `offset_increment`, `size`, `verify`
    ");
}

#[test]
fn level_out_of_range() {
    assert_snapshot!(refused(SMALL_TARGET, READS, ONE_TOGGLE, "[design.on]\nbatch_submit = 0"), @r#"
    exit 2
    uring-ablate: DIR/test.toml:16: level: batch_submit = "0" is not a level; levels are: 1..=queue_depth
    "#);
}

#[test]
fn level_above_the_queue_depth() {
    assert_snapshot!(refused(SMALL_TARGET, READS, ONE_TOGGLE, "[design.on]\nbatch_submit = 32"), @"
    exit 2
    uring-ablate: cell read-4k-qd16-j1: none of the listed toggles can run: batch_submit = 32 exceeds the queue depth of 16
    ");
}

#[test]
fn bad_unit() {
    assert_snapshot!(refused(SMALL_TARGET, "rw = \"read\"\nbs = \"4q\"\niodepth = 16", ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: DIR/test.toml:8: bs: "4q" is not a size; write 4096, "4k", "128KiB" or "1GiB"
    "#);
}

#[test]
fn bad_access_kind() {
    assert_snapshot!(refused(SMALL_TARGET, "rw = \"reed\"\nbs = \"4k\"\niodepth = 16", ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: DIR/test.toml:7: rw: "reed" is not an access kind; kinds are: read, write, randread, randwrite, randrw, nop
    "#);
}

#[test]
fn depth_zero() {
    assert_snapshot!(refused(SMALL_TARGET, "rw = \"read\"\nbs = \"4k\"\niodepth = 0", ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: DIR/test.toml:9: iodepth: "0" is not in 1..=32768
    "#);
}

#[test]
fn depth_above_the_rings_limit() {
    assert_snapshot!(refused(SMALL_TARGET, "rw = \"read\"\nbs = \"4k\"\niodepth = 65536", ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: DIR/test.toml:9: iodepth: "65536" is not in 1..=32768
    "#);
}

#[test]
fn span_below_a_block() {
    assert_snapshot!(refused("kind = \"file\"\nsize = \"4k\"", "rw = \"read\"\nbs = \"8k\"\niodepth = 16", ONE_TOGGLE, ""), @"
    exit 2
    uring-ablate: the 4096 bytes of job 0 on temporary file hold no block of 8192 bytes; raise [target] size or lower bs, offset or offset_increment
    ");
}

#[test]
fn missing_file() {
    assert_snapshot!(refused("kind = \"file\"\npath = \"/nonexistent/data\"", READS, ONE_TOGGLE, ""), @"
    exit 2
    uring-ablate: /nonexistent/data: No such file or directory (os error 2); [target] path names what is read: create it or name another
    ");
}

#[test]
fn directory_as_target() {
    assert_snapshot!(refused("kind = \"file\"\npath = \"/usr\"", READS, ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: /usr is a directory; [target] kind = "file" needs a regular file
    "#);
}

#[test]
fn character_device_as_device() {
    assert_snapshot!(refused("kind = \"device\"\npath = \"/dev/null\"", READS, ONE_TOGGLE, ""), @r#"
    exit 2
    uring-ablate: /dev/null is a character device; [target] kind = "device" needs a block device
    "#);
}

#[test]
fn sparse_file() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("holes");
    std::fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    std::fs::write(&bench.file, experiment(&target, READS, ONE_TOGGLE, "")).unwrap();
    assert_snapshot!(bench.verdict(&bench.run(&[])), @"
    exit 2
    uring-ablate: DIR/holes is sparse (0 of its first 1048576 bytes are allocated); holes are not read from the device: name a file that is written in full, for example a copy: cp --sparse=never DIR/holes COPY
    ");
}

#[test]
fn writing_to_a_file_of_the_users() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("precious");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    std::fs::write(&bench.file, experiment(&target, "rw = \"randwrite\"\nbs = \"4k\"\niodepth = 16", ONE_TOGGLE, "")).unwrap();
    assert_snapshot!(bench.verdict(&bench.run(&[])), @"
    exit 5
    uring-ablate: this experiment writes to DIR/precious; nothing but targets of the tool's own is written without --allow-destructive DIR/precious
    ");
    assert_snapshot!(bench.verdict(&bench.run(&["--allow-destructive", "/some/other"])), @"
    exit 5
    uring-ablate: this experiment writes to DIR/precious; nothing but targets of the tool's own is written without --allow-destructive DIR/precious
    ");
    assert!(std::fs::read(&file).unwrap().iter().all(|b| *b == 7), "untouched");
}

#[test]
fn block_size_below_the_devices_logical_block() {
    let bench = Bench::new("");
    let Some(device) = LoopDevice::new(bench.dir.path(), 16 << 20, "4096") else {
        return skip("block_size_below_the_devices_logical_block", "losetup --sector-size is not permitted");
    };
    let target = format!("kind = \"device\"\npath = \"{}\"", device.0);
    std::fs::write(&bench.file, experiment(&target, "rw = \"read\"\nbs = 512\niodepth = 16", ONE_TOGGLE, "")).unwrap();
    assert_snapshot!(bench.verdict(&bench.run(&[])).replace(&device.0, "DEVICE"), @"
    exit 2
    uring-ablate: bs = 512 is not a multiple of 4096, the logical block of DEVICE
    ");
}

#[test]
fn too_few_rounds() {
    let bench = Bench::small();
    assert_snapshot!(bench.verdict(&bench.run(&["--set", "design.rounds=3"])), @"
    exit 2
    uring-ablate: [design] rounds = 3 cannot decide 1 contrasts at alpha = 0.05: 6 rounds are needed (ceil(log2(2 x contrasts / alpha)), or no signed-rank test can reach the level)
    ");
}

#[test]
fn round_shorter_than_a_block() {
    let bench = Bench::small();
    let text = bench.verdict(&bench.run(&["--quiet", "--set", "design.round_time=1ms"]));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"takes [0-9.]+ms", "takes TIME");
    settings.bind(|| assert_snapshot!(text, @"
    exit 2
    uring-ablate: cell read-4k-qd16-j1: one block of 11 slices takes TIME, longer than round_time = 8.0ms allows; list fewer toggles or designs, lower iodepth, or set [design] round_time to 1 s or more
    "));
}

#[test]
fn results_directory_not_writable() {
    let bench = Bench::small();
    let output = ablate().arg("run").arg(&bench.file).args(["--quiet", "--out", "/dev/null/results"]).output().unwrap();
    assert_snapshot!(bench.verdict(&output), @"
    exit 2
    uring-ablate: cannot write /dev/null/results: Not a directory (os error 20); make room or choose another --out, then continue with --resume
    ");
}

#[test]
fn bad_set() {
    let bench = Bench::small();
    assert_snapshot!(bench.verdict(&bench.run(&["--set", "nonsense"])), @r#"
    exit 2
    uring-ablate: --set "nonsense": write KEY=VALUE, for example --set design.rounds=24
    "#);
}

#[test]
fn missing_experiment() {
    let output = ablate().args(["run", "/nonexistent.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(String::from_utf8_lossy(&output.stderr), @"uring-ablate: cannot read experiment /nonexistent.toml: No such file or directory (os error 2)");
}

#[test]
fn claims_that_say_nothing_or_of_what_is_not_there() {
    let claims = [
        "text = \"a\"",
        "text = \"a\"\npays = true\ntoggle = \"fixed_files\"",
        "text = \"a\"\ntoggle = \"batch_submit\"\ncategory = \"fget\"\nafter_percent = [0, 1]",
        "text = \"a\"\ntoggle = \"batch_submit\"\npays = true\nafter_percent = [0, 1]",
        "text = \"a\"\ntoggle = \"batch_submit\"\ncategory = \"syscall\"\nafter_percent = [5, 1]",
        "text = \"a\"\npeer = \"fio:tuned\"\nratio = [0.7, 0.8]",
    ];
    let said: Vec<String> =
        claims.iter().map(|claim| refused(SMALL_TARGET, READS, ONE_TOGGLE, &format!("[[claim]]\n{claim}"))).collect();
    assert_snapshot!(said.join("\n"), @r#"
    exit 2
    uring-ablate: DIR/test.toml:16: [[claim]] says one thing: category, pays = true, or peer
    exit 2
    uring-ablate: DIR/test.toml:18: [[claim]] toggle: fixed_files is neither among [design] toggles nor beside
    exit 2
    uring-ablate: DIR/test.toml:18: [[claim]] category: "fget" is no cause; causes are: block_layer, clock_read, dma_mapping, driver, engine, file_reference, file_system, idle, interrupt, io_worker, memory_copy, memory_management, offset_pattern, page_pinning, poll_spin, ring_completion, ring_submission, scheduler, statistics, syscall, unknown
    exit 2
    uring-ablate: DIR/test.toml:19: [[claim]] after_percent says something of category alone, and there is none
    exit 2
    uring-ablate: DIR/test.toml:19: [[claim]] after_percent: [5, 1] must go from a number to one that is no smaller, from 0 to 100
    exit 2
    uring-ablate: DIR/test.toml:17: [[claim]] peer: "fio:tuned" is not among [peers], which lists none
    "#);
}

//! What the kernel writes of itself; in a container or under a hypervisor it may be somebody else.

use super::{fuzz, text};
use uring_ablate::control_group::membership;
use uring_ablate::peer::counter;
use uring_ablate::run::cpus::{Cpus, Shares};
use uring_ablate::run::{environment, facts};
use uring_ablate::target::block_device;
use uring_ablate::target::route::tally;
use uring_ablate::{engine::numa, mounts, perf};

#[test]
fn kallsyms() {
    let seed = b"0000000000000000 T _stext\nffffffff81000000 T _text\nffffffffc0000000 t nvme_poll\t[nvme]\n";
    fuzz("kallsyms", &[seed], |input| {
        perf::no_addresses(input);
    });
}

#[test]
fn cpuinfo_meminfo_and_limits() {
    let cpu = b"processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmicrocode\t: 0xffffffff\nflags\t\t: fpu vme\n\nprocessor\t: 1\n";
    let memory = b"MemTotal:       24684084 kB\nHugePages_Total:       0\n";
    let limits = b"Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         8388608    8388608   bytes\n";
    fuzz("cpuinfo", &[cpu, memory, limits], |input| {
        for key in ["model name", "microcode", "MemTotal", "Max locked memory"] {
            let text = text(input);
            assert!(environment::named(&text, key).is_none_or(|value| !value.contains('\n')));
            assert!(facts::words_behind(&text, key).is_none_or(|value| !value.contains('\n')));
        }
    });
}

const MOUNTS: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,discard\n30 22 0:5 / /proc rw - proc proc rw\n\
    31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n41 22 7:0 /a\\040b /mnt/x\\134y ro - squashfs /dev/loop0 ro\n";

#[test]
fn mountinfo() {
    fuzz("mountinfo", &[MOUNTS], |input| {
        let all = mounts::parse(&text(input));
        assert!(all.iter().all(|mount| !mount.kind.contains(' ')));
        assert!(mounts::reachable(&all, |_| true).count() <= all.len());
    });
}

#[test]
fn a_line_of_mountinfo_that_is_cut_short_is_no_panic() {
    assert_eq!(mounts::parse("22 1 8:1"), []);
    assert_eq!(mounts::parse("22 1 8:1 / /home rw - ext4"), []);
}

#[test]
fn control_groups() {
    let groups = b"12:memory:/user.slice\n4:cpu,cpuacct:/\n0::/user.slice/user-0.slice\n";
    fuzz("control-groups", &[groups], |input| {
        for membership in membership::memberships(&text(input)) {
            assert!(membership.group.is_absolute());
        }
    });
}

/// A made machine whose tables are edited: what is read of groups stays below where their file systems are mounted.
#[test]
fn a_control_group_is_below_its_file_system() {
    let home = tempfile::tempdir().unwrap();
    let proc = home.path().join("proc/self");
    std::fs::create_dir_all(&proc).unwrap();
    std::fs::create_dir_all(home.path().join("sys/fs/cgroup/user.slice")).unwrap();
    std::fs::write(proc.join("mountinfo"), MOUNTS).unwrap();
    let cgroup = proc.join("cgroup");
    for own in ["0:://etc", "0::/../../etc", "0::/user.slice/../../etc", "0::/user.slice"] {
        std::fs::write(&cgroup, own).unwrap();
        let seen = membership::View { root: home.path() }.unified().unwrap();
        let top = home.path().join("sys/fs/cgroup");
        assert!(
            seen.dirs.iter().all(|dir| dir.starts_with(&top) && !dir.components().any(|c| c.as_os_str() == "..")),
            "{seen:?}"
        );
    }
}

#[test]
fn swaps() {
    let seed = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2   partition\t8388604\t0\t-2\n/swap\\040file   file\t1\t0\t-3\n";
    fuzz("swaps", &[seed], |input| {
        assert!(block_device::parse_swaps(&text(input)).iter().all(|path| !path.as_os_str().is_empty()));
    });
}

/// More than any kernel has (`NR_CPUS`), and than a `cpu_set_t` holds.
const MOST_CPUS: usize = 1 << 16;

#[test]
fn lists_of_cpus() {
    fuzz("cpu-lists", &[b"0-3,8,10-11\n", b"0\n", b"\n", b"0-63,128-191"], |input| {
        assert!(numa::cpu_list(text(input).trim()).len() <= MOST_CPUS);
    });
}

#[test]
fn a_list_of_cpus_that_no_machine_has_takes_no_memory() {
    assert!(numa::cpu_list("0-4294967295").len() <= MOST_CPUS);
    assert!(numa::cpu_list(&"0-1023,".repeat(10_000)).len() <= MOST_CPUS);
    assert_eq!(numa::cpu_list("3-1,7"), [7]);
}

#[test]
fn counters_of_devices_and_processes() {
    let stat = b"  25 1 2048 3 7 0 16 4 0 2 2 0 0 0 0 0 0\n";
    let io = b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 9\n";
    let cpus = b"cpu  100 0 50 800 10 5 5 30 0 0\ncpu0 1 2 3\n";
    fuzz("counters", &[stat, io, b"       3        4\n", cpus], |input| {
        let text = text(input);
        for parse in [tally::device_bytes, tally::process_bytes, counter::inflight] {
            let _ = parse(&text);
        }
        let before = Cpus::parse("cpu  100 0 50 800 10 5 5 30 0 0\n").unwrap();
        if let Some(shares) = Cpus::parse(&text).map(|now| before.until(now)) {
            assert!(shares.busy.into_iter().chain(shares.steal).all(|share| (0.0..=1.0).contains(&share)), "{shares:?}");
        }
    });
}

/// Found by fuzzing: each sum has room, the sum of both had none.
#[test]
fn shares_of_counts_that_no_machine_reaches_are_shares() {
    let before = Cpus::parse("cpu  0 0 0 0 0 0 0 0\n").unwrap();
    let now = Cpus::parse(&format!("cpu  {} 0 0 0 0 0 0 {}\n", u64::MAX, u64::MAX)).unwrap();
    assert_eq!(before.until(now), Shares { busy: Some(1.0), steal: Some(0.5) });
}

#[test]
fn counts_that_no_device_can_reach_are_refused_and_do_not_wrap() {
    let most = u64::MAX;
    assert_eq!(tally::device_bytes(&format!("1 1 {most} 3 7 0 {most} 4")), None);
    assert_eq!(tally::process_bytes(&format!("read_bytes: {most}\nwrite_bytes: 1\n")), None);
    assert_eq!(counter::inflight(&format!("{most} 1\n")), None);
    assert_eq!(Cpus::parse(&format!("cpu  {most} 1 0 0 0 0 0 0\n")), None);
}

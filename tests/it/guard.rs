//! What is not written to: everything that holds or serves something, under whatever name. Before a run begins.

use crate::support::{Bench, LoopDevice, Mounted, ONE_TOGGLE, WRITES, device, experiment, must, root, skip};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What the tool says to writing to `path`, which the user allowed; the test's directory and device have other names.
fn verdict(bench: &Bench, kind: &str, path: &str, device: &str) -> String {
    let target = format!("kind = \"{kind}\"\npath = \"{path}\"");
    fs::write(&bench.file, experiment(&target, WRITES, ONE_TOGGLE, "").replace("250ms", "1s")).unwrap();
    let said = bench.verdict(&bench.run(&["--quiet", "--allow-destructive", path]));
    if device.is_empty() { said } else { said.replace(device, "DEVICE") }
}

fn refused(said: &str, why: &str) {
    assert!(said.starts_with("exit 5\n") && said.contains(why), "wanted {why:?}: {said}");
}

/// The run was let do what it wanted; whether workers of io-wq had to, which makes rows invalid, is the file system's affair.
pub fn written(said: &str) {
    assert!(said.starts_with("exit 0\n") || said.contains("nothing could be compared"), "{said}");
}

#[test]
fn a_device_is_known_under_every_name_of_its_node() {
    const TEST: &str = "a_device_is_known_under_every_name_of_its_node";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let dir = bench.dir.path();
    let number = must("stat", &["-c", "%Hr %Lr", &device.0]);
    let (alias, link) = (dir.join("node"), dir.join("by-id"));
    must("mknod", &[&[alias.to_str().unwrap(), "b"], number.split(' ').collect::<Vec<_>>().as_slice()].concat());
    symlink(&alias, &link).unwrap();
    must("mkfs.ext4", &["-q", &device.0]);
    for name in [&alias, &link] {
        let said = verdict(&bench, "device", name.to_str().unwrap(), &device.0);
        refused(&said, "carries a signature (TYPE=ext4");
    }
    let mounted = Mounted::new(&device.0, &dir.join("mnt"));
    for name in [&alias, &link] {
        refused(&verdict(&bench, "device", name.to_str().unwrap(), &device.0), "is mounted at DIR/mnt;");
    }
    drop(mounted);
    must("dd", &["if=/dev/zero", &format!("of={}", device.0), "bs=1M", "count=4", "conv=fsync", "status=none"]);
    written(&verdict(&bench, "device", link.to_str().unwrap(), &device.0));
}

#[test]
fn a_member_of_a_mounted_btrfs_is_mounted() {
    const TEST: &str = "a_member_of_a_mounted_btrfs_is_mounted";
    if Command::new("mkfs.btrfs").arg("--version").output().is_err() {
        return skip(TEST, "mkfs.btrfs is missing");
    }
    let bench = Bench::new("");
    let dir = bench.dir.path();
    let other = tempfile::tempdir().unwrap();
    let (Some(first), Some(second)) =
        (root().then(|| LoopDevice::new(dir, 256 << 20, "512")).flatten(), LoopDevice::new(other.path(), 256 << 20, "512"))
    else {
        return skip(TEST, "loop devices need root and losetup");
    };
    must("mkfs.btrfs", &["-q", "-f", "-d", "raid0", "-m", "raid1", &first.0, &second.0]);
    let dir = dir.join("mnt");
    fs::create_dir_all(&dir).unwrap();
    if !Command::new("mount").args([&first.0, dir.to_str().unwrap()]).status().unwrap().success() {
        return skip(TEST, "this kernel has no btrfs");
    }
    let _mounted = Mounted(dir);
    for device in [&first.0, &second.0] {
        refused(&verdict(&bench, "device", device, device), "is mounted at DIR/mnt;");
    }
}

#[test]
fn a_device_under_another_is_held() {
    const TEST: &str = "a_device_under_another_is_held";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let upper = must("losetup", &["--find", "--show", &device.0]);
    let said = verdict(&bench, "device", &device.0, &device.0);
    must("losetup", &["--detach", &upper]);
    refused(&said, "DEVICE is held by /dev/loop");
}

#[test]
fn a_file_that_serves_or_holds_something_is_not_written_to() {
    const TEST: &str = "a_file_that_serves_or_holds_something_is_not_written_to";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let backing = bench.dir.path().join("backing");
    let said = |path: &Path| verdict(&bench, "file", path.to_str().unwrap(), &device.0);
    must("fallocate", &["-l", "32M", backing.to_str().unwrap()]);
    refused(&said(&backing), "DIR/backing is the data of DEVICE;");
    must("mkfs.ext4", &["-q", &device.0]);
    let mounted = Mounted::new(&device.0, &bench.dir.path().join("mnt"));
    must("fallocate", &["-l", "32M", backing.to_str().unwrap()]);
    refused(&said(&backing), "DIR/backing is the data of DEVICE;");
    drop(mounted);
    drop(device);
    must("fallocate", &["-l", "32M", backing.to_str().unwrap()]);
    let said = verdict(&bench, "file", backing.to_str().unwrap(), "");
    refused(&said, "DIR/backing carries a signature (TYPE=ext4");
}

#[test]
fn a_swap_file_is_not_written_to() {
    const TEST: &str = "a_swap_file_is_not_written_to";
    let bench = Bench::new("");
    // A name with a blank stands otherwise in /proc/swaps.
    let file = bench.dir.path().join("swap file");
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let path = file.to_str().unwrap();
    let works = |program: &str| Command::new(program).arg(&file).output().is_ok_and(|o| o.status.success());
    if !root() || !works("mkswap") || !works("swapon") {
        return skip(TEST, "mkswap and swapon do not work here");
    }
    let said = verdict(&bench, "file", path, "");
    must("swapoff", &[path]);
    refused(&said, "DIR/swap file is in use as swap;");
    refused(&verdict(&bench, "file", path, ""), "carries a signature (TYPE=swap");
}

#[test]
fn a_file_that_is_locked_shared_or_linked_to_is_not_written_to() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("disk.img");
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    let said = |path: &Path| verdict(&bench, "file", path.to_str().unwrap(), "");
    // As QEMU does: a read lock of the open description on a few bytes.
    let held = fs::File::open(&file).unwrap();
    let bytes = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 100,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&held, FcntlArg::F_OFD_SETLK(&bytes)).unwrap();
    refused(&said(&file), "DIR/disk.img is locked by another program");
    drop(held);
    let twin = bench.dir.path().join("snapshot.img");
    fs::hard_link(&file, &twin).unwrap();
    refused(&said(&file), "DIR/disk.img has 2 names (hard links)");
    fs::remove_file(&twin).unwrap();
    symlink(&file, &twin).unwrap();
    refused(&said(&twin), "a write must name the file itself, here and with --allow-destructive: DIR/disk.img");
    assert!(fs::read(&file).unwrap() == vec![1; 8 << 20], "no byte was changed");
    let done = said(&file);
    written(&done);
    assert!(fs::read(&file).unwrap() != vec![1; 8 << 20]);
}

#[test]
fn reading_refuses_nothing_that_writing_does() {
    const TEST: &str = "reading_refuses_nothing_that_writing_does";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    must("mkfs.ext4", &["-q", &device.0]);
    let _mounted = Mounted::new(&device.0, &bench.dir.path().join("mnt"));
    let link = bench.dir.path().join("link");
    symlink(&device.0, &link).unwrap();
    let target = format!("kind = \"device\"\npath = \"{}\"", link.display());
    let reads = "rw = \"randread\"\nbs = \"4k\"\niodepth = 4";
    fs::write(&bench.file, experiment(&target, reads, ONE_TOGGLE, "")).unwrap();
    written(&bench.verdict(&bench.run(&["--quiet"])));
}

#[test]
fn a_loop_device_over_what_others_use_is_not_written_to() {
    const TEST: &str = "a_loop_device_over_what_others_use_is_not_written_to";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let backing = bench.dir.path().join("backing");
    must("mkfs.ext4", &["-q", &device.0]);
    // Behind the signature, where a probe of the upper device alone sees nothing.
    let above = |what: &str| must("losetup", &["--find", "--show", "--offset", "16M", what]);
    let said = |upper: &str| verdict(&bench, "device", upper, &device.0);
    for what in [backing.to_str().unwrap(), &device.0] {
        let mounted = Mounted::new(&device.0, &bench.dir.path().join("mnt"));
        let upper = above(what);
        let while_mounted = said(&upper);
        drop(mounted);
        let afterwards = said(&upper);
        must("losetup", &["--detach", &upper]);
        assert!(while_mounted.starts_with("exit 5\n"), "{what}: {while_mounted}");
        assert!(while_mounted.contains("is mounted at") || while_mounted.contains("is the data of"), "{what}: {while_mounted}");
        assert!(afterwards.starts_with("exit 5\n"), "{what}: {afterwards}");
    }
    drop(device);
    let upper = above(backing.to_str().unwrap());
    let held = fs::File::open(&backing).unwrap();
    let signed = verdict(&bench, "device", &upper, "");
    fs::write(&backing, vec![1; 32 << 20]).unwrap();
    let bytes = libc::flock { l_type: libc::F_RDLCK as libc::c_short, l_whence: 0, l_start: 100, l_len: 1, l_pid: 0 };
    fcntl(&held, FcntlArg::F_OFD_SETLK(&bytes)).unwrap();
    let locked = verdict(&bench, "device", &upper, "");
    drop(held);
    let free = verdict(&bench, "device", &upper, "");
    must("losetup", &["--detach", &upper]);
    refused(&signed, "carries a signature (TYPE=ext4");
    refused(&locked, "is locked by another program");
    written(&free);
}

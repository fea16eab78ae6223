//! Targets that this kernel may lack, made in the lab: by what route their bytes come, what counts their requests, and what is refused.

use crate::lab::{Guest, lab};

/// Makes the targets; `bench NAME ARGUMENTS` leaves what it said, and its exit code, in NAME.json and NAME.said.
const PRELUDE: &str = r#"
    export DM_DISABLE_UDEV=1
    bench() {
      name=$1
      shift
      uring-ablate bench --bs 4k --iodepth 8 --runtime 300ms --allow-iowq --json "$@" >"$name.json" 2>"$name.said"
      echo "exit $?" >>"$name.said"
    }
    # The drive of four namespaces.
    drive=$(basename "$(dirname "$(grep -l '^lab' /sys/class/nvme/nvme*/serial)")")
    number() { cat "/sys/block/$1/dev"; }
    # RAID 1 of two namespaces, in step from the start.
    mirror() {
      modprobe raid1
      echo md0 >/sys/module/md_mod/parameters/new_array
      for set in metadata_version=none level=raid1 raid_disks=2 component_size=65536 "new_dev=$(number ${drive}n3)" "new_dev=$(number ${drive}n4)" \
        dev-${drive}n3/slot=0 dev-${drive}n4/slot=1 array_state=active; do
        echo "${set#*=}" >"/sys/block/md0/md/${set%%=*}"
      done
      until [ "$(cat /sys/block/md0/md/sync_action)" = idle ]; do sleep 0.1; done
    }
    # An export of this guest to itself; the kernel is told what rpc.mountd would answer.
    network_files() {
      modprobe -a nfsd nfsv4
      mkdir -p /srv /mnt/nfs
      mount -t tmpfs exported /srv
      mount -t nfsd nfsd /proc/fs/nfsd
      # Nobody has anything to reclaim: the least time that may be given.
      echo 10 >/proc/fs/nfsd/nfsv4leasetime
      echo 10 >/proc/fs/nfsd/nfsv4gracetime
      echo "-2 -3 +4 +4.1" >/proc/fs/nfsd/versions
      until_2038=2147483647
      echo "nfsd 127.0.0.1 $until_2038 guest" >/proc/net/rpc/auth.unix.ip/channel
      echo "guest /srv $until_2038 0x2400 65534 65534 0" >/proc/net/rpc/nfsd.export/channel
      echo "guest 1 \\x00000000 $until_2038 /srv" >/proc/net/rpc/nfsd.fh/channel
      echo "tcp 2049" >/proc/fs/nfsd/portlist
      echo 2 >/proc/fs/nfsd/threads
      busybox mount -t nfs4 -o addr=127.0.0.1,clientaddr=127.0.0.1,sec=sys,vers=4.1 127.0.0.1:/ /mnt/nfs
    }
"#;

fn targets(test: &str, options: &[&str], files: &[(&str, &[u8])], script: &str) -> Option<Guest> {
    lab(test, options, files, &format!("{PRELUDE}{script}\ntrue"))
}

/// The row that `bench` printed; it must have completed.
fn completed(guest: &Guest, name: &str) -> serde_json::Value {
    let (json, said) = (guest.read(&format!("{name}.json")), guest.read(&format!("{name}.said")));
    let row: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{name}: {e}: {json}{said}"));
    assert!(row["outcome"] == "completed" && said.ends_with("exit 0\n"), "{name}: {row} {said}");
    row
}

fn is_proved(guest: &Guest, name: &str) {
    let row = completed(guest, name);
    let share = row["device_share"].as_f64().unwrap();
    assert!(row["route"] == "proved" && (0.98..1.02).contains(&share), "{name}: {row}");
}

/// Nothing was measured, the exit code is this, and these words say why.
fn is_refused(guest: &Guest, name: &str, code: i32, words: &[&str]) {
    let (json, said) = (guest.read(&format!("{name}.json")), guest.read(&format!("{name}.said")));
    assert!(json.is_empty() && said.ends_with(&format!("exit {code}\n")), "{name}: {json}{said}");
    for word in words {
        assert!(said.contains(word), "{name}: {word:?} is missing: {said}");
    }
}

/// Device mapper, md and a drive behind two paths are proved by what is counted on the device that is named, read and written.
#[test]
fn stacked_devices_are_proved() {
    let script = "modprobe -a dm_multipath dm_round_robin; mirror\n\
                  echo '0 120000 linear /dev/nullb0 0' | dmsetup create linear\n\
                  echo \"0 120000 multipath 0 0 1 1 round-robin 0 2 1 /dev/${drive}n1 1 /dev/${drive}n2 1\" | dmsetup create paths\n\
                  head=/dev/$(basename /sys/class/nvme-subsystem/nvme-subsys*/nvme*n1)\n\
                  n=0\n\
                  for device in /dev/mapper/linear /dev/mapper/paths /dev/md0 $head /dev/nullb0; do\n\
                    n=$((n + 1))\n\
                    bench poll$n --filename $device --rw randread --iopoll on\n\
                    bench read$n --filename $device --rw randread; bench write$n --filename $device --rw randwrite --allow-destructive $device\n\
                  done";
    let Some(guest) = targets("stacked_devices_are_proved", &["--two-paths"], &[], script) else { return };
    for n in 1..=4 {
        is_proved(&guest, &format!("read{n}"));
        is_proved(&guest, &format!("write{n}"));
    }
    is_proved(&guest, "read5");
    is_refused(&guest, "write5", 5, &["/dev/nullb0 is held by dm-"]);
    is_proved(&guest, "poll1");
    for n in [2, 3] {
        is_refused(&guest, &format!("poll{n}"), 5, &["passes polling on only where all below can do it", "leave out iopoll"]);
    }
}

/// A zoned device is read, and not written to.
#[test]
fn zoned_devices_are_read_only() {
    let script = "cd /sys/kernel/config/nullb; mkdir zones; cd zones; echo 1 >zoned; echo 64 >size; echo 8 >zone_size; echo 1 >memory_backed\n\
                  echo 1 >power; cd \"$(cat /lab/directory)\"\n\
                  device=/dev/$(basename \"$(dirname \"$(dirname \"$(grep -l host-managed /sys/block/*/queue/zoned)\")\")\")\n\
                  bench read --filename $device --rw randread; bench write --filename $device --rw randwrite --allow-destructive $device";
    let Some(guest) = targets("zoned_devices_are_read_only", &[], &[], script) else { return };
    is_proved(&guest, "read");
    is_refused(&guest, "write", 5, &["is a zoned device (host-managed", "take writes only where their write pointers stand"]);
}

/// Of files on a network nobody here can say whether a read reached a disk.
#[test]
fn network_files_are_not_proved() {
    let script = "network_files\n\
                  cp shared /mnt/nfs/data\n\
                  bench nfs --filename /mnt/nfs/data --rw randread --size 4m; bench 9p --filename shared --rw randread --size 4m";
    let Some(guest) = targets("network_files_are_not_proved", &[], &[("shared", &[7; 4 << 20])], script) else { return };
    for name in ["nfs", "9p"] {
        let row = completed(&guest, name);
        assert!(row["route"].as_str().unwrap().starts_with("not proved: ") && row["device_share"].is_null(), "{row}");
    }
}

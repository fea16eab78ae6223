#!/usr/bin/env bash
# Runs a command in a disposable virtual machine with Debian's kernel, null_blk and an emulated NVMe drive: what this machine cannot do
# (IOPOLL, passthrough, other kernels), and faults that nobody wants on a real one.
#
#   scripts/lab.sh [--kernel 6.1|6.12|newest] [--cpus N] [--memory N (GiB)] [--timeout SECONDS] [--accel auto|kvm|tcg] [--icount]
#                  [--possible-cpus N] [--two-paths] -- COMMAND...
#
# The guest has the working directory as a shared folder, uring-ablate, fio and busybox, /dev/nullb0 and /dev/nvme0n1 to n4 (64 MiB each,
# empty), all with poll queues, and two NUMA nodes. COMMAND's output and exit code are passed on; 125 means that the guest did not get as
# far as one. --icount: the guest's clock counts instructions, one a nanosecond, so that costs per request repeat (software emulation of one
# CPU). --possible-cpus: the kernel reckons with so many, as on a machine that takes more at run time (6.1; later ones only reckon with fewer).
# --two-paths: one more NVMe drive, of 64 MiB and serial number "paths", which two controllers lead to (multipath).
# Kernels are fetched from Debian once and kept in ~/.cache/uring-ablate (remove it to get them anew); nothing else is left behind.
set -euo pipefail
# Where an ordinary user has no programs like depmod and blkid.
PATH=$PATH:/usr/sbin:/sbin
home=$(cd "$(dirname "$0")/.." && pwd)
. "$home/scripts/packages.sh"
. "$home/scripts/lab/kernel.sh"
. "$home/scripts/lab/initramfs.sh"

fail() {
  echo "lab: $*" >&2
  exit 125
}

kernel=6.12 cpus=2 memory=2 timeout=600 accel=auto clock=host possible='' paths=one
while [ $# -gt 0 ]; do
  case $1 in
    --kernel | --cpus | --memory | --timeout | --accel)
      [ $# -ge 2 ] || fail "$1 needs a value; see the head of $0"
      declare "${1#--}=$2"
      shift 2
      ;;
    --possible-cpus)
      [[ ${2:-} =~ ^[0-9]+$ ]] || fail "--possible-cpus needs a whole number; see the head of $0"
      possible=" possible_cpus=$2"
      shift 2
      ;;
    --two-paths) paths=two && shift ;;
    --icount) clock=instructions && shift ;;
    --) shift && break ;;
    *) fail "unknown argument $1; see the head of $0" ;;
  esac
done
[ $# -gt 0 ] || fail "no command after --; see the head of $0"
suite_of "$kernel" >/dev/null
[[ $cpus$memory$timeout =~ ^[0-9]+$ ]] || fail "--cpus, --memory and --timeout are whole numbers"
[[ $accel =~ ^(auto|kvm|tcg)$ ]] || fail "--accel $accel: it is auto, kvm or tcg"
[ $clock = host ] || cpus=1

# The processor with which KVM runs the guest's kernel, or none. Some hosts offer a KVM that starts a guest and then cannot run it, or lacks one
# register that "host" would pass on: a kernel without a file system, which panics and ends, shows which works.
kvm_cpu() {
  local cpu kept
  kept=$cache/kvm-$(uname -r)
  [ -w /dev/kvm ] || { echo none && return; }
  if [ ! -e "$kept" ]; then
    for cpu in host host,arch-capabilities=off none; do
      [ "$cpu" != none ] || break
      ! timeout 20 qemu-system-x86_64 -accel kvm -cpu "$cpu" -M q35 -m 512M -nodefaults -display none -no-reboot \
        -kernel "$linux/vmlinuz" -append "panic=-1" &>/dev/null || break
    done
    echo "$cpu" >"$work/kvm" && mv "$work/kvm" "$kept"
  fi
  cat "$kept"
}

# KVM where it works, else software emulation.
accelerate() {
  local cpu=none
  if [ $clock = instructions ]; then
    machine+=(-accel "tcg,thread=single" -cpu max -icount "shift=0,sleep=off")
    return
  fi
  [ "$accel" = tcg ] || cpu=$(kvm_cpu)
  case $accel,$cpu in
    kvm,none) fail "--accel kvm: KVM does not work on this machine" ;;
    *,none) machine+=(-accel "tcg,thread=multi" -cpu max) ;;
    *) machine+=(-accel kvm -cpu "$cpu") ;;
  esac
}

# Two NUMA nodes: memory and CPUs dealt to both, the NVMe controller attached to the second.
topology() {
  local cpu half=$((memory * 512))
  machine+=(-smp "$cpus,sockets=$cpus,cores=1,threads=1" -m "${memory}G")
  machine+=(-object "memory-backend-ram,id=m0,size=${half}M" -object "memory-backend-ram,id=m1,size=${half}M")
  machine+=(-numa "node,nodeid=0,memdev=m0" -numa "node,nodeid=1,memdev=m1")
  for ((cpu = 0; cpu < cpus; cpu++)); do machine+=(-numa "cpu,node-id=$((cpu % 2)),socket-id=$cpu"); done
  machine+=(-device "pxb-pcie,id=node1,bus_nr=128,numa_node=1" -device "pcie-root-port,id=port1,bus=node1,chassis=1")
}

# A comma in a path is doubled for QEMU.
drives() {
  local n
  machine+=(-device "nvme,id=nvme0,serial=lab,bus=port1")
  for n in 1 2 3 4; do
    truncate -s 64M "$work/nvme$n"
    machine+=(-drive "file=${work//,/,,}/nvme$n,format=raw,if=none,id=d$n,cache=unsafe" -device "nvme-ns,drive=d$n,bus=nvme0,nsid=$n")
  done
}

# A namespace of a subsystem that both its controllers lead to.
second_path() {
  truncate -s 64M "$work/paths"
  machine+=(-device "nvme-subsys,id=paths,nqn=paths")
  machine+=(-device "nvme,id=path1,serial=paths,subsys=paths,bus=pcie.0" -device "nvme,id=path2,serial=paths,subsys=paths,bus=pcie.0")
  machine+=(-drive "file=${work//,/,,}/paths,format=raw,if=none,id=p,cache=unsafe" -device "nvme-ns,drive=p,bus=path1,nsid=1,shared=on")
}

# The console, the shared folders, and a port for each of the command's streams.
channels() {
  local name
  machine+=(-chardev "file,id=console,path=${work//,/,,}/console" -serial chardev:console -device virtio-serial)
  machine+=(-virtfs "local,path=${work//,/,,}/lab,mount_tag=lab,security_model=none")
  machine+=(-virtfs "local,path=${PWD//,/,,},mount_tag=work,security_model=none")
  for name in stdout stderr; do
    machine+=(-chardev "file,id=$name,path=${work//,/,,}/$name" -device "virtserialport,chardev=$name,name=$name")
  done
}

# quoted WORD...: for the guest's shell.
quoted() {
  local word
  for word; do printf "'%s' " "${word//\'/\'\\\'\'}"; done
}

# Whatever ends this script ends the guest, and what it lived on; until the guest has run, the command has no exit code to pass on.
vm=() readers=()
# shellcheck disable=SC2317 # called by the trap
finish() {
  local code=$?
  [ "$code" -eq 0 ] || code=125
  kill "${vm[@]}" "${readers[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
  exit "$code"
}
work=$(mktemp -d)
trap finish EXIT
trap 'exit 125' INT TERM HUP

need qemu-system-x86_64 qemu-system-x86 busybox busybox-static cpio cpio depmod kmod strip binutils unxz xz-utils "${lab_programs[@]}" \
  /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring >&2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/uring-ablate
mkdir -p "$cache"
linux=$cache/linux-$kernel-$(kernel_needs)
[ -e "$linux/release" ] || fetch_kernel "$kernel" "$linux"
tool=${URING_ABLATE_LAB_TOOL:-$home/target/release/uring-ablate}
if [ -z "${URING_ABLATE_LAB_TOOL:-}" ]; then
  need_rust
  cargo build --release --locked --quiet --manifest-path "$home/Cargo.toml" --bin uring-ablate >&2
fi

mkdir "$work/lab"
echo "$PWD" >"$work/lab/directory"
quoted "$@" >"$work/lab/command"
echo $((timeout > 40 ? timeout - 30 : timeout)) >"$work/lab/patience"
make_initramfs "$linux" "$tool" "$work/root" "$work/initramfs"
machine=(-M q35 -nodefaults -no-user-config -display none -no-reboot -kernel "$linux/vmlinuz" -initrd "$work/initramfs")
machine+=(-append "console=ttyS0 quiet panic=-1 uring_ablate.clock=$clock$possible")
accelerate
# Before the second bus there is, which takes bridges only.
channels
topology
drives
[ $paths = one ] || second_path
mkfifo "$work/stdout" "$work/stderr"
# Held open, so that the readers end when the last writer has and not before.
exec 8<>"$work/stdout" 9<>"$work/stderr"
cat "$work/stdout" 8>&- 9>&- &
readers=($!)
cat "$work/stderr" >&2 8>&- 9>&- &
readers+=($!)
setpriv --pdeathsig TERM timeout --kill-after=5 "$timeout" qemu-system-x86_64 "${machine[@]}" </dev/null >"$work/qemu" 2>&1 8>&- 9>&- &
vm=($!)
wait "${vm[@]}" || true
exec 8>&- 9>&-
wait
if [ ! -s "$work/lab/status" ]; then
  tail -n 160 "$work/qemu" "$work/console" >&2 || true
  fail "the guest ended without the command's exit code (its console is above; --timeout is $timeout s)"
fi
code=$(cat "$work/lab/status")
trap - EXIT
rm -rf "$work"
exit "$code"

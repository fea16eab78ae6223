# shellcheck shell=bash
# The lab's initial file system: busybox, the tool, fio and what tests use, with their libraries. Sourced by lab.sh.

# Programs that the guest has before busybox's of the same name, each with its Debian package.
lab_programs=(dash dash fio fio blkid util-linux dmsetup dmsetup mkfs.ext4 e2fsprogs sfdisk fdisk setpriv util-linux)

# add_program ROOT FILE NAME: a program and its libraries, where it lies on this machine or under /usr/bin.
add_program() {
  local root=$1 file=$2 name=$3 library
  # Symbols stay, for profiles; line numbers need not travel.
  strip --strip-debug -o "$root/usr/bin/$name" "$file" 2>/dev/null || cp -L "$file" "$root/usr/bin/$name"
  chmod 755 "$root/usr/bin/$name"
  ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
}

# make_initramfs KERNEL_DIR TOOL ROOT ARCHIVE: ROOT is a directory to make it in.
make_initramfs() {
  local kernel=$1 tool=$2 root=$3 archive=$4 program path
  mkdir -p "$root"/{bin,dev,etc,lib,lib64,lab,mnt,proc,root,run,sys,tmp,usr/bin,usr/sbin,usr/lib}
  ln -s usr/sbin "$root/sbin"
  cp "$(dirname "${BASH_SOURCE[0]}")/init" "$root/init"
  cp "$(command -v busybox)" "$root/bin/busybox"
  ln -s dash "$root/usr/bin/sh"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
  cp -r "$kernel/lib/modules" "$root/lib/modules"
  for ((program = 0; program < ${#lab_programs[@]}; program += 2)); do
    path=$(command -v "${lab_programs[program]}")
    add_program "$root" "$path" "${lab_programs[program]}"
  done
  add_program "$root" "$tool" uring-ablate
  (cd "$root" && find . -print0 | cpio --null --create --format=newc --quiet --owner=0:0) >"$archive"
}

# shellcheck shell=bash
# Debian's kernels for the lab: fetched once, by apt with its signatures, and kept. Sourced by lab.sh.

# What the guest loads or a test in it asks for, and all that these depend on.
lab_modules=(virtio_pci virtio_console 9pnet_virtio 9p nvme null_blk configfs scsi_debug sd_mod dm_mod dm_flakey dm_multipath
  dm_round_robin raid1 loop crc32c_generic ext4 nfsd nfsv4)

# A number that changes when the list above does: a kernel that was kept with fewer modules is not used.
kernel_needs() {
  cksum <<<"${lab_modules[*]}" | cut -d ' ' -f 1
}

# suite_of VERSION: the release of Debian that has this kernel as its own.
suite_of() {
  case $1 in
    6.1) echo bookworm ;;
    6.12) echo trixie ;;
    newest) echo trixie-backports ;;
    *) fail "--kernel $1: kernels are 6.1 (bookworm), 6.12 (trixie) and newest (trixie-backports)" ;;
  esac
}

# The mirror that this machine's own apt uses for Debian.
mirror() {
  local uri
  # shellcheck disable=SC2016 # apt's own variables
  uri=${URING_ABLATE_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
    sed -n '/-security\/$/d; s/^Debian \([^ ]*\)$/\1/p' | head -n 1)}
  [ -n "$uri" ] || fail "apt on this machine has no lists of a mirror of Debian: run apt-get update, or name one in URING_ABLATE_DEBIAN_MIRROR"
  echo "$uri"
}

# private_apt DIR SUITE PROGRAM ARGUMENT...: apt with sources, lists and archives of its own in DIR; the machine's are neither read nor changed,
# nor do its hooks run. The rest of its settings hold, a proxy for one.
private_apt() {
  local dir=$1 suite=$2 program=$3 uri
  shift 3
  uri=$(mirror)
  mkdir -p "$dir/lists/partial" "$dir/archives/partial"
  touch "$dir/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$dir/sources.list"
  cat >"$dir/apt.conf" <<END
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
END
  "$program" -qq -c "$dir/apt.conf" "$@"
}

# The packages that the kernel's metapackage stands for: one until 6.12, later an image that names its parts.
kernel_packages() {
  private_apt "$1" "$2" apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    linux-image-amd64 | grep -E '^linux-(image|binary|modules|base)-[0-9][^ ]*$' | sort -u
}

# fetch_kernel VERSION DIR: makes DIR with vmlinuz, release and lib/modules.
fetch_kernel() (
  version=$1 dir=$2
  suite=$(suite_of "$version")
  echo "fetching Debian's kernel $version ($suite)" >&2
  made=$(mktemp -d "$dir.XXXXXX")
  trap 'rm -rf "$made"' EXIT
  private_apt "$made/apt" "$suite" apt-get update || fail "apt could not get the lists of $suite"
  packages=$(kernel_packages "$made/apt" "$suite")
  [ -n "$packages" ] || fail "$suite names no packages of a kernel"
  # shellcheck disable=SC2086 # a list of names
  (cd "$made" && private_apt "$made/apt" "$suite" apt-get download $packages) || fail "apt could not download $packages"
  mkdir "$made/tree"
  for package in "$made"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$made/tree" --exclude='./usr/share'
  done
  tree=$made/tree
  [ ! -d "$tree/usr/lib" ] || { mkdir -p "$tree/lib" && cp -rl "$tree/usr/lib/." "$tree/lib"; }
  release=$(basename "$tree"/lib/modules/*)
  keep_kernel "$tree" "$release" "$made/kept"
  # Whole or not at all, whoever else fetches it meanwhile.
  mv -T "$made/kept" "$dir" 2>/dev/null || [ -e "$dir/release" ]
)

# keep_kernel TREE RELEASE DIR: the kernel, and of its modules those that the lab needs, unpacked.
keep_kernel() {
  local tree=$1 release=$2 kept=$3 module path
  mkdir -p "$kept/lib/modules/$release"
  cp "$tree/boot/vmlinuz-$release" "$kept/vmlinuz" 2>/dev/null || cp "$tree/lib/modules/$release/vmlinuz" "$kept/vmlinuz"
  cp "$tree/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$kept/lib/modules/$release"
  depmod -b "$tree" "$release"
  for module in "${lab_modules[@]}"; do
    # Newer kernels have some of them built in.
    modprobe -d "$tree" -S "$release" --show-depends "$module" 2>/dev/null || true
  done | sed -n "s|^insmod $tree/||p" | sed 's/ .*//' | sort -u | while read -r path; do
    mkdir -p "$kept/$(dirname "$path")"
    cp "$tree/$path" "$kept/$path"
    case $path in *.xz) unxz "$kept/$path" ;; esac
  done
  depmod -b "$kept" "$release"
  echo "$release" >"$kept/release"
}

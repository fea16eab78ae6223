#!/usr/bin/env bash
# Sets a machine up for measuring on real hardware, and puts it back. Needs root, but for `show` and `--dry-run`. docs/hardware.md says when to use it.
# Usage: scripts/host-tune.sh show [OPTIONS]                 what is set now; changes nothing
#        scripts/host-tune.sh run [OPTIONS] -- COMMAND...    sets, runs COMMAND (with nothing to read), puts back, exits with COMMAND's exit code
#        scripts/host-tune.sh apply [OPTIONS]                sets
#        scripts/host-tune.sh restore                        puts back what run or apply set, also after a kill -9; again does no harm
# Options: --device DEV       tune this block device's queue, too (again for another one)
#          --set NAME=VALUE   another value than the table's, or a setting that is only made when asked for
#          --leave NAME       leave this setting alone
#          --dry-run          only print what would be set
# What was there before is in /run/host-tune.state, synced, before anything is changed; while that file is there nothing is set. Every value is read
# back. One that the kernel refuses is named and left; one that it takes and then does not show ends the attempt, and everything is put back.
# Exit codes: 0 ok, 1 something could not be set or put back (it is named), 2 usage, not root, or already set; after a signal 128 + its number.
# For tests: HOST_TUNE_ROOT=DIR looks for /sys, /proc and /run below DIR, and asks for no root.
set -euo pipefail
root=${HOST_TUNE_ROOT:-}
state_file=$root/run/host-tune.state

# The one place that declares settings. Names are those of a run's manifest where it has them. Value: - is only set when asked for. Kind: how it is
# read and compared: word (a [chosen] one of several, or all there is), cpus (a list), idle (the value is the longest wake-up in microseconds that
# stays allowed), frozen (irqbalance is stopped). Order: of setting; putting back goes upwards. A governor fixes the energy preference,
# a scheduler may switch write throttling on, irqbalance undoes affinities, and SMT takes CPUs with their settings away.
settings='
# name                  value        kind    where                                                            why
no_turbo                1            word    /sys/devices/system/cpu/intel_pstate/no_turbo                    a clock that does not follow heat and neighbours (Intel)
boost                   0            word    /sys/devices/system/cpu/cpufreq/boost                            the same (AMD and others)
energy_preference       performance  word    /sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference  the firmware saves no power
governor                performance  word    /sys/devices/system/cpu/cpufreq/policy*/scaling_governor         a clock that does not follow the load
idle_states             2            idle    /sys/devices/system/cpu/cpu*/cpuidle/state*/disable              waiting for a device wakes up at once
transparent_huge_pages  madvise      word    /sys/kernel/mm/transparent_hugepage/enabled                      huge pages where the toggle asks for them, only there
numa_balancing          0            word    /proc/sys/kernel/numa_balancing                                  no page moves or is unmapped meanwhile
huge_pages_reserved     -            word    /proc/sys/vm/nr_hugepages                                        for huge_pages = hugetlb
perf_event_paranoid     -            word    /proc/sys/kernel/perf_event_paranoid                             -1 lets an ordinary user count and profile
irqbalance              frozen       frozen  irqbalance                                                       interrupts stay where they are
irq_affinity            -            cpus    @interrupts                                                      CPUs that serve the device (most NVMe drives refuse)
scheduler               none         word    @disk/queue/scheduler                                            requests go straight to the device
no_merges               2            word    @disk/queue/nomerges                                             one request asked for is one request served
completion_affinity     2            word    @disk/queue/rq_affinity                                          a completion costs the CPU that asked
poll_delay              -1           word    @disk/queue/io_poll_delay                                        polling does not sleep first (up to Linux 6.3)
write_throttling_us     0            word    @disk/queue/wbt_lat_usec                                         buffered writes are not held back
read_ahead_kib          -            word    @disk/queue/read_ahead_kb                                        only matters to buffered reads
statistics              1            word    @disk/queue/iostats                                              comparisons with fio count by them
hyper_threading         -            word    /sys/devices/system/cpu/smt/control                              off takes the second thread of each core away
'

# What a script cannot undo it does not do.
declare -A refused=(
  [nvme_poll_queues]='a parameter of the driver, read when it finds the drive. On the kernel command line: nvme.poll_queues=N; where nvme is a module also
    /etc/modprobe.d/nvme.conf: options nvme poll_queues=N (then rebuild the initramfs), and reboot'
  [format]='destroys all data'
  [precondition]='destroys all data'
)

# How long a command may take to end after a signal, and a process to stop, in tenths of a second.
patience=300
action='' dry='' caught='' changing='' temporary='' code=0
disks=() command=()
declare -A asked=() left=() missing=()
# What is there, entry by entry: name, kind, place below $root, value before, value wanted.
names=() kinds=() places=() befores=() wants=()

die() {
  echo "host-tune: $*" >&2
  exit 2
}

# tell TEXT [PLACE]: what is alike, one behind the other, is told once. Descriptor 3: standard output, but that of `run` belongs to its command.
told='' at='' times=0
flush() {
  [ "$times" -lt 2 ] || at=" ($times places)"
  [ "$times" -eq 0 ] || echo "  $told$at" >&3
  told='' at='' times=0
}
tell() {
  [ "$1" = "$told" ] || flush
  told=$1 at=${2:+ ($2)} times=$((times + 1))
}

# look KIND PLACE: puts the value there in $now; fails where there is none.
look() {
  local line pid
  now=''
  { IFS= read -r line <"$root$2"; } 2>/dev/null || [ -n "${line:-}" ] || return 1
  if [ "$1" = frozen ]; then
    pid=${2#/proc/} pid=${pid%/stat}
    [[ $line == "$pid (irqbalance) "* ]] || return 1
    line=${line##*) }
    case ${line%% *} in T | t) now=frozen ;; *) now=running ;; esac
  elif [[ $1 == word && $line =~ \[([^]]+)\] ]]; then
    now=${BASH_REMATCH[1]}
  else
    now=$line
  fi
}

# expand LIST: 0-2,5 as one CPU a line.
expand() {
  local part
  for part in ${1//,/ }; do seq "${part%-*}" "${part#*-}"; done 2>/dev/null | sort -nu
}

# same KIND A B
same() {
  [ "$2" = "$3" ] || { [ "$1" = cpus ] && [ "$(expand "$2")" = "$(expand "$3")" ]; }
}

# put KIND PLACE VALUE: writes; where that is refused, puts the reason in $problem and fails. In this process: a subshell could outlive it, and write
# when everything has been put back. So what the shell says of it comes through descriptor 5, a pipe.
put() {
  local pid signal
  problem=''
  if [ "$1" = frozen ]; then
    pid=${2#/proc/} pid=${pid%/stat} signal=STOP
    [ "$3" = frozen ] || signal=CONT
    kill -s "$signal" "$pid" 2>&5 || { reason && return 1; }
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      { look "$1" "$2" && [ "$now" != "$3" ]; } || break
      sleep 0.1
    done
  else
    { printf '%s\n' "$3" >"$root$2"; } 2>&5 || { reason && return 1; }
  fi
}

reason() {
  IFS= read -r -t 1 -u 5 problem || problem='no reason given'
  problem=${problem##*: }
}

# The disks' directories below /sys/block; those of the paths of an NVMe drive that has several, too.
queues() {
  local disk
  for disk in "${disks[@]}"; do
    echo "/sys/block/$disk"
    [[ ! $disk =~ ^nvme([0-9]+)n([0-9]+)$ ]] || compgen -G "$root/sys/block/nvme${BASH_REMATCH[1]}c*n${BASH_REMATCH[2]}" | sed "s|^$root||" || true
  done
}

# The interrupts of the disks: those of the nearest parent device that has any.
interrupts() {
  local disk dir
  for disk in "${disks[@]}"; do
    for dir in "$root/sys/block/$disk/device" "$root/sys/block/$disk"/device/nvme[0-9]*; do
      dir=$(realpath -eq "$dir") || continue
      while [ "${#dir}" -gt "$((${#root} + 4))" ] && [ ! -d "$dir/msi_irqs" ]; do dir=${dir%/*}; done
      [ ! -d "$dir/msi_irqs" ] || ls "$dir/msi_irqs"
    done
  done | sort -nu
}

# found WHERE: its places, one a line.
found() {
  local place queue irq pid
  case $1 in
    @disk/*) for queue in $(queues); do compgen -G "$root$queue/${1#@disk/}" || true; done ;;
    @interrupts) for irq in $(interrupts); do compgen -G "$root/proc/irq/$irq/smp_affinity_list" || true; done ;;
    irqbalance)
      for pid in $(grep -lxsF "$1" "$root"/proc/[0-9]*/comm || true); do echo "${pid%/comm}/stat"; done ;;
    *) compgen -G "$root$1" || true ;;
  esac | while read -r place; do echo "${place#"$root"}"; done
}

# survey VISIT: VISIT NAME KIND PLACE WANTED WHY for each place of each setting; `absent NAME REASON` where there is none.
survey() {
  local name value kind where why place any want
  while read -r name value kind where why; do
    [[ -n $name && $name != '#' ]] || continue
    [ -z "${left[$name]:-}" ] || continue
    value=${asked[$name]:-$value}
    if [[ $where == @* && ${#disks[@]} -eq 0 ]]; then
      absent "$name" "needs --device" "$value"
      continue
    fi
    any=''
    for place in $(found "$where"); do
      want=$value
      if [ "$kind" = idle ]; then
        look word "${place%/disable}/latency" || continue
        [[ $now =~ ^[0-9]+$ && $now -gt $value ]] || continue
        want=1
      fi
      any=yes
      "$1" "$name" "$kind" "$place" "$want" "$why"
    done
    [ -n "$any" ] || absent "$name" "not here" "$value"
  done <<<"$settings"
}

absent() {
  # What was not asked for, and is no default, is nobody's concern.
  [ "$3" = - ] || missing[$2]+=" $1"
}

say_missing() {
  local reason
  for reason in "${!missing[@]}"; do tell "$reason:${missing[$reason]}"; done
  flush
}

# remember NAME KIND PLACE WANTED WHY: makes an entry, if the value can be read now.
remember() {
  [ "$4" != - ] || return 0
  if ! look "$2" "$3"; then
    tell "$1: cannot be read, so it is left" "$3"
    return 0
  fi
  names+=("$1") kinds+=("$2") places+=("$3") befores+=("$now") wants+=("$4")
}

boot_id() {
  cat "$root/proc/sys/kernel/random/boot_id" 2>/dev/null || echo unknown
}

# birth PID: when a process was started; fails where it runs no more.
birth() {
  local line fields
  { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

# at_work PID BIRTH: whether the process that set things is another one, and alive; one that was killed is given a second to be gone.
at_work() {
  local try
  [ "$1" != $$ ] || return 1
  for try in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(birth "$1")" = "$2" ] || return 1
    [ "$try" = 10 ] || sleep 0.1
  done
}

in_force() {
  die "$state_file exists: an earlier run or apply is still in force, or was killed; put everything back first: $0 restore"
}

# Writes what is there before anything is changed: whole and once, or not at all.
save() {
  local i
  temporary=$(mktemp "$state_file.XXXXXX") || die "cannot write to $root/run"
  {
    printf '%s\t%s\t%s\n' "$(boot_id)" $$ "$(birth $$)"
    for i in "${!names[@]}"; do printf '%s\t%s\t%s\t%s\n' "${names[i]}" "${kinds[i]}" "${places[i]}" "${befores[i]}"; done
  } >"$temporary"
  sync "$temporary"
  # Unlike mv, ln does not replace what is there.
  ln "$temporary" "$state_file" 2>/dev/null || in_force
  changing=yes
  rm -f "$temporary"
  sync "${state_file%/*}"
}

# Sets every entry, and reads it back. Fails at the first that does not take, and when a signal arrives.
change() {
  local i set=0 same=0 not=0
  for i in "${!names[@]}"; do
    [ -z "$caught" ] || return 1
    # What was set before may have moved it.
    if look "${kinds[i]}" "${places[i]}" && same "${kinds[i]}" "$now" "${wants[i]}"; then
      tell "${names[i]}: $now already"
      same=$((same + 1))
    elif ! put "${kinds[i]}" "${places[i]}" "${wants[i]}"; then
      # Not ours to look after.
      tell "${names[i]}: ${befores[i]}, REFUSED ${wants[i]}: $problem$(hint "${names[i]}")" "${places[i]}"
      wants[i]=''
      not=$((not + 1))
    elif look "${kinds[i]}" "${places[i]}" && same "${kinds[i]}" "$now" "${wants[i]}"; then
      tell "${names[i]}: ${befores[i]} -> $now"
      set=$((set + 1))
    else
      tell "${names[i]}: DID NOT TAKE: ${wants[i]} was written, ${now:-nothing} is there" "${places[i]}"
      flush
      return 1
    fi
  done
  flush
  echo "$set set, $same were so already, $not refused" >&3
}

hint() {
  [ "$1" != irq_affinity ] || echo " (an interrupt that the kernel manages stays where it is)"
}

# What something else changed while the command ran.
check() {
  local i
  for i in "${!names[@]}"; do
    if [ -n "${wants[i]}" ] && { ! look "${kinds[i]}" "${places[i]}" || ! same "${kinds[i]}" "$now" "${wants[i]}"; }; then
      tell "${names[i]}: CHANGED meanwhile by something else: ${wants[i]} was set, ${now:-nothing} is there" "${places[i]}"
    fi
  done
  flush
}

# Puts back what the state file says, last first, twice where one setting moved another; fails, and keeps the file, unless all of it reads as before.
restore() {
  local name kind place before lines=() boot pid born i try
  # A second signal must not leave it half done.
  trap '' INT TERM HUP QUIT
  trap : PIPE
  if ! { exec 4<"$state_file"; } 2>/dev/null; then
    echo "nothing to put back: no $state_file" >&3
    # There was, or it would not be missed.
    [ -z "$changing" ] || echo "NOT PUT BACK: somebody removed $state_file meanwhile" >&2
    [ -z "$changing" ]
    return
  fi
  IFS=$'\t' read -r boot pid born <&4
  mapfile -t -u 4 lines
  exec 4<&-
  if [ "$boot" != "$(boot_id)" ]; then
    rm -f "$state_file"
    echo "nothing to put back: the machine has been booted since" >&3
    return 0
  fi
  ! at_work "$pid" "$born" || die "process $pid is at work on them: it puts everything back when it ends (kill $pid)"
  for try in first second; do
    for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
      IFS=$'\t' read -r name kind place before <<<"${lines[i]}"
      problem='it is gone'
      if look "$kind" "$place"; then
        ! same "$kind" "$now" "$before" || continue
        if put "$kind" "$place" "$before" && problem='it does not take' && look "$kind" "$place" && same "$kind" "$now" "$before"; then
          [ "$name" != write_throttling_us ] || by_default "$place" "$before"
          tell "$name: back to $before"
          continue
        fi
      fi
      [ $try = first ] || tell "$name: NOT PUT BACK to $before, ${now:-nothing} is there: $problem" "$place"
    done
  done
  flush
  verify "${lines[@]}"
}

# verify LINES...: the last look at all of them, after which the state may go.
verify() {
  local line name kind place before wrong=()
  for line in "$@"; do
    IFS=$'\t' read -r name kind place before <<<"$line"
    { look "$kind" "$place" && same "$kind" "$now" "$before"; } || wrong+=("$name")
  done
  if [ ${#wrong[@]} -gt 0 ]; then
    echo "NOT PUT BACK: $(printf '%s\n' "${wrong[@]}" | sort -u | paste -sd ' '). Try again: $0 restore; to give them up: rm $state_file" >&2
    return 1
  fi
  # What saving left behind where it was killed goes, too.
  rm -f "$state_file" "$state_file".??????
  sync "${state_file%/*}"
  echo "$# settings are as they were" >&3
}

# by_default PLACE BEFORE: the kernel tells a default of the same size from one that was written; -1 asks for the default.
by_default() {
  if put word "$1" -1 && look word "$1" && [ "$now" != "$2" ]; then put word "$1" "$2"; fi
}

# Forwards the signal that was caught to the command and all it started, and ends what has not ended in good time.
end_command() {
  local i
  kill -s "$caught" -- "-$1" 2>/dev/null || true
  for ((i = 0; i < patience; i++)); do
    kill -0 -- "-$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -s KILL -- "-$1" 2>/dev/null || true
}

# Runs the command in a process group of its own: it gets each signal once, from us.
run_command() {
  local child
  set -m
  "${command[@]}" </dev/null 3>&- 5>&- &
  child=$!
  set +m
  while [ -z "$caught" ]; do
    code=0
    wait "$child" || code=$?
    # Only a wait that a signal cut short leaves a child behind.
    kill -0 "$child" 2>/dev/null || break
  done
  [ -z "$caught" ] || end_command "$child"
}

finish() {
  local code=$?
  trap - EXIT
  [ -z "$temporary" ] || rm -f "$temporary"
  [ -z "$changing" ] || restore || code=1
  [ -z "$caught" ] || code=$((128 + $(kill -l "$caught")))
  exit "$code"
}

# What `run` and `apply` share: everything is set, or the script ends and everything is as it was.
set_all() {
  [ -n "$dry" ] || [ ! -e "$state_file" ] || in_force
  survey remember
  say_missing
  if [ -n "$dry" ]; then
    preview
    exit 0
  fi
  trap 'caught=${caught:-INT}' INT
  trap 'caught=${caught:-TERM}' TERM
  trap 'caught=${caught:-HUP}' HUP
  trap 'caught=${caught:-QUIT}' QUIT
  trap : PIPE
  trap finish EXIT
  save
  change || exit 1
}

preview() {
  local i
  for i in "${!names[@]}"; do
    if same "${kinds[i]}" "${befores[i]}" "${wants[i]}"; then
      tell "${names[i]}: ${befores[i]} already"
    else
      tell "${names[i]}: ${befores[i]} -> ${wants[i]}, not done" "${places[i]}"
    fi
  done
  flush
}

# show_one NAME KIND PLACE WANTED WHY
show_one() {
  local aim="for measuring: $4"
  [ "$4" != - ] || aim="only when asked for"
  look "$2" "$3" || now="cannot be read"
  tell "$1: $now ($aim; $5)"
}

show() {
  local disk file=/sys/module/nvme/parameters/poll_queues
  survey show_one
  for disk in "${disks[@]}"; do
    ! look word "/sys/block/$disk/queue/io_poll" || tell "polling of $disk: $now (1: its driver made poll queues)"
    ! { look word "/sys/block/$disk/device/numa_node" || look word "/sys/block/$disk/device/device/numa_node"; } || tell "NUMA node of $disk: $now"
  done
  say_missing
  ! look word "$file" || tell "nvme.poll_queues: $now (not changed here: ${refused[nvme_poll_queues]})"
  flush
  [ ! -e "$state_file" ] || echo "in force, by $state_file: put back with $0 restore" >&3
}

# add_disk DEVICE: a device's disk; of a partition, the disk that it is on.
add_disk() {
  local name dir
  name=$(readlink -m "$1")
  dir=$(realpath -eq "$root/sys/class/block/${name##*/}") || die "$1 is no block device (nothing at /sys/class/block/${name##*/})"
  [ ! -e "$dir/partition" ] || dir=${dir%/*}
  disks+=("${dir##*/}")
}

# known NAME
known() {
  [ -z "${refused[$1]:-}" ] || die "$1 is not changed here, as it cannot be undone safely: ${refused[$1]}; see docs/hardware.md"
  [[ $1 =~ ^[a-z_]+$ && $settings == *$'\n'"$1 "* ]] || die "there is no setting '$1'; $0 show lists them"
}

arguments() {
  [ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
  action=$1
  shift
  case $action in
    show | run | apply | restore) ;;
    help | -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) die "what to do: show, run, apply or restore; not '$action'" ;;
  esac
  while [ $# -gt 0 ]; do
    [[ $1 == --dry-run || $1 == -- || $action == show && $1 != -* || $# -gt 1 ]] || die "'$1': unknown, or it needs a value"
    case $1 in
      --) shift && command=("$@") && break ;;
      --dry-run) dry=yes ;;
      --device) shift && add_disk "$1" ;;
      --leave) shift && known "$1" && left[$1]=yes ;;
      --set)
        shift
        known "${1%%=*}"
        [[ $1 == *=?* ]] || die "--set $1: a value is missing: --set NAME=VALUE"
        [[ $1 != idle_states=* || $1 =~ =[0-9]+$ ]] || die "--set $1: the longest wake-up that stays allowed, in microseconds"
        asked[${1%%=*}]=${1#*=}
        ;;
      -*) die "unknown option '$1'" ;;
      *) [ "$action" = show ] || die "'$1': unknown"; add_disk "$1" ;;
    esac
    shift
  done
  [[ -z $dry || $action == run || $action == apply ]] || die "--dry-run is for run and apply; show changes nothing"
  [[ $action == run || ${#command[@]} -eq 0 ]] || die "only run takes a command"
  [[ $action != run || ${#command[@]} -gt 0 || -n $dry ]] || die "which command? run [OPTIONS] -- COMMAND"
  [[ $action == show || -n $dry || -n $root || $(id -u) -eq 0 ]] || die "needs root: sudo $0 $action ..."
}

exec 3>&1 5<> <(:)
arguments "$@"
[ "$action" != run ] || exec 3>&2
case $action in
  show) show ;;
  restore) restore || exit 1 ;;
  apply)
    set_all
    [ -z "$caught" ] || exit 1
    changing=''
    echo "put back with: $0 restore" >&3
    ;;
  run)
    set_all
    [ -n "$caught" ] || run_command
    check
    exit "$code"
    ;;
esac

# shellcheck shell=bash
# Checks of the user and the kernel, for doctor.sh.

# The first free range of 65536 ids: no one else's may overlap.
free_range() {
  { cat "$root/etc/subuid" "$root/etc/subgid" 2> /dev/null || true; } |
    awk -F: 'BEGIN { start = 100000 } { end = $2 + $3; if (end > start) start = end } END { printf "%d-%d", start, start + 65535 }'
}

check_rootless() {
  if [ "$(id -u)" -eq 0 ]; then found rootless.root; else healthy rootless "running as $user"; fi
}

check_subids() {
  local file lacking=false least=0 map
  for file in subuid subgid; do
    least=$(awk -F: -v name="$user" -v id="$(id -u)" '$1 == name || $1 == id { n += $3 } END { print n + 0 }' "$root/etc/$file" 2> /dev/null) || least=0
    # Ids may come from a directory service.
    if [ "$least" -eq 0 ] && has getsubids && getsubids "$user" > /dev/null 2>&1; then least=65536; fi
    if [ "$least" -eq 0 ]; then
      found subids.missing range "$(free_range)"
      return
    fi
    [ "$least" -gt 10001 ] || lacking=true
  done
  if "$lacking"; then
    found subids.short range "$(free_range)"
  elif has podman && map=$(podman unshare cat /proc/self/uid_map 2> /dev/null) &&
    ! awk '$1 <= 10001 && 10001 < $1 + $3 { covered = 1 } END { exit !covered }' <<< "$map"; then
    found subids.not-used
  else
    healthy subids "$user has ids for containers"
  fi
}

check_uidmap() {
  if has newuidmap && has newgidmap; then healthy uidmap "newuidmap and newgidmap are there"; else found uidmap.missing; fi
}

# kernel_setting PATH DEFAULT: not every kernel has each.
kernel_setting() {
  cat "$root/proc/sys/$1" 2> /dev/null || echo "$2"
}

check_userns() {
  if [ "$(kernel_setting user/max_user_namespaces 1)" = 0 ]; then
    found userns.none
  elif [ "$(kernel_setting kernel/unprivileged_userns_clone 1)" = 0 ]; then
    found userns.root-only
  elif [ "$(kernel_setting kernel/apparmor_restrict_unprivileged_userns 0)" = 1 ] && [ ! -e "$root/etc/apparmor.d/podman" ]; then
    found userns.apparmor
  else
    healthy userns "user namespaces are allowed"
  fi
}

systemd_runs() {
  has systemctl && systemctl --user show-environment > /dev/null 2>&1
}

check_session() {
  local folder=${XDG_RUNTIME_DIR:-}
  if [ -z "$folder" ] || [ ! -O "$folder" ]; then
    found session.missing folder "${folder:-not set}"
  elif ! systemd_runs; then
    found session.no-systemd
  else
    healthy session "systemd runs for $user"
  fi
}

check_linger() {
  has loginctl || return 0
  if [ "$(loginctl show-user "$user" -p Linger --value 2> /dev/null)" = yes ] || [ -e "$root/var/lib/systemd/linger/$user" ]; then
    healthy linger "services of $user run without a login"
  else
    found linger.off
  fi
}

check_cgroup() {
  if [ ! -e "$root/sys/fs/cgroup/cgroup.controllers" ]; then
    found cgroup.v1
    return
  fi
  local mine uid controller what=''
  uid=$(id -u)
  mine=$(cat "$root/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/cgroup.controllers" 2> /dev/null) || mine=''
  for controller in memory pids cpu; do
    [[ " $mine " == *" $controller "* ]] || what+="${what:+, }$controller"
  done
  if [ -z "$what" ]; then healthy cgroup "limits of memory, processes and CPU time work"; else found cgroup.not-delegated what "$what"; fi
}

check_clock() {
  has timedatectl || return 0
  case $(timedatectl show --property NTPSynchronized --value 2> /dev/null || true) in
    no) found clock.wrong ;;
    yes) healthy clock "the clock is set by the network" ;;
  esac
}

check_selinux() {
  has getenforce || return 0
  local mode label path folder=${LLAMAPOD_MODELS_DIR:-}
  mode=$(getenforce)
  if [ "$mode" = Disabled ]; then return; fi
  if [ -e "$root/dev/nvidiactl" ] && [[ "$(getsebool container_use_devices 2> /dev/null)" != *'--> on' ]]; then
    found selinux.devices
    return
  fi
  # What was moved into a folder has kept the label that it had elsewhere.
  for path in ${folder:+"$folder" "$folder"/*.gguf}; do
    label=$(stat --format %C "$path" 2> /dev/null) || label='?'
    case $label in
      '?' | *:container_file_t:* | *:container_ro_file_t:*) ;;
      *)
        found selinux.label path "$path" folder "$folder" label "$label"
        return
        ;;
    esac
  done
  healthy selinux "$mode; models of the host need :z on their volume"
}

check_memory() {
  local available unit limit models
  available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' "$root/proc/meminfo")
  if [ "${available:-0}" -lt 1500000 ]; then
    found memory.low free "$((${available:-0} / 1000))"
    return
  fi
  if systemd_runs && models=$(http_get "http://127.0.0.1:$port/metrics"); then
    models=$(awk '/^llamapod_model_memory_bytes/ { n += $2 } END { printf "%d", n / 1e6 }' <<< "$models")
    while read -r unit; do
      limit=$(systemctl --user show "$unit" --property MemoryMax --value 2> /dev/null) || limit=infinity
      if [[ $limit =~ ^[0-9]+$ ]] && [ $((models * 11 / 10)) -gt $((limit / 1000000)) ]; then
        found memory.limit unit "$unit" limit "$((limit / 1000000))" models "$models"
        return
      fi
    done < <(our_units)
  fi
  check_plan && check_own_plan || return 0
  healthy memory "$((available / 1000000)) GB of memory are free"
}

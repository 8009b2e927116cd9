#!/usr/bin/env bash
# Looks at this host and this user, and says what stands in the way of running llamapod in a container, with the fix.
#
#   doctor.sh [--json]
#
# It changes nothing, and never calls sudo. Exit codes: 0 all well, 1 warnings, 2 wrong arguments, 3 something fails.
# For tests: LLAMAPOD_DOCTOR_ROOT is a folder to read /etc, /dev, /proc, /sys and /var under.
# shellcheck disable=SC2317 # the checks are called by name at the end
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

json=false worst=0 root=${LLAMAPOD_DOCTOR_ROOT:-} user=$(id -un)
while [ "$#" -gt 0 ]; do
  case $1 in
    --json) json=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done

# report LEVEL ID WHAT [FIX]: one line, or with --json one object.
report() {
  local level=$1 id=$2 what=$3 fix=${4:-}
  case $level in warn) [ "$worst" -ge 1 ] || worst=1 ;; fail) worst=3 ;; esac
  if "$json"; then
    what=${what//\\/\\\\} fix=${fix//\\/\\\\}
    printf '{"id":"%s","level":"%s","message":"%s","fix":"%s"}\n' "$id" "$level" "${what//\"/\\\"}" "${fix//\"/\\\"}"
  else
    printf '%-4s  %-9s  %s\n' "$level" "$id" "$what"
    [ -z "$fix" ] || printf '      fix: %s\n' "$fix"
  fi
}

has() { command -v "$1" > /dev/null; }

# The first number of the start of a free range of 65536 ids for this user: no one else's may overlap.
free_range() {
  awk -F: 'BEGIN { start = 100000 } { end = $2 + $3; if (end > start) start = end } END { printf "%d-%d", start, start + 65535 }' \
    "$root/etc/subuid" "$root/etc/subgid" 2> /dev/null
}

check_engine() {
  if ! has podman; then
    report fail engine "podman is not installed" "sudo apt-get install podman uidmap   (or: sudo dnf install podman)"
    return
  fi
  local version
  version=$(podman version --format '{{.Client.Version}}' 2> /dev/null) || version=0.0
  case $version in
    [0-3].* | 4.[0-2].*) report fail engine "podman $version is too old: 4.3 is the oldest that works" "upgrade the distribution, or start.sh --engine docker" ;;
    4.*) report warn engine "podman $version runs llamapod, but has no Quadlet units with Notify=healthy: those need 5.0" "start.sh instead of start-podman.sh --quadlet" ;;
    *) report ok engine "podman $version" ;;
  esac
}

check_rootless() {
  if [ "$(id -u)" -eq 0 ]; then
    report warn rootless "you are root: containers would be too" "machinectl shell USER@   (not sudo or su, which leave the session behind)"
  else
    report ok rootless "running as $user"
  fi
}

check_subids() {
  local file lacking=false
  for file in subuid subgid; do
    grep -qE "^($user|$(id -u)):" "$root/etc/$file" 2> /dev/null || lacking=true
  done
  if "$lacking"; then
    local range
    range=$(free_range) || range=100000-165535
    report fail subids "$user has no range of user ids for containers in /etc/subuid and /etc/subgid" \
      "sudo usermod --add-subuids $range --add-subgids $range $user && podman system migrate"
  else
    report ok subids "$user has ids for containers"
  fi
}

check_uidmap() {
  if has newuidmap && has newgidmap; then
    report ok uidmap "newuidmap and newgidmap are there"
  else
    report fail uidmap "newuidmap or newgidmap is missing" "sudo apt-get install uidmap   (or: sudo dnf install shadow-utils)"
  fi
}

check_userns() {
  local most clone
  most=$(cat "$root/proc/sys/user/max_user_namespaces" 2> /dev/null) || most=1
  clone=$(cat "$root/proc/sys/kernel/unprivileged_userns_clone" 2> /dev/null) || clone=1
  if [ "$most" = 0 ]; then
    report fail userns "the kernel allows no user namespaces (user.max_user_namespaces is 0)" "echo user.max_user_namespaces=28633 | sudo tee /etc/sysctl.d/60-userns.conf && sudo sysctl --system"
  elif [ "$clone" = 0 ]; then
    report fail userns "the kernel allows user namespaces to root only" "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-userns.conf && sudo sysctl --system"
  else
    report ok userns "user namespaces are allowed"
  fi
}

check_session() {
  local folder=${XDG_RUNTIME_DIR:-}
  if [ -z "$folder" ] || [ ! -O "$folder" ]; then
    report fail session "there is no session of your own (XDG_RUNTIME_DIR is ${folder:-not set})" "sudo loginctl enable-linger $user, then log in by ssh or machinectl, not by su"
  elif ! has systemctl || ! systemctl --user show-environment > /dev/null 2>&1; then
    report warn session "systemd does not run for you: no Quadlet units, no start with the machine, no health timers" "sudo loginctl enable-linger $user, then log in by ssh or machinectl"
  else
    report ok session "systemd runs for $user"
  fi
}

check_linger() {
  has loginctl || return 0
  if [ "$(loginctl show-user "$user" -p Linger --value 2> /dev/null)" = yes ] || [ -e "$root/var/lib/systemd/linger/$user" ]; then
    report ok linger "services of $user run without a login"
  else
    report warn linger "services of $user end with the last login, and do not start with the machine" "sudo loginctl enable-linger $user"
  fi
}

check_cgroup() {
  if [ ! -e "$root/sys/fs/cgroup/cgroup.controllers" ]; then
    report warn cgroup "cgroups are of version 1: no memory limits and no statistics for rootless containers" "boot with systemd.unified_cgroup_hierarchy=1"
    return
  fi
  local mine
  mine=$(cat "$root/sys/fs/cgroup/user.slice/user-$(id -u).slice/user@$(id -u).service/cgroup.controllers" 2> /dev/null) || mine=''
  case " $mine / $mine " in
    *' memory '*/*' pids '*) report ok cgroup "limits of memory and processes work" ;;
    *) report warn cgroup "$user may not limit memory or processes" \
      "printf '[Service]\\nDelegate=cpu cpuset memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf, then log in anew" ;;
  esac
}

check_storage() {
  has podman || return 0
  local driver folder free kind problem
  if ! problem=$(podman info 2>&1 > /dev/null); then
    report fail storage "podman does not work: $(grep -v ^time= <<< "$problem" | head -n 1)" "see docs/podman/troubleshooting.md; podman system migrate helps after changes of ids"
    return
  fi
  driver=$(podman info --format '{{.Store.GraphDriverName}}' 2> /dev/null)
  folder=$(podman info --format '{{.Store.GraphRoot}}' 2> /dev/null)
  kind=$(stat --file-system --format %T "$folder" 2> /dev/null) || kind=unknown
  free=$(df --output=avail -k "$folder" 2> /dev/null | tail -n 1) || free=0
  case $kind in nfs* | cifs | smb*) report fail storage "$folder is on a network ($kind), where containers cannot run" "set graphroot in ~/.config/containers/storage.conf to a local folder" ;; esac
  if [ "$driver" != overlay ]; then
    report warn storage "the storage driver is $driver: builds are many times slower than with overlay" "printf '[storage]\\ndriver = \"overlay\"\\n' > ~/.config/containers/storage.conf && podman system reset   (removes all images and containers)"
  elif [ "$((free))" -lt 10000000 ]; then
    report warn storage "only $((free / 1000000)) GB are free in $folder" "podman image prune; models need room too"
  else
    report ok storage "overlay, $((free / 1000000)) GB free"
  fi
}

check_network() {
  if has pasta || has slirp4netns; then
    report ok network "$(has pasta && echo pasta || echo slirp4netns) connects containers"
  else
    report fail network "neither pasta nor slirp4netns is installed: no published ports" "sudo apt-get install passt"
  fi
}

check_netonline() {
  has systemctl || return 0
  systemctl show-environment > /dev/null 2>&1 || return 0
  if systemctl is-active --quiet network-online.target; then
    report ok netonline "network-online.target is active"
  else
    report warn netonline "network-online.target is not active: each start of a Quadlet unit waits 90 s for it" "sudo systemctl enable --now systemd-networkd-wait-online   (or NetworkManager-wait-online)"
  fi
}

check_image() {
  has podman || return 0
  if podman image exists localhost/llamapod:cpu 2> /dev/null || podman image exists localhost/llamapod:cuda 2> /dev/null; then
    report ok image "llamapod's image is here"
  else
    report warn image "llamapod's image is not here" "deploy/podman/image.sh build"
  fi
}

check_memory() {
  local kilobytes
  kilobytes=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' "$root/proc/meminfo")
  if [ "${kilobytes:-0}" -lt 1500000 ]; then
    report warn memory "only $((${kilobytes:-0} / 1000)) MB of memory are free: enough for small models only" "a smaller quantisation, or fewer models at once"
  else
    report ok memory "$((kilobytes / 1000000)) GB of memory are free"
  fi
}

check_selinux() {
  has getenforce || return 0
  if [ "$(getenforce)" = Disabled ]; then return 0; fi
  if [ -e "$root/dev/nvidiactl" ] && [ "$(getsebool container_use_devices 2> /dev/null)" != "container_use_devices --> on" ]; then
    report warn selinux "SELinux keeps containers from the GPU" "sudo setsebool -P container_use_devices 1   (rather than label=disable)"
  else
    report ok selinux "$(getenforce); models of the host need :z on their volume"
  fi
}

check_gpu() {
  if [ ! -e "$root/proc/driver/nvidia/version" ] && ! grep -rqs 'nvidia.com/gpu' "$root/etc/cdi" "$root/var/run/cdi"; then
    report ok gpu "no NVIDIA driver: models run on the CPU"
    return
  fi
  if [ ! -e "$root/dev/nvidia0" ] || [ ! -e "$root/dev/nvidiactl" ]; then
    report fail nv-nodes "the driver's devices /dev/nvidia0 and /dev/nvidiactl are missing" "sudo nvidia-modprobe -u -c=0"
  fi
  local file missing version
  # A folder that is missing is no reason to give up.
  file=$(grep -rls 'nvidia.com/gpu' "$root/etc/cdi" "$root/var/run/cdi" || true)
  file=${file%%$'\n'*}
  if [ -z "$file" ]; then
    report fail cdi "containers are not told of the GPU: no specification in /etc/cdi" "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml && sudo chmod 644 /etc/cdi/nvidia.yaml"
    return
  fi
  [ -r "$file" ] || report fail cdi "$file cannot be read by $user" "sudo chmod 644 $file"
  missing=$(missing_cdi_path "$root")
  version=$(sed -n 's/^NVRM.*  \([0-9.]*\)  .*/\1/p' "$root/proc/driver/nvidia/version" 2> /dev/null) || version=''
  if [ -n "$missing" ]; then
    report fail cdi-stale "$file names $missing, which is gone${version:+ (the driver is $version now)}" "sudo nvidia-ctk cdi generate --output=$file   (or: sudo systemctl restart nvidia-cdi-refresh)"
  else
    report ok cdi "$file describes the GPU"
  fi
}

check_health() {
  local answer
  answer=$(http_get "http://127.0.0.1:${LLAMAPOD_PORT:-8080}/health/ready") || return 0
  case $answer in
    *'"status":"ok"'*) report ok health "the server answers: $(json_field model <<< "$answer") on $(json_field backend <<< "$answer")" ;;
    *) report warn health "the server is not ready: $answer" "deploy/podman/status.sh" ;;
  esac
}

for check in engine rootless subids uidmap userns session linger cgroup storage network netonline image memory selinux gpu health; do
  "check_$check"
done
exit "$worst"

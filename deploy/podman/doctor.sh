#!/usr/bin/env bash
# Looks at this host and this user, and says what stands in the way of running llamapod, in a container or by this host's own Node.js, with the fix.
#
#   doctor.sh [--json] [--for-administrator] [--config FILE]
#
# --for-administrator prints what an administrator has to do, as a script to read and to run. --config names the settings of a server
# without a container: its Node.js, settings, models folder, backend and memory are looked at where llamapod is built for that. It changes
# nothing, and never calls sudo. What it can find is in doctor/findings.txt. LLAMAPOD_MODELS_DIR names a folder of this host with models,
# LLAMAPOD_PORT the port to publish, where they are not the usual ones.
# Exit codes: 0 all well, 1 warnings, 2 wrong arguments, 3 something fails.
# shellcheck disable=SC2317 # the checks are called by name at the end
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"
# shellcheck source=deploy/podman/lib/compose.sh
. "$here/lib/compose.sh"
# shellcheck source=deploy/podman/doctor/user.sh
. "$here/doctor/user.sh"
# shellcheck source=deploy/podman/doctor/podman.sh
. "$here/doctor/podman.sh"
# shellcheck source=deploy/podman/doctor/gpu.sh
. "$here/doctor/gpu.sh"
# shellcheck source=deploy/podman/doctor/server.sh
. "$here/doctor/server.sh"
# shellcheck source=deploy/podman/doctor/node.sh
. "$here/doctor/node.sh"

format=text worst=0 user=$(id -un) port=${LLAMAPOD_PORT:-8080} name=${LLAMAPOD_NAME:-llamapod}
settings_yaml=''
while [ "$#" -gt 0 ]; do
  case $1 in
    --json) format=json ;;
    --for-administrator) format=script ;;
    --config)
      need "$#" "$1"
      settings_yaml=$2
      shift
      ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done

declare -A findings
finding=''
while read -r field value; do
  case $field in
    '' | '#'*) ;;
    *.*) finding=$field ;;
    *) findings[$finding/$field]=$value ;;
  esac
done < "$here/doctor/findings.txt"

# json TEXT: as a string.
json() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$(tr '\000-\037' ' ' <<< "$text" | sed 's/ $//')"
}

# print LEVEL CHECK[.FINDING] MESSAGE WHO FIX OR
print() {
  local check=${2%%.*}
  case $format in
    json)
      printf '{"id":"%s","finding":"%s","level":"%s","message":%s,"who":"%s","fix":%s,"or":%s}\n' \
        "$check" "${2#*.}" "$1" "$(json "$3")" "$4" "$(json "$5")" "$(json "$6")"
      ;;
    text)
      printf '%-4s  %-9s  %s\n' "$1" "$check" "$3"
      [ -z "$5" ] || printf '      fix: %s\n' "$5"
      [ -z "$6" ] || printf '      or:  %s\n' "$6"
      ;;
    script)
      [ "$4" = administrator ] || return 0
      printf '# %s\n' "$3"
      [ -z "$6" ] || printf '# or: %s\n' "$6"
      printf '%s\n\n' "$5"
      ;;
  esac
}

# healthy CHECK MESSAGE
healthy() { print ok "$1." "$2" '' '' ''; }

# found CHECK.FINDING [WORD VALUE]...: a paragraph of findings.txt, with the host's words in it.
found() {
  local id=$1 level=${findings[$1/level]} field
  local -A text
  for field in finding fix or; do text[$field]=${findings[$id/$field]:-}; done
  shift
  set -- user "$user" "$@"
  while [ "$#" -gt 0 ]; do
    for field in finding fix or; do text[$field]=${text[$field]//"{$1}"/"$2"}; done
    shift 2
  done
  case $level in warn) [ "$worst" -ge 1 ] || worst=1 ;; fail) worst=3 ;; esac
  print "$level" "$id" "${text[finding]}" "${findings[$id/who]}" "${text[fix]}" "${text[or]}"
}

has() { command -v "$1" > /dev/null; }
# Debian keeps the administrator's folders out of the user's path.
has_system() { has "$1" || [ -x "$root/usr/sbin/$1" ] || [ -x "$root/sbin/$1" ]; }

# first_line TEXT: of an engine's message, without its own log.
first_line() {
  local line
  line=$({ grep -v '^time=' <<< "$1" || true; } | head -n 1)
  echo "${line:-no reason given}"
}

# Images that units name, from a registry or built by systemd.
images_of_units() {
  local folder
  folder=$(units_folder)
  { cat "$folder"/llamapod{.image,@*.container,@*.container.d/*.conf} | sed -n 's/^Image=//p'; sed -n 's/^ImageTag=//p' "$folder/llamapod.build"; } 2> /dev/null |
    grep -vE '^localhost/llamapod:(cpu|cuda)$|\.(image|build)$' || true
}

# The image that is there, if one is.
our_image() {
  local image images
  mapfile -t images < <(images_of_units)
  for image in localhost/llamapod:cpu localhost/llamapod:cuda "${images[@]}"; do
    if podman image exists "$image" 2> /dev/null; then
      echo "$image"
      return
    fi
  done
}

survey
for check in node settings folder backend engine rootless subids uidmap userns session linger cgroup storage network netonline image runtime models secrets memory \
  selinux nv_driver nv_nodes nv_ctk cdi cdi_stale gpu_run compose socket quadlet port bindaddr service health journal update clock; do
  "check_$check"
done
exit "$worst"

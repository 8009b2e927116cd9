# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

# shellcheck disable=SC2034 # for those who source this
readonly exit_usage=2 exit_engine=3 exit_unhealthy=4

dry_run=false

# For tests: a folder to read /etc, /dev, /proc, /sys and /var under.
root=${LLAMAPOD_TEST_ROOT:-}

say() { printf '%s\n' "$*" >&2; }

# fail CODE WHAT [FIX...]
fail() {
  local code=$1
  shift
  say "${0##*/}: $1"
  shift
  for line in "$@"; do say "  $line"; done
  exit "$code"
}

# Carries a command out, or with --dry-run prints it so that it can be pasted.
run() {
  if "$dry_run"; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# The same, without what the command itself prints.
run_quietly() {
  if "$dry_run"; then run "$@"; else "$@" > /dev/null; fi
}

# usage FILE: the comment at the head of a script is its help.
usage() {
  sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$1"
}

# need VALUE-COUNT FLAG: a flag that wants a value has got one.
need() {
  [ "$1" -ge 2 ] || fail "$exit_usage" "$2 wants a value" "${0##*/} --help lists what there is"
}

unknown() {
  fail "$exit_usage" "unknown argument: $1" "${0##*/} --help lists what there is"
}

# need_number FLAG VALUE, need_model VALUE, need_instance VALUE
need_number() {
  [[ $2 =~ ^[0-9]+$ ]] || fail "$exit_usage" "$1 is a number, not $2"
}
need_model() {
  [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._:-]*$ ]] || fail "$exit_usage" "$1 is no name of a model" "GET /api/models lists them"
}
need_instance() {
  [[ $1 =~ ^[a-z0-9][a-z0-9-]*$ ]] || fail "$exit_usage" "an instance is named with a-z, 0-9 and -, not $1"
}

# version_at_least WANTED VERSION
version_at_least() {
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# Where systemd and Quadlet look for this user's files. A shell's own XDG_CONFIG_HOME is nothing to them.
config_home() {
  local environment
  if environment=$(systemctl --user show-environment 2> /dev/null); then
    environment=$(sed -n 's/^XDG_CONFIG_HOME=//p' <<< "$environment")
    echo "${environment:-$HOME/.config}"
  else
    echo "${XDG_CONFIG_HOME:-$HOME/.config}"
  fi
}

# setting FILE NAME: the value of the last line NAME=value of an environment file.
setting() {
  sed -n "s/^$2=//p" "$1" | tail -n 1
}

# explain_unit UNIT: why systemd says that it did not start, with the end of its journal.
explain_unit() {
  local result code journal access=none
  result=$(systemctl --user show "$1" --property Result --value 2> /dev/null) || result=''
  code=$(systemctl --user show "$1" --property ExecMainStatus --value 2> /dev/null) || code=''
  ! systemctl --user cat "$1" 2> /dev/null | grep -qF "$gpu_device" || access=cdi
  journal=$(journalctl --user --quiet --unit "$1" --lines 40 --output cat 2> /dev/null) || journal=''
  case $result in
    oom-kill) say "$1 was killed for want of memory: a smaller model, or a higher MemoryMax." ;;
    timeout) say "$1 took longer than TimeoutStartSec." ;;
    start-limit-hit) say "$1 failed too often: systemctl --user reset-failed $1" ;;
    '' | success) ;;
    *) say "systemd says of $1: $result." ;;
  esac
  # Podman's events and ids stand between what the server and systemd say.
  { grep -v ' m=+\|^[0-9a-f]\{64\}$' <<< "$journal" || true; } | tail -n 8 | sed 's/^/  /' >&2
  # What Podman itself says begins so; the server's own log stands there too.
  case $code in
    125 | 126 | 127) explain "$code" "$(problem_of "$(grep '^Error: ' <<< "$journal" || true)")" ;;
    2 | 3 | 137 | 143) [ "$result" = oom-kill ] || explain_end "$code" ;;
  esac
}

lib=$(dirname "${BASH_SOURCE[0]}")/lib
# shellcheck source=deploy/podman/lib/http.sh
. "$lib/http.sh"
# shellcheck source=deploy/podman/lib/engine.sh
. "$lib/engine.sh"
# shellcheck source=deploy/podman/lib/gpu.sh
. "$lib/gpu.sh"

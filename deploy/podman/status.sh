#!/usr/bin/env bash
# Shows how llamapod is: containers, health, model, memory, and the last lines of the log.
#
#   status.sh [--instance INSTANCE] [--port PORT] [--lines N]
#
# Without --instance it shows the container of start.sh and every instance of systemd's that there is. --port is where to ask, where
# no container says it.
# Exit codes: 0 all that there are answer, 2 wrong arguments or no such instance, 4 one does not, or there is none.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

instance='' port='' lines=10 name=${LLAMAPOD_NAME:-llamapod}
while [ "$#" -gt 0 ]; do
  case $1 in
    --instance | --port | --lines)
      need "$#" "$1"
      printf -v "${1#--}" %s "$2"
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
[ -z "$instance" ] || need_instance "$instance"
[ -z "$port" ] || need_number --port "$port"
need_number --lines "$lines"

# show_container ENGINE NAME
show_container() {
  local code kills
  printf 'container  %s under %s: %s\n' "$2" "$1" \
    "$("$1" container inspect --format '{{.State.Status}}, exit code {{.State.ExitCode}}, since {{.State.StartedAt}}, restarts {{.RestartCount}}' "$2")"
  # Rootless Podman counts only where the user may use cgroups of version 2.
  "$1" stats --no-stream --format 'resources  {{.MemUsage}}, {{.CPUPerc}} CPU' "$2" 2> /dev/null || true
  # Where only a runner was killed, the engine does not know of it.
  kills=$("$1" exec "$2" sed -n 's/^oom_kill //p' /sys/fs/cgroup/memory.events 2> /dev/null) || kills=0
  if [ "${kills:-0}" -gt 0 ]; then printf 'memory     %s processes were killed for want of memory: smaller models, or a higher limit\n' "$kills"; fi
  code=$("$1" container inspect --format '{{.State.ExitCode}}' "$2")
  if [ "$code" -ne 0 ]; then explain_end "$code"; fi
  printf 'log        the last %s lines:\n' "$lines"
  "$1" logs --tail "$lines" "$2" 2>&1 | sed 's/^/  /'
}

# show_health URL
show_health() {
  local answer
  answer=$(http_get "$1/health/ready") || answer=''
  printf 'health     %s\n' "${answer:-nobody answers at $1}"
  [[ $answer == *'"status":"ok"'* ]] || return
  { http_get "$1/metrics" || true; } | sed -n 's/^llamapod_model_memory_bytes{model="\(.*\)"} \(.*\)/memory     \1: \2 bytes/p'
}

# show_unit INSTANCE: what systemd says, also of one whose container is gone.
show_unit() {
  systemctl --user show "llamapod@$1" --property ActiveState --property Result --property NRestarts 2> /dev/null | tr '\n' ' ' |
    sed "s/^\(.\)/unit       llamapod@$1: \1/; s/ \$/\n/" || true
}

# show_journal INSTANCE: the log of one whose container is gone.
show_journal() {
  printf 'log        the last %s lines of the journal:\n' "$lines"
  { journalctl --user --quiet --unit "llamapod@$1" --lines "$lines" --output cat 2> /dev/null || true; } | sed 's/^/  /'
}

# url_of ENGINE NAME [INSTANCE]: where the container is published; where systemd holds the port, or a pod has it, as its settings say.
url_of() {
  local bind
  bind=$("$1" port "$2" 8080/tcp 2> /dev/null | head -n 1) || bind=''
  [ -n "$bind" ] || [ "$#" -lt 3 ] || bind=$(bind_of "$3")
  url_of_bind "${bind:-127.0.0.1:${port:-8080}}"
}

# bind_of INSTANCE: the socket that systemd holds for it, or what its settings say.
bind_of() {
  local bind file
  bind=$(systemctl --user show "llamapod@$1.socket" --property Listen --value 2> /dev/null | sed -n '1s/ (Stream)$//p') || bind=''
  file=$(config_home)/llamapod/$1.env
  if [ -z "$bind" ] && [ -f "$file" ]; then bind=$(setting "$file" LLAMAPOD_BIND); fi
  echo "$bind"
}

worst=0 shown=0
# show ENGINE NAME [INSTANCE]
show() {
  show_container "$1" "$2"
  show_health "$(url_of "$@")" || worst=$exit_unhealthy
  shown=$((shown + 1))
}

instances=("$instance")
if [ -n "$instance" ] && [ ! -f "$(config_home)/llamapod/$instance.env" ] && ! has_container podman "llamapod-$instance"; then
  fail "$exit_usage" "there is no instance $instance" "start-podman.sh --quadlet $instance makes it"
fi
if [ -z "$instance" ]; then
  mapfile -t instances < <(for file in "$(config_home)"/llamapod/*.env; do [ ! -e "$file" ] || basename "$file" .env; done)
  for engine in podman docker; do
    if has_container "$engine" "$name"; then show "$engine" "$name"; fi
  done
fi
for instance in "${instances[@]}"; do
  settings=$(config_home)/llamapod/$instance.env
  show_unit "$instance"
  if has_container podman "llamapod-$instance"; then
    show podman "llamapod-$instance" "$instance"
  elif [ -f "$settings" ]; then
    show_journal "$instance"
    show_health "$(url_of_bind "$(bind_of "$instance")")" || worst=$exit_unhealthy
    shown=$((shown + 1))
  fi
done
if [ "$shown" -eq 0 ]; then
  show_health "http://127.0.0.1:${port:-8080}" || exit "$exit_unhealthy"
fi
exit "$worst"

#!/usr/bin/env bash
# Shows how llamapod is: container, health, model, memory, and the last lines of its log.
#
#   status.sh [--port PORT] [--lines N]
#
# Exit codes: 0 it answers, 4 it does not.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

port=8080 lines=10 name=${LLAMAPOD_NAME:-llamapod}
while [ "$#" -gt 0 ]; do
  case $1 in
    --port | --lines)
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

for engine in podman docker; do
  has_container "$engine" "$name" || continue
  state=$("$engine" container inspect --format '{{.State.Status}}, exit code {{.State.ExitCode}}, since {{.State.StartedAt}}' "$name")
  printf 'container  %s under %s: %s\n' "$name" "$engine" "$state"
  # Rootless Podman counts only where the user may use cgroups of version 2.
  "$engine" stats --no-stream --format 'resources  {{.MemUsage}}, {{.CPUPerc}} CPU' "$name" 2> /dev/null || true
  code=$("$engine" container inspect --format '{{.State.ExitCode}}' "$name")
  case $code in 0) ;; *) explain "$code" /dev/null ;; esac
  printf 'log        the last %s lines:\n' "$lines"
  "$engine" logs --tail "$lines" "$name" 2>&1 | sed 's/^/  /'
done
if command -v systemctl > /dev/null; then systemctl --user list-units --no-legend 'llamapod@*' 2> /dev/null || true; fi

answer=$(http_get "http://127.0.0.1:$port/health/ready") || answer=''
printf 'health     %s\n' "${answer:-nobody answers on port $port}"
[[ $answer == *'"status":"ok"'* ]] || exit "$exit_unhealthy"
http_get "http://127.0.0.1:$port/metrics" | sed -n 's/^llamapod_model_memory_bytes{model="\(.*\)"} \(.*\)/memory     \1: \2 bytes/p'

#!/usr/bin/env bash
# Starts afresh: stops the server, lets answers under way end, makes the container anew from the image of its name (with
# secrets as they are now), and starts it. Models and settings stay.
#
#   complete-restart.sh [ARGUMENTS OF start.sh]
#   complete-restart.sh --instance INSTANCE       a Quadlet instance
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

case ${1:-} in
  -h | --help)
    usage "$0"
    exit
    ;;
  --instance)
    need "$#" "$1"
    [ "${3:-}" != --dry-run ] || dry_run=true
    run systemctl --user daemon-reload
    run systemctl --user reset-failed "llamapod@$2" || true
    run systemctl --user restart "llamapod@$2"
    exit
    ;;
esac
name=${LLAMAPOD_NAME:-llamapod}
for engine in podman docker; do
  has_container "$engine" "$name" || continue
  case " $* " in *' --dry-run '*) echo "$engine stop --time 45 $name" ;; *) "$engine" stop --time 45 "$name" > /dev/null ;; esac
done
exec "$here/start.sh" "$@"

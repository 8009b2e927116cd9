#!/usr/bin/env bash
# Prints what an administrator has to do once on this host, so that this user can run llamapod, as a script to read and to run. It
# changes nothing.
#
#   setup-host.sh [--print]
#
# Exit codes: 0 printed, 2 wrong arguments. What the user can do alone is in deploy/podman/doctor.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

case ${1:---print} in
  --print) ;;
  -h | --help)
    usage "$0"
    exit
    ;;
  *) unknown "$1" ;;
esac
# Its exit code tells how the host is, and not whether it could be looked at.
code=0
"$here/doctor.sh" --for-administrator || code=$?
[ "$code" -ne "$exit_usage" ] || exit "$code"

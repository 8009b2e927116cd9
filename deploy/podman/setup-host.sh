#!/usr/bin/env bash
# Prints what an administrator has to do once on this host, so that this user can run llamapod. It changes nothing.
#
#   setup-host.sh [--print]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:---print} in
  --print) ;;
  *)
    sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"
    [ "$1" = --help ] || [ "$1" = -h ]
    exit
    ;;
esac
"$here/doctor.sh" | sed -n 's/^ *fix: //p'

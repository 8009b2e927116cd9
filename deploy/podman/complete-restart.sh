#!/usr/bin/env bash
# Starts afresh: stops the server, lets answers under way end, makes the container anew from the image of its name (with secrets
# as they are now), and starts it. Models, the active model and the settings of start.sh stay, but for those given anew.
#
#   complete-restart.sh [ARGUMENTS OF start.sh]
#   complete-restart.sh --instance INSTANCE       a Quadlet instance
#
# What cannot work is refused before the server is stopped. --dry-run prints the commands instead.
# Exit codes: those of start.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

instance='' given=()
while [ "$#" -gt 0 ]; do
  case $1 in
    -h | --help)
      usage "$0"
      exit
      ;;
    --instance)
      need "$#" "$1"
      instance=$2
      need_instance "$instance"
      shift
      ;;
    --dry-run)
      dry_run=true
      given+=("$1")
      ;;
    *) given+=("$1") ;;
  esac
  shift
done

if [ -n "$instance" ]; then
  for argument in "${given[@]}"; do
    [ "$argument" = --dry-run ] || fail "$exit_usage" "a Quadlet instance has its settings in $(config_home)/llamapod/$instance.env: $argument has no place here"
  done
  unit=llamapod@$instance settings=$(config_home)/llamapod/$instance.env
  [ -f "$settings" ] || fail "$exit_usage" "there is no $settings" "start-podman.sh --quadlet $instance makes it"
  run systemctl --user daemon-reload
  run systemctl --user reset-failed "$unit" 2> /dev/null || true
  if ! run systemctl --user restart "$unit"; then
    explain_unit "$unit"
    fail "$exit_unhealthy" "$unit did not start." "journalctl --user -u $unit"
  fi
  exit
fi

name=${LLAMAPOD_NAME:-llamapod} kept=()
for engine in podman docker; do
  has_container "$engine" "$name" || continue
  read -ra kept <<< "$(label_of "$engine" "$name" llamapod.start)"
  keys=$(label_of "$engine" "$name" llamapod.api-keys-file)
  [ -z "$keys" ] || export LLAMAPOD_API_KEYS_FILE="${LLAMAPOD_API_KEYS_FILE:-$keys}"
  if [ "${#kept[@]}" -eq 0 ] && [ -n "$(label_of "$engine" "$name" com.docker.compose.project)" ]; then
    fail "$exit_usage" "$name was made by compose, and not by start.sh." "Use its own: podman-compose ... up -d --force-recreate"
  fi
  bind=$("$engine" port "$name" 8080/tcp 2> /dev/null | head -n 1) || bind=''
  if [ -n "$bind" ] && answer=$(http_get "$(url_of_bind "$bind")/health/ready"); then
    model=$(json_field model <<< "$answer")
    [ -z "$model" ] || kept+=(--model "$model")
  fi
  break
done
# It stops what runs when it knows that it can start.
exec "$here/start.sh" "${kept[@]}" "${given[@]}"

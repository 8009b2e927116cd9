#!/usr/bin/env bash
# Makes another model answer, without losing a request.
#
#   switch-model.sh MODEL [--port PORT]           while the server runs: a switch is a transaction, rolled back if it fails
#   switch-model.sh MODEL --instance INSTANCE     a Quadlet instance: also for its next start, from ~/.config/llamapod
#
# A server that does not run, of --instance or of start.sh, is started with the model, and as it was again if it does not become ready.
# --wait SECONDS is how long the switch may take (default: 1800). LLAMAPOD_API_KEY is a key with the scope admin, where the server
# wants one. --dry-run prints what would be done.
# Exit codes: 0 switched, 2 wrong arguments, 4 not switched, and the old model answers if one did.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

model='' port=8080 instance='' wait=1800
while [ "$#" -gt 0 ]; do
  case $1 in
    --port | --instance | --wait)
      need "$#" "$1"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    -*) unknown "$1" ;;
    *) model=$1 ;;
  esac
  shift
done
[ -n "$model" ] || fail "$exit_usage" "name the model to switch to" "GET /api/models lists them"
need_model "$model"
need_number --port "$port"
need_number --wait "$wait"

url=http://127.0.0.1:$port settings=''
if [ -n "$instance" ]; then
  need_instance "$instance"
  settings=$(config_home)/llamapod/$instance.env
  [ -f "$settings" ] || fail "$exit_usage" "there is no $settings" "start-podman.sh --quadlet $instance makes it"
  bind=$(setting "$settings" LLAMAPOD_BIND)
  [[ $bind =~ :[0-9]+$ ]] || fail "$exit_usage" "$settings does not say where the server listens" "LLAMAPOD_BIND=127.0.0.1:8080 is a line that does"
  url=$(url_of_bind "$bind")
fi

# remember MODEL: the instance starts with it from now on. The file keeps its owner and mode, and is never half written.
remember() {
  [ -n "$instance" ] || return 0
  local kept
  kept=$(grep -v '^LLAMAPOD_MODEL=' "$settings") || true
  cp -p "$settings" "$settings.new"
  printf '%s\nLLAMAPOD_MODEL=%s\n' "$kept" "$1" > "$settings.new"
  mv "$settings.new" "$settings"
}

# follow OPERATION: until it has ended. A few answers that say nothing are forgiven, as of a server under load.
follow() {
  local answer state silent=0 deadline=$((SECONDS + wait))
  while [ "$SECONDS" -lt "$deadline" ]; do
    answer=$(http GET "$url/api/operations/$1") || answer=''
    state=$(http_body <<< "$answer" | json_field state)
    case $state in
      done)
        remember "$model"
        say "$model answers"
        return
        ;;
      failed | cancelled) fail "$exit_unhealthy" "not switched, the old model answers: $(http_body <<< "$answer")" ;;
      '')
        silent=$((silent + 1))
        [ "$silent" -lt 5 ] || fail "$exit_unhealthy" "the server at $url does not say how the switch goes on: $(http_body <<< "${answer:-no answer}")" \
          "deploy/podman/status.sh shows which model answers"
        ;;
      *) silent=0 ;;
    esac
    sleep 0.5
  done
  fail "$exit_unhealthy" "not switched within $wait s; it goes on" "deploy/podman/status.sh shows which model answers"
}

if "$dry_run"; then
  echo "POST $url/api/models/$model/switch"
  [ -z "$instance" ] || echo "LLAMAPOD_MODEL=$model > $settings"
  exit
fi

if http_get "$url/health/live" > /dev/null; then
  answer=$(http POST "$url/api/models/$model/switch") || fail "$exit_unhealthy" "the server at $url does not answer"
  [ "$(http_status <<< "$answer")" = 202 ] || fail "$exit_unhealthy" "not switched: $(http_body <<< "$answer")"
  follow "$(http_body <<< "$answer" | json_field id)"
  exit
fi

# start_stopped: the container of start.sh that has stopped, with the model. Ends the script where there is one.
start_stopped() {
  local engine name=${LLAMAPOD_NAME:-llamapod} kept keys
  for engine in podman docker; do
    has_container "$engine" "$name" || continue
    [[ $("$engine" container inspect --format '{{.State.Status}} {{.RestartCount}}' "$name") != running* ]] || continue
    read -ra kept <<< "$(label_of "$engine" "$name" llamapod.start)"
    [ "${#kept[@]}" -gt 0 ] || continue
    keys=$(label_of "$engine" "$name" llamapod.api-keys-file)
    [ -z "$keys" ] || export LLAMAPOD_API_KEYS_FILE="${LLAMAPOD_API_KEYS_FILE:-$keys}"
    if "$here/complete-restart.sh" --model "$model" --wait "$wait"; then
      say "$model answers"
      exit
    fi
    "$here/start.sh" "${kept[@]}" || say "The old one does not start either: $engine logs $name"
    fail "$exit_unhealthy" "$model did not become ready; the container is as it was."
  done
}

if [ -z "$instance" ]; then
  start_stopped
  fail "$exit_unhealthy" "no server answers at $url" "start it with start.sh --model $model"
fi
unit=llamapod@$instance
cp -p "$settings" "$settings.before"
remember "$model"
systemctl --user reset-failed "$unit" 2> /dev/null || true
if systemctl --user restart "$unit"; then
  rm "$settings.before"
  say "$model answers"
  exit
fi
explain_unit "$unit"
mv "$settings.before" "$settings"
systemctl --user reset-failed "$unit" 2> /dev/null || true
systemctl --user restart "$unit" || say "The old one does not start either: journalctl --user -u $unit"
fail "$exit_unhealthy" "$model did not become ready; the old settings are back." "journalctl --user -u $unit says why"

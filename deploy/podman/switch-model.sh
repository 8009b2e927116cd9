#!/usr/bin/env bash
# Makes another model answer, without losing a request.
#
#   switch-model.sh MODEL [--port PORT]           while the server runs: a switch is a transaction, rolled back if it fails
#   switch-model.sh MODEL --instance INSTANCE     a Quadlet instance: also for its next start, from ~/.config/llamapod
#
# With --instance a server that does not run is started with the model, and with the old one again if it does not become ready.
# LLAMAPOD_API_KEY is a key with the scope admin, where the server wants one. --dry-run prints what would be done.
# Exit codes: 0 switched, 2 wrong arguments, 4 not switched, and the old model answers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

model='' port=8080 instance=''
while [ "$#" -gt 0 ]; do
  case $1 in
    --port | --instance)
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
[[ $model =~ ^[A-Za-z0-9._:-]+$ ]] || fail "$exit_usage" "name the model to switch to" "GET /api/models lists them"

config=${XDG_CONFIG_HOME:-$HOME/.config}/llamapod/$instance.env
if [ -n "$instance" ]; then
  [ -f "$config" ] || fail "$exit_usage" "there is no $config" "start-podman.sh --quadlet $instance makes it"
  bind=$(sed -n 's/^LLAMAPOD_BIND=//p' "$config" | tail -n 1)
  port=${bind##*:}
fi
url=http://127.0.0.1:$port

post() {
  exec 3<> "/dev/tcp/127.0.0.1/$port" || return 1
  printf 'POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n%s\r\n' "$1" \
    "${LLAMAPOD_API_KEY:+Authorization: Bearer $LLAMAPOD_API_KEY$'\r\n'}" >&3
  cat <&3
}

# remember MODEL: the instance starts with it from now on.
remember() {
  [ -n "$instance" ] || return 0
  local kept
  kept=$(grep -v '^LLAMAPOD_MODEL=' "$config") || true
  printf '%s\nLLAMAPOD_MODEL=%s\n' "$kept" "$1" > "$config.new"
  mv "$config.new" "$config"
}

if "$dry_run"; then
  echo "POST $url/api/models/$model/switch"
  [ -z "$instance" ] || echo "LLAMAPOD_MODEL=$model > $config"
  exit
fi

if http_get "$url/health/live" > /dev/null; then
  answer=$(post "/api/models/$model/switch") || fail "$exit_unhealthy" "the server at $url does not answer"
  operation=$(tr -d '\r' <<< "$answer" | sed '1,/^$/d' | json_field id)
  case ${answer%%$'\r'*} in
    *' 202 '*) ;;
    *) fail "$exit_unhealthy" "not switched: $(tr -d '\r' <<< "$answer" | sed '1,/^$/d')" ;;
  esac
  while :; do
    state=$(http_get "$url/api/operations/$operation") || fail "$exit_unhealthy" "the server at $url has gone"
    case $state in
      *'"state":"done"'*)
        remember "$model"
        say "$model answers"
        exit
        ;;
      *'"state":"failed"'* | *'"state":"cancelled"'*) fail "$exit_unhealthy" "not switched, the old model answers: $state" ;;
    esac
    sleep 0.5
  done
fi

[ -n "$instance" ] || fail "$exit_unhealthy" "no server answers at $url" "start it with start.sh --model $model"
cp "$config" "$config.before"
remember "$model"
if systemctl --user restart "llamapod@$instance"; then
  rm "$config.before"
  say "$model answers"
  exit
fi
mv "$config.before" "$config"
systemctl --user reset-failed "llamapod@$instance" || true
systemctl --user restart "llamapod@$instance" || say "The old one does not start either: journalctl --user -u llamapod@$instance"
fail "$exit_unhealthy" "$model did not become ready; the old settings are back." "journalctl --user -u llamapod@$instance says why"

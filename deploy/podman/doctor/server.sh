# shellcheck shell=bash
# Checks of llamapod's own units, settings and server, for doctor.sh.

units_folder() { echo "$(config_home)/containers/systemd"; }

# Units of llamapod's that systemd knows.
our_units() {
  systemctl --user list-units --all --plain --no-legend 'llamapod@*' 2> /dev/null | awk '{ print $1 }' || true
}

# settings_files: environment files of instances.
settings_files() {
  local file
  for file in "$(config_home)"/llamapod/*.env; do [ ! -e "$file" ] || echo "$file"; done
}

# Where servers of this user would answer, with the file of their settings if there is one.
our_servers() {
  local file
  while read -r file; do echo "$(url_of_bind "$(setting "$file" LLAMAPOD_BIND)") $file"; done < <(settings_files)
  echo "http://127.0.0.1:$port"
}
our_urls() { our_servers | sed 's/ .*//' | sort -u; }

# wanted_models URL [FILE]: the models that the server there shall have loaded at the same time.
wanted_models() {
  local model='' names='' key
  if [ "$#" -gt 1 ]; then
    model=$(setting "$2" LLAMAPOD_MODEL)
    for key in LLAMAPOD_PRELOAD LLAMAPOD_PINNED; do names+=",$(setting "$2" "$key")"; done
  fi
  [ -n "$model" ] || model=$(http_get "$1/health/ready" | json_field model)
  # A model can have several names, and is loaded once.
  tr , '\n' <<< "$model$names" | sed 's/^ *//; s/ *$//' | grep -x '[A-Za-z0-9][A-Za-z0-9._:-]*' |
    while read -r model; do http_get "$1/api/models/$model" | json_field id; done | grep . | sort -u
}

# plan_of URL MODELS...: what the server plans with for them all, in MB: main memory and what it has of it, memory of the GPU and what
# it has of that.
plan_of() {
  local url=$1 id
  for id in "${@:2}"; do
    http POST "$url/api/models/$id/plan" | http_body |
      sed -n 's/.*"needed":{"ram_bytes":\([0-9]*\),"vram_bytes":\([0-9]*\)}.*"capacity":{"ram_bytes":\([0-9]*\),"vram_bytes":\([0-9]*\)}.*/\1 \3 \2 \4/p'
  done | awk '{ main += $1; gpu += $3; has_main = $2; has_gpu = $4 } END { if (NR > 0) printf "%d %d %d %d\n", main / 1e6, has_main / 1e6, gpu / 1e6, has_gpu / 1e6 }'
}

name_of() { case $1 in ram) echo main memory ;; vram) echo "the GPU's memory" ;; esac }

# check_plan: whether the models that each server shall have loaded fit together into what it has; nothing where they do.
check_plan() {
  local url file models main has_main gpu has_gpu
  while read -r url file; do
    mapfile -t models < <(wanted_models "$url" ${file:+"$file"})
    read -r main has_main gpu has_gpu < <(plan_of "$url" "${models[@]}") || continue
    models=("${models[*]}")
    if [ "$main" -gt "$has_main" ]; then
      found memory.plan models "${models// /, }" needed "$main" kind "$(name_of ram)" has "$has_main" missing "$((main - has_main))"
    elif [ "$gpu" -gt "$has_gpu" ]; then
      found memory.plan models "${models// /, }" needed "$gpu" kind "$(name_of vram)" has "$has_gpu" missing "$((gpu - has_gpu))"
    else
      continue
    fi
    return 1
  done < <(our_servers)
}

# connects HOST PORT
connects() {
  # shellcheck disable=SC2016 # the inner shell expands
  timeout 2 bash -c ': <> "/dev/tcp/$1/$2"' connects "$1" "$2" 2> /dev/null
}

# Every port that a server of this user's publishes or would.
check_port() {
  local first url host number numbers=()
  first=$(kernel_setting net/ipv4/ip_unprivileged_port_start 1024)
  while read -r url; do
    number=${url##*:} host=${url#http://}
    host=${host%:*} host=${host#[}
    if [ "$number" -lt "$first" ]; then
      found port.privileged port "$number" first "$first"
      return
    elif connects "${host%]}" "$number" && [[ "$(http_get "$url/health/live" || true)" != *'"status":"ok"'* ]]; then
      found port.taken port "$number"
      return
    fi
    numbers+=("$number")
  done < <({
    our_urls
    [ -z "${surveyed[metrics-port]:-}" ] || echo "http://127.0.0.1:${surveyed[metrics-port]}"
  } | sort -u)
  numbers=("${numbers[*]}")
  healthy port "free, or llamapod's own: ${numbers// /, }"
}

check_bindaddr() {
  local file host bind folder instance
  folder=$(units_folder)
  while read -r file; do
    host=$(setting "$file" LLAMAPOD_HOST) bind=$(setting "$file" LLAMAPOD_BIND)
    case $host in
      127.* | localhost | ::1)
        found bindaddr.loopback file "$file" host "$host"
        return
        ;;
    esac
    case $bind in '' | 127.* | localhost:* | '[::1]:'*) continue ;; esac
    instance=$(basename "$file" .env)
    if ! grep -rqs '^\(Environment=\)\{0,1\}LLAMAPOD_API_KEYS_FILE=' "$file" "$folder/llamapod@"{,"$instance"}.container{,.d}; then
      found bindaddr.open file "$file" bind "$bind" port "${bind##*:}"
      return
    fi
  done < <(settings_files)
  healthy bindaddr "nothing is published wider than it should be"
}

check_quadlet() {
  local generator=$root/usr/libexec/podman/quadlet output
  [ -x "$generator" ] && [ -n "$(ls -A "$(units_folder)" 2> /dev/null)" ] || return 0
  if output=$("$generator" -dryrun -user 2>&1 > /dev/null) && [[ $output != *'unsupported key'* ]]; then
    healthy quadlet "Podman's generator takes every unit"
  else
    found quadlet.unsupported message "$(first_line "$({ grep -i 'unsupported\|error' <<< "$output" || echo "$output"; })")"
  fi
}

check_service() {
  systemd_runs || return 0
  local unit result state restarts kills known=false
  while read -r unit; do
    known=true
    result=$(systemctl --user show "$unit" --property Result --value 2> /dev/null) || result=success
    state=$(systemctl --user show "$unit" --property ActiveState --value 2> /dev/null) || state=''
    restarts=$(systemctl --user show "$unit" --property NRestarts --value 2> /dev/null) || restarts=0
    # While it is tried again, systemd forgets how it failed.
    if [ "$result" = success ] && [ "$state" = activating ] && [ "${restarts:-0}" -gt 0 ]; then result=again; fi
    case $result in
      success) ;;
      again) found service.again unit "$unit" restarts "$restarts" ;;
      start-limit-hit) found service.start-limit unit "$unit" ;;
      timeout) found service.timeout unit "$unit" ;;
      oom-kill)
        result=${unit#llamapod@}
        found service.oom unit "$unit" instance "${result%.service}"
        ;;
      *)
        found service.failed unit "$unit" result "$result" code "$(systemctl --user show "$unit" --property ExecMainStatus --value)" restarts "$restarts"
        ;;
    esac
    [ "$result" = success ] || return 0
    result=${unit%.service}
    kills=$(podman exec "${result/@/-}" sed -n 's/^oom_kill //p' /sys/fs/cgroup/memory.events 2> /dev/null) || kills=0
    if [ "${kills:-0}" -gt 0 ]; then
      found service.oom-runner container "${result/@/-}" kills "$kills"
      return
    fi
  done < <(our_units)
  ! "$known" || healthy service "llamapod's units are well"
}

check_health() {
  local url answer
  while read -r url; do
    answer=$(http_get "$url/health/ready") || continue
    case $answer in
      *'"status":"ok"'*) healthy health "the server at $url answers: $(json_field model <<< "$answer") on $(json_field backend <<< "$answer")" ;;
      *) found health.not-ready url "$url" answer "$(first_line "$answer")" ;;
    esac
  done < <(our_urls)
}

check_journal() {
  has journalctl && systemd_runs || return 0
  local size
  size=$(journalctl --disk-usage 2> /dev/null | grep -o '[0-9.]*[KMGT]' | head -n 1) || size=0M
  if [ ! -d "$root/var/log/journal" ]; then
    found journal.volatile
  elif [[ $size =~ ^([0-9]+)(\.[0-9]+)?([GT])$ ]] && { [ "${BASH_REMATCH[3]}" = T ] || [ "${BASH_REMATCH[1]}" -ge 4 ]; }; then
    found journal.big size "$size"
  else
    healthy journal "the journal is kept ($size)"
  fi
}

check_update() {
  systemd_runs && grep -rqs '^AutoUpdate=' "$(units_folder)"/llamapod* || return 0
  if systemctl --user --quiet is-enabled podman-auto-update.timer 2> /dev/null; then healthy update "updates are looked for"; else found update.off; fi
}

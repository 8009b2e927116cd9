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

# Where servers of this user would answer.
our_urls() {
  local file
  {
    echo "http://127.0.0.1:$port"
    while read -r file; do url_of_bind "$(setting "$file" LLAMAPOD_BIND)"; done < <(settings_files)
  } | sort -u
}

connects() {
  # shellcheck disable=SC2016 # the inner shell expands
  timeout 2 bash -c ': <> "/dev/tcp/127.0.0.1/$1"' connects "$1" 2> /dev/null
}

check_port() {
  local first
  first=$(kernel_setting net/ipv4/ip_unprivileged_port_start 1024)
  if [ "$port" -lt "$first" ]; then
    found port.privileged port "$port" first "$first"
  elif connects "$port" && [[ "$(http_get "http://127.0.0.1:$port/health/live" || true)" != *'"status":"ok"'* ]]; then
    found port.taken port "$port"
  else
    healthy port "port $port is free, or llamapod's own"
  fi
}

check_bindaddr() {
  local file host bind folder
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
    if ! grep -rqs 'LLAMAPOD_API_KEYS_FILE=' "$file" "$folder"/llamapod*; then
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

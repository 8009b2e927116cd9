# shellcheck shell=bash
# Checks of this host's own Node.js, and of what the server would find without a container, for doctor.sh. They are silent where llamapod
# is not built for that.

readonly package=$here/../../package.json surveyor=$here/../../dist/src/cli/survey.js

# What `serve` would find, by name. Empty where it cannot be asked.
declare -A surveyed=()
survey_problem=''

survey() {
  local name value answer
  [ -e "$surveyor" ] && has node || return 0
  if ! answer=$(timeout 120 node "$surveyor" ${settings_yaml:+"$settings_yaml"} 2>&1); then
    survey_problem=$(first_line "$({ grep Error <<< "$answer" || echo "$answer"; })")
    return
  fi
  while read -r name value; do surveyed[$name]=${surveyed[$name]:-$value}; done <<< "$answer"
  port=${surveyed[port]:-$port}
}

check_node() {
  [ -e "$surveyor" ] && has node || return 0
  local oldest version
  oldest=$(sed -n 's/^ *"node": ">=\([0-9.]*\)".*/\1/p' "$package")
  version=$(node --version 2> /dev/null) || version=0
  if ! version_at_least "$oldest" "${version#v}"; then
    found node.old version "${version#v}" oldest "$oldest"
  elif [ -n "$survey_problem" ]; then
    found node.broken message "$survey_problem"
  else
    healthy node "Node.js ${version#v}"
  fi
}

check_settings() {
  local unusable=${surveyed[unusable]:-}
  if [ -n "${surveyed[settings-problem]:-}" ]; then
    found settings.refused message "${surveyed[settings-problem]}"
  elif [ -n "$unusable" ]; then
    found settings.model model "${unusable%% *}" message "${unusable#* }"
  elif [ -n "${surveyed[folder]:-}" ]; then
    healthy settings "llamapod serve would start with them"
  fi
}

check_folder() {
  local folder=${surveyed[folder]:-} file=${surveyed[file-unreadable]:-} free
  [ -n "$folder" ] || return 0
  if [ -n "${surveyed[folder-unreadable]:-}" ]; then
    found folder.denied folder "$folder" message "${surveyed[folder-unreadable]}"
  elif [ -n "$file" ]; then
    found folder.file-denied file "${file#* }" message "${file%% *}"
  elif [ -n "${surveyed[folder-unwritable]:-}" ]; then
    found folder.read-only folder "$folder" message "${surveyed[folder-unwritable]}"
  elif little_room "$folder"; then
    found folder.full folder "$folder" free "$free"
  elif [ "${surveyed[folder-there]}" = no ]; then
    healthy folder "$folder is made when the first model is pulled"
  else
    healthy folder "models can be read and put into $folder"
  fi
}

# What llama.cpp computes on, here and in the server that runs, if one does.
check_backend() {
  local asked=${surveyed[gpu]:-} backend=${surveyed[backend]:-} serving
  [ -n "$asked" ] || return 0
  serving=$(http_get "http://127.0.0.1:$port/health/ready" | json_field backend) || serving=''
  if [ "$asked" = required ] && [ "$serving" = cpu ]; then
    found backend.serves-on-cpu port "$port"
  elif [ -z "$backend" ] && [ "$asked" = required ]; then
    found backend.no-gpu message "${surveyed[backend-problem]:-}"
  elif [ -z "$backend" ]; then
    found backend.broken message "${surveyed[backend-problem]:-}"
  elif [ "$asked" = auto ] && [ "$backend" = cpu ] && [ -n "$(driver_version)" ]; then
    found backend.cpu driver "$(driver_version)"
  else
    healthy backend "llama.cpp computes on $backend${serving:+; the server on port $port does on $serving}"
  fi
}

# check_own_plan: whether the models that `serve` shall have loaded fit together. A server that runs says so of its own.
check_own_plan() {
  local kind needed has
  [ -n "${surveyed[models]:-}" ] && ! connects 127.0.0.1 "$port" || return 0
  for kind in ram vram; do
    needed=$((${surveyed[needed-$kind]} / 1000000)) has=$((${surveyed[has-$kind]} / 1000000))
    [ "$needed" -gt "$has" ] || continue
    found memory.own-plan models "${surveyed[models]}" needed "$needed" kind "$(name_of "$kind")" has "$has" missing "$((needed - has))"
    return 1
  done
}

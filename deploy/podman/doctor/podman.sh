# shellcheck shell=bash
# Checks of Podman and its host, for doctor.sh.

check_engine() {
  if ! has podman; then
    if has docker && docker info > /dev/null 2>&1; then found engine.docker-only; else found engine.missing; fi
    return
  fi
  local version
  version=$(podman version --format '{{.Client.Version}}' 2> /dev/null) || version=0.0
  if ! version_at_least 4.3 "$version"; then
    found engine.old version "$version"
  elif ! version_at_least 5.0 "$version"; then
    found engine.no-quadlet version "$version"
  elif ! version_at_least 5.4 "$version"; then
    found engine.before-tested version "$version"
  else
    healthy engine "podman $version"
  fi
}

# free_kilobytes FOLDER: nothing where it cannot be known. A volume's own folder may be closed to its user, the one around it is not.
free_kilobytes() {
  { df --output=avail -k "$1" || df --output=avail -k "$(dirname "$1")" || true; } 2> /dev/null | tail -n 1 | tr -cd 0-9
}

check_storage() {
  has podman || return 0
  local driver folder free kind problem
  if ! problem=$(podman info 2>&1 > /dev/null); then
    if [[ $problem == *'overwritten by graph driver'* ]]; then found storage.driver-changed; else found storage.broken message "$(first_line "$problem")"; fi
    return
  fi
  driver=$(podman info --format '{{.Store.GraphDriverName}}' 2> /dev/null)
  folder=$(podman info --format '{{.Store.GraphRoot}}' 2> /dev/null)
  kind=$(stat --file-system --format %T "$folder" 2> /dev/null) || kind=unknown
  case $kind in
    nfs* | cifs | smb*)
      found storage.network folder "$folder" kind "$kind"
      return
      ;;
  esac
  if has findmnt && findmnt --noheadings --output OPTIONS --target "$folder" 2> /dev/null | grep -qw noexec; then
    found storage.noexec folder "$folder" mount "$(findmnt --noheadings --output TARGET --target "$folder")"
    return
  fi
  free=$(free_kilobytes "$folder")
  if [ "$driver" != overlay ]; then
    found storage.driver driver "$driver"
  elif [ -n "$free" ] && [ "$free" -lt 10000000 ]; then
    found storage.full free "$((free / 1000000))" folder "$folder"
  else
    healthy storage "overlay${free:+, $((free / 1000000)) GB free}"
  fi
}

check_network() {
  local version
  if ! has pasta && ! has slirp4netns; then
    found network.none
    return
  fi
  version=$(podman version --format '{{.Client.Version}}' 2> /dev/null) || version=0
  # Before, iptables did.
  if version_at_least 5.0 "$version" && ! has_system nft; then
    found network.no-nft
  else
    healthy network "$(has pasta && echo pasta || echo slirp4netns) connects containers"
  fi
}

check_netonline() {
  has systemctl || return 0
  systemctl show-environment > /dev/null 2>&1 || return 0
  if systemctl is-active --quiet network-online.target; then healthy netonline "network-online.target is active"; else found netonline.inactive; fi
}

check_image() {
  has podman || return 0
  local image arch machine
  image=$(our_image)
  if [ -z "$image" ]; then
    found image.missing
    return
  fi
  arch=$(podman image inspect --format '{{.Architecture}}' "$image" 2> /dev/null) || arch=''
  machine=$(uname -m)
  case $machine in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; esac
  if [ -n "$arch" ] && [ "$arch" != "$machine" ]; then
    found image.arch image "$image" arch "$arch" machine "$machine"
  elif [ "$(podman image inspect --format '{{json .HealthCheck}}' "$image" 2> /dev/null)" = null ]; then
    found image.no-health image "$image"
  else
    healthy image "$image is here"
  fi
}

# in_container ARGUMENTS...: of podman run, after which nothing is left. Its message is in $message.
message=''
in_container() {
  message=$(timeout 60 podman run --rm --network=none --read-only "$@" 2>&1 > /dev/null)
}

check_runtime() {
  local image
  image=$(our_image)
  [ -n "$image" ] || return 0
  if in_container --entrypoint true "$image"; then
    healthy runtime "containers start"
    return
  fi
  message=$(first_line "$message")
  case $message in
    *keyctl* | *keyring*) found runtime.keyring ;;
    *cgroup* | *controller*) found runtime.cgroup message "$message" ;;
    *) found runtime.refused message "$message" image "$image" ;;
  esac
}

# reads_models FROM FOLDER: whether the server's user can, where there is an image to try it with. FROM is what a container is given.
reads_models() {
  local image
  image=$(our_image)
  [ -n "$image" ] || return 0
  in_container --userns keep-id:uid=10001,gid=10001 --user 10001 --volume "$1:/mnt:ro" --entrypoint ls "$image" -R /mnt && return
  found models.denied folder "$2" message "$(first_line "$message")"
  return 1
}

# little_room FOLDER: sets $free, in GB.
little_room() {
  free=$(free_kilobytes "$1")
  [ -n "$free" ] && [ "$free" -lt 5000000 ] && free=$((free / 1000000))
}

check_models() {
  local folder=${LLAMAPOD_MODELS_DIR:-} volume file free volumes=("$name-data")
  if [ -n "$folder" ]; then
    if [ ! -d "$folder" ]; then
      found models.missing folder "$folder"
    elif reads_models "$folder" "$folder"; then
      if little_room "$folder"; then found models.full folder "$folder" free "$free"; else healthy models "the server can read $folder"; fi
    fi
    return
  fi
  while read -r file; do volumes+=("llamapod-$(basename "$file" .env)-data"); done < <(settings_files)
  for volume in "${volumes[@]}"; do
    podman volume exists "$volume" 2> /dev/null || continue
    folder=$(podman volume inspect --format '{{.Mountpoint}}' "$volume" 2> /dev/null) || folder=$volume
    reads_models "$volume" "$folder" || return 0
    if little_room "$folder"; then
      found models.volume-full volume "$volume" container "${volume%-data}" free "$free"
      return
    fi
    healthy models "the server can read $folder"
  done
}

check_secrets() {
  has podman || return 0
  local line file secret named=false
  while IFS= read -r line; do
    file=${line%%:*} secret=${line#*Secret=}
    secret=${secret%%,*} named=true
    if ! podman secret inspect "$secret" > /dev/null 2>&1; then
      found secrets.missing file "$file" secret "$secret"
      return
    fi
  done < <(grep -rHs '^Secret=' "$(units_folder)"/llamapod* || true)
  ! "$named" || healthy secrets "the secrets that units name are there"
}

check_compose() {
  local version docker
  if has podman-compose; then
    version=$(podman_compose_version)
    if version_at_least "$oldest_podman_compose" "${version:-0}"; then
      healthy compose "podman-compose $version"
    else
      found compose.old version "${version:-of an unknown version}"
    fi
    return
  fi
  read -ra docker <<< "$(docker_compose)"
  [ "${#docker[@]}" -gt 0 ] || return 0
  version=$("${docker[@]}" version --short 2> /dev/null) || version=0
  if version_at_least "$oldest_docker_compose_with_devices" "${version#v}"; then
    healthy compose "docker compose $version"
  else
    found compose.devices version "$version"
  fi
}

check_socket() {
  # Only docker compose needs it.
  if has podman && ! has podman-compose && [ -n "$(docker_compose)" ]; then
    if systemd_runs && systemctl --user --quiet is-active podman.socket; then healthy socket "Podman's socket is on"; else found socket.off; fi
  fi
}

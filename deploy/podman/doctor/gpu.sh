# shellcheck shell=bash
# Checks of an NVIDIA GPU, from the driver to the container, for doctor.sh. Without one they say so, once.

readonly oldest_driver=580

driver_version() {
  sed -n 's/^NVRM.*  \([0-9.]*\)  .*/\1/p' "$root/proc/driver/nvidia/version" 2> /dev/null || true
}

# There is a driver, or containers are told that there is a GPU.
expects_gpu() {
  [ -e "$root/proc/driver/nvidia/version" ] || [ -n "$(gpu_descriptions)" ]
}

has_nvidia_card() {
  local device
  for device in "$root"/sys/bus/pci/devices/*; do
    if [ "$(cat "$device/vendor" 2> /dev/null)" = 0x10de ] && [[ "$(cat "$device/class" 2> /dev/null)" == 0x03* ]]; then return 0; fi
  done
  return 1
}

check_nv_driver() {
  local version
  version=$(driver_version)
  if [ -z "$version" ]; then
    if has_nvidia_card; then found nv-driver.missing; else healthy nv-driver "no NVIDIA GPU: models run on the CPU"; fi
  elif ! version_at_least "$oldest_driver" "$version"; then
    found nv-driver.old version "$version"
  else
    healthy nv-driver "driver $version"
  fi
}

check_nv_nodes() {
  expects_gpu || return 0
  local device mode
  for device in /dev/nvidia0 /dev/nvidiactl /dev/nvidia-uvm; do
    if [ ! -e "$root$device" ]; then
      found nv-nodes.missing device "$device"
      return
    fi
    mode=$(stat --format %a "$root$device")
    if [ $((0$mode & 6)) -ne 6 ]; then
      found nv-nodes.group device "$device" mode "0$mode"
      return
    fi
  done
  healthy nv-nodes "the driver's devices are there, and open"
}

check_nv_ctk() {
  expects_gpu || return 0
  local version
  version=$(nvidia-ctk --version 2> /dev/null | grep -o '[0-9][0-9.]*' | head -n 1) || version=''
  if [ -z "$version" ]; then
    found nv-ctk.missing
  elif ! version_at_least 1.14 "$version"; then
    found nv-ctk.old version "$version"
  elif ! version_at_least 1.18 "$version"; then
    found nv-ctk.no-refresh version "$version"
  else
    healthy nv-ctk "nvidia-ctk $version"
  fi
}

check_cdi() {
  expects_gpu || return 0
  local files file
  # Whoever may not read one cannot see that it is about the GPU.
  for file in "$root"/etc/cdi/* "$root"/var/run/cdi/*; do
    if [ -f "$file" ] && [ $((0$(stat --format %a "$file") & 4)) -eq 0 ]; then
      found cdi.unreadable file "${file#"$root"}"
      return
    fi
  done
  mapfile -t files < <(gpu_descriptions)
  if [ "${#files[@]}" -eq 0 ]; then
    found cdi.missing
  elif ! grep -qsE "[\"']?name[\"']?: *[\"']?all\b" "${files[@]}"; then
    found cdi.no-all file "${files[0]#"$root"}"
  elif [[ " ${files[*]}" == *" $root/etc/cdi/"* && " ${files[*]}" == *" $root/var/run/cdi/"* ]]; then
    found cdi.twice file "${files[0]#"$root"}"
  else
    healthy cdi "${files[0]#"$root"} describes the GPU"
  fi
}

check_cdi_stale() {
  local file missing described version device
  file=$(gpu_descriptions | head -n 1)
  [ -n "$file" ] || return 0
  missing=$(missing_cdi_path)
  version=$(driver_version)
  if [ -n "$missing" ]; then
    found cdi-stale.gone file "${file#"$root"}" path "$missing" driver "${version:+ (the driver is $version now)}"
    return
  fi
  described=$(grep -oh 'libcuda\.so\.[0-9][0-9]*\.[0-9.]*[0-9]' "$file" | head -n 1 | sed 's/libcuda\.so\.//') || described=''
  if [ -n "$described" ] && [ -n "$version" ] && [ "$described" != "$version" ]; then
    found cdi-stale.version file "${file#"$root"}" described "$described" version "$version"
    return
  fi
  for device in "$root"/dev/nvidia[0-9]*; do
    device=${device#"$root"}
    if [ -e "$root$device" ] && ! grep -rqsw "$device" "$root/etc/cdi" "$root/var/run/cdi"; then
      found cdi-stale.device file "${file#"$root"}" device "$device"
      return
    fi
  done
  healthy cdi-stale "all that ${file#"$root"} names is there, and every GPU is in it"
}

check_gpu_run() {
  expects_gpu || return 0
  local image url container file
  image=$(our_image)
  [ -n "$image" ] || return 0
  if ! in_container --device "$gpu_device" --entrypoint ls "$image" /dev/nvidia0; then
    found gpu-run.refused message "$(first_line "$message")" image "$image"
    return
  fi
  while read -r container; do
    [[ $(podman container inspect --format '{{.Config.CreateCommand}}' "$container" 2> /dev/null) == *"$gpu_device"* ]] || continue
    url=$(url_of_bind "$(podman port "$container" 8080/tcp 2> /dev/null | head -n 1)")
    if [ "$(http_get "$url/health/ready" | json_field backend)" = cpu ]; then
      found gpu-run.cpu container "$container"
      return
    fi
  done < <(
    echo "$name"
    while read -r file; do echo "llamapod-$(basename "$file" .env)"; done < <(settings_files)
  )
  healthy gpu-run "a container gets the GPU"
}

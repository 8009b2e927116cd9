# shellcheck shell=bash
# What this host tells containers of its GPU. Sourced by lib.sh.

readonly gpu_device=nvidia.com/gpu=all

# Files of the Container Device Interface that describe a GPU of NVIDIA's.
gpu_descriptions() {
  grep -rls 'nvidia\.com/gpu' "$root/etc/cdi" "$root/var/run/cdi" || true
}

# cdi_paths FILE...: devices, libraries and hooks of this host that descriptions name, as YAML or JSON.
cdi_paths() {
  grep -ohE "(^|[^A-Za-z])[\"']?(hostPath|path)[\"']?: *[\"']?/[^\"',}]*" "$@" 2> /dev/null | sed -E "s/^[^:]*: *[\"']?//; s/ *$//" || true
}

# The first file that a description names and that is gone, as after a driver's update.
missing_cdi_path() {
  local files path
  mapfile -t files < <(gpu_descriptions)
  [ "${#files[@]}" -gt 0 ] || return 0
  while read -r path; do
    [ -e "$root$path" ] || {
      echo "$path"
      return
    }
  done < <(cdi_paths "${files[@]}")
}

# Docker has it since 25, and switched on since 28.3.
docker_takes_cdi() {
  local folders
  folders=$(docker info --format '{{json .CDISpecDirs}}' 2> /dev/null) || return 1
  [[ $folders == *'"/'* ]]
}

docker_has_nvidia_runtime() {
  docker info --format '{{json .Runtimes}}' 2> /dev/null | grep -q '"nvidia"'
}

# gpu_access ENGINE MODE: how a container of this engine gets the GPU: cdi, nvidia (Docker's own way), or none.
gpu_access() {
  local described
  described=$(gpu_descriptions)
  if [ "$2" = off ]; then
    echo none
  elif [ "$1" = podman ]; then
    if [ -n "$described" ] || [ "$2" = required ]; then echo cdi; else echo none; fi
  elif [ -n "$described" ] && docker_takes_cdi; then
    echo cdi
  elif docker_has_nvidia_runtime || [ "$2" = required ]; then
    echo nvidia
  else
    echo none
  fi
}

# tell_gpu ENGINE NAME BACKEND IMAGE: whether the container sees the GPU that it was given, and computes on it.
tell_gpu() {
  local seen
  [ "$3" = cpu ] || return 0
  # shellcheck disable=SC2016 # the container's shell
  seen=$("$1" exec "$2" sh -c 'ls /dev/nvidia0 2> /dev/null || echo no /dev/nvidia0') || seen='no /dev/nvidia0'
  say "The GPU is not used: the container sees $seen, and runs $4."
  if [ "$seen" = /dev/nvidia0 ]; then
    say "  Build the image for it (deploy/podman/image.sh build --target cuda$(for_engine)), and see docs/podman/gpu.md."
  else
    say "  The engine lost it on the way in: deploy/podman/doctor.sh, docs/podman/gpu.md."
  fi
}

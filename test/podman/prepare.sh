# shellcheck shell=bash
# A user for rootless Podman and bases for the image, where there is no registry but Debian's. Sourced by `run`, as root.

readonly user=llamapod-test
readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/llamapod/test
readonly base_archive=$cache/podman-base-bookworm.tar

# install_packages NAME...: those of Debian that are not here.
install_packages() {
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

make_user() {
  id "$user" > /dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
  grep -q "^$user:" /etc/subuid || usermod --add-subuids 500000-565535 --add-subgids 500000-565535 "$user"
  uid=$(id -u "$user")
  home=$(getent passwd "$user" | cut -d: -f6)
  install -d -o "$user" -g "$user" -m 0700 "/run/user/$uid" "$home/.config" "$home/.config/containers" "$home/tmp"
  # Overlay has to be chosen before the first command; there is no systemd here, and so no journal and no cgroup of one's own.
  printf '[storage]\ndriver = "overlay"\n' > "$home/.config/containers/storage.conf"
  printf '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n[containers]\nlog_driver = "k8s-file"\n' \
    > "$home/.config/containers/containers.conf"
  chown -R "$user:" "$home/.config"
  install -d -o "$user" -g "$user" -m 0700 "$home/models"
  install -o "$user" -g "$user" -m 0600 "$cache/SmolLM2-135M-Instruct.Q4_1.gguf" "$home/models/"
}

# Udev lets everybody open these; a machine without it may keep them to root.
open_devices() {
  local device
  for device in /dev/net/tun /dev/fuse; do
    [ ! -c "$device" ] || chmod 0666 "$device"
  done
}

as_user() {
  runuser -u "$user" -- env -i --chdir="$home" "HOME=$home" "USER=$user" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "XDG_RUNTIME_DIR=/run/user/$uid" "TMPDIR=$home/tmp" \
    "NODE_IMAGE=localhost/llamapod-test/node:1" "CPU_BASE=localhost/llamapod-test/base:1" \
    SOURCE_DATE_EPOCH=1700000000 "$@"
}

# What a slim image of Debian has, and the same with Node.js: stand-ins for the bases that Containerfile names.
make_bases() {
  if as_user podman image exists localhost/llamapod-test/node:1; then return; fi
  if [ ! -s "$base_archive" ]; then
    mkdir -p "$cache"
    mmdebstrap --quiet --format=tar --variant=apt --include=libstdc++6 \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      bookworm "$base_archive.part"
    mv "$base_archive.part" "$base_archive"
  fi
  install -m 0644 "$base_archive" "$home/tmp/base.tar"
  as_user podman import -q "$home/tmp/base.tar" localhost/llamapod-test/base:1 > /dev/null
  rm "$home/tmp/base.tar"
  local folder
  folder=$(mktemp -d)
  mkdir -p "$folder/bin" "$folder/lib/node_modules"
  cp "$(readlink -f "$(command -v node)")" "$folder/bin/node"
  cp -R "$(npm root -g)/npm" "$folder/lib/node_modules/"
  printf 'FROM localhost/llamapod-test/base:1\nCOPY . /usr/local/\nRUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm\n' \
    > "$folder/Containerfile"
  chmod -R a+rX "$folder"
  as_user podman build -q --format docker -t localhost/llamapod-test/node:1 "$folder" > /dev/null
  rm -rf "$folder"
}

# The working tree as git knows it, where that user can read it.
copy_sources() {
  rm -rf "$home/llamapod"
  mkdir "$home/llamapod"
  git -c safe.directory='*' ls-files -z --cached --others --exclude-standard | tar -c --null -T - --ignore-failed-read 2> /dev/null |
    tar -x --no-same-owner -C "$home/llamapod"
  chown -R "$user:" "$home/llamapod"
}

# shellcheck shell=bash
# A Debian 13 of its own with systemd, a user who lingers and rootless Podman 5, booted by systemd-nspawn. Sourced by `run`
# and `systemd`, as root, after prepare.sh.

readonly tree_packages=(
  # what an operator has
  ca-certificates systemd-sysv dbus-user-session libpam-systemd procps iproute2
  podman crun uidmap passt netavark aardvark-dns nftables catatonit skopeo podman-compose docker-compose
  # the other side: a registry, and Docker for the fallback
  docker-registry docker.io docker-cli jq
)
readonly guest=llamapod guest_uid=1000

# why_no_systemd: prints what this machine lacks for it, if anything.
why_no_systemd() {
  if ! unshare --mount true 2> /dev/null; then
    echo "it allows no mount namespaces to root"
  elif ! unshare --mount sh -c 'mkdir -p /tmp/llamapod-cgroup && mount -t cgroup2 none /tmp/llamapod-cgroup' 2> /dev/null; then
    echo "it has no cgroups of version 2"
  fi
}

# make_tree: sets $tree to a system with the packages, made once for each list of them.
make_tree() {
  # shellcheck disable=SC2154 # by prepare.sh
  tree=$cache/podman-trixie-$(printf '%s\n' "${tree_packages[@]}" | sha256sum | head -c 12)
  [ ! -e "$tree/.complete" ] || return 0
  echo "making a Debian with systemd (${SECONDS} s so far)"
  rm -rf "$cache"/podman-trixie*
  mkdir -p "$cache"
  local packages
  packages=$(IFS=, && echo "${tree_packages[*]}")
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    trixie "$tree"
  touch "$tree/.complete"
}

# make_root ROOT: a copy of the tree with the user, and the deployment's files and the scenarios in /ci.
make_root() {
  local root=$1
  cp -a --reflink=auto "$tree" "$root"
  chroot "$root" useradd --create-home --uid "$guest_uid" --shell /bin/bash "$guest"
  install -D /dev/null "$root/var/lib/systemd/linger/$guest"
  # Docker is for the scenario that wants it.
  rm -f "$root"/etc/systemd/system/*.wants/{docker,containerd,docker-registry}.service "$root"/etc/systemd/system/*.wants/docker.socket
  # This machine's cgroups may belong to version 1: limits are tested elsewhere.
  install -D /dev/stdin "$root/home/$guest/.config/containers/containers.conf" <<< $'[containers]\npids_limit = 0'
  install /dev/stdin "$root/home/$guest/.config/containers/storage.conf" <<< $'[storage]\ndriver = "overlay"'
  mkdir "$root/ci"
  cp -R deploy package.json package-lock.json "$root/ci/"
  cp -R test/podman/systemd.d "$root/ci/"
  node dist/test/podman/write-fences.js "$root/ci/fences"
  # For the commands of the pages: an administrator who asks for no password, and llamapod without Node.js, from the image.
  chroot "$root" passwd --quiet --delete root
  install /dev/stdin "$root/usr/local/bin/sudo" <<< $'#!/bin/sh\nexec su root -c "$*"'
  install /dev/stdin "$root/usr/local/bin/npx" <<< $'#!/bin/sh\nshift\nexec podman run --rm --network=none localhost/llamapod:cpu "$@"'
  chroot "$root" chown -R "$guest:" "/home/$guest" /ci
  cat > "$root/etc/systemd/system/ci.service" << 'UNIT'
[Unit]
After=multi-user.target user@1000.service
[Service]
Type=oneshot
EnvironmentFile=/ci/environment
ExecStart=/bin/bash -c 'bash /ci/systemd.d/run.sh > /ci/out.log 2>&1; echo "exit code $?" >> /ci/out.log; systemctl poweroff --no-block'
UNIT
  ln -s ../ci.service "$root/etc/systemd/system/multi-user.target.wants/ci.service"
}

# take_image ROOT: the image that test/podman/run has built, or what $IMAGE_ARCHIVE names, into /ci/image.tar.
take_image() {
  if [ -n "${IMAGE_ARCHIVE:-}" ]; then
    cp "$IMAGE_ARCHIVE" "$1/ci/image.tar"
    return
  fi
  # shellcheck disable=SC2154 # by prepare.sh
  rm -f "$home/tmp/image.tar"
  as_user podman save --quiet --output "$home/tmp/image.tar" localhost/llamapod:cpu
  mv "$home/tmp/image.tar" "$1/ci/"
}

# nspawn ROOT ARGUMENTS...: in a mount tree and a cgroup of its own; --keep-unit, as there may be no systemd out here.
nspawn() {
  # shellcheck disable=SC2016 # the inner shell expands
  unshare --mount bash -c '
    mount --make-rprivate /
    for mounted in $(awk "\$3 == \"cgroup\" { print \$2 }" /proc/mounts); do umount "$mounted"; done
    umount /sys/fs/cgroup/unified 2> /dev/null
    umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/ci-$$" && echo $$ > "/sys/fs/cgroup/ci-$$/cgroup.procs"
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec timeout 1800 systemd-nspawn --quiet --register=no --keep-unit --machine="llamapod-$$" \
      --private-network --capability=all --system-call-filter="@keyring bpf" --resolv-conf=off --console=pipe --directory "$@"
  ' nspawn "$@"
}

# guest_command ROOT COMMAND...: as the user, in the system that is not booted.
guest_command() {
  local root=$1
  shift
  # shellcheck disable=SC2016 # the inner shell expands
  nspawn "$root" --as-pid2 bash -c '
    user=$0 uid=$(id -u "$0")
    install -d -o "$user" -g "$user" -m 0700 "/run/user/$uid"
    exec runuser -u "$user" -- env "HOME=/home/$user" "USER=$user" "XDG_RUNTIME_DIR=/run/user/$uid" "$@"
  ' "$guest" "$@"
}

# boot ROOT BOOT [WORDS...]: boots, plays the scenarios of the folder BOOT, powers off; 1 if one of them failed, or took longer
# than $patience_seconds.
boot() {
  local root=$1 console=$1.console
  printf 'BOOT=%s\nONLY=%s\nPATIENCE_SECONDS=%s\n' "$2" "${*:3}" "${patience_seconds:-300}" > "$root/ci/environment"
  rm -f "$root/ci/out.log"
  nspawn "$root" --boot > "$console" 2>&1 || true
  find /sys/fs/cgroup -path '*/ci-*' -depth -type d -exec rmdir {} + 2> /dev/null || true
  grep -v '^exit code 0$' "$root/ci/out.log" || tail -n 20 "$console"
  grep -qx 'exit code 0' "$root/ci/out.log"
}

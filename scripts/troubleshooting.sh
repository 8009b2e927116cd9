#!/usr/bin/env bash
# Writes docs/podman/troubleshooting.md anew, from what deploy/podman/doctor.sh can find. --print prints it instead.
set -euo pipefail
cd "$(dirname "$0")/.."

# rows: a line of the table for each paragraph of findings.txt.
rows() {
  awk '
    function cell(text) { gsub(/\|/, "\\|", text); return text }
    # The words in braces are of the host.
    function plain(text,  word) {
      while (match(text, /\{[a-z]+\}/)) {
        word = toupper(substr(text, RSTART + 1, RLENGTH - 2))
        text = substr(text, 1, RSTART - 1) word substr(text, RSTART + RLENGTH)
      }
      return cell(text)
    }
    function row() {
      if (id == "") return
      check = id; sub(/\..*/, "", check)
      printf "| %s | %s | %s | `%s`%s | %s |\n", check == last ? "" : "`" check "`", plain(field["level"]), plain(field["finding"]),
        plain(field["fix"]), field["or"] == "" ? "" : "<br>or: " plain(field["or"]), plain(field["who"])
      last = check; id = ""; split("", field)
    }
    /^#/ { next }
    /^[a-z-]+\.[a-z0-9-]+$/ { row(); id = $1; next }
    NF > 1 { name = $1; sub(/^[a-z]+ +/, ""); field[name] = $0 }
    END { row() }
  ' deploy/podman/doctor/findings.txt
}

page() {
  cat << 'HEAD'
# Troubleshooting

`deploy/podman/doctor.sh` looks for all of this, and prints the fix for this host; `--json` is for programs. It changes nothing, and
ends with 0 (all well), 1 (warnings) or 3 (something fails). `deploy/podman/setup-host.sh` prints what of it is for an administrator. In a
clone `npx llamapod doctor` is the same. `node`, `settings`, `folder` and `backend` are about a server without a container, whose file of
settings `--config` names; they are silent where llamapod is not set up for that.

| check | level | what it finds | fix | who |
| --- | --- | --- | --- | --- |
HEAD
  rows
  cat << 'TAIL'

## Exit codes

The scripts translate those of the engine: 124 it took too long, 125 it refused (image, secret, name, device, port), 126 and 127 the container
cannot be started (a stale GPU description, a port in use, no permission). And those of a container: 2 a setting cannot be used, 3 no
GPU that works although `LLAMAPOD_GPU=required`, or a first model that cannot be loaded, 137 killed (memory, failed probes, too slow to stop), 143
stopped.

## Symptoms

| symptom | reason, and what to do |
| --- | --- |
| "Connection reset by peer" on the published port | the server listens on 127.0.0.1 inside: leave `LLAMAPOD_HOST` alone, choose the address with `-p` |
| 421 "does not answer to the host name" | `LLAMAPOD_ALLOWED_HOSTS=NAME` |
| "Permission denied" for models of the host | `--userns=keep-id:uid=10001,gid=10001`; under SELinux `:z` |
| "overwritten by graph driver ... from database" | the driver was changed after the first command: `podman system reset`, which removes images and containers |
| a secret was changed, and the server still has the old one | `deploy/podman/complete-restart.sh` |
| Podman 4.3 hangs after a crash with `--restart=on-failure` | seen with `keep-id` and runc: let systemd restart it (Podman 5), or `podman start` |

This page is written by `scripts/troubleshooting.sh`.
TAIL
}

if [ "${1:-}" = --print ]; then page; else page > docs/podman/troubleshooting.md; fi

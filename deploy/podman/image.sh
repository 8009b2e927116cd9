#!/usr/bin/env bash
# Builds llamapod's image, pushes it with a signature, verifies one, lists what is inside.
#
#   image.sh build [--target cpu|cuda] [--tag NAME]      build from this checkout
#   image.sh push --tag NAME --to REGISTRY/NAME:TAG --key FILE --passphrase-file FILE
#                                                        push, signed (sigstore)
#   image.sh key --out PREFIX --passphrase-file FILE     make a key pair: PREFIX.private and PREFIX.pub
#   image.sh policy --from REGISTRY/NAME --public-key FILE
#                                                        print a policy.json that takes signed images only from there
#   image.sh verify --from REGISTRY/NAME:TAG --public-key FILE
#                                                        pull under such a policy; fails unless the signature holds
#   image.sh sbom [--tag NAME]                           what is inside: Debian's and npm's packages, as text
#
# --engine podman|docker chooses the engine of `build` (default: podman). --dry-run prints the commands instead.
#
# `build` reads: NODE_IMAGE, CPU_BASE, CUDA_BASE (other bases), SOURCE_DATE_EPOCH (default: date of the last commit),
# NPMRC_FILE and CA_FILE (a registry of your own; they do not become part of the image), BUILD_NETWORK (such as host).
# Exit codes: 0 done, 2 wrong arguments, 3 no usable engine, 5 not verified, otherwise the engine's own.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$root/deploy/podman/lib.sh"
readonly exit_unverified=5

action='' target=cpu tag='' to='' from='' key='' public_key='' passphrase_file='' out='' engine=podman
[ "$#" -gt 0 ] || {
  usage "$0"
  exit "$exit_usage"
}
while [ "$#" -gt 0 ]; do
  case $1 in
    build | push | key | policy | verify | sbom) action=$1 ;;
    --target | --tag | --to | --from | --key | --public-key | --passphrase-file | --out | --engine)
      need "$#" "$1"
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift
      ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done
[ -n "$action" ] || fail "$exit_usage" "say what to do: build, push, key, policy, verify or sbom"
case $target in cpu | cuda) ;; *) fail "$exit_usage" "--target is cpu or cuda, not $target" ;; esac
tag=${tag:-localhost/llamapod:$target}

wanted() {
  local name
  for name in "$@"; do
    [ -n "${!name}" ] || fail "$exit_usage" "$action needs --${name//_/-}" "${0##*/} --help shows how"
  done
}

build() {
  local args=() base version revision epoch
  engine=$(choose_engine "$engine")
  version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$root/package.json")
  revision=$(git -C "$root" rev-parse HEAD 2> /dev/null) || revision=unknown
  epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2> /dev/null)} || epoch=''
  for base in NODE_IMAGE CPU_BASE CUDA_BASE; do
    [ -z "${!base:-}" ] || args+=(--build-arg "$base=${!base}")
  done
  [ -z "${NPMRC_FILE:-}" ] || args+=(--secret "id=npmrc,src=$NPMRC_FILE")
  [ -z "${CA_FILE:-}" ] || args+=(--secret "id=ca,src=$CA_FILE")
  [ -z "${BUILD_NETWORK:-}" ] || args+=(--network "$BUILD_NETWORK")
  if [ "$engine" = podman ]; then
    # Only Docker's format has health checks.
    args+=(--format docker)
    [ -z "$epoch" ] || args+=(--timestamp "$epoch")
  fi
  run "$engine" build "${args[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --target "$target" --tag "$tag" --file "$root/Containerfile" "$root"
  "$dry_run" || say "$tag: $(("$("$engine" image inspect --format '{{.Size}}' "$tag")" / 1000000)) MB"
}

push() {
  wanted to key passphrase_file
  # A signature is of what is pushed, so the ones of an earlier push cannot come along.
  run podman push --remove-signatures --sign-by-sigstore-private-key "$key" --sign-passphrase-file "$passphrase_file" "$tag" "docker://$to"
  say "Podman finds the signature where registries.d says: docker: {${to%%/*}: {use-sigstore-attachments: true}}"
}

make_key() {
  wanted out passphrase_file
  run skopeo generate-sigstore-key --output-prefix "$out" --passphrase-file "$passphrase_file"
}

policy() {
  wanted from public_key
  cat << JSON
{
  "default": [{ "type": "reject" }],
  "transports": {
    "docker": {
      "${from%@*}": [
        { "type": "sigstoreSigned", "keyPath": "$(realpath "$public_key")", "signedIdentity": { "type": "matchRepository" } }
      ]
    },
    "containers-storage": { "": [{ "type": "insecureAcceptAnything" }] }
  }
}
JSON
}

verify() {
  wanted from public_key
  local folder problem
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  repository=${from%@*}
  [[ ${repository##*/} == *:* ]] && repository=${repository%:*}
  from_repository=$repository
  (from=$from_repository policy) > "$folder/policy.json"
  mkdir "$folder/registries.d"
  printf 'docker:\n  %s:\n    use-sigstore-attachments: true\n' "${from%%/*}" > "$folder/registries.d/llamapod.yaml"
  if "$dry_run"; then
    run skopeo --policy "$folder/policy.json" --registries.d "$folder/registries.d" copy "docker://$from" "dir:$folder/image"
    return
  fi
  if ! problem=$(skopeo --policy "$folder/policy.json" --registries.d "$folder/registries.d" copy --quiet "docker://$from" "dir:$folder/image" 2>&1); then
    fail "$exit_unverified" "$from is not signed as it should be." "$problem"
  fi
  say "$from carries a good signature of the key in $public_key"
}

sbom() {
  local show=(podman run --rm --network none --entrypoint)
  # shellcheck disable=SC2016 # the format is dpkg's
  run "${show[@]}" dpkg-query "$tag" -W -f 'deb ${Package} ${Version}\n'
  run "${show[@]}" node "$tag" -e '
    const lock = JSON.parse(require("fs").readFileSync("/app/node_modules/.package-lock.json", "utf8"));
    for (const [path, { version }] of Object.entries(lock.packages))
      console.log("npm", path.slice(path.lastIndexOf("node_modules/") + 13), version);'
}

case $action in
  build) build ;;
  push) push ;;
  key) make_key ;;
  policy) policy ;;
  verify) verify ;;
  sbom) sbom ;;
esac

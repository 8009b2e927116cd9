#!/usr/bin/env bash
# Builds llamapod's image, pushes it with a signature, signs and verifies one in a registry, lists what is inside.
#
#   image.sh build [--target cpu|cuda] [--tag NAME] [--no-cache]
#                                                        build from this checkout; --no-cache takes nothing from earlier builds
#   image.sh push --tag NAME --to REGISTRY/NAME:TAG --key FILE --passphrase-file FILE
#                                                        push, signed (sigstore)
#   image.sh sign --from REGISTRY/NAME:TAG --key FILE --passphrase-file FILE
#                                                        sign what is in the registry already
#   image.sh key --out PREFIX --passphrase-file FILE     make a key pair: PREFIX.private and PREFIX.pub
#   image.sh policy --from REGISTRY/NAME --public-key FILE
#                                                        print a policy.json that takes signed images only from there
#   image.sh verify --from REGISTRY/NAME:TAG --public-key FILE
#                                                        pull under such a policy; fails unless the signature holds
#   image.sh sbom [--tag NAME]                           what is inside: Debian's and npm's packages, as CycloneDX JSON
#
# --engine podman|docker chooses the engine of `build` and `sbom` (default: podman). --dry-run prints the commands instead.
#
# `build` reads: NODE_IMAGE, CPU_BASE, CUDA_BASE (other bases), SOURCE_DATE_EPOCH (default: date of the last commit),
# NPMRC_FILE and CA_FILE (a registry of your own; they do not become part of the image), BUILD_NETWORK (such as host).
# Exit codes: 0 done, 2 wrong arguments, 3 no usable engine or no skopeo, 5 a signature that does not hold, otherwise the engine's own.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$checkout/deploy/podman/lib.sh"
readonly exit_unverified=5

action='' target=cpu tag='' to='' from='' key='' public_key='' passphrase_file='' out='' engine=podman no_cache=false
[ "$#" -gt 0 ] || {
  usage "$0"
  exit "$exit_usage"
}
while [ "$#" -gt 0 ]; do
  case $1 in
    build | push | sign | key | policy | verify | sbom) action=$1 ;;
    --target | --tag | --to | --from | --key | --public-key | --passphrase-file | --out | --engine)
      need "$#" "$1"
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift
      ;;
    --no-cache) no_cache=true ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done
[ -n "$action" ] || fail "$exit_usage" "say what to do: build, push, sign, key, policy, verify or sbom"
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
  version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$checkout/package.json")
  revision=$(git -C "$checkout" rev-parse HEAD 2> /dev/null) || revision=unknown
  epoch=${SOURCE_DATE_EPOCH:-$(git -C "$checkout" log -1 --format=%ct 2> /dev/null)} || epoch=''
  for base in NODE_IMAGE CPU_BASE CUDA_BASE; do
    [ -z "${!base:-}" ] || args+=(--build-arg "$base=${!base}")
  done
  [ -z "${NPMRC_FILE:-}" ] || args+=(--secret "id=npmrc,src=$NPMRC_FILE")
  [ -z "${CA_FILE:-}" ] || args+=(--secret "id=ca,src=$CA_FILE")
  ! "$no_cache" || args+=(--no-cache)
  [ -z "${BUILD_NETWORK:-}" ] || args+=(--network "$BUILD_NETWORK")
  if [ "$engine" = podman ]; then
    # Only Docker's format has health checks.
    args+=(--format docker)
    [ -z "$epoch" ] || args+=(--build-arg "SOURCE_DATE_EPOCH=$epoch")
    case "$epoch$(podman build --help 2> /dev/null)" in
      [0-9]*--rewrite-timestamp*) args+=(--source-date-epoch "$epoch" --rewrite-timestamp) ;;
      [0-9]*) args+=(--timestamp "$epoch") ;;
    esac
  fi
  run "$engine" build "${args[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --target "$target" --tag "$tag" --file "$checkout/Containerfile" "$checkout"
  "$dry_run" || say "$tag: $(("$("$engine" image inspect --format '{{.Size}}' "$tag")" / 1000000)) MB"
}

need_skopeo() {
  "$dry_run" || command -v skopeo > /dev/null || fail "$exit_engine" "skopeo is not installed." "sudo apt-get install skopeo   (or: sudo dnf install skopeo)"
}

# signatures_beside REGISTRY/NAME: a registries.d for one call, which has signatures kept beside the images; sets $folder.
signatures_beside() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  mkdir "$folder/registries.d"
  printf 'docker:\n  %s:\n    use-sigstore-attachments: true\n' "${1%%/*}" > "$folder/registries.d/llamapod.yaml"
}

push() {
  wanted to key passphrase_file
  need_skopeo
  signatures_beside "$to"
  # A signature is of what is pushed, so the ones of an earlier push cannot come along.
  run skopeo --registries.d "$folder/registries.d" copy --quiet --remove-signatures \
    --sign-by-sigstore-private-key "$key" --sign-passphrase-file "$passphrase_file" "containers-storage:$tag" "docker://$to"
}

sign() {
  wanted from key passphrase_file
  need_skopeo
  signatures_beside "$from"
  # Whoever signs vouches for it: a policy that wants a signature first cannot hold here.
  run skopeo --insecure-policy --registries.d "$folder/registries.d" copy --quiet --preserve-digests \
    --sign-by-sigstore-private-key "$key" --sign-passphrase-file "$passphrase_file" "docker://$from" "docker://$from"
}

make_key() {
  wanted out passphrase_file
  need_skopeo
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
  say "Podman finds the signatures when ~/.config/containers/registries.d/llamapod.yaml says: docker: {${from%%/*}: {use-sigstore-attachments: true}}"
}

verify() {
  wanted from public_key
  need_skopeo
  [ -r "$public_key" ] || fail "$exit_usage" "--public-key: $public_key cannot be read"
  local problem code=0 repository=${from%@*}
  signatures_beside "$from"
  [[ ${repository##*/} == *:* ]] && repository=${repository%:*}
  (from=$repository policy) > "$folder/policy.json" 2> /dev/null
  local copy=(skopeo --policy "$folder/policy.json" --registries.d "$folder/registries.d" copy --quiet "docker://$from" "dir:$folder/image")
  if "$dry_run"; then
    run "${copy[@]}"
    return
  fi
  problem=$("${copy[@]}" 2>&1) || code=$?
  # All else, such as a registry that does not answer, says nothing of the signature.
  [[ $problem != *'Source image rejected'* ]] || fail "$exit_unverified" "$from is not signed as it should be." "$problem"
  [ "$code" -eq 0 ] || fail "$code" "$from could not be fetched, and so not verified." "$problem"
  say "$from carries a good signature of the key in $public_key"
}

sbom() {
  engine=$(choose_engine "$engine")
  run "$engine" run --rm --interactive --network none --entrypoint node "$tag" --input-type=module - < "$checkout/deploy/podman/sbom.mjs"
}

case $action in
  build) build ;;
  push) push ;;
  sign) sign ;;
  key) make_key ;;
  policy) policy ;;
  verify) verify ;;
  sbom) sbom ;;
esac

# Podman takes an image with our signature, and none without one or with somebody else's; and our example of a policy is what we print.
with_registry
image() { as_user $scripts/image.sh "$@"; }
refused() {
  local code=0
  "${@:2}" > "$keys/said" 2>&1 || code=$?
  [ "$code" -eq "$1" ] || { cat "$keys/said" && return 1; }
}
ours=(--key "$keys/release.private" --passphrase-file "$keys/pass")
theirs=(--key "$keys/other.private" --passphrase-file "$keys/pass")
verify() { image verify --from "$registry/$1" --public-key "$keys/release.pub"; }

image key --out "$keys/other" --passphrase-file "$keys/pass"
image push --to $registry/llamapod:1 "${ours[@]}"
image push --to $registry/foreign:1 "${theirs[@]}"
as_user podman push --quiet --remove-signatures localhost/llamapod:cpu $registry/late:1
verify llamapod:1
refused 5 verify foreign:1
refused 5 verify late:1

policy=$guest_home/.config/containers/policy.json
for name in llamapod foreign late; do
  image policy --from $registry/$name --public-key "$keys/release.pub"
done | as_user jq --slurp 'reduce .[] as $one ({}; . * $one)' > "$keys/policy.json"
as_user cp "$keys/policy.json" "$policy"
as_user mkdir -p $guest_home/.config/containers/registries.d
echo "docker: {$registry: {use-sigstore-attachments: true}}" | as_user tee $guest_home/.config/containers/registries.d/llamapod.yaml > /dev/null
as_user podman pull --quiet $registry/llamapod:1
refused 125 as_user podman pull --quiet $registry/late:1
grep 'no signature exists' "$keys/said"
refused 125 as_user podman pull --quiet $registry/foreign:1
grep 'signature verification failed' "$keys/said"

image sign --from $registry/late:1 "${ours[@]}"
verify late:1
as_user podman pull --quiet $registry/late:1

diff <(image policy --from registry.example/llamapod --public-key /etc/containers/llamapod.pub) $scripts/policy.json.example
as_user rm "$policy"
as_user podman rmi $registry/llamapod:1 $registry/late:1

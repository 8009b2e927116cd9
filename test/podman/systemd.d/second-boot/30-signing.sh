# What the page about images says: keys, a signature, a policy. Podman then takes an image with our signature, and none without one
# or with somebody else's.
with_registry
echo passphrase | as_user tee /ci/pass
fence images.md#signing
ours=(--key /ci/release.private --passphrase-file /ci/pass)
image() { as_user $scripts/image.sh "$@"; }
verify() { image verify --from "$registry/llamapod:$1" --public-key /ci/release.pub; }

image key --out "$keys/other" --passphrase-file /ci/pass
variant foreign 'LABEL signature=theirs'
image push --tag localhost/foreign --to $registry/llamapod:foreign --key "$keys/other.private" --passphrase-file /ci/pass
variant late 'LABEL signature=none'
as_user podman push --quiet --remove-signatures localhost/late $registry/llamapod:late
refused 5 verify foreign
refused 5 verify late

as_user podman pull --quiet $registry/llamapod:1.0.0
refused 125 as_user podman pull --quiet $registry/llamapod:late
grep 'no signature exists' $said
refused 125 as_user podman pull --quiet $registry/llamapod:foreign
grep 'signature verification failed' $said

image sign --from $registry/llamapod:late "${ours[@]}"
verify late
as_user podman pull --quiet $registry/llamapod:late

# Our example of a policy is what we print.
diff <(image policy --from $registry/llamapod --public-key /etc/containers/llamapod.pub) $scripts/policy.json.example
as_user rm "$policy"
as_user podman rmi $registry/llamapod:1.0.0 $registry/llamapod:late

# Under a policy that demands our signature: a newer image under the tag comes in by itself, one without the signature does not; one
# that does not become healthy goes out again, and the old one answers.
with_registry
name=$registry/llamapod:1
echo passphrase | as_user tee "$keys/pass"
as_user $scripts/image.sh key --out "$keys/release" --passphrase-file "$keys/pass"
as_user $scripts/image.sh policy --from $registry/llamapod --public-key "$keys/release.pub" | as_user tee "$policy"
push() { as_user $scripts/image.sh push --tag "$1" --to $name --key "$keys/release.private" --passphrase-file "$keys/pass"; }
running() { as_user podman inspect --format '{{.ImageName}} {{.Image}}' llamapod-main; }
container() { as_user podman inspect --format '{{.Id}}' llamapod-main; }
update() { as_user podman auto-update --format '{{.Unit}} {{.Updated}}'; }

push localhost/llamapod:cpu
# The page takes it away again.
as_user $scripts/drop-in.sh pod
fence quadlet.md#drop-ins
first=$(running) went_on=$(container)
[[ $first == "$name "* ]]

variant newer 'LABEL newer=yes'
as_user podman push --quiet --remove-signatures localhost/newer $name
refused 125 update
grep 'no signature exists' $said
[ "$(container)" = "$went_on" ]
ready

push localhost/newer
update | grep -x 'llamapod@main.service true'
second=$(running)
[ "$second" != "$first" ]
ready

variant broken 'ENTRYPOINT ["false"]'
push localhost/broken
update | grep -x 'llamapod@main.service rolled back'
until_true active_and_ready
[ "$(running)" = "$second" ]

as_user rm "$policy"
as_user $scripts/drop-in.sh registry --remove
as_user $scripts/complete-restart.sh --instance main

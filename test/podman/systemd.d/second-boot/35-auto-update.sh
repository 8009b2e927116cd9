# A newer image under the tag comes in by itself; one that does not become healthy goes out again, and the old one answers.
with_registry
name=$registry/llamapod:stable
push() { as_user $scripts/image.sh push --tag "$1" --to $name --key "$keys/release.private" --passphrase-file "$keys/pass"; }
# variant NAME LINES: an image like ours, with something changed.
variant() {
  printf 'FROM localhost/llamapod:cpu\n%b\n' "$2" | as_user podman build --quiet --format docker --tag "localhost/$1" - > /dev/null
}
running() { as_user podman inspect --format '{{.ImageName}} {{.Image}}' llamapod-main; }

push localhost/llamapod:cpu
as_user podman pull --quiet $name
as_user $scripts/drop-in.sh registry --image $name
as_user $scripts/complete-restart.sh --instance main
first=$(running)
[[ $first == "$name "* ]]

variant newer 'LABEL newer=yes'
push localhost/newer
as_user podman auto-update --format '{{.Unit}} {{.Updated}}' | grep -x 'llamapod@main.service true'
second=$(running)
[ "$second" != "$first" ]
ready

variant broken 'ENTRYPOINT ["false"]'
push localhost/broken
as_user podman auto-update --format '{{.Unit}} {{.Updated}}' | grep -x 'llamapod@main.service rolled back'
until_true active_and_ready
[ "$(running)" = "$second" ]

as_user $scripts/drop-in.sh registry --remove
as_user $scripts/complete-restart.sh --instance main

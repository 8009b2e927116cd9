# systemd builds the image from a checkout, here one that only changes ours, and makes the volume that instances share.
checkout=$guest_home/llamapod
as_user mkdir "$checkout"
echo 'from the checkout' | as_user tee "$checkout/mark" > /dev/null
printf 'FROM localhost/llamapod:cpu AS cpu\nCOPY mark /app/mark\n' | as_user tee "$checkout/Containerfile" > /dev/null
as_user $scripts/drop-in.sh build
as_user $scripts/drop-in.sh shared-models
as_user $scripts/complete-restart.sh --instance main
ready
as_user podman exec llamapod-main cat /app/mark | grep -x 'from the checkout'
as_user podman exec llamapod-main touch /var/lib/llamapod/models/shared
[ -e "$(as_user podman volume inspect --format '{{.Mountpoint}}' llamapod-shared-data)/shared" ]

for name in build shared-models; do as_user $scripts/drop-in.sh $name --remove; done
as_user $scripts/complete-restart.sh --instance main

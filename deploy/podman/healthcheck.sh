#!/bin/bash
# Ready or not, without starting Node.js or having curl: one HTTP request over bash's own /dev/tcp.
exec 3<> "/dev/tcp/127.0.0.1/${LLAMAPOD_METRICS_PORT:-${LLAMAPOD_PORT:-8080}}" || exit 1
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${1:-/health/ready}" >&3
IFS= read -r -t 4 status <&3 && [[ $status == *' 200 '* ]]

# shellcheck shell=bash
# Asks the server without curl, over bash's own /dev/tcp. Sourced by lib.sh.

# Longer than any of these answers takes: a server that hangs takes the connection and says nothing. Tests wait less.
readonly http_seconds=${LLAMAPOD_HTTP_SECONDS:-5}

# http METHOD URL: status line, headers and body, without carriage returns. Fails where nobody answers in time.
http() {
  local rest=${2#http://} answer
  local address=${rest%%/*}
  local host=${address%:*}
  host=${host#[}
  # The key stays in the environment: arguments can be seen by everybody.
  # shellcheck disable=SC2016 # the inner shell expands
  answer=$(timeout "$http_seconds" bash -c '
    exec 3<> "/dev/tcp/$2/$3" || exit 1
    key=${LLAMAPOD_API_KEY:+Authorization: Bearer $LLAMAPOD_API_KEY$4}
    printf "%s /%s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n%s\r\n" "$1" "$5" "$key" >&3
    tr -d "\r" <&3
  ' http "$1" "${host%]}" "${address##*:}" $'\r\n' "${rest#*/}" 2> /dev/null) || return 1
  [ -n "$answer" ] && printf '%s\n' "$answer"
}

# http_status, http_body: of an answer on standard input.
http_status() { sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p'; }
http_body() { sed '1,/^$/d'; }

# http_get URL: the body, whatever the status.
http_get() {
  http GET "$1" | http_body
}

# json_field NAME: the value of a plain field of the JSON on standard input.
json_field() {
  grep -o "\"$1\":\"\{0,1\}[^\",}]*" | head -n 1 | sed 's/^[^:]*:"\{0,1\}//' || true
}

# url_of_bind ADDRESS:PORT: how this machine reaches what is published there.
url_of_bind() {
  local host=${1%:*}
  case $host in '' | 0.0.0.0 | '[::]' | "$1") host=127.0.0.1 ;; esac
  echo "http://$host:${1##*:}"
}

# wait_ready URL SECONDS ENGINE NAME: follows /health/ready. 0 when ready. Else it has told what it was told last: 2 when the
# container has ended, 1 when there is no use in waiting longer.
wait_ready() {
  local url=$1 deadline=$((SECONDS + $2)) answer='' last='' ended=false
  while :; do
    # Asked before the answer: a server may end between the two.
    ! has_ended "$3" "$4" || ended=true
    answer=$(http_get "$url/health/ready") || answer=''
    case $answer in
      *'"status":"ok"'*)
        printf '%s\n' "$answer"
        return 0
        ;;
      *'"status":"failed"'* | *'"status":"invalid"'*) break ;;
    esac
    if "$ended"; then return 2; fi
    [ "$SECONDS" -lt "$deadline" ] || break
    [ "$answer" = "$last" ] || say "waiting: ${answer:-no answer yet}"
    last=$answer
    sleep 1
  done
  say "not ready: ${answer:-nobody answers at $url}"
  return 1
}

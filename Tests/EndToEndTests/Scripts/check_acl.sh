#!/usr/bin/env bash
# Starts mosquitto with the configuration and the ACL of production (only paths, port and one passwords file are its own)
# and tries what each kind of user may and may not do, over MQTT 5, where the broker says why it refuses.
# The TLS section, a comment in that file, is tried as well, with a certificate of its own.
# Prints a line for each attempt; exit status 1 if any of them ended otherwise than it should.
set -euo pipefail

root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=$(mktemp -d -t drover-acl.XXXXXX)
broker=
listener=
cleanup() {
  [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
  [ -z "$broker" ] || { kill "$broker" 2>/dev/null && wait "$broker" 2>/dev/null; } || true
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mosquitto=$(PATH=$PATH:/usr/sbin:/sbin command -v mosquitto) || { echo "mosquitto is not installed" >&2; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cloud_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

tls_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

mkdir -p "$folder/data" "$folder/access/tls"
certificate=$folder/access/tls/fullchain.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$folder/access/tls/privkey.pem" -out "$certificate" 2>/dev/null
cp "$root/broker/acl" "$folder/access/acl"
: > "$folder/access/passwords-machines"
: > "$folder/access/passwords-cloud"
for user in MAH001 MAH002 MAH +; do
  mosquitto_passwd -b "$folder/access/passwords-machines" "$user" "secret of $user" 2>/dev/null
done
for user in drover-cloud drover-debug; do
  mosquitto_passwd -b "$folder/access/passwords-cloud" "$user" "secret of $user" 2>/dev/null
done
chmod 0600 "$folder/access/acl" "$folder/access/passwords-machines" "$folder/access/passwords-cloud"
sed -e "s|/mosquitto/data/|$folder/data/|" -e "s|/mosquitto/access/|$folder/access/|" \
  -e "s|^listener 1883\$|listener $port 127.0.0.1|" \
  -e "s|^listener 1884\$|listener $cloud_port 127.0.0.1|" \
  -e "/^#listener 8883\$/,/^#tls_version/s/^#//" -e "s|^listener 8883\$|listener $tls_port 127.0.0.1|" \
  "$root/broker/mosquitto.conf" > "$folder/mosquitto.conf"
[ "$(grep -cE "^(listener ($port|$cloud_port|$tls_port) 127.0.0.1|(certfile|keyfile|tls_version) .*)\$" "$folder/mosquitto.conf")" -eq 6 ] ||
  { echo "broker/mosquitto.conf: its listener lines are not as this script expects them" >&2; exit 1; }
echo 'user root' >> "$folder/mosquitto.conf"  # as root it would leave the folder; otherwise no effect

"$mosquitto" -c "$folder/mosquitto.conf" 2> "$folder/broker.log" &
broker=$!

as() { # USER: the arguments to enter as that user, where its kind enters
  local own=$port
  case "$1" in drover-*) own=$cloud_port ;; esac
  arguments=(-h 127.0.0.1 -p "$own" -V 5 -u "$1" -P "secret of $1")
}

up=no
for _ in $(seq 100); do
  kill -0 "$broker" 2>/dev/null || break
  as drover-debug
  if mosquitto_sub "${arguments[@]}" -t '$SYS/broker/version' -C 1 -W 1 > "$folder/version" 2>/dev/null; then up=yes; break; fi
  sleep 0.1
done
[ "$up" = yes ] || { echo "the broker did not come up:" >&2; cat "$folder/broker.log" >&2; exit 1; }
cat "$folder/version"

failures=0
tried=0
say() { # EXPECTED SEEN WHAT [OUTPUT, shown if it is wrong]
  tried=$((tried + 1))
  if [ "$1" = "$2" ]; then
    printf 'ok      %-9s %s\n' "$2" "$3"
  else
    printf 'WRONG   %-9s %s (should be %s)\n' "$2" "$3" "$1"
    printf '%s\n' "${4:-}" | sed 's/^/        /'
    failures=$((failures + 1))
  fi
}

publish() { # EXPECTED USER TOPIC, where EXPECTED is allowed or refused
  as "$2"
  local output seen
  output=$(timeout 10 mosquitto_pub "${arguments[@]}" -q 1 -d -t "$3" -m "{}" 2>&1) || true
  case "$output" in
    *'RC:135'*) seen=refused ;;                     # 0x87, not authorised
    *'RC:0)'* | *'RC:16)'*) seen=allowed ;;         # 0x10: allowed, and nobody listens
    *) seen="unclear" ;;
  esac
  say "$1" "$seen" "$2 publishes to $3" "$output"
}

hears() { # EXPECTED USER FILTER FROM TOPIC, where EXPECTED is heard or silence; FROM publishes to TOPIC
  as "$2"
  local log="$folder/heard" mark="mark-$tried"
  # Everyone may hear something (the first filter) that tells us that the subscription stands and that all is delivered.
  local end
  case "$2" in
    drover-*) end="drover/v1/MAH009/command/end" ;;
    *) end="drover/v1/$2/command/end" ;;
  esac
  : > "$log"  # here and not only by the listener, which may start late: the SUBACK of the last one must not count
  stdbuf -oL mosquitto_sub "${arguments[@]}" -q 1 -d -t "$end" -t "$3" -F 'HEARD %t %p' > "$log" 2>&1 &
  listener=$!
  await "$log" SUBACK
  as "$4"
  timeout 10 mosquitto_pub "${arguments[@]}" -q 1 -d -t "$5" -m "$mark" > "$folder/said" 2>&1 || echo "exit status $?" >> "$folder/said"
  as drover-cloud
  timeout 10 mosquitto_pub "${arguments[@]}" -q 1 -t "$end" -m "end-$mark" >/dev/null 2>&1
  await "$log" "HEARD $end end-$mark"
  kill "$listener" 2>/dev/null || true
  wait "$listener" 2>/dev/null || true
  listener=
  local seen=silence
  ! grep -qF "HEARD $5 $mark" "$log" || seen=heard
  say "$1" "$seen" "$2, subscribed to $3, when $4 publishes to $5" "$(cat "$log" "$folder/said")"
}

await() { # FILE TEXT
  for _ in $(seq 200); do
    if grep -qF "$2" "$1" 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  echo "waited in vain for '$2'; seen:" >&2; cat "$1" >&2
  exit 1
}

enter() { # EXPECTED (allowed or refused) NAME [mosquitto_pub arguments]
  local expected=$1 name=$2 seen=refused
  shift 2
  local output
  if output=$(timeout 10 mosquitto_pub -h 127.0.0.1 -p "$port" -V 5 -q 1 -d -t drover/v1/MAH001/status -m '{}' "$@" 2>&1); then
    seen=allowed
  fi
  say "$expected" "$seen" "$name connects" "$output"
}

echo "-- entering"
enter allowed 'MAH001 with its password' -u MAH001 -P 'secret of MAH001'
enter refused 'MAH001 with a wrong password' -u MAH001 -P 'guess'
enter refused 'MAH001 without a password' -u MAH001
enter refused 'an unknown user' -u MAH999 -P 'secret of MAH999'
enter refused 'an anonymous client'

enter allowed 'MAH001 over TLS' -u MAH001 -P 'secret of MAH001' -h localhost -p "$tls_port" --cafile "$certificate"
enter refused 'MAH001 over TLS with a wrong password' -u MAH001 -P guess -h localhost -p "$tls_port" --cafile "$certificate"
enter refused 'a client that does not know the certificate' -u MAH001 -P 'secret of MAH001' -h localhost -p "$tls_port" \
  --capath /etc/ssl/certs
enter refused 'MAH001 in the clear, where TLS is spoken' -u MAH001 -P 'secret of MAH001' -p "$tls_port"

enter refused 'drover-cloud where machines enter' -u drover-cloud -P 'secret of drover-cloud'
enter refused 'MAH001 where the cloud enters' -u MAH001 -P 'secret of MAH001' -p "$cloud_port"

echo "-- client IDs"
# Once a machine that called itself drover-cloud took the consumer's session over, and the fleet stood still.
hold() { # USER ID: connects and stays; its log is $folder/held-USER-ID
  as "$1"
  stdbuf -oL mosquitto_sub "${arguments[@]}" -i "$2" -q 1 -d -t drover/v1/MAH001/command/x > "$folder/held-$1-$2" 2>&1 &
  held+=("$!")
  await "$folder/held-$1-$2" SUBACK
}
keeps() { # EXPECTED USER ID WHAT: whether the one that stays is still there
  local seen=stays
  timeout 10 mosquitto_pub -h 127.0.0.1 -p "$cloud_port" -V 5 -u drover-cloud -P 'secret of drover-cloud' -q 1 \
    -t drover/v1/MAH001/command/x -m "again $tried" > /dev/null 2>&1 || true
  for _ in $(seq 60); do
    ! grep -qF "PUBLISH (d0, q1, r0" "$folder/held-$2-$3" || break
    sleep 0.05
  done
  [ "$(grep -c 'sending CONNECT' "$folder/held-$2-$3")" -eq 1 ] || seen=leaves
  say "$1" "$seen" "$4" "$(cat "$folder/held-$2-$3")"
}
held=()
hold drover-cloud drover-cloud
hold drover-cloud drover-doctor-1
hold drover-debug somebody
hold MAH001 drover-edge-MAH001
for id in drover-cloud drover-edge-MAH001 MAH001 drover-doctor-1; do
  as MAH002
  timeout 10 mosquitto_pub "${arguments[@]}" -i "$id" -q 1 -t drover/v1/MAH002/status -m '{}' > /dev/null 2>&1 || true
  keeps stays drover-cloud drover-cloud "the consumer, when MAH002 calls itself $id"
  keeps stays MAH001 drover-edge-MAH001 "the agent of MAH001, when MAH002 calls itself $id"
done
keeps stays drover-cloud drover-doctor-1 'a command of drover beside the consumer'
keeps stays drover-debug somebody 'a person who looks'
as MAH001
timeout 10 mosquitto_pub "${arguments[@]}" -i other -q 1 -t drover/v1/MAH001/status -m '{}' > /dev/null 2>&1 || true
await "$folder/held-MAH001-drover-edge-MAH001" "(mid: 2)"
keeps leaves MAH001 drover-edge-MAH001 'the agent of MAH001, when another program connects as MAH001'
kill "${held[@]}" 2>/dev/null || true
wait "${held[@]}" 2>/dev/null || true

echo "-- a machine writes"
for topic in snapshot/stock payload/temperature batch/orders schema/stock status down-confirm reply/42; do
  publish allowed MAH001 "drover/v1/MAH001/$topic"
  publish refused MAH001 "drover/v1/MAH002/$topic"
done
for topic in confirm down/snapshot/stock command/resync snapshot snapshot/stock/deeper unknown/stock; do
  publish refused MAH001 "drover/v1/MAH001/$topic"
done
publish refused MAH "drover/v1/MAH001/status"
publish refused MAH001 "drover/v2/MAH001/status"
publish refused MAH001 "drover/v1"
publish refused MAH001 "elsewhere"
publish refused MAH001 '$SYS/broker/version'
publish refused + drover/v1/MAH001/status

echo "-- the cloud writes"
for topic in confirm down/snapshot/stock command/resync; do
  publish allowed drover-cloud "drover/v1/MAH001/$topic"
  publish allowed drover-cloud "drover/v1/MAH002/$topic"
done
for topic in snapshot/stock payload/temperature batch/orders schema/stock status; do  # dead letters, sent again, and what `drover forget` clears
  publish allowed drover-cloud "drover/v1/MAH001/$topic"
done
for topic in down-confirm reply/42; do
  publish refused drover-cloud "drover/v1/MAH001/$topic"
done
publish refused drover-cloud drover/v1/drover-cloud/status
publish refused drover-cloud elsewhere

echo "-- a person who looks writes nothing"
for topic in MAH001/confirm MAH001/command/resync MAH001/snapshot/stock MAH001/status drover-debug/status drover-debug/payload/x; do
  publish refused drover-debug "drover/v1/$topic"
done

echo "-- hearing"
hears heard drover-cloud 'drover/v1/#' MAH001 drover/v1/MAH001/snapshot/stock
hears heard drover-cloud '$share/fleet/drover/v1/#' MAH002 drover/v1/MAH002/payload/temperature
hears heard drover-debug 'drover/v1/#' MAH001 drover/v1/MAH001/status
hears heard drover-debug 'drover/v1/#' drover-cloud drover/v1/MAH001/confirm
hears heard MAH001 drover/v1/MAH001/confirm drover-cloud drover/v1/MAH001/confirm
hears heard MAH001 'drover/v1/MAH001/down/#' drover-cloud drover/v1/MAH001/down/snapshot/stock
hears heard MAH001 'drover/v1/MAH001/command/#' drover-cloud drover/v1/MAH001/command/resync
hears silence MAH001 drover/v1/MAH002/confirm drover-cloud drover/v1/MAH002/confirm
hears silence MAH001 'drover/v1/MAH002/down/#' drover-cloud drover/v1/MAH002/down/snapshot/stock
hears silence MAH001 'drover/v1/#' MAH002 drover/v1/MAH002/snapshot/stock
hears silence MAH001 'drover/v1/+/command/#' drover-cloud drover/v1/MAH002/command/resync
hears silence MAH001 'drover/v1/MAH001/#' drover-cloud drover/v1/MAH001/snapshot/stock
hears silence MAH001 '#' MAH002 drover/v1/MAH002/status

echo "-- too large"
# MQTT 5 tells the client the limit, so it sends nothing (and mosquitto_pub calls that success); one that cannot be told
# is thrown out, which it notices.
as MAH001
head -c 9000000 /dev/zero > "$folder/large"
timeout 20 mosquitto_pub "${arguments[@]}" -q 1 -d -t drover/v1/MAH001/payload/large -f "$folder/large" > "$folder/heard" 2>&1 || true
seen=unclear
if grep -q 'sending PUBLISH' "$folder/heard"; then seen=sent; elif grep -q 'CONNACK (0)' "$folder/heard"; then seen="not sent"; fi
say "not sent" "$seen" 'MAH001 publishes 9 MB over MQTT 5'
seen=sent
timeout 20 mosquitto_pub "${arguments[@]}" -V 311 -q 1 -t drover/v1/MAH001/payload/large -f "$folder/large" > /dev/null 2>&1 || seen=refused
say refused "$seen" 'MAH001 publishes 9 MB over MQTT 3.1.1'

kill -0 "$broker" 2>/dev/null || { echo "the broker died:" >&2; cat "$folder/broker.log" >&2; exit 1; }
echo "$tried attempts, $failures not as they should be"
[ "$failures" -eq 0 ]

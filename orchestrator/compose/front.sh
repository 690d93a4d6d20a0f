# Passes each connection on to the container of the release that answers now.
#
#   front PORT...      in the root
#
# While a switch is unconfirmed that is the release before it, until the new one was verified
# (lock/armed-<run>/serving); otherwise the one that `current` points at.
cat >/tmp/answer <<'END'
for try in 1 2 3; do # a file of a switch that cannot be read tells nothing
    release= unconfirmed=
    for switch in lock/armed-*/switch lock/fired-*/switch; do
        { read -r new back _ <"$switch"; } 2>/dev/null || continue
        unconfirmed=1 release=$back
        case $switch in */armed-*) [ ! -e "${switch%/switch}/serving" ] || release=$new ;; esac
    done
    [ -z "$unconfirmed" ] || break
    release=$(readlink current)
    release=${release#releases/}
    set -- "$1" lock/armed-*/switch lock/fired-*/switch
    [ -e "$2" ] || [ -e "$3" ] || break # else a switch began, or was undone, just now
done
case $release in '' | -) exit 1 ;; esac
exec socat -t 86400 FD:0,shut-down "TCP:r-${release##*-}:$1"
END
command -v socat >/dev/null || { echo "front: the image has no socat" >&2 && exit 127; }
trap 'kill $listeners 2>/dev/null; exit 0' TERM INT
listeners=
for port; do
    socat "TCP-LISTEN:$port,fork,reuseaddr,backlog=1024,nodelay" \
        "EXEC:sh /tmp/answer $port,nofork" &
    listeners="$listeners $!"
done
while kill -0 $listeners 2>/dev/null; do
    sleep 1 &
    wait $!
done
exit 1

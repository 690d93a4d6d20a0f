#!/bin/sh
# PID 1 of a release's container: runs the engine as long as it is this release's turn.
#
#   turn COMMAND...    in the release's folder
#   turn --healthy     whether the engine runs
#
# Its turn is when `current` points at it, and when an unconfirmed switch would go back to it, unless
# the other one needs the machine for itself (lock/armed-<run>/alone). So a host goes back without
# its controller, and without anybody who may command the Docker Engine.
LC_ALL=C
here=$(pwd -P)
release=${here##*/}

my_turn() {
    [ ! ../../current -ef . ] || return 0
    for switch in ../../lock/armed-*/switch ../../lock/fired-*/switch; do
        { read -r _ back _ <"$switch"; } 2>/dev/null || continue
        [ "$back" != "$release" ] || [ -e "${switch%/switch}/alone" ] || return 0
    done
    return 1
}

pause() { # a second, which a signal cuts short
    sleep 1 &
    wait $!
}

end() { # the engine gets eight seconds to end by itself
    kill -TERM "$engine" 2>/dev/null
    seconds=0
    while kill -0 "$engine" 2>/dev/null && [ $seconds -lt 8 ]; do
        pause
        seconds=$((seconds + 1))
    done
    kill -KILL "$engine" 2>/dev/null
    rm -f /tmp/engine
}

if [ "$1" = --healthy ]; then
    my_turn || { echo "it is not the turn of $release" && exit 1; }
    [ -e /tmp/engine ] || [ ! -w /tmp ] || { echo "the engine does not run" && exit 1; }
    exit 0
fi

engine=
trap '[ -z "$engine" ] || end; exit 0' TERM INT
rm -f /tmp/engine
if ! my_turn; then
    echo "$release waits: $(readlink ../../current || echo nothing) is active" >&2
    until my_turn; do pause; done
fi
exec 3<&0 # what runs in the background gets /dev/null otherwise
"$@" <&3 3<&- &
engine=$!
exec 3<&-
{ echo "$engine" >/tmp/engine; } 2>/dev/null
lost=0 # a switch that is being renamed is not seen for a moment
while kill -0 "$engine" 2>/dev/null; do
    if my_turn; then lost=0; else lost=$((lost + 1)); fi
    if [ $lost -ge 2 ]; then
        echo "$release ends: it is not its turn any more" >&2
        end
        exit 0
    fi
    pause
done
rm -f /tmp/engine
wait "$engine"

# The helper that runs on a host: POSIX sh and coreutils or busybox, nothing else.
# It is fed over stdin with one call behind it and leaves nothing of itself behind, but for the
# timer of an unconfirmed switch (switch.sh).
# What it reports are lines that start with $at, a mark that changes with every run of the
# controller; everything else on stdout is noise.
#
#   ROOT/store/sha256/ab/<digest>     verified blobs, read-only; <digest>.part while arriving
#   ROOT/releases/<id>/               complete releases; .new-<id> while being put together
#   ROOT/current -> releases/<id>     switched by rename(2)
#   ROOT/lock/                        owner.json, made in one rename(2); see lock.sh
#   ROOT/lock/armed-<run>/            a switch that nobody has confirmed; see switch.sh
#   ROOT/audit.log                    one JSON line an action
LC_ALL=C
export LC_ALL
umask 022

say() { # an answer
    printf '%s%s\n' "$at" "$1"
}

fail() { # code, message
    say "error $1 $2"
    exit 0
}

enter() { # root, or "" for the default
    echo # whatever a login banner printed before ends here
    root=$1
    if [ -z "$root" ]; then
        root=/opt/orchestrate
        [ "$(id -u)" = 0 ] || root=$HOME/.local/share/orchestrate
    fi
    case $root in "~"*) root=$HOME${root#"~"} ;; esac
    say "root $root"
}

into_root() {
    cd "$root" 2>/dev/null || fail permission "cannot enter $root"
}

flush() { # files and folders: on the disk before anything points at them
    sync "$@" 2>/dev/null
    return 0
}

digest_of() { # path; OpenSSL uses the CPU's SHA instructions, coreutils mostly does not
    if command -v openssl >/dev/null 2>&1; then
        set -- "$(openssl dgst -sha256 -r <"$1")"
    elif command -v sha256sum >/dev/null 2>&1; then
        set -- "$(sha256sum <"$1")"
    else
        set -- "$(shasum -a 256 <"$1")"
    fi
    printf '%s' "${1%% *}"
}

started_at() { # pid: sets `started` to when it began, in ticks since the boot; fails when it ended
    started=
    { read -r process <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # the fields behind the name, which may hold anything
    set -- ${process##*) }
    [ "$1" != Z ] || return 1
    started=${20}
}

sign() { # path: leave there which process this is
    started_at $$
    echo "$$ $started" >"$1"
}

alive() { # path written by `sign`: whether that process still runs
    { read -r pid began <"$1"; } 2>/dev/null || return 1
    started_at "$pid" && [ "$started" = "$began" ]
}

kill_tree() { # pid: it and all that it started
    kill -STOP "$1" 2>/dev/null
    for entry in /proc/[0-9]*/stat; do
        { read -r process <"$entry"; } 2>/dev/null || continue
        parent=${process##*) ?}
        parent=${parent# }
        [ "${parent%% *}" != "$1" ] || kill_tree "${process%% *}"
    done
    kill -KILL "$1" 2>/dev/null
}

stop_work() { # the benchmark or service command that was left running
    ! alive lock/work || kill_tree "$pid"
    rm -f lock/work
}

limited() { # seconds, command...; with all that it started, also what does not heed SIGTERM
    if command -v timeout >/dev/null 2>&1; then
        exec 3<&0 # what runs in the background gets /dev/null otherwise
        timeout -k 5 "$@" <&3 3<&- &
        group=$!
        exec 3<&-
        wait $group
        set -- $?
        case $1 in 124 | 137) kill -KILL -$group 2>/dev/null ;; esac
        return "$1"
    else
        shift
        "$@"
    fi
}

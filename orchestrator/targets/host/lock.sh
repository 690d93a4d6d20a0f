# The lock: a folder that comes and goes in one rename(2), always with owner.json in it.
#
#   lock/owner.json     who, which run, since when, and for how long silence means that they are gone
#   lock/beat-<run>     rewritten by the controller as a sign of life
#   lock/work           the benchmark or service command that runs now
#
# The run's id is the fencing token: every change asks for it, and goes through the rename of a file
# in lock/ that carries it, so that a controller that wakes up late finds nothing to rename.

owner_run() { # sets `holder` to the run that holds the lock
    holder=
    owner=
    { read -r owner <lock/owner.json; } 2>/dev/null || return 0
    case $owner in *'"run":"'*) holder=${owner#*'"run":"'} ;; esac
    holder=${holder%%'"'*}
}

own_lock() { # root, run: refuse to change anything without the lock
    enter "$1"
    run=$2
    into_root
    owner_run
    if [ -z "$run" ] || [ "$holder" != "$run" ]; then
        report_lock
        report_state
        fail lock_lost "the lock on $root is not held by run $run"
    fi
}

let_go() { # run: remove the lock if it is that one's; not with a commit that is written nowhere else
    owner_run
    [ "$holder" = "$1" ] || return 0
    [ ! -d "lock/kept-$1" ] || write_down "$1" || return 0
    rm -rf ".gone-$1"
    mv -T lock ".gone-$1" 2>/dev/null && rm -rf ".gone-$1"
}

finish_left() { # what was decided but, after a crash, never brought to its end
    for left in lock/kept-*; do
        [ ! -d "$left" ] || alive "$left/by" || end_commit "${left#lock/kept-}"
    done
    for left in lock/fired-*; do
        [ -d "$left" ] || continue
        while alive "$left/by"; do sleep 1; done
        [ ! -d "$left" ] || end_revert "${left#lock/fired-}"
    done
}

make_lock() { # run, owner line
    new=.lock-$1
    rm -rf "$new"
    mkdir "$new" 2>/dev/null || fail permission "cannot write in $root"
    { printf '%s\n' "$2" >"$new/owner.json" && sign_of_life 0 "$new/beat-$1"; } 2>/dev/null || {
        rm -rf "$new"
        fail space "cannot write in $root"
    }
    mv -T "$new" lock 2>/dev/null && return 0
    rm -rf "$new"
    [ -d lock ] || fail no_rename "mv on this host cannot rename onto a name (mv -T is missing)"
    return 1
}

sign_of_life() { # number, path: of one width and in place, so that it works on a full disk too
    printf '%010d\n' "$1" 1<>"$2"
}

take_lock() { # root, run, owner line
    enter "$1"
    mkdir -p "$root" 2>/dev/null || fail permission "cannot create $root"
    into_root
    finish_left
    if [ -d lock ] || ! make_lock "$2" "$3"; then
        report_lock
        fail locked "$root/lock exists"
    fi
    after_lock
}

after_lock() {
    mkdir -p releases store/sha256 2>/dev/null || {
        let_go "$run"
        fail permission "cannot write in $root"
    }
    report_lock
    report_state
}

seize() { # root, run, owner line, run of the owner, seconds to watch for a sign of life
    enter "$1"
    into_root
    finish_left
    if [ ! -d lock ]; then
        take_lock "$1" "$2" "$3"
        return
    fi
    owner_run
    heard=$(cat "lock/beat-$holder" 2>/dev/null)
    waited=0
    while [ "$waited" -lt "$5" ] && [ "$holder" = "$4" ]; do
        sleep 1
        waited=$((waited + 1))
        [ "$(cat "lock/beat-$holder" 2>/dev/null)" = "$heard" ] || holder=
    done
    if [ "$holder" != "$4" ]; then
        report_lock
        fail locked "$root/lock exists"
    fi
    { printf '%s\n' "$3" >"lock/.owner-$2" && sign_of_life 0 "lock/beat-$2"; } 2>/dev/null ||
        fail space "cannot write in $root/lock"
    mv -f "lock/.owner-$2" lock/owner.json || fail permission "cannot write in $root/lock"
    [ "$2" = "$4" ] || rm -f "lock/beat-$4"
    stop_work
    if mv -T "lock/armed-$4" "lock/armed-$2" 2>/dev/null; then
        start_timer "$2"
    else
        finish_left
    fi
    # What an owner that was only asleep still sends goes nowhere.
    for part in store/sha256/*/*.part; do
        [ ! -f "$part" ] || { cp "$part" "${part%/*}/.new" && mv -f "${part%/*}/.new" "$part"; }
    done
    run=$2
    after_lock
}

drop_lock() { # root, run: unless a switch is unconfirmed, which its timer will undo
    enter "$1"
    cd "$root" 2>/dev/null || return 0
    [ -d "lock/armed-$2" ] || let_go "$2"
}

break_lock() { # root, reason: whoever's it is; what they left unconfirmed is undone
    enter "$1"
    cd "$root" 2>/dev/null || return 0
    report_lock
    finish_left
    owner_run
    stop_work
    reason=$2
    for left in lock/armed-*; do
        gone=${left#lock/armed-}
        [ ! -d "$left" ] || ! go_back "$gone" || record_revert "$gone"
    done
    rm -rf .gone-broken
    mv -T lock .gone-broken 2>/dev/null && rm -rf .gone-broken
    return 0
}

halt() { # root, run, reason: stop what runs here and leave nothing unconfirmed
    enter "$1"
    run=$2
    cd "$root" 2>/dev/null || return 0
    owner_run
    if [ "$holder" = "$run" ]; then
        stop_work
        if [ -d "lock/armed-$run" ] && go_back "$run"; then
            reason=$3
            record_revert "$run"
            say "halted back"
        fi
        let_go "$run"
    fi
    report_state
}

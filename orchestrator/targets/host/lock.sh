# The lock: a folder that comes in one rename(2), with its owner in it.
#
#   lock/beat-<run>     who has it: a number that the controller changes as a sign of life, and below
#                       it who that is, since when, and for how long silence means that they are gone
#   lock/owner.json     the same, for people
#   lock/work           the benchmark or service command that runs now
#
# The run's id is the fencing token. The lock is taken over by renaming beat-<run>, which only one can
# do; every change asks for it, and goes through the rename of something in lock/ that carries the
# run's id, so that who wakes up late finds nothing to rename.

owner_run() { # sets `holder` to the run that has the lock, "" where nobody has
    holder=
    for beat in lock/beat-*; do
        [ ! -f "$beat" ] || holder=${beat#lock/beat-}
    done
}

own_lock() { # root, run: refuse to change anything without the lock
    enter "$1"
    run=$2
    into_root
    if [ -z "$run" ] || [ ! -f "lock/beat-$run" ]; then
        report_lock
        report_state
        fail lock_lost "the lock on $root is not held by run $run"
    fi
}

let_go() { # run: remove the lock if it is that one's; not with a commit that is written nowhere else
    [ -f "lock/beat-$1" ] || return 0
    [ ! -d "lock/kept-$1" ] || write_down "$1" || return 0
    (
        cd lock 2>/dev/null && rm -f owner.json && mv "beat-$1" .gone 2>/dev/null || exit
        empty_this
    )
    rmdir lock 2>/dev/null
    return 0
}

empty_this() { # the folder of a lock that nobody has; another one may bear its name by now
    rm -rf ./* ./.[!.]*
}

clear_abandoned() { # a lock whose owner died while letting go of it
    [ -d lock ] && [ ! -e lock/owner.json ] || return 0
    owner_run
    [ -z "$holder" ] || return 0
    (cd lock 2>/dev/null && empty_this)
    rmdir lock 2>/dev/null
}

finish_left() { # what was decided but, after a crash, never brought to its end
    for left in lock/kept-*; do
        [ ! -d "$left" ] || { outlive "$left/by" && end_commit "${left#lock/kept-}"; }
    done
    for left in lock/fired-*; do
        [ ! -d "$left" ] || { outlive "$left/by" && end_revert "${left#lock/fired-}"; }
    done
    clear_abandoned
}

outlive() { # path that a process signs: wait until that one has ended, and end it if it hangs
    turn=0
    while alive "$1" || { [ ! -e "$1" ] && [ -d "${1%/*}" ] && [ $turn -lt 2 ]; }; do
        turn=$((turn + 1))
        [ $turn -lt 30 ] || kill_tree "$pid"
        sleep 1
    done
    [ -d "${1%/*}" ]
}

make_lock() { # run, owner line
    new=.lock-$1
    rm -rf "$new"
    mkdir "$new" 2>/dev/null || fail permission "cannot write in $root"
    own "$new" "$1" "$2" || {
        rm -rf "$new"
        [ ! -d lock ] || return 1
        fail space "cannot write in $root"
    }
    mv -T "$new" lock 2>/dev/null && return 0
    rm -rf "$new"
    [ -d lock ] || fail no_rename "mv on this host cannot rename onto a name (mv -T is missing)"
    return 1
}

own() { # folder, run, owner line; numbers have one width, so that they fit in place on a full disk
    { printf '%010d\n%s\n' 0 "$3" >"$1/beat-$2" && printf '%s\n' "$3" >"$1/owner.json"; } 2>/dev/null
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
    run=$2
    after_lock
}

after_lock() {
    rm -rf .lock-*
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
    heard=$(cat "lock/beat-$4" 2>/dev/null)
    waited=0
    while [ "$waited" -lt "$5" ] && [ "$(cat "lock/beat-$4" 2>/dev/null)" = "$heard" ]; do
        sleep 1
        waited=$((waited + 1))
    done
    if [ "$(cat "lock/beat-$4" 2>/dev/null)" != "$heard" ] || ! claim "$4" "$2"; then
        report_lock
        fail locked "$root/lock exists"
    fi
    own lock "$2" "$3" || fail space "cannot write in $root/lock"
    stop_work
    for left in lock/armed-*; do
        [ ! -d "$left" ] || { mv -T "$left" "lock/armed-$2" 2>/dev/null && start_timer "$2"; }
    done
    finish_left
    # What an owner that was only asleep still sends goes nowhere.
    for part in store/sha256/*/*.part; do
        [ ! -f "$part" ] || { cp "$part" "${part%/*}/.new" && mv -f "${part%/*}/.new" "$part"; }
    done
    run=$2
    after_lock
}

claim() { # run of the owner, run: only one can; a lock that was made by hand has no beat
    owner_run
    if [ -n "$holder" ]; then
        mv -T "lock/beat-$1" "lock/beat-$2" 2>/dev/null
    else
        mv -T lock/owner.json "lock/beat-$2" 2>/dev/null
    fi
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
    [ -d lock ] || return 0
    reason=$2
    owner_run
    claim "$holder" "unlock-$$" || return 0
    stop_work
    for left in lock/armed-*; do
        gone=${left#lock/armed-}
        [ ! -d "$left" ] || ! go_back "$gone" || record_revert "$gone"
    done
    let_go "unlock-$$"
}

halt() { # root, run, reason: stop what runs here and leave nothing unconfirmed
    enter "$1"
    run=$2
    cd "$root" 2>/dev/null || return 0
    if [ -f "lock/beat-$run" ]; then
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

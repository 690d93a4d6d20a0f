# Switching, and going back. From the switch until it is confirmed, a folder says how to go back:
#
#   lock/armed-<run>/   guard.sh   this text: the timer, and what `current/run` asks after a restart
#                       switch     "<release> <the one before it, or -> <seconds a command may take>"
#                       timer      which process waits; by: which one brings the rest to its end
#                       reserve    room for the way back on a full disk
#   lock/kept-<run>/    confirmed; line: what audit.log has still to be told
#   lock/fired-<run>/   undone, or about to be
#
# One rename(2) decides; whoever comes after a crash brings to its end what was decided. A timer needs
# neither the controller nor the SSH session, and counts its own seconds: no clock can deceive it.

record() { # an audit line; behind one that a full disk cut off it starts a new one
    [ -z "$1" ] ||
        { [ -z "$(tail -c 1 audit.log)" ] || echo && printf '%s\n' "$1"; } >>audit.log
} 2>/dev/null

check_file() { # release, name, digest: nothing is switched to that is not as it was made
    [ -f "releases/$1/$2" ] || fail damaged_release "$1 $2 is missing"
    [ "$(digest_of "releases/$1/$2")" = "$3" ] || fail damaged_release "$1 $2 was changed"
}

point_current() { # release or "", folder of the switch: in one rename(2), from or into that folder
    [ -L current ] || [ ! -e current ] || fail current_is_no_link "$root/current is no link"
    if [ -z "$1" ]; then
        [ ! -L current ] || mv -T -f current "$2/before" || fail permission "cannot remove current"
    else
        [ -f "releases/$1/manifest.json" ] || fail no_release "$1"
        rm -f "$2/current"
        ln -s "releases/$1" "$2/current" || fail space "cannot write in $root/$2"
        mv -T -f "$2/current" current || fail permission "cannot switch $root/current"
    fi
    flush . releases
}

arm() { # release, the one to go back to or "", seconds a command may take; guard.sh on stdin
    [ -L current ] || [ ! -e current ] || fail current_is_no_link "$root/current is no link"
    [ -f "releases/$1/manifest.json" ] || fail no_release "$1"
    [ -z "$2" ] || [ -f "releases/$2/manifest.json" ] || fail no_release "$2"
    new=lock/.arm-$run
    rm -rf "$new"
    mkdir "$new" && {
        cat >"$new/guard.sh" && cat "$new/guard.sh" >"$new/reserve" &&
            echo "$1 ${2:--} $3" >"$new/switch"
    } 2>/dev/null || fail space "cannot write in $root/lock"
    flush "$new"/* "$new"
    # Checking files takes long, and .arm would go into whoever's lock this is by now.
    [ -f "lock/beat-$run" ] || fail lock_lost "the lock on $root is not held by run $run any more"
    mv -T "lock/.arm-$run" "lock/armed-$run" || fail permission "cannot write in $root/lock"
    flush lock
    start_timer "$run"
}

start_timer() { # run
    if command -v setsid >/dev/null 2>&1; then
        setsid sh "lock/armed-$1/guard.sh" wait </dev/null >/dev/null 2>&1 &
    else
        nohup sh "lock/armed-$1/guard.sh" wait </dev/null >/dev/null 2>&1 &
    fi
    started_at $! && echo "$! $started" >"lock/armed-$1/timer" ||
        fail no_timer "the timer that would go back by itself does not start"
}

activate() { # release, audit line, written before it is acted on
    if ! record "$2"; then
        disarm
        fail audit "cannot write $root/audit.log"
    fi
    (point_current "$1" "lock/armed-$run")
    if [ "$(readlink current)" != "releases/$1" ]; then
        go_back "$run" && record_revert "$run"
        exit 0
    fi
    say "activated $1"
}

disarm() { # nothing was switched yet
    mv -T "lock/armed-$run" "lock/.off-$run" 2>/dev/null && rm -rf "lock/.off-$run"
}

go_back() { # run, "again" where somebody began: undo its switch, `undone` has to follow
    if mv -T "lock/armed-$1" "lock/fired-$1" 2>/dev/null || [ "$2" = again ]; then
        sign "lock/fired-$1/by" 2>/dev/null
    else
        [ ! -d "lock/fired-$1" ] || outlive "lock/fired-$1/by"
        return 1
    fi
    [ -d "lock/fired-$1" ] || return 1
    back=
    { read -r release back seconds <"lock/fired-$1/switch"; } 2>/dev/null
    [ -n "$back" ] || return 1 # a damaged one tells nothing: what is active stays
    rm -f "lock/fired-$1/reserve"
    [ "$back" != - ] || back=
    lies_here "$back" || back=$release # removed by hand: better unverified than nothing
    lies_here "$back" || back=
    stop_work
    point_current "$back" "lock/fired-$1"
    if [ -n "$back" ]; then
        command_of "$back" activate "$seconds" || trouble="; its activate command failed: $trouble"
    else
        command_of "$release" deactivate "$seconds" ||
            trouble="; its deactivate command failed: $trouble"
    fi
}

lies_here() { # release or ""
    [ -z "$1" ] || [ -f "releases/$1/manifest.json" ]
}

undone() { # run: its switch was undone and that is written
    rm -rf lock/.undone
    mv -T "lock/fired-$1" lock/.undone 2>/dev/null && rm -rf lock/.undone
}

end_revert() { # run: one that was decided by a process that is no more
    reason="going back was begun by run $1 and cut off"
    go_back "$1" again && record_revert "$1"
    let_go "$1"
}

record_revert() { # run: what the host did without being told, and that it is done
    write_revert "$1"
    undone "$1"
}

write_revert() { # run: a line of the audit log
    text=$(printf '%s' "$reason$trouble" | tr -d '\\"' | tr '\n\t' '  ' | cut -c1-500)
    line="{\"when\":\"$(date -u +%Y-%m-%dT%H:%M:%S+00:00)\",\"by\":\"host\",\"run\":\"$1\","
    line="$line\"what\":\"revert\",\"release\":"
    if [ -n "$back" ]; then line="$line\"$back\""; else line="${line}null"; fi
    record "$line,\"from\":\"$release\",\"reason\":\"$text\"}"
}

guard() { # "wait" or "boot", seconds of silence; $0 is guard.sh in the folder of the switch
    at=
    switch=${0%/guard.sh}
    run=${switch##*/}
    run=${run#*-}
    root=$(CDPATH='' cd -P -- "$switch/../.." && pwd -P) || return 1
    cd "$root" || return 1
    again=
    case $1 in
    wait)
        trap '' HUP INT TERM
        wait_for_confirmation "$2" || return 0
        reason="no sign of life of the controller for $2 s"
        ;;
    boot)
        ! alive "lock/armed-$run/timer" && ! alive "lock/fired-$run/by" || return 1
        reason="the host was restarted before the switch was confirmed"
        ;;
    esac
    while [ -d "lock/armed-$run" ] || [ -d "lock/fired-$run" ]; do
        if [ -d "lock/fired-$run" ]; then
            again=again pid=
            { read -r pid _ <"lock/fired-$run/by"; } 2>/dev/null
            [ "$pid" = $$ ] || outlive "lock/fired-$run/by" || return 1
        fi
        # As long as `fired` is there a controller that comes back waits; then it has no lock any more.
        (go_back "$run" "$again" >/dev/null && {
            write_revert "$run"
            let_go "$run"
            undone "$run"
            true
        }) && return 0
        [ "$1" = wait ] || return 1
        sleep 1 # a root that cannot be written now may be one that can later
    done
    return 1
}

wait_for_confirmation() { # seconds: fails when the switch is decided, ends when silence lasts
    seen= quiet=0
    while [ "$quiet" -lt "$1" ]; do
        [ -d "lock/armed-$run" ] || return 1
        beat=
        { read -r beat <"lock/beat-$run"; } 2>/dev/null
        quiet=$((quiet + 1))
        [ "$beat" = "$seen" ] || seen=$beat quiet=0
        sleep 1
    done
}

revert() { # root, run, audit lines: the controller's own way back; the lock stays
    own_lock "$1" "$2"
    if go_back "$run"; then
        record "$3"
        undone "$run"
        say "reverted ${back:--}$trouble"
    else
        [ -f "lock/beat-$run" ] || fail lock_lost "the host went back by itself just now"
        say "untouched"
    fi
    report_state
}

commit() { # as confirm; let go
    confirm "$@"
    let_go "$run"
    say "committed"
}

confirm() { # root, run, audit line, releases nobody needs any more
    own_lock "$1" "$2"
    if [ -d "lock/kept-$run" ]; then # sent twice
        finish_left
        return
    fi
    [ -d "lock/armed-$run" ] || fail lock_lost "the switch of run $run is not unconfirmed any more"
    line=$3
    shift 3
    if { read -r release _ <"lock/armed-$run/switch"; } 2>/dev/null; then
        [ "$(readlink current)" = "releases/$release" ] ||
            fail changed_meanwhile "$root/current is not $release any more"
    fi
    { printf '%s\n' "$line" >"lock/armed-$run/line" && sign "lock/armed-$run/by"; } 2>/dev/null || {
        [ -d "lock/armed-$run" ] || fail lock_lost "the host went back by itself just now"
        fail audit "cannot write in $root/lock"
    }
    flush "lock/armed-$run/line"
    mv -T "lock/armed-$run" "lock/kept-$run" 2>/dev/null || {
        report_state
        fail lock_lost "the host went back by itself just now"
    }
    rm -f "lock/kept-$run/guard.sh" "lock/kept-$run/reserve"
    write_down "$run"
    collect "$@"
}

write_down() { # run: what was confirmed and may not be in audit.log yet; fails on a full disk
    line=
    { read -r line <"lock/kept-$1/line"; } 2>/dev/null
    grep -qsxF "$line" audit.log || record "$line" || return 1
    rm -rf "lock/kept-$1"
}

end_commit() { # run: one that was decided by a process that is no more
    ! write_down "$1" || let_go "$1"
}

conclude() { # root, run, audit line: a verdict on what is active; let go
    own_lock "$1" "$2"
    record "$3" || fail audit "cannot write $root/audit.log"
    let_go "$run"
    say "concluded"
}

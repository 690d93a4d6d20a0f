# The service that runs the active release: the commands `activate`, `health` and `deactivate` that
# came with it, run in its folder.

command_of() { # release, name, seconds: run it; `trouble` says why it failed
    trouble=
    [ -f "releases/$1/$2" ] || return 0
    log=$root/lock/service.log
    { true >"$log"; } 2>/dev/null || log=$(mktemp 2>/dev/null) || log=/dev/null
    (
        cd "releases/$1" || exit
        ORCHESTRATE_ROOT=$root ORCHESTRATE_RELEASE=$1
        export ORCHESTRATE_ROOT ORCHESTRATE_RELEASE
        limited "$3" sh "./$2"
    ) </dev/null >"$log" 2>&1
    status=$?
    said=$(tail -n 1 "$log" 2>/dev/null | tr -d '\000-\037' | cut -c1-300)
    case $log in "$root"/* | /dev/null) ;; *) rm -f "$log" ;; esac
    [ $status != 0 ] || return 0
    trouble="exit $status"
    [ $status != 124 ] || trouble="no end after $3 s"
    trouble="$trouble${said:+: $said}"
    return 1
}

serve() { # root, run, release, seconds: let the service run the release, and wait until it is well
    own_lock "$1" "$2"
    sign lock/work
    command_of "$3" activate "$4" || fail service "its activate command failed: $trouble"
    waited=0
    until command_of "$3" health "$4"; do
        waited=$((waited + 1))
        [ "$waited" -lt "$4" ] || fail service "it is not healthy after $4 s: $trouble"
        sleep 1
    done
    rm -f lock/work
    say "served"
}

health() { # root, release, seconds: report what its health command says now
    enter "$1"
    into_root
    if command_of "$2" health "$3"; then say healthy; else say "unhealthy $trouble"; fi
}

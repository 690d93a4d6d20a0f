# The helper that runs on a host: POSIX sh and coreutils or busybox, nothing else.
# It is fed over stdin with one call behind it and leaves nothing of itself behind.
# What it reports are lines that start with "@"; everything else on stdout is noise.
#
#   ROOT/store/sha256/ab/<digest>     verified blobs, read-only; <digest>.part while arriving
#   ROOT/releases/<id>/               complete releases; .new-<id> while being put together
#   ROOT/current -> releases/<id>     switched by rename(2)
#   ROOT/lock/owner.json              made by mkdir
#   ROOT/audit.log                    one JSON line an action
LC_ALL=C
export LC_ALL
umask 022

fail() { # code, message
    printf '@error %s %s\n' "$1" "$2"
    exit 0
}

enter() { # root, or "" for the default
    root=$1
    if [ -z "$root" ]; then
        root=/opt/orchestrate
        [ "$(id -u)" = 0 ] || root=$HOME/.local/share/orchestrate
    fi
    case $root in "~"*) root=$HOME${root#"~"} ;; esac
    printf '@root %s\n' "$root"
}

report_lock() {
    if [ -d "$root/lock" ]; then
        owner='{}'
        [ -r "$root/lock/owner.json" ] && read -r owner <"$root/lock/owner.json"
        printf '@lock %s\n' "$owner"
    fi
}

report_file() { # tag, path: the file's lines, each behind "@tag "
    [ -r "$2" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do printf '@%s %s\n' "$1" "$line"; done <"$2"
}

report_current() { # the active release, its manifest and its config as it is now
    target=$(readlink current)
    printf '@current %s\n' "${target#releases/}"
    config=
    [ -r current/manifest.json ] || return 0
    while IFS= read -r line; do
        printf '@manifest %s\n' "$line"
        case $line in *'"config":"'*)
            config=${line#*'"config":"'}
            config=${config%%'"'*}
            ;;
        esac
    done <current/manifest.json
    [ -z "$config" ] || report_file config "current/$config"
}

report_state() { # what is on the host, as the controller's state parser reads it
    [ -d "$root" ] || return 0
    cd "$root" || fail permission "cannot enter $root"
    [ ! -L current ] || report_current
    for folder in releases/*/; do
        [ -f "${folder}manifest.json" ] || continue
        folder=${folder#releases/}
        printf '@release %s\n' "${folder%/}"
    done
    set -- store/sha256/*/*
    [ -e "$1" ] && ls -ln "$@" | while IFS= read -r line; do printf '@blob %s\n' "$line"; done
    [ -r audit.log ] && tail -n 200 audit.log | while IFS= read -r line; do
        printf '@audit %s\n' "$line"
    done
    return 0
}

survey() { # root: report, touch nothing
    enter "$1"
    report_lock
    report_state
}

take_lock() { # root, owner line
    enter "$1"
    mkdir -p "$root" 2>/dev/null || fail permission "cannot create $root"
    if ! mkdir "$root/lock" 2>/dev/null; then
        [ -d "$root/lock" ] || fail permission "cannot write in $root"
        report_lock
        fail locked "$root/lock exists"
    fi
    printf '%s\n' "$2" >"$root/lock/owner.json" || {
        rmdir "$root/lock"
        fail space "cannot write $root/lock/owner.json"
    }
    mkdir -p "$root/releases" "$root/store/sha256" || fail permission "cannot write in $root"
    report_state
}

own_lock() { # run: refuse to change anything without the lock
    owner=
    [ -r "$root/lock/owner.json" ] && read -r owner <"$root/lock/owner.json"
    case $owner in
    *"\"run\":\"$1\""*) ;;
    *)
        report_lock
        fail lock_lost "the lock on $root is not held by run $1"
        ;;
    esac
}

drop_lock() { # root, run
    enter "$1"
    owner=
    [ -r "$root/lock/owner.json" ] && read -r owner <"$root/lock/owner.json"
    case $owner in
    *"\"run\":\"$2\""*) rm -f "$root/lock/owner.json" && rmdir "$root/lock" ;;
    esac
}

break_lock() { # root
    enter "$1"
    report_lock
    rm -rf "$root/lock"
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

accept() { # digest: a complete .part becomes a blob, a damaged one goes
    blob=store/sha256/${1%"${1#??}"}/$1
    [ -f "$blob" ] && return 0
    [ -f "$blob.part" ] || fail missing_blob "$1"
    found=$(digest_of "$blob.part")
    if [ "$found" != "$1" ]; then
        rm -f "$blob.part"
        fail damaged_blob "$1 $found"
    fi
    chmod 444 "$blob.part" && mv -f "$blob.part" "$blob" || fail space "cannot store $1"
}

begin_stage() { # root, run, release
    enter "$1"
    own_lock "$2"
    cd "$root" || fail permission "cannot enter $root"
    release=$3
    new=releases/.new-$release
    rm -rf "$new"
    mkdir -p "$new" || fail space "cannot create $root/$new"
}

stage_blob() { # digest, name
    accept "$1"
    ln "$blob" "$new/$2" 2>/dev/null || cp "$blob" "$new/$2" || fail space "cannot write $new/$2"
}

stage_text() { # name, mode; the text on stdin
    cat >"$new/$1" && chmod "$2" "$new/$1" || fail space "cannot write $new/$1"
}

end_stage() {
    if [ -d "releases/$release" ]; then
        rm -rf "$new"
    else
        mv "$new" "releases/$release" || fail space "cannot create releases/$release"
    fi
    printf '@staged %s\n' "$release"
}

point_current() { # release or "": switch in one rename(2)
    if [ -z "$1" ]; then
        rm -f current || fail permission "cannot remove $root/current"
        return 0
    fi
    [ -f "releases/$1/manifest.json" ] || fail no_release "$1"
    rm -f ".current.$$"
    ln -s "releases/$1" ".current.$$" || fail space "cannot write in $root"
    if ! mv -T -f ".current.$$" current 2>/dev/null; then
        rm -f ".current.$$"
        fail no_rename "mv on this host cannot replace a link (mv -T is missing)"
    fi
}

activate() { # root, run, release or "", audit line
    enter "$1"
    own_lock "$2"
    cd "$root" || fail permission "cannot enter $root"
    point_current "$3"
    printf '%s\n' "$4" >>audit.log
    printf '@activated %s\n' "$3"
}

commit() { # root, run, audit line: write the verdict and let go
    enter "$1"
    own_lock "$2"
    printf '%s\n' "$3" >>"$root/audit.log" || fail space "cannot write $root/audit.log"
    rm -f "$root/lock/owner.json" && rmdir "$root/lock"
    printf '@committed\n'
}

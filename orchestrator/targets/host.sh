# The helper that runs on a host: POSIX sh and coreutils or busybox, nothing else.
# It is fed over stdin with one call behind it and leaves nothing of itself behind.
# What it reports are lines that start with $at, a mark that changes with every run of the
# controller; everything else on stdout is noise.
#
#   ROOT/store/sha256/ab/<digest>     verified blobs, read-only; <digest>.part while arriving
#   ROOT/releases/<id>/               complete releases; .new-<id> while being put together
#   ROOT/current -> releases/<id>     switched by rename(2)
#   ROOT/lock/owner.json              made by mkdir
#   ROOT/audit.log                    one JSON line an action
LC_ALL=C
export LC_ALL
umask 022
echo # whatever a login banner printed before ends here

say() { # an answer
    printf '%s%s\n' "$at" "$1"
}

fail() { # code, message
    say "error $1 $2"
    exit 0
}

enter() { # root, or "" for the default
    root=$1
    if [ -z "$root" ]; then
        root=/opt/orchestrate
        [ "$(id -u)" = 0 ] || root=$HOME/.local/share/orchestrate
    fi
    case $root in "~"*) root=$HOME${root#"~"} ;; esac
    say "root $root"
}

report_lock() {
    if [ -d "$root/lock" ]; then
        owner='{}'
        [ -r "$root/lock/owner.json" ] && read -r owner <"$root/lock/owner.json"
        say "lock $owner"
    fi
}

report_file() { # tag, path: the file's lines, each behind the tag
    [ -r "$2" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do say "$1 $line"; done <"$2"
}

report_current() { # the active release, its manifest and its config as it is now
    target=$(readlink current)
    say "current ${target#releases/}"
    config=
    [ -r current/manifest.json ] || return 0
    while IFS= read -r line; do
        say "manifest $line"
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
        say "release ${folder%/}"
    done
    set -- store/sha256/*/*
    [ -e "$1" ] && ls -ln "$@" | while IFS= read -r line; do say "blob $line"; done
    [ ! -d current/ ] || ls -ln current/ | while IFS= read -r line; do
        say "file $line"
    done
    [ ! -r audit.log ] || report_audit
}

report_audit() { # the commits, which tell the way back, and what happened last
    {
        grep '"what":"commit"' audit.log | tail -n 60
        tail -n 60 audit.log
    } | cut -c1-4000 | while IFS= read -r line; do say "audit $line"; done
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
    { printf '%s\n' "$2" >"$root/lock/owner.json"; } 2>/dev/null || {
        rm -rf "$root/lock"
        fail space "cannot write $root/lock/owner.json"
    }
    mkdir -p "$root/releases" "$root/store/sha256" 2>/dev/null || {
        rm -rf "$root/lock"
        fail permission "cannot write in $root"
    }
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

break_lock() { # root, run of the owner or "": moved away first, so that only one can break it
    enter "$1"
    report_lock
    owner=
    [ -r "$root/lock/owner.json" ] && read -r owner <"$root/lock/owner.json"
    case $owner in
    *"\"run\":\"$2\""*) ;;
    *) [ -z "$2" ] || return 0 ;;
    esac
    mv "$root/lock" "$root/.lock-$$" && rm -rf "$root/.lock-$$"
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

flush() { # files and folders: on the disk before anything points at them
    sync "$@" 2>/dev/null
    return 0
}

accept() { # digest: what arrived, or has lain here, is a blob only if its digest says so
    blob=store/sha256/${1%"${1#??}"}/$1
    arrived=$blob
    [ -f "$blob" ] || arrived=$blob.part
    [ -f "$arrived" ] || fail missing_blob "$1"
    found=$(digest_of "$arrived")
    if [ "$found" != "$1" ]; then
        rm -f "$arrived"
        fail damaged_blob "$1 $found"
    fi
    [ "$arrived" = "$blob" ] || {
        flush "$arrived"
        chmod 444 "$arrived" && mv -f "$arrived" "$blob" || fail space "cannot store $1"
    }
}

begin_stage() { # root, run, release
    enter "$1"
    own_lock "$2"
    cd "$root" || fail permission "cannot enter $root"
    release=$3
    new=releases/.new-$release
    rm -rf releases/.new-*
    mkdir -p "$new" || fail space "cannot create $root/$new"
}

stage_blob() { # digest, name
    accept "$1"
    ln "$blob" "$new/$2" 2>/dev/null || cp "$blob" "$new/$2" || fail space "cannot write $new/$2"
}

stage_text() { # name, mode; the text on stdin
    cat >"$new/$1" && chmod "$2" "$new/$1" || fail space "cannot write $new/$1"
}

end_stage() { # a release that lies here already is mended file by file: it may be the active one
    flush "$new"/* "$new"
    if [ ! -d "releases/$release" ]; then
        mv "$new" "releases/$release" || fail space "cannot create releases/$release"
    else
        for file in "$new"/*; do
            [ "$file" -ef "releases/$release/${file##*/}" ] || mv -f "$file" "releases/$release/" ||
                fail space "cannot write releases/$release"
        done
        rm -rf "$new"
    fi
    say "staged $release"
}

check_file() { # release, name, digest: nothing is switched to that is not as it was made
    [ -f "releases/$1/$2" ] || fail damaged_release "$1 $2 is missing"
    [ "$(digest_of "releases/$1/$2")" = "$3" ] || fail damaged_release "$1 $2 was changed"
}

point_current() { # release or "": switch in one rename(2)
    [ -L current ] || [ ! -e current ] || fail current_is_no_link "$root/current is no link"
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
    flush . releases
}

begin_activate() { # root, run
    enter "$1"
    own_lock "$2"
    cd "$root" || fail permission "cannot enter $root"
}

activate() { # release or "", audit lines
    point_current "$1"
    { printf '%s\n' "$2" >>audit.log; } 2>/dev/null
    say "activated $1"
}

commit() { # root, run, audit line: write the verdict and let go
    enter "$1"
    own_lock "$2"
    { printf '%s\n' "$3" >>"$root/audit.log"; } 2>/dev/null ||
        fail audit "cannot write $root/audit.log"
    rm -f "$root/lock/owner.json" && rmdir "$root/lock"
    say "committed"
}

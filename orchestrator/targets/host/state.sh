# What is on the host. Nothing here changes anything.

report_lock() { # whose it is, for how long nothing was heard of them, and what is unconfirmed
    [ -d "$root/lock" ] || return 0
    owner=
    for beat in "$root"/lock/beat-*; do
        [ -f "$beat" ] || continue
        heard=$(stat -c %Y "$beat" 2>/dev/null) && say "lock_age $(($(date +%s) - heard))"
        { { read -r owner && read -r owner; } <"$beat"; } 2>/dev/null
        # One that was claimed by somebody who then ended still bears the name of the one before.
        case $owner in
        *"\"run\":\"${beat##*/beat-}\""*) ;;
        *) owner="{\"run\":\"${beat##*/beat-}\",\"lease\":60}" ;;
        esac
    done
    [ -n "$owner" ] || { read -r owner <"$root/lock/owner.json"; } 2>/dev/null
    [ -z "$owner" ] || say "lock $owner"
    for switch in "$root"/lock/armed-*/switch; do
        { read -r release back _ <"$switch"; } 2>/dev/null || continue
        by=${switch%/switch}
        say "armed ${by##*/armed-} $release $back"
    done
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
    find current/ -type f -newer current/manifest.json 2>/dev/null | while IFS= read -r file; do
        say "newer ${file##*/}"
    done
}

report_state() { # what is on the host, as the controller's state parser reads it
    [ -d "$root" ] || return 0
    into_root
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
    report_audit
}

report_audit() { # the commits, which tell the way back, what happened last, what was not written
    {
        [ ! -r audit.log ] || grep '"what":"commit"' audit.log | tail -n 60
        [ ! -r audit.log ] || tail -n 60 audit.log
        cat lock/kept-*/line 2>/dev/null
    } | cut -c1-4000 | while IFS= read -r line; do say "audit $line"; done
}

report_lacks() { # programs that the helper cannot do without
    for tool in cat chmod cp cut date find grep ln ls mkdir mv readlink rm sleep tail; do
        command -v $tool >/dev/null 2>&1 || say "lacks $tool"
    done
    command -v openssl >/dev/null 2>&1 || command -v sha256sum >/dev/null 2>&1 ||
        command -v shasum >/dev/null 2>&1 || say "lacks sha256sum"
    [ -r /proc/self/stat ] || say "lacks /proc"
    case $(mv --help 2>&1) in *-T*) ;; *) say "lacks mv -T" ;; esac
}

survey() { # root: report, touch nothing
    enter "$1"
    report_lacks
    report_lock
    report_state
}

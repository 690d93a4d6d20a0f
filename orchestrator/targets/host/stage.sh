# Putting a release together from what arrived.

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
    own_lock "$1" "$2"
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
    { cat >"$new/$1" && chmod "$2" "$new/$1"; } 2>/dev/null || fail space "cannot write $new/$1"
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

collect() { # releases nobody needs; then blobs, whole or not, that no release names
    rm -rf releases/.old-* releases/.new-*
    for old; do
        [ "$(readlink current)" != "releases/$old" ] || continue
        mv "releases/$old" "releases/.old-$old" 2>/dev/null && rm -rf "releases/.old-$old"
    done
    [ -f current/manifest.json ] || return 0
    rm -f store/sha256/*/*.part
    for blob in store/sha256/*/*; do
        [ ! -f "$blob" ] || grep -qsF "${blob##*/}" releases/*/manifest.json || rm -f "$blob"
    done
}

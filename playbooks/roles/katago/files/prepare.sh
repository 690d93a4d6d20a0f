# Puts the program $part into $root/katago/$name, unpacked; or finds the one that the package $package
# brought. Prints where it is, what it computes with and which libraries it
# lacks, one `orchestrate:KEY=VALUE` a line.
# shellcheck shell=sh disable=SC2154
set -eu
umask 022
folder=$root/katago/$name
say() { printf 'orchestrate:%s=%s\n' "$1" "$2"; }
complain() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}
bytes() { od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n'; }

refuse_other_machines() { # program
  case $(bytes "$1" 0 2) in
    2321) return ;; # a script
    7f45) ;;
    *) complain "the file is no program: it does not begin as one" ;;
  esac
  case $(bytes "$1" 18 2) in
    3e00) machine=x86_64 ;;
    b700) machine=aarch64 ;;
    *) machine="another machine" ;;
  esac
  [ "$machine" = "$(uname -m)" ] ||
    complain "the program is for $machine, and this host is $(uname -m)"
}

unpacked=
unpack() {
  rm -rf "$folder"
  mkdir -p "$folder"
  trap '[ -n "$unpacked" ] || rm -rf "$folder"; rmdir "$root/katago" 2>/dev/null || true' EXIT
  trap 'exit 1' HUP INT TERM
  refuse_other_machines "$part"
  cp "$part" "$folder/katago"
  chmod 755 "$folder/katago"
  program=$folder/katago
  if [ "$(bytes "$program" 8 2)" = 4149 ]; then
    unpack_appimage
  fi
  unpacked=yes
}

# What is unpacked runs where FUSE is missing. Its own libraries come before those of the system.
unpack_appimage() {
  mv "$program" "$folder/appimage"
  (cd "$folder" && ./appimage --appimage-extract) >/dev/null
  # It does not say when the disk was full.
  head -c 2097152 /dev/zero 2>/dev/null >"$folder/room" ||
    complain "No space left on device: unpacked, the program needs more than there is"
  rm "$folder/room" "$folder/appimage"
  chmod -R u+rwX,go+rX,go-w "$folder/squashfs-root"
  program=$folder/squashfs-root/usr/bin/katago
  libraries=$folder/squashfs-root/usr/lib
  if [ -x "$program" ]; then
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$program" >"$folder/katago"
  else
    program=$folder/squashfs-root/AppRun
    [ -x "$program" ] || complain "the AppImage has neither usr/bin/katago nor AppRun"
    printf '#!/bin/sh\nexec %s "$@"\n' "$program" >"$folder/katago"
  fi
  chmod 755 "$folder/katago"
}

libraries=''
if [ -n "$package" ]; then
  program=
  for file in $(dpkg-query -L "$package" | grep '/katago$'); do
    [ -n "$program" ] || [ ! -f "$file" ] || program=$file
  done
  [ -n "$program" ] || complain "the package $package brought no program katago"
  say start "$program"
else
  unpack
  say start "$folder/katago"
fi

needed=$(LD_LIBRARY_PATH=$libraries ldd "$program" 2>/dev/null) || true
case $needed in
  *libnvinfer*) say backend tensorrt ;;
  *libcudnn* | *libcudart* | *libcublas*) say backend cuda ;;
  *libOpenCL*) say backend opencl ;;
  *) say backend eigen ;;
esac
say missing "$(printf '%s\n' "$needed" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | tr '\n' ' ')"

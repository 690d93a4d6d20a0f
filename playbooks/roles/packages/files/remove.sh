# Wants $really and $purge, each yes or no. Prints what went or would go (`orchestrate:removed=`) and
# what has to stay, since others, or this login, need it (`orchestrate:kept=`).
# shellcheck shell=sh disable=SC2154
state=/var/lib/orchestrate
[ -e "$state/packages" ] || exit 0
LC_ALL=C
export LC_ALL
# Without sudo we are root by ourselves: its package need not fear that nobody can become root.
export DEBIAN_FRONTEND=noninteractive SUDO_FORCE_REMOVE=yes
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
one_line() { tr '\n' ' ' <"$1" | sed 's/ $//'; }

# shellcheck disable=SC2016 # dpkg-query fills these in
dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u >"$work/installed"
sed 's/:.*//' "$state/packages" | sort -u | comm -12 - "$work/installed" >"$work/ours"

# Whoever came by sudo needs it for what follows.
by_sudo=${SUDO_USER:+sudo}
grep -vx "${by_sudo:--}" "$work/ours" >"$work/free"

# What would apt remove, if ours and only ours were there for the sake of others? Those that nobody
# needs, neither what was there before nor what came later.
architecture=$(dpkg --print-architecture)
sed "s/.*/Package: &\nArchitecture: $architecture\nAuto-Installed: 1\n/" "$work/free" >"$work/states"
apt-get -s -o Dir::State::extended_states="$work/states" \
  -o APT::AutoRemove::RecommendsImportant=false -o APT::AutoRemove::SuggestsImportant=false \
  autoremove >"$work/simulated" || exit 1
sed -n 's/^Remv \([^ :]*\).*/\1/p' "$work/simulated" | sort -u | comm -12 - "$work/ours" >"$work/going"
comm -23 "$work/ours" "$work/going" >"$work/kept"

if [ "$really" = yes ]; then
  if [ -s "$work/going" ]; then
    set -- remove
    [ "$purge" = no ] || set -- remove --purge
    # shellcheck disable=SC2046 # one word a name
    apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" $(cat "$work/going") || exit 1
  fi
  if [ -s "$work/kept" ]; then
    cat "$work/kept" >"$state/packages"
  else
    rm -f "$state/packages"
    rmdir "$state" 2>/dev/null
  fi
fi
printf 'orchestrate:removed=%s\n' "$(one_line "$work/going")"
printf 'orchestrate:kept=%s\n' "$(one_line "$work/kept")"

# Which packages we brought to the host: /var/lib/orchestrate/packages, one name a line.
# packages.before is there while something is being installed, and after that was cut off.
# shellcheck shell=sh
LC_ALL=C
export LC_ALL
state=/var/lib/orchestrate

installed_packages() {
  # shellcheck disable=SC2016 # dpkg-query fills these in
  dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u
}

remember_packages() {
  mkdir -p "$state" && cd "$state" || return
  [ -e packages.before ] && return
  installed_packages >packages.before.new && mv packages.before.new packages.before
}

record_packages() {
  cd "$state" || return
  touch packages
  {
    cat packages
    installed_packages | comm -13 packages.before -
  } | sort -u >packages.new && mv packages.new packages && rm packages.before
}

# Gives $login the keys of $from. The file appears in one rename. It is written as $login: in that
# one's home root must not follow links.
# shellcheck shell=sh disable=SC2154
set -e
home_of() { getent passwd "$1" | cut -d: -f6; }
runuser -u "$login" -- sh -c '
  umask 077
  cd "$1" && mkdir -p .ssh && cat >.ssh/.new && mv .ssh/.new .ssh/authorized_keys
' sh "$(home_of "$login")" <"$(home_of "$from")/.ssh/authorized_keys"

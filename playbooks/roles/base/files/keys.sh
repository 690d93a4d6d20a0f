# Gives $login the keys of $from. The file appears in one rename.
# shellcheck shell=sh disable=SC2154
set -e
umask 077
home_of() { getent passwd "$1" | cut -d: -f6; }
folder=$(home_of "$login")/.ssh
group=$(id -gn "$login")
install -d -m 700 -o "$login" -g "$group" "$folder"
install -m 600 -o "$login" -g "$group" "$(home_of "$from")/.ssh/authorized_keys" "$folder/.new"
mv "$folder/.new" "$folder/authorized_keys"

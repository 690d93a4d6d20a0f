# Which of $names are there, one a line: installed, or provided by what is installed.
# shellcheck shell=sh disable=SC2154
LC_ALL=C
export LC_ALL
# shellcheck disable=SC2016 # dpkg-query fills these in
dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' | sed -n 's/^installed //p' |
  tr ',' '\n' | sed 's/^ *//; s/[ :].*//' | sort -u | grep -Fx "$(printf '%s\n' $names)"

#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Checks the structure that src/README.md draws: includes and calls go down from layer to layer,
# and no two files include or call each other in a circle.
# usage: layers.sh BUILD, a folder in which cmake has built the project
set -euo pipefail
objects=$(realpath "$1")/CMakeFiles/shmfs_core.dir/src
cd "$(dirname "$0")/.."

# What a layer may use, besides itself.
declare -A below=(
	[core]=''
	[sysv]=core [posix]=core [text]=core [users]=core [fuse]=core
	[daemon]='core sysv posix text users fuse'
)

# Lines "FROM TO": which file or header includes which.
includes() {
	grep -rHoE '^#include "[^"]+"' src include --include='*.[ch]' |
		sed -E 's,^(src|include)/,,; s,:#include ", ,; s,"$,,' | grep -v '^shmfs-key/'
}

# The same of calls: an undefined symbol of one object file that another defines.
calls() {
	(cd src && find . -name '*.c' -printf '%P\n') | sort |
		grep -vxE '(daemon|shmfs-key)/main\.c' | sed 's/$/.o/' |
		(cd "$objects" && xargs nm -A --format=posix) |
		sed -E 's,\.o: , ,' |
		awk '$3 ~ /[TDRB]/ { home[$2] = $1 }
			$3 == "U" { from[NR] = $1; symbol[NR] = $2 }
			END { for (i in from) if (symbol[i] in home) print from[i], home[symbol[i]] }' |
		sort -u
}

# Each layer has its public header; all other public headers are the core's.
layer() {
	case $1 in
	shmfs/sysv.h | shmfs/posix.h | shmfs/text.h) basename "$1" .h ;;
	shmfs/user_views.h) echo users ;;
	shmfs/*) echo core ;;
	*) echo "${1%%/*}" ;;
	esac
}

upward() {
	local from to
	while read -r from to; do
		case " $(layer "$from") ${below[$(layer "$from")]-} " in
		*" $(layer "$to") "*) ;;
		*) echo "$from uses $to, which is in a layer above or beside" ;;
		esac
	done
}

# tsort(1) names the members of each circle.
circles() {
	tsort 2>&1 >/dev/null | sed 's/^tsort: -: /in a circle: /' || true
}

[ -d "$objects" ] || {
	echo "no object files in $objects: build first"
	exit 1
}
found=$(
	includes | upward
	calls | upward
	includes | circles
	calls | circles
)
[ -z "$found" ] || {
	printf '%s\n' "$found"
	exit 1
}

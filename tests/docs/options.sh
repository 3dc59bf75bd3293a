#!/bin/bash
# SPDX-License-Identifier: MIT
# What the program understands, what its help, its manual page and README.md tell of it, and
# what the completions offer: all the same options.  The manual page has all attributes,
# src/README.md all files.
set -eu -o pipefail

if [ $# -ne 3 ]; then
	echo "usage: ${0##*/} SOURCE SHMFS SHMFS-KEY" >&2
	exit 2
fi
source=$1
shmfs=$2
shmfs_key=$3
completion=$source/mount-helpers/completion

work=$(mktemp -d)
trap 'rm -r -- "$work"' EXIT
failures=0

# compare WHAT PLACE PLACE...
# Each place is a file of $work with one name a line; the first has them right.
compare() {
	local what=$1 first=$2 place
	shift 2
	if [ ! -s "$work/$first" ]; then
		echo "FAILED: no $what found in $first"
		failures=$((failures + 1))
	fi
	for place; do
		diff -u --label "$what: $first" --label "$what: $place" \
			<(sort -u "$work/$first") <(sort -u "$work/$place") || failures=$((failures + 1))
	done
}

own_options() {
	# allow_other and allow_root are libfuse's, and in the table to be looked at.
	sed -nE 's/^\t(VALUE|FLAG)\("([a-z_]+)".*/\2/p' "$source/src/daemon/options.c" |
		grep -vxE 'allow_(other|root)' >"$work/table"
	"$shmfs" -h | sed -nE 's/^ +-o ([a-z_]+).*/\1/p' >"$work/help"
	sed -nE 's/^\.It Fl o Cm ([a-z_]+).*/\1/p' "$source/src/shmfs.8" >"$work/manual"
	grep '^| `-o' "$source/README.md" | grep -oE '`-o [a-z_]+' | sed 's/.* //' >"$work/readme"
	sed -nE "s/.*own_options='([^']*)'.*/\1/p" "$completion/shmfs.bash" | tr -s ' ' '\n' |
		tr -d = >"$work/bash"
	sed -nE "/\town_options=\(/,/^\t\)/s/^\t\t'([a-z_]+)\[.*/\1/p" "$completion/_shmfs" >"$work/zsh"
	compare option table help manual readme bash zsh
}

refused_options() {
	sed -nE 's/^\tREFUSED\("([a-z_]+).*/\1/p' "$source/src/daemon/options.c" >"$work/table"
	sed -n '/^Those of libfuse/,/^are refused/p' "$source/src/shmfs.8" |
		sed -n 's/^\.Cm //p' | grep -oE '[a-z_]+' >"$work/manual"
	compare "refused option" table manual
}

# The letters of the flags.
flags() {
	"$shmfs" -h | sed -nE 's/^ +-([a-zA-Z]) .*/\1/p' | grep -vx o >"$work/help"
	sed -nE 's/^\.It Fl ([a-zA-Z])( .*|$)/\1/p' "$source/src/shmfs.8" | grep -vx o >"$work/manual"
	# shellcheck disable=SC2016 # backquotes as Markdown has them
	grep -E '^\| `-[a-zA-Z]`' "$source/README.md" | cut -d '|' -f 2 |
		grep -oE '`-[a-zA-Z]`' | tr -d '`-' >"$work/readme"
	sed -nE '/^_shmfs\(/,/^}/s/.*_shmfs_offer .(-[^'\'']*).*/\1/p' "$completion/shmfs.bash" |
		grep -oE '(^| )-[a-zA-Z]\b' | tr -d ' -' | grep -vx o >"$work/bash"
	sed -n '/^shmfs)/,/;;/p' "$completion/_shmfs" | grep -oE "['{]-[a-zA-Z][[,]" |
		tr -d "'{[,-" | grep -vx o >"$work/zsh"
	compare flag help manual readme bash zsh
}

flags_of_shmfs_key() {
	"$shmfs_key" -h | sed -nE 's/^ +-([a-zA-Z]) .*/\1/p' >"$work/help"
	sed -nE 's/^\.It Fl ([a-zA-Z])( .*|$)/\1/p' "$source/src/shmfs-key/shmfs-key.1" >"$work/manual"
	sed -nE '/^_shmfs_key\(/,/^}/s/.*_shmfs_offer .(-[^'\'']*).*/\1/p' "$completion/shmfs.bash" |
		grep -oE '[a-zA-Z]' >"$work/bash"
	sed -n '/^shmfs-key)/,/;;/p' "$completion/_shmfs" | grep -oE "'?-[a-zA-Z]\[" |
		tr -d "'[-" >"$work/zsh"
	compare "flag of shmfs-key" help manual bash zsh
}

flags_of_mount_helper() {
	sed -nE 's/.*getopts :([a-zA-Z:]+) .*/\1/p' "$source/mount-helpers/mount.shmfs" |
		grep -o '[a-zA-Z]' >"$work/helper"
	sed -n '/^\.It Fl /p' "$source/mount-helpers/mount.shmfs.8" | grep -oE 'Fl [a-zA-Z]' |
		cut -d ' ' -f 2 >"$work/manual"
	compare "flag of mount.shmfs" helper manual
}

attributes() {
	# OF() is SHMFS_XATTR_OBJECT before a name, in src/sysv/xattr.c.
	sed -nE -e 's/.*(SHMFS_XATTR_OBJECT |\<OF\()"([a-z]+)".*/user.shm.\2/p' \
		-e 's/.*SHMFS_XATTR_ROOT "([a-z]+)".*/user.shmfs.\1/p' \
		"$source"/src/*/*.c >"$work/tables"
	grep -oE '^\.It Va user\..*' "$source/src/shmfs.8" | grep -oE 'user\.shm(fs)?\.[a-z]+' \
		>"$work/manual"
	compare attribute tables manual
}

# The table of files in src/README.md has each of them.  It abbreviates src/core/users*.c.
source_files() {
	find "$source/src" -mindepth 2 -name '*.c' ! -name 'users*.c' ! -path '*/replace/*' \
		! -path '*/shmfs-key/*' -printf '%f\n' >"$work/source"
	grep '^| `' "$source/src/README.md" | cut -d '|' -f 2 | grep -oE '[a-z_]+\.c`' | tr -d '`' \
		>"$work/readme"
	compare "file" source readme
}

own_options
refused_options
source_files
attributes
flags
flags_of_shmfs_key
flags_of_mount_helper
[ "$failures" -eq 0 ] || exit 1
echo "all the same"

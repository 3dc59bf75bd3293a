#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the commands of a README as its reader would.
#
# Every ```sh block runs in order, each in a shell of its own, with shmfs
# mounted on /mnt/shm and build/shmfs* in the working directory; it must exit 0.
# If the next block is ```text, that is what it must print: "..." stands for
# any text; how many blanks and empty lines there are does not matter, and NUL
# bytes count for nothing, as on a terminal.
#
# A line "<!-- needs passthrough -->" right before a block says that it needs a kernel
# that serves files itself; elsewhere it is skipped.
#
# A ```console block holds commands that install things: those are only
# checked to name scripts that exist and parse.
#
# All of it happens in mount, IPC and PID namespaces of its own.
set -eu -o pipefail

usage() {
	echo "usage: ${0##*/} SHMFS README"
}

if [ $# -ne 2 ]; then
	usage >&2
	exit 2
fi
shmfs=$(realpath -- "$1")
readme=$(realpath -- "$2")

if [ -z "${README_WORK-}" ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "skipped: needs root to mount"
		exit 77
	fi
	README_WORK=$(mktemp -d)
	export README_WORK
	trap 'rmdir -- "$README_WORK"' EXIT
	unshare --mount --ipc --pid --fork --kill-child --mount-proc -- \
		"$0" "$shmfs" "$readme"
	exit
fi

work=$README_WORK
unset README_WORK
failures=0

# split_blocks DIRECTORY
# Writes the blocks of the README there, as NNN.LANGUAGE, NNN in order.
split_blocks() {
	awk -v directory="$1" '
		!inside && /^```[a-z]+$/ {
			inside = 1
			file = sprintf("%s/%03d.%s", directory, ++count, substr($0, 4))
			printf "" > file
			if (needs)
				print needs > (file ".needs")
			next
		}
		{ needs = /^<!-- needs .* -->$/ ? $3 : "" }
		inside && /^```$/ { inside = 0; close(file); next }
		inside { print > file }
		END { if (inside) { print "a block has no end"; exit 1 } }
	' "$readme"
}

# matches EXPECTED ACTUAL
matches() {
	local pattern
	# Every character that could be special in a pattern loses its meaning, but for "...".
	pattern=$(sed -E 's/[^[:alnum:][:blank:]]/\\&/g; s/(\\\.){3}/*/g' "$1")
	# shellcheck disable=SC2053 # the right side is a pattern
	[[ $(cat -- "$2") == $pattern ]]
}

# What counts of an output.
squeeze() {
	tr -s ' \t\n' '  \n' | sed 's/ $//; /^$/d'
}

# can_run SCRIPT
can_run() {
	local needs=nothing
	[ ! -e "$1.needs" ] || needs=$(cat -- "$1.needs")
	case $needs in
	nothing) return 0 ;;
	passthrough) [ "$(getfattr -n user.shmfs.engine --only-values --absolute-names \
		/mnt/shm)" = passthrough ] && return 0 ;;
	*)
		echo "FAILED: a block needs $needs, which is not known"
		failures=$((failures + 1))
		return 1
		;;
	esac
	echo "skipped: a block needs $needs"
	return 1
}

# run_block SCRIPT
run_block() {
	local script=$1 expected output=${1%.sh}.output status=0
	(cd "$work/clone" && bash -eu -o pipefail "$script") </dev/null >"$output.raw" 2>&1 ||
		status=$?
	tr -d '\000' <"$output.raw" | squeeze >"$output"
	if [ "$status" -ne 0 ]; then
		printf 'FAILED: exit status %s of\n' "$status"
		cat -- "$script"
		echo '--- its output:'
		cat -- "$output"
		failures=$((failures + 1))
		return
	fi

	expected=$(next_block "$script")
	[ -n "$expected" ] || return 0
	squeeze <"$expected" >"$output.expected"
	if ! matches "$output.expected" "$output"; then
		echo 'FAILED: another output of'
		cat -- "$script"
		diff -u --label README "$output.expected" --label output "$output" || true
		failures=$((failures + 1))
	fi
}

# The ```text block right after a block, if it is one.
next_block() {
	local name=${1##*/}
	local next
	next=$(printf '%s/%03d.text' "${1%/*}" $((10#${name%%.*} + 1)))
	if [ -e "$next" ]; then
		echo "$next"
	fi
}

# check_installer BLOCK
check_installer() {
	local script
	while read -r script _; do
		if [ ! -x "${readme%/*}/$script" ] || ! bash -n "${readme%/*}/$script"; then
			echo "FAILED: no such script: $script"
			failures=$((failures + 1))
		fi
	done <"$1"
}

mount -t tmpfs -o mode=0755 readme "$work"
mkdir -p "$work/blocks" "$work/clone/build"
cp -- "$shmfs" "$shmfs-key" "$work/clone/build"
split_blocks "$work/blocks"
mount -t tmpfs -o mode=0755 readme /run
mount -t tmpfs -o mode=1777 readme /dev/shm
mount -t tmpfs -o mode=0755 readme /mnt
mkdir /mnt/shm
umask 022
export LC_ALL=C.UTF-8 LANGUAGE= # gettext(3) heeds both
"$work/clone/build/shmfs" /mnt/shm

count=0
for block in "$work"/blocks/*; do
	case $block in
	*.sh)
		if can_run "$block"; then
			run_block "$block"
			count=$((count + 1))
		fi
		;;
	*.console) check_installer "$block" ;;
	esac
done
umount /mnt/shm

echo "$count blocks run, $failures failures"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]

#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs mount-helpers/quickstart in a copy of the source tree: it builds, mounts
# and says what to type; the second run finds everything done; it mounts over
# nothing else; a new run after an unmount mounts again.
#
# apt-get is replaced by a program that fails: nothing may be installed here.
# All of it happens in mount, IPC and PID namespaces of its own.
set -eu -o pipefail

usage() {
	echo "usage: ${0##*/} SOURCE"
}

if [ $# -ne 1 ]; then
	usage >&2
	exit 2
fi
source=$(realpath -- "$1")

if [ -z "${QUICKSTART_WORK-}" ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "skipped: needs root to mount"
		exit 77
	fi
	if ! "$source/mount-helpers/install-deps" --check; then
		echo "skipped: what quickstart would install is missing"
		exit 77
	fi
	QUICKSTART_WORK=$(mktemp -d)
	export QUICKSTART_WORK
	trap 'rmdir -- "$QUICKSTART_WORK"' EXIT
	unshare --mount --ipc --pid --fork --kill-child --mount-proc -- "$0" "$source"
	exit
fi

work=$QUICKSTART_WORK
unset QUICKSTART_WORK

fail() {
	echo "FAILED: $*"
	cat -- "$work/output"
	exit 1
}

# quickstart ARGUMENT...
# Its output is in $work/output, its exit status is that of the function.
quickstart() {
	"$work/clone/mount-helpers/quickstart" "$@" </dev/null >"$work/output" 2>&1
}

mount -t tmpfs -o mode=0755 quickstart "$work"
mkdir "$work/clone" "$work/bin"
cp -R -- "$source"/{CMakeLists.txt,LICENSE,include,src,mount-helpers} "$work/clone"
printf '#!/bin/sh\necho "apt-get was called"\nexit 1\n' >"$work/bin/apt-get"
chmod +x "$work/bin/apt-get"
PATH=$work/bin:$PATH
mount -t tmpfs -o mode=1777 quickstart /dev/shm
mount -t tmpfs -o mode=0755 quickstart /mnt

quickstart || fail "the first run: status $?"
[ "$(findmnt -n -o FSTYPE /mnt/shm)" = fuse.shmfs ] || fail "nothing is mounted on /mnt/shm"
grep -q 'echo hi > /mnt/shm/3148' "$work/output" || fail "no word on what to type next"
echo hi >/mnt/shm/3148
ipcs -m | grep -q 0x00000c4c || fail "the mount makes no segments"

quickstart || fail "the second run: status $?"
grep -q already "$work/output" || fail "the second run does not say that all is done"
[ "$(findmnt -n -o FSTYPE /mnt/shm | wc -l)" -eq 1 ] || fail "mounted twice"
[ "$(tr -d '\000' </mnt/shm/3148)" = hi ] || fail "the second run did harm"

umount /mnt/shm
quickstart || fail "the run after an unmount: status $?"
[ "$(findmnt -n -o FSTYPE /mnt/shm)" = fuse.shmfs ] || fail "not mounted again"
umount /mnt/shm

quickstart "$work/a place" || fail "another mount point: status $?"
[ "$(findmnt -n -o FSTYPE "$work/a place")" = fuse.shmfs ] || fail "not mounted on it"
umount "$work/a place"

mount -t tmpfs other /mnt/shm
if quickstart; then
	fail "mounted over another filesystem"
fi
if quickstart one two; then
	fail "two mount points were accepted"
fi
echo "all runs as they should be"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds and installs shmfs where directories have blanks in their names, programs are not in
# bin, and the umask is 077: what is installed has the usual modes, and mounts from there.
set -eu

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

source=$(realpath -- "$(dirname -- "$0")/../..")
if [ -z "${ELSEWHERE-}" ]; then
	ELSEWHERE=$(mktemp -d)
	export ELSEWHERE
	trap 'rm -r -- "$ELSEWHERE"' EXIT
	unshare --mount --ipc --pid --fork --kill-child --mount-proc -- "$0"
	exit
fi

umask 077
chmod 755 "$ELSEWHERE"
cd "$ELSEWHERE"
prefix="$ELSEWHERE/a prefix"
cmake -S "$source" -B "a build" -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX="$prefix" \
	-DCMAKE_INSTALL_BINDIR="lib/shared memory" >output
cmake --build "a build" -j "$(nproc)" >>output
cmake --install "a build" >>output

closed=$(find "$prefix" -mindepth 1 ! -type l ! -perm -004)
[ -z "$closed" ] || fail "others may not read: $closed"
unit="$prefix/lib/systemd/system/shmfs@.service"
grep -qxF "ExecStart=\"$prefix/lib/shared memory/shmfs\" \$SHMFS_OPTIONS %f" "$unit" ||
	fail "the unit starts another program"
said=$(systemd-analyze verify --man=no "${unit%.service}mnt-shm.service" 2>&1) || said="status $?: $said"
[ -z "$said" ] || fail "systemd-analyze verify: $said"

mkdir mnt
"$prefix/sbin/mount.shmfs" shmfs "$PWD/mnt" -o keys=hex
echo hi >mnt/3148
[ "$(ls mnt)" = 0x00000c4c ] || fail "another shmfs was found"
umount mnt
rm mnt/3148 2>/dev/null || ipcrm -M 3148
cd /
echo "installed where names have blanks and programs are not in bin"

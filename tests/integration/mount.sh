#!/bin/bash
# SPDX-License-Identifier: MIT
# Mounts as a system does: mount(8), fstab, umount(8), as root and as an ordinary user.
#
# All of it happens in mount, IPC and PID namespaces of its own, where the helpers
# of mount-helpers are in /sbin.
set -eu -o pipefail

usage() {
	echo "usage: ${0##*/} SHMFS MOUNT-HELPERS"
}

if [ $# -ne 2 ]; then
	usage >&2
	exit 2
fi
shmfs=$(realpath -- "$1")
helpers=$(realpath -- "$2")

if [ -z "${MOUNT_WORK-}" ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "skipped: needs root to mount"
		exit 77
	fi
	MOUNT_WORK=$(mktemp -d)
	export MOUNT_WORK
	trap 'rmdir -- "$MOUNT_WORK"' EXIT
	unshare --mount --ipc --pid --fork --kill-child --mount-proc -- \
		"$0" "$shmfs" "$helpers"
	exit
fi

work=$MOUNT_WORK
unset MOUNT_WORK

fail() {
	echo "FAILED: $*"
	cat -- "$work/output"
	exit 1
}

# expect STATUS COMMAND...
# What it prints is in $work/output.
expect() {
	local wanted=$1 status=0
	shift
	"$@" >"$work/output" 2>&1 || status=$?
	[ "$status" -eq "$wanted" ] || fail "status $status, not $wanted: $*"
}

# is_mounted OPTION...: the options that are to be found on /mnt/shm
is_mounted() {
	local options option
	options=$(findmnt -n -t fuse.shmfs -o OPTIONS -M /mnt/shm) || fail "not mounted"
	for option; do
		[[ ,$options, == *,$option,* ]] || fail "$option is not in $options"
	done
}

is_not_mounted() {
	! findmnt -n -M /mnt/shm >"$work/output" || fail "still mounted"
}

# The mount serves, at once, with the options min_size=64K,keys=hex.
serves() {
	echo hi >/mnt/shm/3148
	[ "$(ls /mnt/shm)" = 0x00000c4c ] || fail "keys=hex has not reached shmfs"
	[ "$(stat -c %s /mnt/shm/3148)" -eq 65536 ] || fail "min_size=64K has not reached shmfs"
	rm /mnt/shm/3148
}

unmount() {
	expect 0 umount /mnt/shm
	is_not_mounted
}

# /sbin with the helpers in it, but for mount.fuse.shmfs, whose work mount.fuse3 does too.
# Copies, because the source tree may be where only root may go, below /root for instance.
put_helpers() {
	mkdir "$work/sbin" "$work/original" "$work/bin" "$work/helpers"
	mount --bind /sbin "$work/original"
	find "$work/original" -mindepth 1 -maxdepth 1 -exec ln -s -t "$work/sbin" {} +
	install -m 755 -- "$helpers/mount.shmfs" "$work/helpers/mount.shmfs"
	ln -sf "$work/helpers/mount.shmfs" "$work/sbin/mount.shmfs"
	install -m 755 -- "$shmfs" "$work/bin/shmfs"
	mount --bind "$work/sbin" /sbin
	mount --bind "$work/bin" /usr/local/bin
}

# As udev makes it; here it may be as the kernel made it.
open_fuse_device() {
	mknod -m 666 "$work/fuse" c 10 229
	mount --bind "$work/fuse" /dev/fuse
}

# fstab LINE
fstab() {
	echo "$1" >"$work/fstab"
}

as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"
}

mounts_by_type_and_options() {
	expect 0 mount -t shmfs shmfs /mnt/shm -o min_size=64K,keys=hex
	is_mounted rw nosuid nodev default_permissions allow_other
	serves
	mount | grep -q '^shmfs on /mnt/shm type fuse\.shmfs (rw,' || fail "not in mount's list"
	unmount
	expect 0 mount -r -t shmfs "a name, with a comma" /mnt/shm
	is_mounted ro
	[ "$(findmnt -n -o SOURCE -M /mnt/shm)" = 'a name, with a comma' ] || fail "another source"
	unmount
}

# $1: the line's type
mounts_a_line_of_fstab() {
	fstab "shmfs /mnt/shm $1 defaults,nofail,min_size=64K,keys=hex 0 0"
	expect 0 mount -a -T "$work/fstab"
	is_mounted rw nosuid nodev default_permissions
	serves
	expect 0 mount -a -T "$work/fstab" # finds it done
	[ "$(findmnt -n -o TARGET -M /mnt/shm | wc -l)" -eq 1 ] || fail "mounted twice"
	unmount
	expect 0 mount -T "$work/fstab" /mnt/shm
	serves
	unmount
}

knows_the_words_of_fstab() {
	local words=auto,nofail,_netdev,noowner,nogroup,comment=x,x-systemd.automount,X-other=1
	words=$words,rw,exec,noexec,sync,async,relatime,norelatime,strictatime,nodiratime
	words=$words,lazytime,loud,silent,iversion,noatime,min_size=64K,keys=hex
	fstab "shmfs /mnt/shm shmfs $words 0 0"
	expect 0 mount -a -T "$work/fstab"
	is_mounted noexec noatime
	serves
	unmount
	fstab "shmfs /mnt/shm shmfs noauto 0 0"
	expect 0 mount -a -T "$work/fstab"
	is_not_mounted
}

remounts_what_can_be_changed() {
	expect 0 mount -t shmfs shmfs /mnt/shm -o min_size=64K
	expect 0 mount -t shmfs -o remount,ro,noexec shmfs /mnt/shm
	is_mounted ro nosuid nodev noexec
	[ ! -s "$work/output" ] || fail "a warning about nothing"
	expect 0 mount -t shmfs -o remount,suid,dev,exec shmfs /mnt/shm
	is_mounted rw nosuid nodev noexec
	expect 32 mount -t shmfs -o remount,ro,keys=dec,min_size=1M shmfs /mnt/shm
	is_mounted rw
	grep -q 'cannot change: keys=dec,min_size=1M;' "$work/output" || fail "no word on them"
	fstab "shmfs /mnt/shm shmfs noauto,min_size=64K 0 0"
	LIBMOUNT_FSTAB=$work/fstab expect 0 mount -o remount,ro /mnt/shm
	is_mounted ro
	LIBMOUNT_FSTAB=$work/fstab expect 0 mount -o remount,rw /mnt/shm
	is_mounted rw
	echo hi >/mnt/shm/3148
	[ "$(stat -c %s /mnt/shm/3148)" -eq 65536 ] || fail "the size is another"
	rm /mnt/shm/3148
	unmount
}

# The statuses are mount(8)'s, the words are on the terminal.
says_what_is_wrong() {
	expect 32 mount -t shmfs shmfs /mnt/shm -o sise=64K
	grep -q 'sise=64K' "$work/output" || fail "the option is not named"
	expect 32 mount -t shmfs shmfs "$work/nowhere"
	expect 1 /sbin/mount.shmfs shmfs
	grep -q '^usage: ' "$work/output" || fail "no usage"
	expect 1 /sbin/mount.shmfs shmfs /mnt/shm extra
	expect 1 /sbin/mount.shmfs shmfs /mnt/shm -Z
	grep -q '^mount\.shmfs: unknown option -Z' "$work/output" || fail "-Z is not named"
	expect 1 /sbin/mount.shmfs shmfs /mnt/shm -o
	grep -q '^mount\.shmfs: -o needs an argument' "$work/output" || fail "-o is not named"
	mv "$work/bin/shmfs" "$work/bin/gone"
	expect 2 mount -t shmfs shmfs /mnt/shm
	mv "$work/bin/gone" "$work/bin/shmfs"
	expect 0 mount -f -v -t shmfs shmfs /mnt/shm -o nofail,keys=hex
	grep -q 'shmfs shmfs /mnt/shm -o rw,keys=hex$' "$work/output" || fail "not said what is run"
	is_not_mounted
}

# What was open where it was mounted is closed: a lock is free when its taker lets it go.
holds_no_lock() {
	expect 0 sh -c 'flock 9 && mount -t shmfs shmfs /mnt/shm' 9>"$work/lock"
	expect 0 flock -n "$work/lock" true
	unmount
}

mounts_in_another_namespace() {
	local process
	unshare --mount sleep 1000 &
	process=$!
	until [ "$(readlink /proc/$process/exe)" = "$(realpath "$(command -v sleep)")" ]; do
		sleep 0.01
	done
	expect 0 mount -N "$process" -t shmfs shmfs /mnt/shm -o min_size=64K,keys=hex
	is_not_mounted
	nsenter --mount --target "$process" findmnt -n -t fuse.shmfs -M /mnt/shm >"$work/output" ||
		fail "not mounted there"
	kill "$process"
}

# $1: user, and the user may unmount, or users, and anybody may
lets_users_mount() {
	fstab "shmfs /mnt/shm shmfs noauto,$1,min_size=64K,keys=hex 0 0"
	mount --bind "$work/fstab" /etc/fstab
	chown 65534 /mnt/shm
	expect 0 as_nobody mount /mnt/shm
	is_mounted nosuid nodev noexec user_id=65534
	expect 0 as_nobody sh -c 'echo hi >/mnt/shm/3148 && stat -c "%s %u" /mnt/shm/3148'
	[ "$(cat "$work/output")" = '65536 65534' ] || fail "not the user's segment"
	expect 0 as_nobody rm /mnt/shm/3148
	expect 0 as_nobody umount /mnt/shm
	is_not_mounted
	umount /etc/fstab
}

# fails_as_nobody MOUNTPOINT
fails_as_nobody() {
	mkdir -p "$1"
	chown 65534 "$1"
	expect 1 as_nobody "$work/bin/shmfs" "$1"
	grep -q '^fusermount3: mount failed: Permission denied' "$work/output" ||
		fail "fusermount3 has not failed as it should"
}

# Where AppArmor confines fusermount3, mount(2) says EACCES of most places (Ubuntu 25.04).
names_apparmor() {
	printf '%s\n' '#!/bin/sh' 'echo fusermount3: mount failed: Permission denied >&2' \
		'exit 1' >"$work/fusermount3"
	chmod 755 "$work/fusermount3"
	mount --bind "$work/fusermount3" "$(command -v fusermount3)"
	mount -t tmpfs -o mode=0755 mount /srv
	mount -t tmpfs -o mode=0755 mount /sys/kernel
	mkdir -p /sys/kernel/security/apparmor
	cp -a /etc "$work/etc"
	mount --bind "$work/etc" /etc
	rm -rf /etc/apparmor.d
	fails_as_nobody /srv/shm
	! grep -q AppArmor "$work/output" || fail "blamed without a profile"
	mkdir /etc/apparmor.d
	touch /etc/apparmor.d/fusermount3
	fails_as_nobody /srv/shm
	grep -q '/srv/shm: AppArmor lets users mount only below their home, /mnt, ' "$work/output" ||
		fail "not said what it is and where to mount"
	fails_as_nobody /mnt/shm
	! grep -q AppArmor "$work/output" || fail "blamed where it allows mounts"
	umount /etc /sys/kernel /srv "$(command -v fusermount3)"
}

mount -t tmpfs -o mode=0755 mount "$work"
mount -t tmpfs -o mode=1777 mount /dev/shm
mount -t tmpfs -o mode=0755 mount /mnt
mkdir /mnt/shm
umask 022
export LC_ALL=C.UTF-8 LANGUAGE= # gettext(3) heeds both
put_helpers
open_fuse_device

mounts_by_type_and_options
mounts_a_line_of_fstab shmfs
mounts_a_line_of_fstab fuse.shmfs # by mount.fuse3
ln -s mount.shmfs "$work/sbin/mount.fuse.shmfs"
mounts_a_line_of_fstab fuse.shmfs
knows_the_words_of_fstab
remounts_what_can_be_changed
says_what_is_wrong
holds_no_lock
mounts_in_another_namespace
lets_users_mount user
lets_users_mount users
names_apparmor
echo "all mounts as they should be"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Boots a fresh Debian with a package of shmfs in it, as systemd's process 1 in namespaces of
# its own, and looks at what the service does: it mounts for all, survives being killed, and
# leaves nothing mounted, nor enabled when the package is purged.  For tests/debian-folder VERSION fresh.
set -eu

usage() {
	echo "usage: ${0##*/} PACKAGE"
}

fail() {
	echo "FAILED: $*"
	exit 1
}

# --- in the booted system ---

# eventually COMMAND...
eventually() {
	for _ in $(seq 100); do
		! "$@" || return 0
		sleep 0.1
	done
	fail "not in ten seconds: $*"
}

main_process() {
	systemctl show --property MainPID --value shmfs@mnt-shm
}

serves() {
	findmnt -n -t fuse.shmfs /mnt/shm >/dev/null && echo hi 2>/dev/null >/mnt/shm/3148 &&
		[ "$(tr -d '\000' </mnt/shm/3148)" = hi ] &&
		[ "$(ls /mnt/shm)" = 0x00000c4c ] && rm /mnt/shm/3148
}

is_gone() {
	! findmnt -n /mnt/shm >/dev/null
}

probe() {
	serves || fail "the service is started, and nothing is mounted that serves keys=hex"
	process=$(main_process)
	grep -q '^NoNewPrivs:	1$' "/proc/$process/status" || fail "it may gain rights"
	grep -q '^Seccomp:	2$' "/proc/$process/status" || fail "it may call anything"

	kill -KILL "$process"
	eventually serves
	[ "$(main_process)" != "$process" ] || fail "it was not killed"
	[ "$(findmnt -n /mnt/shm | wc -l)" -eq 1 ] || fail "the dead mount is still there"

	systemctl stop shmfs@mnt-shm
	is_gone || fail "stopped, and still mounted"
	systemctl start mnt-shm.mount
	findmnt -n -t fuse.shmfs /mnt/shm >/dev/null || fail "the .mount unit does not mount"
	systemctl stop mnt-shm.mount
	is_gone || fail "the .mount unit does not unmount"
	echo "systemd starts, restarts and stops it"

	systemctl enable --now shmfs@mnt-shm 2>/dev/null
	serves || fail "enabled, and nothing is mounted"
	dpkg --purge shmfs >/dev/null
	is_gone || fail "purged, and still mounted"
	left=$(find /etc/systemd/system -name 'shmfs@*.service' -type l)
	[ -z "$left" ] || fail "purged, and still enabled: $left"
	echo "purging stops and disables it"
}

# --- before ---

# apt_install PACKAGE
apt_install() {
	# The lists may be older than what the mirror has.
	apt-get -qq -y install --no-install-recommends "$1" >/root/output 2>&1 ||
		{ apt-get -qq update && apt-get -qq -y install --no-install-recommends "$1"; } \
			>>/root/output 2>&1 || {
		cat /root/output
		fail "$1 cannot be installed"
	}
}

prepare() {
	export DEBIAN_FRONTEND=noninteractive
	apt_install systemd
	apt_install "$1"
	units=/etc/systemd/system
	cp /usr/share/doc/shmfs/examples/mnt-shm.mount "$units"
	mkdir "$units/shmfs@.service.d"
	printf '[Service]\nEnvironment="SHMFS_OPTIONS=-o min_size=64K,keys=hex"\n' \
		>"$units/shmfs@.service.d/options.conf"
	cat >"$units/probe.service" <<-END
		[Unit]
		Wants=shmfs@mnt-shm.service
		After=shmfs@mnt-shm.service
		SuccessAction=exit-force
		FailureAction=exit-force
		FailureActionExitStatus=1
		JobTimeoutSec=60
		JobTimeoutAction=exit-force
		[Service]
		Type=oneshot
		ExecStart=$(realpath -- "$0") --probe
		StandardOutput=file:/root/probe
		StandardError=inherit
	END
}

# A system of its own as containers have it: what belongs to the host is not to be written to.
boot() {
	mount -t tmpfs dev /run
	mount -t tmpfs -o mode=0755 dev /mnt
	mkdir /mnt/shm
	for device in null zero full random urandom tty fuse; do
		touch "/mnt/$device"
		mount --bind "/dev/$device" "/mnt/$device"
	done
	mount -t tmpfs -o mode=1777 shm /mnt/shm
	mount --move /mnt /dev
	mount -t proc proc /proc
	mount --bind /proc/sys /proc/sys
	mount -o remount,bind,ro /proc/sys
	umount --recursive --lazy /sys
	mount -t sysfs -o ro sys /sys
	mount -t cgroup2 cgroup /sys/fs/cgroup
	container="test" exec /lib/systemd/systemd --unit=probe.service --show-status=no
}

case ${1-} in
--probe) probe ;;
--boot) boot ;;
/* | [!-]*)
	cgroups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
	group=$cgroups/shmfs-test-$$
	if [ -z "$cgroups" ] || ! mkdir "$group" 2>/dev/null; then
		echo "skipped: systemd needs a cgroup of its own here"
		exit 0
	fi
	prepare "$(realpath -- "$1")"
	status=0
	# In the group first: then it is the root of the new namespace.
	sh -c 'echo $$ >"$1" && shift && exec "$@"' sh "$group/cgroup.procs" \
		unshare --cgroup --mount --uts --ipc --pid --fork --kill-child \
		"$0" --boot >/root/output 2>&1 || status=$?
	find "$group" -depth -type d -exec rmdir {} +
	cat /root/probe || cat /root/output
	exit "$status"
	;;
*)
	usage >&2
	exit 2
	;;
esac

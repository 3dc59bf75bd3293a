#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs a package of shmfs on a fresh Debian, uses it as its owner would, and purges it:
# nothing may be left.  For tests/debian-folder VERSION fresh.
set -eu

if [ $# -ne 1 ]; then
	echo "usage: ${0##*/} PACKAGE" >&2
	exit 2
fi
package=$(realpath -- "$1")

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

quietly() {
	"$@" >/tmp/output 2>&1 || {
		cat /tmp/output
		fail "$*"
	}
}

# Every file there is, but for what apt, dpkg and debconf write of their work.
list_files() {
	find / -xdev \( -path /var/lib/apt -o -path /var/cache/apt -o -path /var/cache/debconf \
		-o -path /var/log \) -prune -o -print | sort
	dpkg-query -W -f '${Package} ${db:Status-Status}\n'
}

# apt_install PACKAGE
apt_install() {
	# The lists may be older than what the mirror has.
	apt-get -qq -y install --no-install-recommends "$1" >/tmp/output 2>&1 || {
		quietly apt-get -qq update
		quietly apt-get -qq -y install --no-install-recommends "$1"
	}
}

use_package() {
	mkdir /mnt/shm
	mount -t shmfs shmfs /mnt/shm -o min_size=64K
	echo hi >/mnt/shm/3148
	[ "$(tr -d '\000' </mnt/shm/3148)" = hi ] || fail "what was written is not there"
	[ "$(stat -c %s /mnt/shm/3148)" -eq 65536 ] || fail "min_size= has no effect"
	findmnt -n -t fuse.shmfs /mnt/shm >/dev/null || fail "not in the list of mounts"
	key=$(shmfs-key /etc/passwd A)
	echo configured >"/mnt/shm/$key"
	rm /mnt/shm/3148 "/mnt/shm/$key"
	umount /mnt/shm
	[ "$(wc -l </proc/sysvipc/shm)" -eq 1 ] || fail "a segment is left" # of the table, its head

	echo 'shmfs /mnt/shm fuse.shmfs defaults,nofail 0 0' >/tmp/fstab
	mount -a -T /tmp/fstab
	findmnt -n -t fuse.shmfs /mnt/shm >/dev/null || fail "mount -a has not mounted"
	umount /mnt/shm
	rmdir /mnt/shm
}

# umount does not wait for the end of the daemon.
await_end() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		readlink /proc/[0-9]*/exe | grep -q '/shmfs\>' || return 0
		sleep 1
	done
	fail "the daemon still runs"
}

export DEBIAN_FRONTEND=noninteractive
# First what it depends on: whatever that leaves behind is not from shmfs.
apt_install fuse3
list_files >/tmp/before
apt_install "$package"
use_package
await_end
quietly apt-get -qq -y purge shmfs
list_files >/tmp/after
diff /tmp/before /tmp/after || fail "left behind, or taken along"
echo "installed, used and purged ${package##*/}"

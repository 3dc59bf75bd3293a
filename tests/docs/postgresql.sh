#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs a package of shmfs and PostgreSQL on a fresh Debian, and runs the commands of shmfs(8) on
# the shared memory of the server, while it runs and after it was killed.  For
# tests/debian-folder VERSION fresh.
set -eu

if [ $# -ne 1 ]; then
	echo "usage: ${0##*/} PACKAGE" >&2
	exit 2
fi

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# eventually COMMAND...
eventually() {
	for _ in $(seq 100); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	fail "not in ten seconds: $*"
}

export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq -y install --no-install-recommends \
	postgresql attr "$(realpath -- "$1")"; } >/tmp/output 2>&1 || {
	cat /tmp/output
	fail "cannot install PostgreSQL"
}
mkdir -p /mnt/shm
mount -t shmfs shmfs /mnt/shm
version=$(pg_lsclusters -h | cut -d ' ' -f 1)
pg_ctlcluster "$version" main start 2>/dev/null || true
eventually runuser -u postgres -- psql -c 'select 1'
postmaster=$(head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid")

# The commands of the manual page.
grep '^# .*PostgreSQL' src/shmfs.8 | sed 's/^# //' >/tmp/commands
[ -s /tmp/commands ] || fail "shmfs(8) has no command for PostgreSQL"
sh -eu /tmp/commands >/tmp/output 2>&1 || fail "a command of shmfs(8)"
grep -q "$postmaster postgres" /tmp/output || fail "the server is not among the users of its object"

# The segment: its number and its server's come first (PGShmemHeader of sys/pg_shmem.h).
key=$(find /mnt/shm -maxdepth 1 -regex '.*/[0-9]+')
[ "$(od -A n -t d4 -N 8 "$key" | tr -s ' ')" = " 679834894 $postmaster" ] || fail "not its segment"
[ -z "$(find /mnt/shm/.orphans -type f)" ] || fail "an orphan while the server runs"
kill -KILL "$postmaster"
eventually sh -c 'rm /mnt/shm/.orphans/posix/PostgreSQL.* && rm /mnt/shm/.orphans/sysv/*'
[ ! -e "$key" ] || fail "the segment is still there"
umount /mnt/shm
echo "PostgreSQL $version is shown while it runs, and what it left when it was killed is removed"

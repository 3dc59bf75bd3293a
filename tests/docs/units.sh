#!/bin/bash
# SPDX-License-Identifier: MIT
# systemd finds nothing wrong with the units, and the service mounts where all can see it.
set -eu -o pipefail

if [ $# -ne 4 ]; then
	echo "usage: ${0##*/} SHMFS SERVICE MOUNT PRIVILEGE.C" >&2
	exit 2
fi
shmfs=$1
service=$2
mount=$3
privileges=$4
# Tenths of systemd-analyze's points; what is left is what a mount for all has to be.
most_exposed=50

if ! command -v systemd-analyze >/dev/null; then
	echo "skipped: no systemd-analyze"
	exit 77
fi

work=$(mktemp -d)
trap 'rm -r -- "$work"' EXIT

# Programs that a unit names have to exist: those that were built.
sed "s|^ExecStart=\"[^\"]*/shmfs\" |ExecStart=\"$shmfs\" |" "$service" >"$work/shmfs@.service"
cp -- "$mount" "$work/mnt-shm.mount"
said=$(systemd-analyze verify --man=no "$work/shmfs@mnt-shm.service" "$work/mnt-shm.mount" 2>&1) ||
	said="status $?: $said"
if [ -n "$said" ]; then
	echo "FAILED: systemd-analyze verify: $said"
	exit 1
fi
grep -q "^ExecStart=\"$shmfs\" " "$work/shmfs@.service" || {
	echo "FAILED: the service does not start shmfs"
	exit 1
}

# systemd.exec(5): each of these makes a mount namespace, which the mount would not leave.
hiding='Private(Tmp|Devices|Mounts|IPC|Network|Users|PIDs)|Protect(System|Home|Proc)|ProcSubset'
hiding=$hiding'|ProtectKernel(Tunables|Modules|Logs)|ProtectControlGroups|(No)?ExecPaths'
hiding=$hiding'|(ReadOnly|ReadWrite|Inaccessible)Paths|Bind(ReadOnly)?Paths|TemporaryFileSystem'
hiding=$hiding'|Root(Directory|Image)|Mount(Images|Flags)|DynamicUser|LogNamespace'
if grep -E "^($hiding)=" "$service"; then
	echo "FAILED: with this the mount is seen by shmfs alone"
	exit 1
fi

# What serving uses is not taken away by the service.
lacking=$(comm -23 <(sed -nE 's/^\t(CAP_[A-Z_]+),.*/\1/p' "$privileges" | sort) \
	<(grep '^CapabilityBoundingSet=' "$service" | grep -oE 'CAP_[A-Z_]+' | sort))
if [ -n "$lacking" ]; then
	echo "FAILED: CapabilityBoundingSet has no $lacking"
	exit 1
fi

# The system calls of a set or of sets in it; any other word is a call itself.
allowed() {
	case $1 in
	@*)
		for word in $(systemd-analyze syscall-filter "$1" | sed '1d; s/#.*//'); do
			allowed "$word"
		done
		;;
	*) echo "$1" ;;
	esac
}

filter=$(sed -n 's/^SystemCallFilter=//p' "$service")
used=$(sed -n '/ kept\[\]/,/^};/p' "$privileges" | grep -oE '[a-z_]+\(2\)' | tr -d '()2')
lacking=$(comm -23 <(echo "$used" | sort -u) \
	<(for word in $filter; do allowed "$word"; done | sort -u))
if [ -n "$lacking" ]; then
	echo "FAILED: SystemCallFilter has no $lacking"
	exit 1
fi

systemd-analyze security --offline=true --threshold="$most_exposed" --no-pager \
	"$work/shmfs@.service" >"$work/report" 2>&1 || {
	cat "$work/report"
	echo "FAILED: more exposed than $most_exposed"
	exit 1
}
tail -n 1 "$work/report"

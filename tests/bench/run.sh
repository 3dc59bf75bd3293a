#!/bin/sh
# SPDX-License-Identifier: MIT
# Mounts what is to be measured, and measures: cmake --build build --target bench
#
# All of it is in mount, IPC and PID namespaces of its own.  When they end,
# by themselves or because this script is stopped, mounts, segments and
# processes end with them.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: ${0##*/} SHMFS BENCH" >&2
	exit 2
fi
shmfs=$1
bench=$2

# Outside: only a directory to mount on, and the wait for what is inside.
if [ -z "${BENCH_WORK-}" ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "skipped: needs root, for namespaces and mounts of its own"
		exit 0
	fi
	BENCH_WORK=$(mktemp -d)
	export BENCH_WORK
	inside=
	trap '[ -z "$inside" ] || { kill -KILL "$inside"; wait "$inside" 2>/dev/null || true; }
		rmdir -- "$BENCH_WORK"' EXIT
	trap 'exit 130' HUP INT TERM
	unshare --mount --ipc --pid --fork --kill-child --mount-proc -- "$0" "$@" &
	inside=$!
	status=0
	wait "$inside" || status=$?
	inside=
	exit "$status"
fi

# One line that tells what was measured.
describe() {
	cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
	echo "${cpu:-$(uname -m)}, $(nproc) CPUs, Linux $(uname -r)"
	"$shmfs" -V
	for peer in bindfs fio; do
		if command -v "$peer" >/dev/null; then
			"$peer" --version
		else
			echo "without $peer, which is not installed"
		fi
	done
}

mount -t tmpfs -o mode=0755,size=2G bench "$BENCH_WORK"
mount -t tmpfs -o mode=1777,size=3G bench /dev/shm
cd "$BENCH_WORK"
mkdir bound served cold warm
"$shmfs" bound
"$shmfs" -o nopassthrough served
cold=-
warm=-
if command -v bindfs >/dev/null; then
	bindfs -o entry_timeout=0,attr_timeout=0,negative_timeout=0 /dev/shm cold
	bindfs /dev/shm warm
	cold=$BENCH_WORK/cold
	warm=$BENCH_WORK/warm
fi
describe | paste -s -d , | sed "s/,/, /g; s/,  */, /g"
echo
LC_ALL=C.UTF-8 "$bench" "$BENCH_WORK/bound" "$BENCH_WORK/served" "$cold" "$warm"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Mounts what is to be measured, and measures: cmake --build build --target bench
#
# All of it is in mount, IPC and PID namespaces of its own.  When they end,
# by themselves or because this script is stopped, mounts, segments and
# processes end with them.
set -eu

if [ $# -ne 3 ]; then
	echo "usage: ${0##*/} SHMFS BENCH LEAST" >&2
	exit 2
fi
shmfs=$1
bench=$2
least=$3

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
	if command -v bindfs >/dev/null; then
		bindfs --version
	else
		echo "without bindfs, which is not installed"
	fi
}

mount -t tmpfs -o mode=0755,size=2G bench "$BENCH_WORK"
mount -t tmpfs -o mode=1777,size=3G bench /dev/shm
cd "$BENCH_WORK"
mkdir bound served cold warm least

# Mount in the foreground, so that the process is known, and wait for it.  The scheduler shares a
# processor among sessions (sched(7), autogroups), and a daemon has one of its own.
mounted() {
	directory=$1
	shift
	setsid "$@" "$directory" &
	daemon=$!
	until mountpoint -q "$directory"; do
		kill -0 "$daemon"
		sleep 0.05
	done
}

mounted bound "$shmfs" -f
mounted served "$shmfs" -f -o nopassthrough
served=$daemon
mounted least "$least"
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
LC_ALL=C.UTF-8 "$bench" "$BENCH_WORK/bound" "$BENCH_WORK/served" "$cold" "$warm" "$BENCH_WORK/least"

# What the daemon took, and what it takes when nobody asks for anything.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$served/stat"
}
echo
echo "The daemon without passthrough has $(awk '/^VmRSS/ { print $2 }' "/proc/$served/status") KiB in memory" \
	"and $(find "/proc/$served/task" -maxdepth 1 -name '[0-9]*' | wc -l) threads after all that."
sleep 2
before=$(ticks)
sleep 3
echo "Of 3 seconds without a request it took $((($(ticks) - before) * 10)) ms of a processor."

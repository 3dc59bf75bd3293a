/* SPDX-License-Identifier: MIT */
/*
 * While one caller alone asks, most of the cost is the way to the daemon and back.  So the reader
 * keeps its turn and serves the request itself, because to wake another thread takes longer than
 * most requests.  The main thread looks every few milliseconds whether the reader gets on, and
 * otherwise lets another thread read.
 *
 * A caller that asks again and again is served on its own processor: to wake a sleeping task on
 * another one takes ten times as long in a virtual machine.  The scheduler would keep the two
 * apart, since a woken task goes to an idle processor rather than to that of its waker
 * (kernel/sched/fair.c, select_idle_sibling()).  A waker under SCHED_IDLE does not count there
 * (sched_idle_cpu()), so the caller stays, and the reader is pinned.  SCHED_IDLE gives way to every
 * other task, so the main thread also looks whether the reader gets a processor.
 */
#pragma once

#include <sched.h>

#include "fuse/loop.h"

/* What the main thread knows. */
struct shmfs_follow {
	bool useful;	       /* threads can be put beside callers and back */
	cpu_set_t allowed;     /* the processors that the daemon was given */
	struct worker *placed; /* beside a caller, on `cpu` */
	int cpu;
	uint64_t not_placed_until; /* CLOCK_MONOTONIC, ns */
};

void shmfs_follow_init(struct shmfs_follow *);

/* Look after the reader, and again after SHMFS_TICK_NS if requests come. */
void shmfs_follow_tick(struct shmfs_follow *, struct loop *);

/* The processor that a thread is on, or -1. */
int shmfs_follow_find(pid_t);

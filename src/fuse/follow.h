/* SPDX-License-Identifier: MIT */
/*
 * One thread serves beside its caller, on the caller's own processor.
 *
 * A request wakes a thread of the daemon, and its reply wakes the caller.  On one
 * processor both are mere switches of tasks.  To wake a task on another processor, which
 * sleeps meanwhile, takes ten times as long in a virtual machine.  The scheduler keeps the
 * two apart: a task that is woken goes to an idle processor rather than to that of its
 * waker (kernel/sched/fair.c, select_idle_sibling()).  A waker under SCHED_IDLE does not
 * count there (sched_idle_cpu()), so the caller stays, and the thread is told to stay.
 *
 * SCHED_IDLE gives way to everything, and a thread that waits for a processor may hold a
 * lock.  So it is for a mount whose daemon may leave SCHED_IDLE again at any moment.  Where
 * it may not, the thread asks for the next request for a while before it sleeps, which
 * spares one of the two wake-ups.
 */
#ifndef SHMFS_FUSE_FOLLOW_H
#define SHMFS_FUSE_FOLLOW_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The loop's lock guards all of it. */
struct shmfs_follow {
	bool useful;	   /* there is more than one processor */
	int load_fd;	   /* owned; tells how many tasks run */
	bool beside;	   /* as SCHED_IDLE; else by asking again */
	cpu_set_t allowed; /* the processors that the daemon was given */
	int cpu;	   /* of the caller; -1: not known */
	pid_t caller;	   /* of the last request */
	uint64_t at;	   /* when that was answered; CLOCK_MONOTONIC, ns */
	unsigned requests; /* of that caller since it was looked at */
	unsigned crowd;	   /* not 0: several call at once, each from where it is */
};

void shmfs_follow_init(struct shmfs_follow *);
void shmfs_follow_clear(struct shmfs_follow *);

/* What there is to do after a request. */
enum shmfs_follow_step {
	SHMFS_FOLLOW_STAY,
	SHMFS_FOLLOW_LOOK, /* see where the caller is: shmfs_follow_find() */
	SHMFS_FOLLOW_NONE, /* several call at once: serve each by any thread */
};

/* A request of the thread `caller`, 0 for one that cannot be seen, has been answered. */
enum shmfs_follow_step shmfs_follow_note(struct shmfs_follow *, pid_t caller, uint64_t now);

/* The processor that a thread is on, or -1.  Takes some microseconds; needs no lock. */
int shmfs_follow_find(pid_t);
/* Does a thread run or wait for a processor, and sleep for nothing?  Likewise. */
bool shmfs_follow_is_running(pid_t);

/*
 * Do processors sleep?  Where all are at work a wake-up takes no longer from one to the
 * other, and a thread under SCHED_IDLE would wait for its own.  Needs no lock.
 */
bool shmfs_follow_is_quiet(const struct shmfs_follow *);

/* Put a thread beside the caller.  False: it goes on as it was. */
bool shmfs_follow_join(const struct shmfs_follow *, pid_t tid);
/* Let it run as any other. */
void shmfs_follow_leave(const struct shmfs_follow *, pid_t tid);

#endif

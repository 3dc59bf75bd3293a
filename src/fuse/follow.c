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
#include "fuse/loop.h"

#include <cap-ng.h>
#include <poll.h>
#include <sys/resource.h>

#include "shmfs/proc.h"

/* So many requests of one caller in a row are a loop. */
#define LOOP_REQUESTS 16
/* How long the reader stays away where it got no processor. */
#define BREAK_NS 100000000u
/* RLIMIT_NICE that lets a thread leave SCHED_IDLE for nice 0 (sched(7), getrlimit(2)). */
#define NICE_0 20

static bool may_leave_idle(void)
{
	struct rlimit limit;

	return (capng_get_caps_process() == 0 &&
		capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_NICE)) ||
	       (getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= NICE_0);
}

void shmfs_follow_init(struct shmfs_follow *follow)
{
	*follow = (struct shmfs_follow){ .cpu = -1 };
	follow->useful = may_leave_idle() &&
			 sched_getaffinity(0, sizeof(follow->allowed), &follow->allowed) == 0 &&
			 CPU_COUNT(&follow->allowed) > 1;
}

static void put_beside(struct shmfs_follow *follow, struct worker *worker, int cpu)
{
	const struct sched_param none = { 0 };
	cpu_set_t one;

	if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET((size_t)cpu, &follow->allowed))
		return;
	follow->placed = worker;
	follow->cpu = cpu;
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	sched_setaffinity(worker->tid, sizeof(one), &one);
	sched_setscheduler(worker->tid, SCHED_IDLE, &none);
}

static void put_back(struct shmfs_follow *follow)
{
	const struct sched_param none = { 0 };

	sched_setscheduler(follow->placed->tid, SCHED_OTHER, &none);
	sched_setaffinity(follow->placed->tid, sizeof(follow->allowed), &follow->allowed);
	follow->placed = NULL;
	follow->cpu = -1;
}

/* Nothing was read since the last tick: a request takes long, or none came. */
static void on_standstill(struct loop *loop)
{
	struct pollfd device = { .fd = loop->fd, .events = POLLIN };

	if (loop->reader && loop->reader->is_serving) {
		shmfs_worker_pass_turn(loop);
		sem_post(&loop->turn);
	} else if (poll(&device, 1, 0) == 0) {
		loop->is_watched = false;
	}
}

void shmfs_follow_tick(struct shmfs_follow *follow, struct loop *loop)
{
	struct shmfs_proc_stat caller;
	struct worker *worker = NULL;
	bool stands;
	bool serves;
	pid_t pid;

	pthread_mutex_lock(&loop->lock);
	stands = loop->nread == loop->nlooked;
	serves = follow->placed && follow->placed->is_serving;
	if (stands)
		on_standstill(loop);
	else if (loop->in_a_row > LOOP_REQUESTS && follow->useful &&
		 shmfs_now_ns() > follow->not_placed_until)
		worker = loop->reader;
	loop->nlooked = loop->nread;
	pid = loop->caller;
	if (loop->is_watched)
		shmfs_worker_set_timer(loop, SHMFS_TICK_NS);
	stands = stands && loop->is_watched;
	pthread_mutex_unlock(&loop->lock);

	if (!follow->placed && !worker)
		return;
	caller = shmfs_proc_stat("/proc", pid);
	/*
	 * A caller that computes was answered: it keeps the reader from the rest of its work.  A
	 * reader that sleeps in its request, as until a child has read /proc, lacks no processor.
	 */
	if (stands && !caller.runs &&
	    !(serves && !shmfs_proc_stat("/proc", follow->placed->tid).runs))
		follow->not_placed_until = shmfs_now_ns() + BREAK_NS;
	if (follow->placed && follow->placed != worker)
		put_back(follow);
	if (worker && caller.cpu != follow->cpu)
		put_beside(follow, worker, caller.cpu);
}

/* SPDX-License-Identifier: MIT */
#include "fuse/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

/* How long the one thread stays away where it got no processor; each time for twice that. */
#define LEAST_BREAK_NS 50000000u
#define MOST_BREAK_NS 3200000000u

/* A thread has its buffer before it reads: one that reads alone must not want for memory. */
static int add_thread(struct loop *loop, struct worker *worker)
{
	char *buffer = malloc(SHMFS_MAX_REQUEST);
	int err;

	if (!buffer)
		return -ENOMEM;
	if (worker->state == ENDED)
		pthread_join(worker->id, NULL);
	*worker = (struct worker){ .loop = loop, .state = IDLE, .buffer = buffer };
	err = pthread_create(&worker->id, NULL, loop->work, worker);
	if (err) {
		worker->state = FREE;
		free(buffer);
	}
	return -err;
}

void shmfs_threads_add_single(struct loop *loop)
{
	add_thread(loop, &loop->workers[0]);
}

void shmfs_threads_add(struct loop *loop)
{
	for (int i = 1; i <= loop->max_threads; i++) {
		struct worker *worker = &loop->workers[i];

		if (worker->state != FREE && worker->state != ENDED)
			continue;
		if (add_thread(loop, worker) == 0)
			loop->readers++;
		return;
	}
}

static bool wake(struct loop *loop, int first, int end)
{
	bool any = false;

	for (int i = first; i < end; i++) {
		if (loop->workers[i].state != IDLE)
			continue;
		pthread_kill(loop->workers[i].id, SHMFS_WAKE_SIGNAL);
		any = true;
	}
	return any;
}

bool shmfs_threads_wake_all(struct loop *loop)
{
	return wake(loop, 0, 1 + loop->max_threads);
}

void shmfs_threads_begin_single(struct loop *loop)
{
	if (loop->single || loop->stopped || loop->workers[0].state != IDLE)
		return;
	loop->single = true;
	pthread_cond_broadcast(&loop->changed);
	wake(loop, 1, 1 + loop->max_threads);
	eventfd_write(loop->event_fd, 1);
}

void shmfs_threads_leave(struct loop *loop)
{
	struct worker *worker = &loop->workers[0];

	if (worker->beside)
		shmfs_follow_leave(&loop->follow, worker->tid);
	worker->beside = false;
}

void shmfs_threads_end_single(struct loop *loop)
{
	if (!loop->single)
		return;
	loop->single = false;
	shmfs_threads_leave(loop);
	wake(loop, 0, 1);
	pthread_cond_broadcast(&loop->changed);
}

void shmfs_threads_take_break(struct loop *loop)
{
	const uint64_t now = shmfs_now_ns();

	if (loop->break_ns == 0 || now > loop->break_until + MOST_BREAK_NS)
		loop->break_ns = LEAST_BREAK_NS;
	loop->break_until = now + loop->break_ns;
	if (loop->break_ns < MOST_BREAK_NS)
		loop->break_ns *= 2;
	loop->follow.cpu = -1;
	shmfs_threads_leave(loop);
}

void shmfs_threads_stop(struct loop *loop, int error)
{
	SHMFS_LOCKED(&loop->lock);
	shmfs_threads_end_single(loop);
	loop->stopped = true;
	if (!loop->error)
		loop->error = error;
	pthread_cond_broadcast(&loop->changed);
	eventfd_write(loop->event_fd, 1);
}

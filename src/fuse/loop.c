/* SPDX-License-Identifier: MIT */
/*
 * How requests are handed to threads.
 *
 * Nearly every request is answered within a microsecond or two, but any can sleep: on an object's
 * lock, on memory, on a process that is looked at.  So one thread reads while others serve.  It
 * gives its turn to the next one when it has a request, and if no other thread waits, one more is
 * made.  While one caller alone asks, one thread does both: follow.c.
 *
 * One user cannot have all threads.  A request past its user's share is put aside, and served when
 * one of that user's is done.
 */
#include "fuse/loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/timerfd.h>

/* Threads at the start. */
#define FEW_THREADS 2
/* Makes read(2) on the device return; elsewhere it is ignored. */
#define WAKE_SIGNAL SIGURG
/* How often the reader is woken to end. */
#define WAKE_NS 10000000

static void on_wake_signal(int number)
{
}

/* Without SA_RESTART: read(2) is to return. */
static int catch_wake_signal(struct sigaction *before)
{
	const struct sigaction action = { .sa_handler = on_wake_signal };

	return sigaction(WAKE_SIGNAL, &action, before) == 0 ? 0 : -errno;
}

static int start(struct loop *loop)
{
	int err = 0;
	SHMFS_LOCKED(&loop->lock);

	for (int i = 0; !err && i < FEW_THREADS && i < loop->max_threads; i++)
		err = shmfs_worker_add(loop);
	return loop->nthreads > 0 ? 0 : err;
}

static bool is_stopped(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	return loop->stopped;
}

/* Until a signal comes or a thread has stopped the loop. */
static void watch(struct loop *loop, struct shmfs_follow *follow, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = loop->timer_fd, .events = POLLIN },
		{ .fd = loop->fs->names_watch, .events = POLLIN },
	};
	uint64_t count;
	ssize_t n;

	while (!is_stopped(loop)) {
		poll(fds, 3, -1);
		if (fds[0].revents) {
			forget_end(loop->fs);
			shmfs_worker_stop_all(loop, 0);
		}
		if (fds[2].revents)
			shmfs_fs_names_changed(loop->fs);
		n = read(loop->timer_fd, &count, sizeof(count));
		if (n > 0)
			shmfs_follow_tick(follow, loop);
	}
}

/*
 * Wake the reader unless it serves.  It can miss the signal before read(2).  Returns whether some
 * thread reads.
 */
static bool wake_reader(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	if (loop->reader && !loop->reader->is_serving)
		pthread_kill(loop->reader->id, WAKE_SIGNAL);
	return loop->reader;
}

static void join(struct loop *loop)
{
	const struct timespec moment = { .tv_nsec = WAKE_NS };

	while (wake_reader(loop))
		nanosleep(&moment, NULL);
	for (int i = 0; i < loop->nthreads; i++)
		pthread_join(loop->workers[i].id, NULL);
}

int shmfs_loop_run(struct shmfs_fs *fs, int signal_fd, bool single_thread)
{
	struct loop loop = {
		.fs = fs,
		.fd = fuse_session_fd(fs->session),
		.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
		.max_threads = single_thread ? 1 : SHMFS_MAX_THREADS,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.released = PTHREAD_COND_INITIALIZER,
	};
	SHMFS_AUTO_FD int timer_fd = loop.timer_fd;
	struct shmfs_follow follow;
	struct sigaction before;
	int err = timer_fd < 0 ? -errno : catch_wake_signal(&before);

	if (err)
		return err;
	sem_init(&loop.turn, 0, 1);
	shmfs_follow_init(&follow);
	err = start(&loop);
	if (err)
		shmfs_worker_stop_all(&loop, err);
	else
		watch(&loop, &follow, signal_fd);
	join(&loop);
	sem_destroy(&loop.turn);
	sigaction(WAKE_SIGNAL, &before, NULL);
	return loop.error;
}

/* SPDX-License-Identifier: MIT */
/*
 * How requests are handed to threads.
 *
 * Nearly every request is answered within a microsecond or two, but any can sleep: on an
 * object's lock that a user holds, on memory, on a process that is looked at.  So one
 * thread always waits in read(2) on the device while others serve: the next one reads as
 * soon as a request is entered, and if no other thread is left, one more is made.  No
 * piece of code has to say that it may take long.
 *
 * One user cannot have all threads.  A request past its user's share is put aside and
 * served when one of that user's is done.
 *
 * While one caller asks after the other, what it costs is the way there and back.  Then
 * one thread alone reads and serves, beside the caller (follow.h), and the others sleep.
 * That thread can be held up, by a request or by whatever else runs on its processor.  So
 * the main thread looks every millisecond whether it gets on, and if not wakes the others.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#include "fuse/threads.h"
#include "fuse/worker.h"
#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

/* Threads at the start. */
#define FEW_READERS 2
/* How often the main thread looks, how often it finds no progress, and when it stops looking. */
#define WATCH_MS 1
#define MANY_LOOKS 2
#define MOST_LOOKS 10
#define QUIET_NS 20000000u
/* How often readers are woken to end. */
#define WAKE_NS 10000000

/* --- the main thread --- */

static void on_wake_signal(int number)
{
	(void)number;
}

/* Without SA_RESTART: read(2) is to return. */
static int catch_wake_signal(struct sigaction *before)
{
	const struct sigaction action = { .sa_handler = on_wake_signal };

	return sigaction(SHMFS_WAKE_SIGNAL, &action, before) == 0 ? 0 : -errno;
}

/* How the one thread that reads gets on. */
struct watch {
	unsigned served;
	unsigned looks; /* in a row, while a request waited and nothing was served */
	uint64_t moved; /* when something was; CLOCK_MONOTONIC, ns */
	bool is_active; /* to be looked at again soon */
};

/*
 * The one thread does not get on, and a request waits.  A thread that sleeps in what it
 * serves is left to that.  One that could run needs a processor or much of one: others
 * would not get on much better, so that is given some time.  loop->lock is held.
 */
static void hold_up(struct loop *loop, unsigned looks)
{
	struct worker *worker = &loop->workers[0];

	if (worker->state == IDLE && worker->beside)
		shmfs_threads_take_break(loop);
	else if (worker->state == SERVING &&
		 (looks > MOST_LOOKS || !shmfs_follow_is_running(worker->tid)))
		shmfs_threads_end_single(loop);
}

static void look_after(struct loop *loop, struct watch *watch)
{
	struct pollfd device = { .fd = loop->fd, .events = POLLIN };
	const uint64_t now = shmfs_now_ns();

	SHMFS_LOCKED(&loop->lock);
	if (!loop->single) {
		watch->is_active = false;
		return;
	}
	if (loop->served != watch->served) {
		watch->served = loop->served;
		watch->moved = now;
		watch->looks = 0;
	} else if (poll(&device, 1, 0) <= 0) {
		watch->looks = 0;
	} else if (++watch->looks > MANY_LOOKS) {
		hold_up(loop, watch->looks);
	}
	watch->is_active = watch->looks > 0 || now - watch->moved < QUIET_NS;
}

static bool reads_alone(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	return loop->single;
}

static bool is_stopped(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	return loop->stopped;
}

/* Until a signal comes or a thread has stopped the loop. */
static void watch(struct loop *loop, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = loop->event_fd, .events = POLLIN },
		{ .fd = loop->fd, .events = POLLIN },
	};
	struct watch watch = { 0 };
	eventfd_t count;

	while (!is_stopped(loop)) {
		bool asleep = reads_alone(loop) && !watch.is_active;

		poll(fds, asleep ? 3 : 2, watch.is_active ? WATCH_MS : -1);
		if (fds[0].revents)
			shmfs_threads_stop(loop, 0);
		eventfd_read(loop->event_fd, &count);
		look_after(loop, &watch);
	}
}

/* --- start and end --- */

static int start(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	if (loop->follow.useful)
		shmfs_threads_add_single(loop);
	for (int i = 0; i < FEW_READERS; i++)
		shmfs_threads_add(loop);
	return loop->readers > 0 ? 0 : -ENOMEM;
}

static bool wake_all(struct loop *loop)
{
	SHMFS_LOCKED(&loop->lock);
	return shmfs_threads_wake_all(loop);
}

static bool is_thread(struct loop *loop, const struct worker *worker)
{
	SHMFS_LOCKED(&loop->lock);
	return worker->state != FREE;
}

static void join(struct loop *loop)
{
	const struct timespec moment = { .tv_nsec = WAKE_NS };

	while (wake_all(loop))
		nanosleep(&moment, NULL);
	for (int i = 0; i <= loop->max_threads; i++)
		if (is_thread(loop, &loop->workers[i]))
			pthread_join(loop->workers[i].id, NULL);
}

int shmfs_loop_run(struct fuse_session *session, int signal_fd, bool single_thread)
{
	struct loop loop = {
		.session = session,
		.work = shmfs_worker_run,
		.fd = fuse_session_fd(session),
		.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.max_threads = single_thread ? 1 : SHMFS_MAX_THREADS,
		.read_lock = PTHREAD_MUTEX_INITIALIZER,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.released = PTHREAD_COND_INITIALIZER,
	};
	SHMFS_AUTO_FD int event_fd = loop.event_fd;
	struct sigaction before;
	int err = event_fd < 0 ? -errno : catch_wake_signal(&before);

	if (err)
		return err;
	shmfs_follow_init(&loop.follow);
	loop.follow.useful = loop.follow.useful && !single_thread;
	err = start(&loop);
	if (err)
		shmfs_threads_stop(&loop, err);
	else
		watch(&loop, signal_fd);
	join(&loop);
	shmfs_follow_clear(&loop.follow);
	sigaction(SHMFS_WAKE_SIGNAL, &before, NULL);
	return loop.error;
}

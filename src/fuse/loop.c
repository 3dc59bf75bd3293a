/* SPDX-License-Identifier: MIT */
/*
 * How requests are handed to threads.
 *
 * Nearly every request is answered within a microsecond or two, and what it
 * costs its caller is the way there and back: two wake-ups, of a thread here
 * and of the caller, which take ten times as long.  So one thread, the
 * leader, waits for requests and answers them itself, in a row, with no
 * hand-over.  Only before something that may take long it gives up the lead
 * (shmfs_loop_release_lead()): another thread waits then, an idle one or a new
 * one, and the old leader queues up to lead again when it is done.
 *
 * A caller that walks many files sends its next request as soon as it has the
 * answer to the last.  While requests come that fast the leader does not
 * sleep between them but asks again for a moment: that saves the first of the
 * two wake-ups, and halved the time of a stat(2) where it was measured.  With
 * a pause between requests it sleeps at once.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "shmfs/clock.h"

/* With a page for its header (fs/fuse/dev.c, fuse_dev_do_read()). */
#define MAX_REQUEST (MAX_TRANSFER + 4096)
/* Requests that are under way at once; the kernel queues more. */
#define MAX_THREADS 10
/* How long the leader asks again, and how close requests must come for that. */
#define SPIN_NS 50000u
/* How long a thread without a buffer waits for memory. */
#define NO_MEMORY_MS 50
/* A stream of requests without a pause must not hide a signal. */
#define SIGNAL_CHECK_EVERY 256

struct loop {
	struct fuse_session *session; /* borrowed */
	int fd;			      /* borrowed; /dev/fuse, non-blocking */
	int signal_fd;		      /* borrowed */
	int max_threads;
	bool may_spin; /* on one processor it would keep the caller from it */

	pthread_mutex_t lock; /* protects all below; held for moments */
	pthread_cond_t changed;
	bool led;     /* some thread waits for requests */
	bool stopped; /* no more of them */
	int idle;     /* threads that wait to lead */
	int threads;
	int starving; /* those of them that wait for memory */
	pthread_t ids[MAX_THREADS];
	int error;
};

/* What a thread of the loop knows of itself. */
static _Thread_local struct loop *leading;

/* Its buffer for bytes that have to be copied on their way; owned. */
static _Thread_local struct {
	char *mem;
	size_t size;
} scratch;

static void *work(void *arg);

/* loop->lock is held. */
static int add_thread(struct loop *loop)
{
	int err = pthread_create(&loop->ids[loop->threads], NULL, work, loop);

	if (!err)
		loop->threads++;
	return -err;
}

void shmfs_loop_release_lead(void)
{
	struct loop *loop = leading;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	/* Somebody has to be there to lead; if nobody can, we go on as we are. */
	if (loop->idle > 0 ||
	    (loop->threads < loop->max_threads && loop->starving == 0 && add_thread(loop) == 0)) {
		loop->led = false;
		leading = NULL;
		pthread_cond_signal(&loop->changed);
	}
	pthread_mutex_unlock(&loop->lock);
}

void shmfs_loop_offer_lead(void)
{
	struct loop *loop = leading;
	struct pollfd next;

	if (!loop)
		return;
	next = (struct pollfd){ .fd = loop->fd, .events = POLLIN };
	if (poll(&next, 1, 0) > 0)
		shmfs_loop_release_lead();
}

char *shmfs_loop_scratch(size_t size)
{
	if (scratch.size < size) {
		char *mem = realloc(scratch.mem, size);

		if (!mem)
			return NULL;
		scratch.mem = mem;
		scratch.size = size;
	}
	return scratch.mem;
}

static void stop(struct loop *loop, int error)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopped = true;
	if (!loop->error)
		loop->error = error;
	pthread_cond_broadcast(&loop->changed);
	pthread_mutex_unlock(&loop->lock);
}

/* Wait for the lead.  False: there is nothing more to lead. */
static bool lead(struct loop *loop)
{
	bool ours;

	pthread_mutex_lock(&loop->lock);
	loop->idle++;
	while (loop->led && !loop->stopped)
		pthread_cond_wait(&loop->changed, &loop->lock);
	loop->idle--;
	ours = !loop->stopped;
	if (ours)
		loop->led = true;
	pthread_mutex_unlock(&loop->lock);
	leading = ours ? loop : NULL;
	return ours;
}

/* Wait until there is a request.  False: a signal came instead. */
static bool wait_for_request(const struct loop *loop, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = loop->fd, .events = POLLIN },
		{ .fd = loop->signal_fd, .events = POLLIN },
	};

	while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR)
		;
	return fds[1].revents == 0;
}

/* When requests came and went, as far as the leader needs it. */
struct pace {
	uint64_t answered; /* when the last request was done with */
	bool fast;	   /* it had come soon after the one before */
	unsigned count;
};

/*
 * Read one request.  fuse_session_receive_buf() does the same, but takes
 * ECONNABORTED for an error and says so on standard error.
 */
static int read_request(const struct loop *loop, struct fuse_buf *buf)
{
	ssize_t n;

	if (!buf->mem)
		buf->mem = malloc(MAX_REQUEST);
	if (!buf->mem)
		return -ENOMEM;
	n = read(loop->fd, buf->mem, MAX_REQUEST);
	if (n < 0)
		return -errno;
	buf->size = (size_t)n;
	return (int)n;
}

/*
 * Did a request end before it could be read, so that the next one is to be read?
 * ENOENT: it was interrupted.  ECONNABORTED: it went with the mount, and so may the
 * next few until there is ENODEV (fs/fuse/dev.c, fuse_dev_do_read(), fuse_abort_conn()).
 */
static bool is_lost(int err)
{
	return err == -EINTR || err == -ENOENT || err == -ECONNABORTED;
}

/*
 * Get one request.  Returns its size, 0 when there will be no more, or a
 * negative errno.
 */
static int receive(const struct loop *loop, struct pace *pace, struct fuse_buf *buf)
{
	int size;

	if (++pace->count % SIGNAL_CHECK_EVERY == 0 && !wait_for_request(loop, 0))
		return 0;
	for (;;) {
		size = read_request(loop, buf);
		if (is_lost(size))
			continue;
		if (size != -EAGAIN)
			break;
		if (loop->may_spin && pace->fast && shmfs_now_ns() - pace->answered < SPIN_NS)
			continue;
		if (!wait_for_request(loop, -1))
			return 0;
	}
	pace->fast = shmfs_now_ns() - pace->answered < SPIN_NS;
	return size == -ENODEV ? 0 : size; /* unmounted */
}

/*
 * There is no memory for this thread's buffer, and no request has been read
 * yet.  Threads that have theirs can serve: let one of them lead.
 * False: a signal came meanwhile.
 */
static bool wait_for_memory(struct loop *loop)
{
	struct pollfd signal = { .fd = loop->signal_fd, .events = POLLIN };
	bool signalled;

	pthread_mutex_lock(&loop->lock);
	loop->starving++;
	if (loop->idle > 0) {
		loop->led = false;
		leading = NULL;
		pthread_cond_signal(&loop->changed);
	}
	pthread_mutex_unlock(&loop->lock);
	signalled = poll(&signal, 1, NO_MEMORY_MS) > 0;
	pthread_mutex_lock(&loop->lock);
	loop->starving--;
	pthread_mutex_unlock(&loop->lock);
	return !signalled;
}

static void *work(void *arg)
{
	struct loop *loop = arg;
	struct fuse_buf buf = { 0 };
	struct pace pace = { 0 };

	while (lead(loop)) {
		while (leading) {
			int size = receive(loop, &pace, &buf);

			if (size == -ENOMEM && wait_for_memory(loop))
				continue;
			if (size <= 0) {
				stop(loop, size == -ENOMEM ? 0 : size);
				break;
			}
			fuse_session_process_buf(loop->session, &buf);
			pace.answered = shmfs_now_ns();
		}
	}
	free(buf.mem);
	free(scratch.mem);
	return NULL;
}

/* More than one, that we may run on? */
static bool has_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

/* Threads are added by threads: the last of them is known when all ended. */
static void join(struct loop *loop)
{
	for (int i = 0;; i++) {
		pthread_t id;
		bool more;

		pthread_mutex_lock(&loop->lock);
		more = i < loop->threads;
		if (more)
			id = loop->ids[i];
		pthread_mutex_unlock(&loop->lock);
		if (!more)
			break;
		pthread_join(id, NULL);
	}
}

int shmfs_loop_run(struct fuse_session *session, int signal_fd, bool single_thread)
{
	struct loop loop = {
		.session = session,
		.fd = fuse_session_fd(session),
		.signal_fd = signal_fd,
		.max_threads = single_thread ? 1 : MAX_THREADS,
		.may_spin = has_processors(),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	int err;

	if (fcntl(loop.fd, F_SETFL, O_NONBLOCK) != 0)
		return -errno;
	pthread_mutex_lock(&loop.lock);
	err = add_thread(&loop);
	pthread_mutex_unlock(&loop.lock);
	if (err)
		return err;
	join(&loop);
	return loop.error;
}

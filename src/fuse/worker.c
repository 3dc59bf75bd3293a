/* SPDX-License-Identifier: MIT */
/* One thread of the request loop. */
#include "fuse/worker.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/threads.h"
#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

/* More threads than these wait for a second after all of them were needed. */
#define FEW_READERS 2
#define KEEP_NS 1000000000u
/* Where processors were at work so short a time ago, they will be again. */
#define CALM_NS 1000000000u
/* How long the one thread asks again when it is not beside its caller. */
#define ASK_QUIET_NS 200000u
#define ASK_FAST_NS 50000u

/* Bytes that have to be copied on their way; of each thread, owned. */
static _Thread_local struct {
	char *mem;
	size_t size;
} scratch;

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

static const struct fuse_in_header *header_of(const void *bytes)
{
	return bytes;
}

/* --- shares --- */

/*
 * May one more request of this user be served?  A user may have half of what others
 * leave.  loop->lock is held.
 */
static bool has_share(const void *arg, uint32_t uid)
{
	const struct loop *loop = arg;
	int own = 0;
	int others = 0;

	for (int i = 0; i <= loop->max_threads; i++) {
		const struct worker *worker = &loop->workers[i];

		if (worker->state == SERVING && worker->uid == uid)
			own++;
		else if (worker->state == SERVING)
			others++;
	}
	return own == 0 || own < (loop->max_threads - others) / 2;
}

static void refuse(const struct loop *loop, const struct fuse_buf *buf, int err)
{
	const struct fuse_out_header reply = {
		.len = sizeof(reply),
		.error = err,
		.unique = header_of(buf->mem)->unique,
	};
	ssize_t n = write(loop->fd, &reply, sizeof(reply));

	(void)n; /* the caller is gone */
}

/* Serve this request now?  False: it waits, or was refused.  loop->lock is held. */
static bool is_due(struct loop *loop, uint32_t uid, const struct fuse_buf *buf)
{
	int err;

	/* An INTERRUPT waits for nobody: it ends what waits. */
	if (header_of(buf->mem)->opcode == FUSE_INTERRUPT || has_share(loop, uid))
		return true;
	err = shmfs_aside_put(&loop->aside, buf->mem, buf->size);
	if (err && uid == SHMFS_NOBODY)
		return true; /* there is no caller to hear of it */
	if (err)
		refuse(loop, buf, err);
	return false;
}

/* --- one thread --- */

/* Wait until it is for this thread to read.  False: there is nothing more to read. */
static bool await_turn(struct worker *worker)
{
	struct loop *loop = worker->loop;

	SHMFS_LOCKED(&loop->lock);
	while (!loop->stopped && loop->single != is_single(worker))
		pthread_cond_wait(&loop->changed, &loop->lock);
	if (is_single(worker) && !worker->beside && !loop->stopped)
		worker->beside = shmfs_follow_join(&loop->follow, worker->tid);
	return !loop->stopped;
}

/* It may have lost its turn while it waited for read_lock. */
static bool has_turn(struct worker *worker)
{
	struct loop *loop = worker->loop;

	SHMFS_LOCKED(&loop->lock);
	return !loop->stopped && loop->single == is_single(worker);
}

/*
 * Did a request end before it could be read, so that the next one is to be read?
 * ENOENT: it was interrupted.  ECONNABORTED: it went with the mount, and so may the
 * next few until there is ENODEV (fs/fuse/dev.c, fuse_dev_do_read(), fuse_abort_conn()).
 */
static bool is_lost(int err)
{
	return err == EINTR || err == ENOENT || err == EAGAIN || err == ECONNABORTED;
}

/*
 * For the one thread, when it is not beside its caller: ask whether there is a request
 * before it sleeps in read(2).  Where processors are busy only as long as requests come
 * one after the other.
 */
static void ask_again(struct worker *worker)
{
	struct loop *loop = worker->loop;
	struct pollfd device = { .fd = loop->fd, .events = POLLIN };
	const uint64_t begun = shmfs_now_ns();
	const uint64_t most = atomic_load(&loop->quiet) ? ASK_QUIET_NS :
			      worker->fast		? ASK_FAST_NS :
							  0;
	uint64_t took = 0;

	while (took < most && poll(&device, 1, 0) == 0)
		took = shmfs_now_ns() - begun;
}

/* Read one request.  False: there was none. */
static bool receive(struct worker *worker, struct fuse_buf *buf)
{
	struct loop *loop = worker->loop;
	uint64_t asked;
	ssize_t n;

	asked = shmfs_now_ns();
	if (is_single(worker) && !worker->beside)
		ask_again(worker);
	n = read(loop->fd, buf->mem, SHMFS_MAX_REQUEST);
	if (n > 0) {
		buf->size = (size_t)n;
		worker->fast = shmfs_now_ns() - asked < ASK_FAST_NS;
		return true;
	}
	/* ENODEV: unmounted. */
	if (n == 0 || errno == ENODEV)
		shmfs_threads_stop(loop, 0);
	else if (!is_lost(errno))
		shmfs_threads_stop(loop, -errno);
	return false;
}

static bool is_released(const struct loop *loop, uint64_t node)
{
	for (int i = 0; loop->releases > 0 && i <= loop->max_threads; i++)
		if (loop->workers[i].releasing == node)
			return false;
	return true;
}

/*
 * Whoever has closed a file and then asks for something finds it closed, as if one
 * thread served them all: the kernel sends a RELEASE and does not wait for its end.
 */
static void await_releases(struct worker *worker, const struct fuse_in_header *header)
{
	struct loop *loop = worker->loop;

	SHMFS_LOCKED(&loop->lock);
	while (header->opcode != FUSE_RELEASE && !is_released(loop, header->nodeid))
		pthread_cond_wait(&loop->released, &loop->lock);
}

/* loop->lock is held. */
static void enter(struct worker *worker, const struct fuse_in_header *header)
{
	worker->state = SERVING;
	worker->uid = shmfs_aside_user(header);
	if (header->opcode == FUSE_RELEASE) {
		worker->releasing = header->nodeid;
		worker->loop->releases++;
	}
}

static void end_release(struct worker *worker)
{
	if (!worker->releasing)
		return;
	worker->releasing = 0;
	worker->loop->releases--;
	pthread_cond_broadcast(&worker->loop->released);
}

/* A request was read.  False: it is not to be served now. */
static bool begin(struct worker *worker, const struct fuse_buf *buf)
{
	struct loop *loop = worker->loop;
	const struct fuse_in_header *header = header_of(buf->mem);

	SHMFS_LOCKED(&loop->lock);
	if (!is_due(loop, shmfs_aside_user(header), buf))
		return false;
	enter(worker, header);
	if (!is_single(worker) && --loop->readers == 0) {
		loop->all_needed_at = shmfs_now_ns();
		if (!loop->stopped)
			shmfs_threads_add(loop);
	}
	return true;
}

/* Requests are entered in the order in which they came. */
static bool get_request(struct worker *worker, struct fuse_buf *buf)
{
	SHMFS_LOCKED(&worker->loop->read_lock);
	return has_turn(worker) && receive(worker, buf) && begin(worker, buf);
}

/* See where the caller is, and have the one thread beside it with the next request. */
static void look(struct worker *worker, pid_t caller)
{
	struct loop *loop = worker->loop;
	const bool quiet = shmfs_follow_is_quiet(&loop->follow);
	const uint64_t now = shmfs_now_ns();
	int cpu = quiet ? shmfs_follow_find(caller) : -1;

	atomic_store(&loop->quiet, quiet);
	SHMFS_LOCKED(&loop->lock);
	if (!quiet)
		loop->busy_at = now;
	if (now < loop->break_until || now - loop->busy_at < CALM_NS)
		cpu = -1;
	if (cpu != loop->follow.cpu && (is_single(worker) || !loop->single)) {
		loop->follow.cpu = cpu;
		shmfs_threads_leave(loop);
	}
	shmfs_threads_begin_single(loop);
}

/* A request is done.  Returns the next one of those put aside, or NULL. */
static struct shmfs_aside *finish(struct worker *worker, pid_t caller)
{
	struct loop *loop = worker->loop;
	struct shmfs_aside *next;
	enum shmfs_follow_step step;

	pthread_mutex_lock(&loop->lock);
	end_release(worker);
	worker->state = IDLE;
	next = shmfs_aside_take(&loop->aside, has_share, loop);
	if (next) {
		enter(worker, header_of(next->bytes));
	} else if (is_single(worker)) {
		loop->served++;
	} else {
		loop->readers++;
	}
	step = shmfs_follow_note(&loop->follow, caller, shmfs_now_ns());
	if (step == SHMFS_FOLLOW_NONE)
		shmfs_threads_end_single(loop);
	pthread_mutex_unlock(&loop->lock);
	if (step == SHMFS_FOLLOW_LOOK)
		look(worker, caller);
	return next;
}

/* Serve a request, and then what has waited for the end of one. */
static void serve(struct worker *worker, const struct fuse_buf *request)
{
	struct fuse_buf buf = *request;
	struct shmfs_aside *next = NULL;

	do {
		const pid_t caller = (pid_t)header_of(buf.mem)->pid;

		if (header_of(buf.mem)->opcode != FUSE_INTERRUPT)
			await_releases(worker, header_of(buf.mem));
		fuse_session_process_buf(worker->loop->session, &buf);
		free(next);
		next = finish(worker, caller);
		if (next)
			buf = (struct fuse_buf){ .mem = next->bytes, .size = next->size };
	} while (next);
}

/* Is this one thread too many? */
static bool is_needless(struct worker *worker)
{
	struct loop *loop = worker->loop;

	SHMFS_LOCKED(&loop->lock);
	if (is_single(worker) || loop->readers <= FEW_READERS ||
	    shmfs_now_ns() - loop->all_needed_at < KEEP_NS)
		return false;
	loop->readers--;
	return true;
}

void *shmfs_worker_run(void *arg)
{
	struct worker *worker = arg;
	struct fuse_buf buf = { .mem = worker->buffer };

	pthread_mutex_lock(&worker->loop->lock);
	worker->tid = gettid();
	pthread_mutex_unlock(&worker->loop->lock);
	while (await_turn(worker) && !is_needless(worker))
		if (get_request(worker, &buf))
			serve(worker, &buf);
	pthread_mutex_lock(&worker->loop->lock);
	worker->state = ENDED;
	pthread_mutex_unlock(&worker->loop->lock);
	free(worker->buffer);
	free(scratch.mem);
	return NULL;
}

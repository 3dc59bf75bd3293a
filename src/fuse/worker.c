/* SPDX-License-Identifier: MIT */
/* One thread of the request loop. */
#include "fuse/loop.h"

#include <sys/timerfd.h>

/* Callers that ask within so short a time ask at once. */
#define SOON_NS 1000000u
/* So many requests in a row come from one caller when it is alone again. */
#define ALONE_AGAIN 16

/* --- shares --- */

/* May one more request of this user be served?  loop->lock is held. */
static bool has_share(const void *arg, uint32_t uid)
{
	const struct loop *loop = arg;
	unsigned left = (unsigned)loop->max_threads;
	unsigned own = 0;
	unsigned kin = 0;

	for (int i = 0; i < loop->nthreads; i++) {
		const struct worker *worker = &loop->workers[i];

		if (!worker->is_serving)
			continue;
		own += worker->uid == uid;
		kin += are_kin(worker->uid, uid);
		left -= !are_kin(worker->uid, uid);
	}
	return is_within_share(own, kin, left, 1);
}

/* Serve this request now?  False: it waits, or is answered.  loop->lock is held. */
static bool is_due(struct loop *loop, const struct fuse_in_header *request)
{
	const uint32_t uid = shmfs_aside_user(request);
	int err;

	if (has_share(loop, uid))
		return true;
	err = shmfs_aside_put(&loop->aside, request);
	if (err && uid == SHMFS_NOBODY)
		return true; /* there is no caller to hear of it */
	if (err)
		shmfs_reply_error(loop->fs, request, err);
	return false;
}

/* --- reading --- */

void shmfs_worker_pass_turn(struct loop *loop)
{
	loop->reader = NULL;
	if (loop->waiting == 0 && !loop->stopped)
		shmfs_worker_add(loop); /* where that fails those that are there go on */
}

void shmfs_worker_set_timer(struct loop *loop, long ns)
{
	const struct itimerspec after = { .it_value.tv_nsec = ns };

	timerfd_settime(loop->timer_fd, 0, &after, NULL);
}

void shmfs_worker_stop_all(struct loop *loop, int error)
{
	SHMFS_LOCKED(&loop->lock);
	loop->stopped = true;
	if (!loop->error)
		loop->error = error;
	sem_post(&loop->turn);
	shmfs_worker_set_timer(loop, 1);
}

/* Wait until it is for this thread to read.  False: there is nothing more to read. */
static bool await_turn(struct worker *worker)
{
	struct loop *loop = worker->loop;
	bool goes_on;

	while (!worker->has_turn && sem_wait(&loop->turn) != 0)
		;
	pthread_mutex_lock(&loop->lock);
	loop->waiting -= !worker->has_turn;
	worker->has_turn = true;
	goes_on = !loop->stopped;
	if (goes_on)
		loop->reader = worker;
	else if (loop->reader == worker)
		loop->reader = NULL;
	pthread_mutex_unlock(&loop->lock);
	if (!goes_on)
		sem_post(&loop->turn);
	return goes_on;
}

/*
 * Did a request end before it could be read?  ENOENT: it was interrupted.  ECONNABORTED: it went
 * with the mount, and so may the next few until ENODEV (fs/fuse/dev.c, fuse_dev_do_read(),
 * fuse_abort_conn()).  ENOMEM: it has failed, because the daemon is at the limit of its memory
 * cgroup.
 */
static bool is_lost(int err)
{
	return err == EINTR || err == ENOENT || err == EAGAIN || err == ECONNABORTED ||
	       err == ENOMEM;
}

static bool receive(struct worker *worker)
{
	ssize_t n = read(worker->loop->fd, worker->request, SHMFS_MAX_REQUEST);

	if (n > 0)
		return true;
	/* ENODEV: unmounted. */
	if (n == 0 || errno == ENODEV)
		shmfs_worker_stop_all(worker->loop, 0);
	else if (!is_lost(errno))
		shmfs_worker_stop_all(worker->loop, -errno);
	return false;
}

/* Requests that are for no node have number 0. */
static bool is_released(const struct loop *loop, uint64_t node)
{
	for (int i = 0; node && loop->releases > 0 && i < loop->nthreads; i++)
		if (loop->workers[i].releasing == node)
			return false;
	return true;
}

/* loop->lock is held. */
static void enter(struct worker *worker, const struct fuse_in_header *request)
{
	struct loop *loop = worker->loop;

	worker->is_serving = true;
	worker->uid = shmfs_aside_user(request);
	worker->waits = request->opcode != FUSE_RELEASE && !is_released(loop, request->nodeid);
	if (request->opcode == FUSE_RELEASE) {
		worker->releasing = request->nodeid;
		loop->releases++;
	}
}

/* RELEASE has no caller, and one in another PID namespace cannot be seen: both have 0. */
bool shmfs_worker_note(struct loop *loop, pid_t caller, uint64_t now)
{
	const bool soon = now - loop->asked_at < SOON_NS;

	if (caller == 0)
		return loop->in_a_row > 0;
	if (caller == loop->caller)
		loop->in_a_row = soon ? loop->in_a_row + 1 : 1;
	else
		loop->in_a_row = soon ? -ALONE_AGAIN : 1;
	loop->caller = caller;
	loop->asked_at = now;
	return loop->in_a_row > 0;
}

/*
 * Have the main thread look every few ms.  A timer wakes it: to wake it here would take longer than
 * most requests.  loop->lock is held.
 */
static void watch(struct loop *loop)
{
	if (loop->is_watched)
		return;
	loop->is_watched = true;
	loop->nlooked = loop->nread;
	shmfs_worker_set_timer(loop, SHMFS_TICK_NS);
}

/* The reader enters requests in their order.  False: this one is not to be served now. */
static bool begin(struct worker *worker)
{
	struct loop *loop = worker->loop;
	const struct fuse_in_header *request = worker->request;
	bool is_due_now;

	pthread_mutex_lock(&loop->lock);
	loop->nread++;
	is_due_now = is_due(loop, request);
	worker->has_turn =
		!is_due_now || shmfs_worker_note(loop, (pid_t)request->pid, shmfs_now_ns());
	if (is_due_now)
		enter(worker, request);
	if (worker->has_turn)
		watch(loop);
	else
		shmfs_worker_pass_turn(loop);
	pthread_mutex_unlock(&loop->lock);
	if (!worker->has_turn)
		sem_post(&loop->turn);
	return is_due_now;
}

/* --- serving --- */

/*
 * The kernel sends a RELEASE and does not wait for its end.  A caller that has closed a file finds
 * it closed at its next request, as if one thread served them all.
 */
static void await_releases(const struct worker *worker, uint64_t node)
{
	struct loop *loop = worker->loop;

	if (!worker->waits)
		return;
	SHMFS_LOCKED(&loop->lock);
	while (!is_released(loop, node))
		pthread_cond_wait(&loop->released, &loop->lock);
}

/* A request is done.  Returns the next one of those put aside, or NULL. */
static struct shmfs_aside *finish(struct worker *worker)
{
	struct loop *loop = worker->loop;
	struct shmfs_aside *next;

	SHMFS_LOCKED(&loop->lock);
	if (worker->releasing) {
		worker->releasing = 0;
		loop->releases--;
		pthread_cond_broadcast(&loop->released);
	}
	worker->is_serving = false;
	next = shmfs_aside_take(&loop->aside, has_share, loop);
	worker->has_turn = loop->reader == worker;
	if (next)
		enter(worker, (const void *)next->request);
	else
		loop->waiting += !worker->has_turn;
	return next;
}

/* Serve a request, and then what has waited for the end of one. */
static void serve(struct worker *worker)
{
	const struct fuse_in_header *request = worker->request;
	struct shmfs_aside *next = NULL;

	do {
		await_releases(worker, request->nodeid);
		serve_request(worker->loop->fs, request);
		free(next);
		next = finish(worker);
		request = next ? (const void *)next->request : NULL;
	} while (next);
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct loop *loop = worker->loop;

	pthread_mutex_lock(&loop->lock);
	worker->tid = gettid();
	pthread_mutex_unlock(&loop->lock);
	while (await_turn(worker))
		if (receive(worker) && begin(worker))
			serve(worker);
	free(worker->request);
	reply_scratch_free();
	caller_groups_free();
	return NULL;
}

/* A thread gets its buffer before it starts: a reader must not depend on memory that is short. */
int shmfs_worker_add(struct loop *loop)
{
	struct worker *worker = &loop->workers[loop->nthreads];
	void *buffer;
	int err;

	if (loop->nthreads == loop->max_threads)
		return 0;
	buffer = malloc(SHMFS_MAX_REQUEST);
	if (!buffer)
		return -ENOMEM;
	*worker = (struct worker){ .loop = loop, .request = buffer };
	err = pthread_create(&worker->id, NULL, run, worker);
	if (err) {
		free(buffer);
		return -err;
	}
	loop->nthreads++;
	loop->waiting++;
	return 0;
}

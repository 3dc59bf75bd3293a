/* SPDX-License-Identifier: MIT */
/*
 * Cutting segments to size later.
 *
 * A segment that a writer outgrew is cut to the file when that is closed.  It
 * cannot be while somebody has it attached, reads it through the kernel, or
 * where a limit is in the way.  A thread tries again as long as there are such
 * segments, and ends with the last of them.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 2000

/*
 * Has a process that attached the segment stored anything behind the end of the
 * file?  That is its to keep.
 */
static bool is_used_behind(struct sysv_object *obj, uint64_t end)
{
	struct sysv_segment *segment;
	char tail[4096];
	size_t len = (size_t)(-end % sizeof(tail)); /* to the end of its page, perhaps */
	bool used = false;

	if (sysv_borrow_segment(obj, NULL, &segment) != 0)
		return false;
	if (segment->fd >= 0 && !segment->huge) {
		ssize_t n = pread(segment->fd, tail, len, (off_t)end);

		used = n > 0 && (tail[0] || memcmp(tail, tail + 1, (size_t)n - 1) != 0);
		used = used || lseek(segment->fd, (off_t)(end + len), SEEK_DATA) >= 0;
	}
	sysv_segment_put(segment);
	return used;
}

int sysv_trim(struct sysv_object *obj)
{
	/* Whoever grew it was allowed to; cutting it to size needs no asking. */
	static const struct shmfs_caller daemon_itself;
	uint64_t size = obj->keep_size > obj->content_end ? obj->keep_size : obj->content_end;
	struct shmid_ds ds;
	int err = sysv_object_stat_now(obj, &ds, NULL);

	if (!err && ds.shm_segsz > size && !is_used_behind(obj, size))
		err = sysv_resize(obj, size, &daemon_itself);
	/* The size of a removed one is nobody's concern but that of its handles. */
	if (err == -ESTALE || err == -EIDRM)
		return 0;
	if (!err) {
		pthread_mutex_lock(&obj->lock);
		obj->growth = SYSV_SETTLED;
		obj->is_new = obj->is_new && obj->creator_is_open;
		pthread_mutex_unlock(&obj->lock);
	}
	return err;
}

void sysv_trimmer_init(struct sysv_backend *be)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&be->trimmer.lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&be->trimmer.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

/* Is it done with, be it that it grows again or has been removed? */
static bool try_to_trim(struct sysv_object *obj)
{
	bool done = true;

	pthread_rwlock_wrlock(&obj->io);
	if (obj->growth == SYSV_UNTRIMMED && obj->ngrowers == 0)
		done = sysv_trim(obj) == 0;
	pthread_rwlock_unlock(&obj->io);
	return done;
}

static struct sysv_object *take_all(struct sysv_trimmer *trimmer)
{
	struct sysv_object *list;

	pthread_mutex_lock(&trimmer->lock);
	list = trimmer->untrimmed;
	trimmer->untrimmed = NULL;
	pthread_mutex_unlock(&trimmer->lock);
	return list;
}

/* One look at each of them. */
static void trim_all(struct sysv_backend *be)
{
	struct sysv_object *next;

	for (struct sysv_object *obj = take_all(&be->trimmer); obj; obj = next) {
		next = obj->next_untrimmed;
		pthread_mutex_lock(&be->trimmer.lock);
		obj->is_untrimmed = false;
		pthread_mutex_unlock(&be->trimmer.lock);
		if (!try_to_trim(obj))
			sysv_trim_later(obj);
		shmfs_object_put(&obj->base);
	}
}

static void *run(void *arg)
{
	struct sysv_backend *be = arg;
	struct sysv_trimmer *trimmer = &be->trimmer;
	unsigned pause = FIRST_PAUSE_MS;
	struct timespec until;

	pthread_mutex_lock(&trimmer->lock);
	while (trimmer->untrimmed && !trimmer->stopping) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)(pause % 1000) * 1000000;
		until.tv_sec += (time_t)(pause / 1000) + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&trimmer->wake, &trimmer->lock, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&trimmer->lock);
		trim_all(be);
		pthread_mutex_lock(&trimmer->lock);
		if (pause < LONGEST_PAUSE_MS)
			pause *= 2;
	}
	trimmer->running = false;
	pthread_cond_broadcast(&trimmer->wake);
	pthread_mutex_unlock(&trimmer->lock);
	return NULL;
}

/* Signals are for the other threads.  trimmer->lock is held. */
static void start(struct sysv_backend *be)
{
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	be->trimmer.running = pthread_create(&thread, NULL, run, be) == 0;
	if (be->trimmer.running)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void sysv_trim_later(struct sysv_object *obj)
{
	struct sysv_backend *be = sysv_backend_of(obj);
	struct sysv_trimmer *trimmer = &be->trimmer;

	pthread_mutex_lock(&trimmer->lock);
	if (!obj->is_untrimmed) {
		shmfs_object_ref(&obj->base);
		obj->is_untrimmed = true;
		obj->next_untrimmed = trimmer->untrimmed;
		trimmer->untrimmed = obj;
	}
	if (!trimmer->running && !trimmer->stopping)
		start(be);
	pthread_mutex_unlock(&trimmer->lock);
}

void sysv_trimmer_destroy(struct sysv_backend *be)
{
	struct sysv_trimmer *trimmer = &be->trimmer;

	pthread_mutex_lock(&trimmer->lock);
	trimmer->stopping = true;
	pthread_cond_broadcast(&trimmer->wake);
	while (trimmer->running)
		pthread_cond_wait(&trimmer->wake, &trimmer->lock);
	pthread_mutex_unlock(&trimmer->lock);
	for (struct sysv_object *next, *obj = take_all(trimmer); obj; obj = next) {
		next = obj->next_untrimmed;
		try_to_trim(obj);
		shmfs_object_put(&obj->base);
	}
	pthread_cond_destroy(&trimmer->wake);
	pthread_mutex_destroy(&trimmer->lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * Cutting segments to size later.
 *
 * A segment that a writer outgrew is cut when the file is closed, unless somebody has it attached
 * or reads it through the kernel, or a limit is in the way.  A thread tries again as long as there
 * are such segments, and ends with the last of them.
 */
#include "sysv/replace/internal.h"

#define FIRST_PAUSE_NS 100000000
#define LONGEST_PAUSE_NS 2000000000

/* Has a process stored anything behind the end of the file in an attachment?  It stays then. */
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
	} else if (segment->map && !segment->huge) {
		used = sysv_has_bytes_behind(segment, end);
	}
	sysv_segment_put(segment);
	return used;
}

int sysv_trim(struct sysv_object *obj)
{
	/* The writer had the right to grow it: no right is needed to cut it. */
	static const struct shmfs_caller daemon_itself;
	uint64_t size = shmfs_max(obj->least_size, obj->content_end);
	struct shmid_ds ds;
	int err = sysv_object_now(obj, NULL, &ds, NULL);

	if (!err && ds.shm_segsz > size && !is_used_behind(obj, size))
		err = sysv_resize(obj, size, &daemon_itself);
	/* A removed segment stays as it is for its handles. */
	if (err == -ESTALE || err == -EIDRM)
		return 0;
	if (!err) {
		SHMFS_LOCKED(&obj->base.lock);
		obj->growth = SYSV_SETTLED;
		if (!obj->creator_is_open)
			obj->least_size = 0;
	}
	return err;
}

void sysv_trim_begin(struct sysv_backend *be)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&be->trimming, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

/* Is there nothing left to cut? */
static bool try_to_trim(struct sysv_object *obj)
{
	SHMFS_WRITE_LOCKED(&obj->io);

	return obj->growth != SYSV_UNTRIMMED || sysv_trim(obj) == 0;
}

/* Try each of them once.  base.lock is held, but not while one is cut. */
static void trim_all(struct sysv_backend *be)
{
	struct sysv_object *list = be->untrimmed;

	be->untrimmed = NULL;
	while (list) {
		struct sysv_object *obj = list;

		list = obj->next_untrimmed;
		obj->is_untrimmed = false;
		pthread_mutex_unlock(&be->base.lock);
		if (!try_to_trim(obj))
			sysv_trim_later(obj);
		shmfs_object_put(&obj->base);
		pthread_mutex_lock(&be->base.lock);
	}
}

static void *run(void *arg)
{
	struct sysv_backend *be = arg;
	uint64_t pause = FIRST_PAUSE_NS;
	SHMFS_LOCKED(&be->base.lock);

	while (be->untrimmed && !be->stopping) {
		uint64_t end = shmfs_now_ns() + pause;
		const struct timespec until = { (time_t)(end / 1000000000),
						(long)(end % 1000000000) };

		if (pthread_cond_timedwait(&be->trimming, &be->base.lock, &until) != ETIMEDOUT)
			continue;
		trim_all(be);
		pause = pause < LONGEST_PAUSE_NS ? 2 * pause : pause;
	}
	be->trims = false;
	pthread_cond_broadcast(&be->trimming);
	return NULL;
}

void sysv_trim_later(struct sysv_object *obj)
{
	struct sysv_backend *be = sysv_backend_of(obj);
	pthread_t thread;
	SHMFS_LOCKED(&be->base.lock);

	if (be->stopping)
		return;
	if (!obj->is_untrimmed) {
		shmfs_object_ref(&obj->base);
		obj->is_untrimmed = true;
		obj->next_untrimmed = be->untrimmed;
		be->untrimmed = obj;
	}
	if (!be->trims && pthread_create(&thread, NULL, run, be) == 0) {
		pthread_detach(thread);
		be->trims = true;
	}
}

void sysv_trim_end(struct sysv_backend *be)
{
	SHMFS_LOCKED(&be->base.lock);

	be->stopping = true;
	pthread_cond_broadcast(&be->trimming);
	while (be->trims)
		pthread_cond_wait(&be->trimming, &be->base.lock);
	trim_all(be);
}

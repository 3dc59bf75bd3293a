/* SPDX-License-Identifier: MIT */
/*
 * The size rules.
 *
 * The standard fixes a segment's size when it is made, and a file has none
 * until it is written.  So: a new segment has a least size; clearing one
 * keeps it; another size is another segment under the same key
 * (sysv_resize.c); a writer that goes on past the end gets a larger one, in
 * growing steps, which is cut to the content when the writer closes it.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <time.h>

/* A growing segment gets room for that many times its size. */
#define GROWTH 64
/* Less room than this is not worth asking for. */
#define LEAST_SPARE ((uint64_t)64 << 10)
#define LONGEST_TRIM_PAUSE 32000000 /* nanoseconds */

/* The object's segment, or one opened for the purpose.  Put it back. */
static int borrow_segment(struct sysv_object *obj, const struct shmfs_caller *caller,
			  struct sysv_segment **out)
{
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	if (obj->segment && obj->segment->writable) {
		*out = sysv_segment_get(obj->segment);
	} else {
		err = sysv_object_stat(obj, NULL);
		if (!err)
			err = sysv_segment_open(sysv_backend_of(obj), obj->id, &obj->last, true,
						caller, out);
	}
	pthread_mutex_unlock(&obj->lock);
	return sysv_gone(err);
}

/* Rule 2: clearing keeps the segment. */
int sysv_clear(struct sysv_object *obj, const struct shmfs_caller *caller)
{
	struct sysv_segment *segment;
	int err = borrow_segment(obj, caller, &segment);

	if (err)
		return err;
	err = sysv_segment_punch(segment, 0, segment->size);
	sysv_usage_touched(segment);
	sysv_segment_put(segment);
	pthread_mutex_lock(&obj->lock);
	obj->content_end = 0;
	pthread_mutex_unlock(&obj->lock);
	return err;
}

/* Give the segment a size that was asked for, and that closing keeps. */
int sysv_set_size(struct sysv_object *obj, struct shmfs_handle *h, uint64_t size,
		  const struct shmfs_caller *caller)
{
	struct sysv_snapshot snapshot;
	uint64_t now;
	int err = sysv_snapshot_take(obj, &snapshot);

	if (err)
		return err;
	/* A removed one that is open has a size as well, and may be given that. */
	now = snapshot.segment ? snapshot.segment->size : snapshot.ds.shm_segsz;
	sysv_segment_put(snapshot.segment);
	if (size != now)
		err = sysv_resize(obj, h, size, caller);
	if (err)
		return err == -EAGAIN ? -EBUSY : err;
	pthread_mutex_lock(&obj->lock);
	obj->is_new = false;
	obj->overallocated = false;
	obj->keep_size = size;
	if (obj->content_end > size)
		obj->content_end = size;
	pthread_mutex_unlock(&obj->lock);
	return 0;
}

int sysv_truncate(struct shmfs_object *base, struct shmfs_handle *h, off_t size,
		  const struct shmfs_caller *caller)
{
	struct sysv_object *obj = (struct sysv_object *)base;
	int err;

	sysv_wait_write(obj);
	/* A handle was opened for writing.  By the name it is asked for here. */
	err = h ? 0 : sysv_check_rights(obj, true, caller);
	if (!err && size == 0) {
		sysv_lock_by_name(obj);
		err = sysv_clear(obj, caller);
		sysv_unlock_by_name(obj);
	} else if (!err) {
		err = sysv_set_size(obj, h, (uint64_t)size, caller);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

/*
 * Rule 4: make room for a write that ends at `end`.
 *
 * Memory comes page by page as it is written, so a larger segment costs
 * nothing but the copy, and each step is many times the last: all copies
 * together are a fraction of what is written.  Where the limits do not allow
 * a large step, a smaller one.
 */
int sysv_grow(struct sysv_object *obj, struct shmfs_handle *h, uint64_t end,
	      const struct shmfs_caller *caller)
{
	uint64_t size = obj->segment->size;
	uint64_t spare = size <= (INT64_MAX - end) / GROWTH ? size * GROWTH : 0;
	int err;

	for (;;) {
		err = sysv_resize(obj, h, end + spare, caller);
		if (spare == 0 || (err != -EFBIG && err != -ENOSPC && err != -ENOMEM))
			break;
		spare = spare < LEAST_SPARE ? 0 : spare / 4;
	}
	if (err)
		return err;
	pthread_mutex_lock(&obj->lock);
	if (!obj->is_new && !obj->overallocated)
		obj->keep_size = size;
	obj->overallocated = true;
	pthread_mutex_unlock(&obj->lock);
	return 0;
}

/* Rule 1: cut a segment that was grown to what was written. */
static int trim(struct sysv_object *obj, struct shmfs_handle *h)
{
	/* Whoever grew it was allowed to; cutting it to size needs no asking. */
	static const struct shmfs_caller daemon_itself;
	uint64_t size = obj->keep_size > obj->content_end ? obj->keep_size : obj->content_end;
	int err = 0;

	if (!obj->overallocated)
		return 0;
	if (obj->segment->size > size)
		err = sysv_resize(obj, h, size, &daemon_itself);
	/* Removed meanwhile: its size is nobody's concern any more. */
	if (err == -ESTALE || err == -EIDRM)
		err = 0;
	if (!err) {
		pthread_mutex_lock(&obj->lock);
		obj->overallocated = false;
		pthread_mutex_unlock(&obj->lock);
	}
	return err;
}

int sysv_trim_patiently(struct sysv_object *obj, struct shmfs_handle *h)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int err = trim(obj, h);

	/*
	 * The file that a handle was bound to goes a moment after the handle, when
	 * who closed it gets to run.
	 */
	for (; err == -EAGAIN && pause.tv_nsec <= LONGEST_TRIM_PAUSE; pause.tv_nsec *= 2) {
		nanosleep(&pause, NULL);
		err = trim(obj, h);
	}
	return err == -EAGAIN ? -EBUSY : err;
}

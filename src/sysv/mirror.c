/* SPDX-License-Identifier: MIT */
/*
 * A process that outgrows a segment and has it open for reading as well.
 *
 * The kernel serves an open file from one inode until it is closed (fs/fuse/passthrough.c, Linux
 * 6.18), so a reader that it serves keeps the segment from being replaced.  A writer waits for the
 * readers of other processes.  A reader of its own process would not go: rsync --inplace reads the
 * file that it writes.  Such a reader keeps the inode of the old segment, the mirror.  No id leads
 * to that any more, so it may grow, and all that changes the file through the mount changes the
 * mirror as well.  The reader does not see what others store in the new segment.
 */
#include "sysv/internal.h"

#include "shmfs/proc.h"

int sysv_plan_mirror(struct sysv_object *obj, pid_t thread)
{
	const char *proc_dir = sysv_backend_of(obj)->config.proc_dir;
	SHMFS_LOCKED(&obj->base.lock);

	if (!obj->lent || obj->mirror)
		return 0;
	for (const struct sysv_handle *h = obj->lent; h; h = h->next_lent)
		if (!thread || !shmfs_proc_is_same(proc_dir, thread, h->opener))
			return -EAGAIN;
	return obj->lent_to_readers ? 1 : -EAGAIN;
}

/*
 * A change is missing in the mirror, for want of memory: from now on the reader meets the end there
 * rather than other bytes.
 */
static void give_up(struct sysv_segment *mirror)
{
	mirror->writable = false;
	(void)!ftruncate(mirror->fd, 0);
}

/*
 * The mirror, as long as the file is; NULL: there is none that has all changes.  The object's lock
 * is held.
 */
static struct sysv_segment *sized_mirror(struct sysv_object *obj)
{
	struct sysv_segment *mirror = obj->mirror;

	if (!mirror || !mirror->writable)
		return NULL;
	mirror->size = sysv_file_size(obj);
	if (ftruncate(mirror->fd, (off_t)mirror->size) == 0)
		return mirror;
	give_up(mirror);
	return NULL;
}

void sysv_mirror_write(struct sysv_object *obj, uint64_t off, uint64_t len)
{
	struct sysv_segment *mirror;
	const off_t end = (off_t)(off + len);
	off_t from = (off_t)off;
	off_t to = from;

	pthread_mutex_lock(&obj->base.lock);
	mirror = sized_mirror(obj);
	pthread_mutex_unlock(&obj->base.lock);
	while (mirror && from < end &&
	       copy_file_range(obj->segment->fd, &from, mirror->fd, &to, (size_t)(end - from), 0) >
		       0)
		;
	if (mirror && from < end)
		give_up(mirror);
}

void sysv_mirror_punch(struct sysv_object *obj, uint64_t off, uint64_t len)
{
	SHMFS_LOCKED(&obj->base.lock);
	struct sysv_segment *mirror = sized_mirror(obj);

	if (mirror && sysv_segment_punch(mirror, off, len) != 0)
		give_up(mirror);
}

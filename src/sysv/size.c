/* SPDX-License-Identifier: MIT */
/*
 * The size rules.
 *
 * A segment's size is fixed when it is made, and a file has none until it is written.  So a new
 * segment has a least size, clearing keeps the segment, and another size is another segment under
 * the same key (replace/).  A writer past the end gets a larger segment in growing steps.  It is
 * cut to the file when the last writer closes that.
 *
 * Meanwhile the file shows what a file of tmpfs would: it ends where the furthest write did, or
 * where it ended before.  A new file is empty, although its segment is not.
 */
#include "sysv/replace/internal.h"

/* Less room than this is not worth asking for. */
#define LEAST_SPARE ((uint64_t)16 << 10)

/* A file of that size to which a byte is written in so short a time, and its room to spare. */
#define LARGE ((uint64_t)16 << 20)
#define FAST_NS 50
#define FAST_SPARE 7

/* As long as a person would wait for a reader that the kernel serves. */
#define WAIT_FOR_READERS_NS 1200000000u
/* Other daemons attach a segment for moments. */
#define WAIT_FOR_ATTACHED_NS 50000000u
/* After a wait in vain the next ones are spared for so long. */
#define IMPATIENT_NS 2000000000u
#define FIRST_PAUSE_NS 1000000
#define LONGEST_PAUSE_NS 16000000

static void set_growth(struct sysv_object *obj, enum sysv_growth growth)
{
	SHMFS_LOCKED(&obj->base.lock);

	obj->growth = growth;
}

/* Rule 2: clearing keeps the segment. */
int sysv_clear(struct sysv_object *obj, const struct shmfs_caller *caller)
{
	struct sysv_segment *segment;
	int err = sysv_borrow_segment(obj, caller, &segment);

	if (err)
		return err;
	err = sysv_segment_punch(segment, 0, segment->size);
	sysv_usage_touched(segment);
	{
		SHMFS_LOCKED(&obj->base.lock);

		if (obj->least_size && obj->growth != SYSV_GROWING)
			obj->least_size = shmfs_max(obj->least_size, obj->content_end);
		if (obj->least_size)
			obj->content_end = 0;
		sysv_times_wrote(sysv_backend_of(obj), obj->id);
	}
	sysv_mirror_punch(obj, 0, err ? 0 : segment->size);
	sysv_segment_put(segment);
	return err;
}

/* The inode of a removed segment grows and shrinks as that of any file. */
static int resize_inode(struct sysv_object *obj, struct sysv_segment *segment, uint64_t size)
{
	if (segment->huge)
		return -EOPNOTSUPP;
	if (ftruncate(segment->fd, (off_t)size) != 0)
		return -errno;
	SHMFS_LOCKED(&obj->base.lock);
	segment->size = size;
	return 0;
}

/* Move the bytes of a removed segment to another one that no key leads to. */
static int move_attached(struct sysv_object *obj, struct sysv_segment *old, uint64_t size)
{
	struct sysv_backend *be = sysv_backend_of(obj);
	struct sysv_segment *segment;
	struct shmid_ds ds;
	int id, err;

	if (size > SIZE_MAX)
		return -EFBIG;
	id = shmget(IPC_PRIVATE, (size_t)size, IPC_CREAT | 0600);
	if (id < 0)
		return sysv_error(SYSV_MAKE, -errno);
	err = sysv_segment_stat(be, id, &ds, NULL);
	if (!err)
		err = sysv_gone(sysv_segment_open(be, id, &ds, true, NULL, &segment));
	shmctl(id, IPC_RMID, NULL);
	if (err)
		return err;
	err = sysv_segment_copy(segment, old, shmfs_min(size, old->size), &(struct sysv_copy){ 0 },
				NULL);
	if (!err) {
		SHMFS_LOCKED(&obj->base.lock);

		/* Else the last handle has gone. */
		if (obj->segment == old) {
			obj->segment = segment;
			segment = old;
		}
	}
	sysv_segment_put(segment);
	return err;
}

/*
 * No shmget(2) tells the size of a removed segment any more: while handles alone have it, it gets
 * any size.  Others who have it attached keep it as it is.
 */
static int resize_removed(struct sysv_object *obj, uint64_t size, uint64_t spare)
{
	struct sysv_segment *segment = sysv_open_segment(obj);
	struct shmid_ds ds;
	uint64_t others = 0;
	bool exists = sysv_object_now(obj, NULL, &ds, &others) == 0;
	int err = -EBUSY;

	if (!segment)
		return -ESTALE;
	if (segment->fd >= 0 && !exists)
		err = resize_inode(obj, segment, size);
	else if (segment->fd < 0 && !others)
		err = move_attached(obj, segment, size + spare);
	sysv_segment_put(segment);
	return err;
}

/* A file needs no room to spare, and the kernel may serve all that is in it to a reader. */
static int resize(struct sysv_object *obj, const struct sysv_handle *h, uint64_t size,
		  uint64_t spare, const struct shmfs_caller *caller)
{
	int err;

	if (h && h->fixed)
		return -EPERM;
	/* The kernel may have mapped it through this handle, which does not go while it waits. */
	if (h && h->lent)
		return -EDEADLK;
	err = sysv_resize(obj, size + spare, caller);
	/* It was removed, perhaps just now. */
	return err == -ESTALE || err == -EIDRM ? resize_removed(obj, size, spare) : err;
}

int sysv_set_size(struct sysv_object *obj, struct sysv_handle *h, uint64_t size,
		  const struct shmfs_caller *caller)
{
	enum sysv_growth growth = SYSV_SETTLED;
	uint64_t file_size, segment_size;
	int err;

	{
		SHMFS_LOCKED(&obj->base.lock);

		/* A removed one that is open has a size as well, and may be given that. */
		err = obj->segment ? 0 : sysv_object_stat(obj, NULL);
		file_size = sysv_file_size(obj);
		segment_size = sysv_segment_size(obj);
	}
	if (!err && obj->growth != SYSV_SETTLED && size == file_size)
		growth = obj->growth; /* It is cut to that in the end. */
	else if (!err && size != segment_size)
		err = resize(obj, h, size, 0, caller);
	if (err)
		return err;
	sysv_set_file(obj, growth, size);
	return 0;
}

static void add_grower(struct sysv_object *obj, unsigned number)
{
	SHMFS_LOCKED(&obj->base.lock);

	obj->ngrowers += number;
}

bool sysv_wait_for_users(struct sysv_object *obj, struct sysv_patience *patience, int err)
{
	uint64_t now = shmfs_now_ns();
	uint64_t longest;
	struct timespec pause;

	if (err != -EAGAIN && err != -EBUSY)
		return false;
	if (!patience->since)
		*patience = (struct sysv_patience){ .since = now, .pause = FIRST_PAUSE_NS };
	/* Readers of another mount are attached when they open. */
	patience->reader = patience->reader || err == -EAGAIN;
	longest = patience->reader ? WAIT_FOR_READERS_NS : WAIT_FOR_ATTACHED_NS;
	if (now < obj->impatient_until)
		return false;
	if (now - patience->since >= longest) {
		obj->impatient_until = now + IMPATIENT_NS;
		return false;
	}
	/* Readers that come meanwhile are served. */
	add_grower(obj, 1);
	pthread_rwlock_unlock(&obj->io);
	pause = (struct timespec){ .tv_nsec = patience->pause };
	nanosleep(&pause, NULL);
	if (patience->pause < LONGEST_PAUSE_NS)
		patience->pause *= 2;
	pthread_rwlock_wrlock(&obj->io);
	add_grower(obj, -1u);
	return true;
}

int sysv_truncate(struct shmfs_object *base, struct shmfs_handle *handle, off_t size,
		  const struct shmfs_caller *caller)
{
	struct sysv_object *obj = sysv_object(base);
	struct sysv_handle *h = sysv_handle(handle);
	struct sysv_patience patience = { 0 };
	unsigned tries = 0;
	int err;

	do {
		pthread_rwlock_wrlock(&obj->io);
		do {
			/* A handle was opened for writing.  By the name it is asked for here. */
			err = h ? sysv_use(obj, h, true) :
				  sysv_check_rights(obj, true, true, caller);
			if (!err)
				err = size == 0 ? sysv_clear(obj, caller) :
						  sysv_set_size(obj, h, (uint64_t)size, caller);
		} while (err && sysv_wait_for_users(obj, &patience, err));
		sysv_mirror_write(obj, 0, 0);
		pthread_rwlock_unlock(&obj->io);
	} while (sysv_follows_key(obj, &tries, &err));
	return sysv_error(SYSV_RESIZE, err);
}

int sysv_truncate_by_id(struct shmfs_object *base, struct shmfs_handle *handle, off_t size,
			const struct shmfs_caller *caller)
{
	struct sysv_object *obj = sysv_object(base);
	uint64_t now;

	{
		SHMFS_LOCKED(&obj->base.lock);
		now = sysv_file_size(obj);
	}
	return size == 0 || (uint64_t)size == now ? sysv_truncate(base, handle, size, caller) :
						    -EPERM;
}

int sysv_grow_to(struct sysv_object *obj, struct sysv_handle *h, uint64_t size, uint64_t spare,
		 const struct shmfs_caller *caller)
{
	uint64_t old_size = obj->segment->size;
	int err = resize(obj, h, size, spare, caller);

	if (!err && obj->growth == SYSV_SETTLED)
		sysv_set_file(obj, SYSV_GROWING, old_size);
	else if (!err)
		set_growth(obj, SYSV_GROWING);
	return err;
}

/*
 * Rule 4.  Memory comes page by page as it is written, so a larger segment costs nothing but the
 * copy.  Each step doubles the segment: all copies together are no more than what is written.  A
 * large file that grows fast gets more at once, and is copied less.  Where the limits do not allow
 * a step, a smaller one is tried.
 */
int sysv_grow(struct sysv_object *obj, struct sysv_handle *h, uint64_t end,
	      const struct shmfs_caller *caller)
{
	uint64_t now = shmfs_now_ns();
	bool is_fast = end >= LARGE && (now - obj->grown_at) / end < FAST_NS;
	uint64_t times = is_fast ? FAST_SPARE : 1;
	uint64_t spare = end <= INT64_MAX / (1 + times) ? shmfs_max(times * end, LEAST_SPARE) : 0;
	int err;

	obj->grown_at = now;

	for (;;) {
		err = sysv_grow_to(obj, h, end, spare, caller);
		if (spare == 0 || (err != -EFBIG && err != -ENOSPC && err != -ENOMEM))
			return err;
		spare = spare < LEAST_SPARE ? 0 : spare / 4;
	}
}

void sysv_settle(struct sysv_object *obj)
{
	/* The file behind a closed file goes a moment after that. */
	struct sysv_patience patience = {
		.since = shmfs_now_ns() - WAIT_FOR_READERS_NS + WAIT_FOR_ATTACHED_NS,
		.pause = FIRST_PAUSE_NS,
	};
	int err;

	if (obj->growth == SYSV_SETTLED)
		return;
	set_growth(obj, SYSV_UNTRIMMED);
	do {
		err = sysv_trim(obj);
	} while (err && sysv_wait_for_users(obj, &patience, err) && obj->growth == SYSV_UNTRIMMED &&
		 obj->ngrowers == 0);
	if (obj->growth == SYSV_UNTRIMMED && err)
		sysv_trim_later(obj);
}

/* SPDX-License-Identifier: MIT */
/*
 * Opens that walk to their file once more.
 *
 * The kernel makes several requests of an open(2): a LOOKUP of the name, a GETATTR at times, and an
 * OPEN.  Other processes can remove the object in between.  With O_CREAT open(2) must not fail
 * then, and an OPEN does not tell of O_CREAT.  So the request is answered with -ESTALE, and the
 * kernel walks to the file once more.  A second -ESTALE would be the program's (fs/namei.c,
 * do_filp_open(), Linux 6.18).  The LOOKUP of the second walk finds nothing, and the kernel sends a
 * CREATE if O_CREAT was given (fs/fuse/dir.c, fuse_atomic_open()); or it finds an object that is
 * held until its OPEN.
 *
 * An opener is also told to walk once more when it should come to another inode of the object
 * (passthrough.c).
 */
#include "fuse/internal.h"

#include <time.h>

/* Threads whose ids have near remainders share this many slots. */
#define SLOTS 8
/* How long others wait for an opener that walks to another inode. */
#define AWAIT_NS 1000000000u
/* How long a walk takes at most, on a machine with far more to do than it can. */
#define WALK_NS 30000000000u
/*
 * The LOOKUPs of one walk at most: of the dentry that there is, of a new one, and of those that
 * other openers put in its place (fs/namei.c, lookup_open(), Linux 6.18).
 */
#define MOST_LOOKUPS 16
/* An object is held for one tick or two. */
#define TICK_NS 250000000

/* The slot of an opener, or else the one of its slots that is free, or was taken first. */
static struct shmfs_walker *slot_of(struct shmfs_fs *fs, pid_t opener)
{
	struct shmfs_walker *first = NULL;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct shmfs_walker *walker =
			&fs->walks.walkers[((unsigned)opener + i) % SHMFS_WALKERS];

		if (walker->opener == opener)
			return walker;
		if (!first || walker->at < first->at)
			first = walker;
	}
	return first;
}

static bool walks(const struct shmfs_walker *walker, uint64_t longest)
{
	return walker->at != 0 && shmfs_now_ns() - walker->at <= longest;
}

static void let_go(struct shmfs_handle *const *held)
{
	struct shmfs_object *object = *held ? (*held)->object : NULL;

	if (!object)
		return;
	object->backend->ops->release(*held);
	shmfs_object_put(object);
}

/*
 * A handle to let go of.  Declared before the lock, it goes after the lock is released.  "unused":
 * clang-tidy 14 does not know that a cleanup reads the variable.
 */
#define AUTO_HELD __attribute__((cleanup(let_go), unused)) struct shmfs_handle *

bool shmfs_walk_again(struct shmfs_fs *fs, pid_t opener, const struct shmfs_object *awaited)
{
	AUTO_HELD old = NULL;
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_walker *walker = slot_of(fs, opener);

	if (walker->opener == opener && walks(walker, WALK_NS))
		return false;
	atomic_store(&fs->walks.used, true);
	old = walker->held;
	*walker = (struct shmfs_walker){
		.opener = opener,
		.at = shmfs_now_ns(),
		.awaited = awaited,
	};
	return true;
}

bool shmfs_walk_is_awaited(struct shmfs_fs *fs, const struct shmfs_object *object, pid_t opener)
{
	SHMFS_LOCKED(&fs->lock);

	for (size_t i = 0; i < SHMFS_WALKERS; i++) {
		const struct shmfs_walker *walker = &fs->walks.walkers[i];

		if (walker->awaited == object && walker->opener != opener &&
		    walks(walker, AWAIT_NS))
			return true;
	}
	return false;
}

bool shmfs_walk_is_second(struct shmfs_fs *fs, pid_t opener)
{
	if (!atomic_load(&fs->walks.used))
		return false;
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_walker *walker = slot_of(fs, opener);

	if (walker->opener != opener || !walks(walker, WALK_NS))
		return false;
	/* The open(2) has ended without an OPEN, and these are of other calls. */
	if (++walker->nlookups > MOST_LOOKUPS)
		walker->at = 0;
	return walker->at != 0;
}

/* A thread of its own: letting go can wait until a segment has been copied. */
static void *run(void *arg)
{
	const struct timespec tick = { .tv_nsec = TICK_NS };
	struct shmfs_fs *fs = arg;
	struct shmfs_handle *old[SHMFS_WALKERS];
	size_t count = 0;
	bool goes_on;

	do {
		nanosleep(&tick, NULL);
		pthread_mutex_lock(&fs->lock);
		goes_on = false;
		for (struct shmfs_walker *walker = fs->walks.walkers;
		     walker < fs->walks.walkers + SHMFS_WALKERS; walker++) {
			goes_on = goes_on || walker->held;
			if (walker->held && walker->is_old)
				old[count++] = shmfs_steal_pointer(&walker->held);
			walker->is_old = true;
		}
		fs->walks.runs = goes_on;
		pthread_mutex_unlock(&fs->lock);
		while (count > 0)
			let_go(&old[--count]);
	} while (goes_on);
	return NULL;
}

/* fs->lock is held. */
static bool start_thread(struct shmfs_fs *fs)
{
	struct shmfs_walks *walks = &fs->walks;

	if (walks->runs)
		return true;
	if (walks->has_thread)
		pthread_join(walks->thread, NULL);
	walks->has_thread = pthread_create(&walks->thread, NULL, run, fs) == 0;
	walks->runs = walks->has_thread;
	return walks->runs;
}

void shmfs_walk_hold(struct shmfs_fs *fs, pid_t opener, struct shmfs_handle *handle)
{
	AUTO_HELD old = handle;

	shmfs_object_ref(handle->object);
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_walker *walker = slot_of(fs, opener);

	/* So many others walk that the slot is another's by now. */
	if (walker->opener != opener || !start_thread(fs))
		return;
	old = walker->held;
	walker->held = handle;
	walker->is_old = false;
}

void shmfs_walk_end(struct shmfs_fs *fs, pid_t opener)
{
	if (!atomic_load(&fs->walks.used))
		return;
	AUTO_HELD old = NULL;
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_walker *walker = slot_of(fs, opener);

	if (walker->opener != opener)
		return;
	old = shmfs_steal_pointer(&walker->held);
	walker->at = 0;
}

void shmfs_walks_clear(struct shmfs_fs *fs)
{
	for (size_t i = 0; i < SHMFS_WALKERS; i++)
		shmfs_walk_end(fs, fs->walks.walkers[i].opener);
	if (fs->walks.has_thread)
		pthread_join(fs->walks.thread, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Names that the kernel is to forget.
 *
 * A name that is removed in one directory is gone in all that show it.  Their dentries would keep
 * the object's memory until the kernel is short of memory.
 *
 * To drop a dentry the kernel locks its directory (fs/fuse/dir.c, fuse_reverse_inval_entry(), Linux
 * 6.18).  A process with that lock may wait for a reply of this daemon, or hold it for ever.  So no
 * thread that serves requests drops names.  Another thread does, as long as there are some.
 */
#include "fuse/internal.h"

/* Names that wait, at most: somebody can let the thread wait. */
#define MOST_NAMES (1u << 16)
/* How long the end of the daemon waits for the thread. */
#define END_S 1

struct shmfs_gone {
	struct shmfs_gone *next;
	shmfs_dir dir; /* where it was removed; 0: in none */
	char name[];
};

void note_searched(struct shmfs_fs *fs, shmfs_dir dir)
{
	const unsigned place = dir >> 1;
	/* Directories with a number share the slots that no row has. */
	const unsigned shared = SHMFS_ROWS + place % (SHMFS_SEARCHED - SHMFS_ROWS);
	atomic_uint *slot = &fs->searched[place < SHMFS_ROWS ? place : shared];

	if (atomic_load(slot) != dir)
		atomic_store(slot, dir);
}

/* Drop the name in all directories but its own; `drop` false: are there any? */
static bool drop_elsewhere(struct shmfs_fs *fs, shmfs_dir own, const char *name, bool drop)
{
	bool any = false;

	for (size_t i = 0; i < SHMFS_SEARCHED; i++) {
		const shmfs_dir dir = atomic_load(&fs->searched[i]);

		if (dir == 0 || dir == own)
			continue;
		if (drop)
			fuse_lowlevel_notify_inval_entry(fs->session, dir, name, strlen(name));
		any = true;
	}
	return any;
}

/* The next name, or NULL: there is none, and the thread ends. */
static struct shmfs_gone *take(struct shmfs_fs *fs)
{
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_gone *gone = fs->gone;

	if (gone) {
		fs->gone = gone->next;
		fs->ngone--;
	} else {
		fs->dropping = false;
		pthread_cond_broadcast(&fs->dropped);
	}
	return gone;
}

static void *drop_all(void *arg)
{
	struct shmfs_fs *fs = arg;
	struct shmfs_gone *gone;

	while ((gone = take(fs))) {
		drop_elsewhere(fs, gone->dir, gone->name, true);
		free(gone);
	}
	return NULL;
}

static void start_thread(struct shmfs_fs *fs)
{
	pthread_t thread;

	fs->dropping = pthread_create(&thread, NULL, drop_all, fs) == 0;
	if (fs->dropping)
		pthread_detach(thread);
}

void forget_elsewhere(struct shmfs_fs *fs, shmfs_dir own, const char *name)
{
	const size_t size = strlen(name) + 1;
	struct shmfs_gone *gone = NULL;

	if (drop_elsewhere(fs, own, name, false))
		gone = malloc(sizeof(*gone) + size);
	if (!gone)
		return;
	gone->next = NULL;
	gone->dir = own;
	memcpy(gone->name, name, size);
	SHMFS_LOCKED(&fs->lock);
	if (fs->ngone == MOST_NAMES) {
		free(gone);
		return;
	}
	*(fs->gone ? fs->last_gone : &fs->gone) = gone;
	fs->last_gone = &gone->next;
	fs->ngone++;
	if (!fs->dropping)
		start_thread(fs);
}

bool forget_end(struct shmfs_fs *fs)
{
	struct timespec end;
	SHMFS_LOCKED(&fs->lock);

	for (struct shmfs_gone *gone; (gone = fs->gone); free(gone))
		fs->gone = gone->next;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += END_S;
	while (fs->dropping)
		if (pthread_cond_timedwait(&fs->dropped, &fs->lock, &end) == ETIMEDOUT)
			return false;
	return true;
}

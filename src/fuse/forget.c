/* SPDX-License-Identifier: MIT */
/*
 * Names that the kernel is to forget.
 *
 * A name that is removed in one directory is gone in all that show it.  Their dentries would keep
 * the object's memory until the kernel is short of memory.
 *
 * To drop a dentry the kernel locks its directory (fs/fuse/dir.c, fuse_reverse_inval_entry(), Linux
 * 6.18).  A process with that lock may wait for a reply of this daemon, or hold it for ever.  So no
 * thread that serves requests drops names.  Another thread does, with a pipe for its queue.
 */
#include "fuse/internal.h"

/* The pipe has room for so many bytes of names: somebody can let the thread wait. */
#define ROOM (1 << 20)
/* How long the end of the daemon waits for the thread. */
#define END_S 1

/* A name as it stands in the pipe.  The pipe takes it whole or not at all (pipe(7), PIPE_BUF). */
struct gone {
	shmfs_dir own; /* where it was removed; 0: in none */
	uint32_t size;
	char name[NAME_MAX + 1]; /* `size` bytes of it */
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

static void *drop_all(void *arg)
{
	struct shmfs_fs *fs = arg;
	const int from = fs->gone[0];
	const size_t head = offsetof(struct gone, name);
	struct gone gone;

	while (read(from, &gone, head) == (ssize_t)head && !atomic_load(&fs->ends) &&
	       read(from, gone.name, gone.size) == (ssize_t)gone.size)
		drop_elsewhere(fs, gone.own, gone.name, true);
	return NULL;
}

static void close_pipe(struct shmfs_fs *fs)
{
	close(fs->gone[0]);
	close(fs->gone[1]);
	fs->gone[0] = 0;
}

static bool start_thread(struct shmfs_fs *fs)
{
	SHMFS_LOCKED(&fs->lock);

	if (fs->drops || atomic_load(&fs->ends) || pipe2(fs->gone, O_CLOEXEC) != 0)
		return fs->drops;
	fcntl(fs->gone[1], F_SETFL, O_NONBLOCK);
	fcntl(fs->gone[1], F_SETPIPE_SZ, ROOM); /* a user may have too many pipes (pipe(7)) */
	fs->drops = pthread_create(&fs->dropper, NULL, drop_all, fs) == 0;
	if (!fs->drops)
		close_pipe(fs);
	return fs->drops;
}

void forget_elsewhere(struct shmfs_fs *fs, shmfs_dir own, const char *name)
{
	struct gone gone = { .own = own, .size = (uint32_t)strlen(name) + 1 };
	ssize_t n;

	if (!drop_elsewhere(fs, own, name, false) || !start_thread(fs))
		return;
	memcpy(gone.name, name, gone.size);
	n = write(fs->gone[1], &gone, offsetof(struct gone, name) + gone.size);
	(void)n; /* where there is no room the kernel keeps the name */
}

bool forget_end(struct shmfs_fs *fs)
{
	const struct gone none = { 0 };
	struct timespec end;
	bool drops;
	ssize_t n;

	pthread_mutex_lock(&fs->lock);
	atomic_store(&fs->ends, true);
	drops = fs->drops;
	pthread_mutex_unlock(&fs->lock);
	if (!drops)
		return true;
	/* The thread ends at the next record.  A full pipe has one. */
	n = write(fs->gone[1], &none, offsetof(struct gone, name));
	(void)n;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += END_S;
	if (pthread_timedjoin_np(fs->dropper, NULL, &end) != 0)
		return false;
	SHMFS_LOCKED(&fs->lock);
	fs->drops = false;
	return true;
}

void forget_clear(struct shmfs_fs *fs)
{
	if (fs->gone[0] > 0)
		close_pipe(fs);
}

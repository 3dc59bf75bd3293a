/* SPDX-License-Identifier: MIT */
/*
 * The order in which the kernel takes replies to opens of one inode.
 *
 * The kernel refuses, with EIO, an open that is not bound on an inode that is
 * (fs/fuse/iomode.c, fuse_file_io_open(), Linux 6.9).  It looks when the opener
 * takes up the reply, not when the daemon writes it, and so two opens that are
 * answered in one order may be looked at in the other:
 *
 *	A: open(O_RDONLY)   replied: served                  A wakes up: EIO
 *	B: open(O_RDONLY)               replied: bound   B wakes up: inode bound
 *
 * So the first binding of an inode waits until the served opens before it have
 * returned in their processes, SETTLE_NS at most.  An open has returned when its
 * file is used, or when its opener opens again.  /proc/PID/syscall would tell more,
 * but a process can let its readers wait for ever (fs/proc/base.c, lock_trace()).
 */
#include "fuse/internal.h"

/* How long an opener may need to take up its reply on a busy machine. */
#define SETTLE_NS 200000000

void shmfs_open_order_acknowledge(struct shmfs_file *file)
{
	if (atomic_load(&file->unacknowledged))
		atomic_store(&file->unacknowledged, false);
}

void shmfs_open_order_served(struct shmfs_file *file)
{
	file->inode->daemon_open_at = shmfs_now_ns();
	atomic_store(&file->unacknowledged, true);
}

/* May a served open not have returned?  Those of `opener` have. */
static bool is_under_way(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	bool any = false;
	SHMFS_LOCKED(&fs->lock);

	for (struct shmfs_file *file = inode->files; file && !any; file = file->next) {
		/* 0: threads of another PID namespace, which are not told apart. */
		if (opener && file->opener == opener)
			shmfs_open_order_acknowledge(file);
		any = atomic_load(&file->unacknowledged);
	}
	return any;
}

void shmfs_open_order_settle(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	const struct timespec moment = { .tv_nsec = SETTLE_NS / 200 };
	/* Those that are opened meanwhile make it no longer: somebody can open it for ever. */
	const uint64_t until = shmfs_now_ns() + SETTLE_NS;

	while (inode->backing_users == 0 && shmfs_now_ns() - inode->daemon_open_at < SETTLE_NS &&
	       shmfs_now_ns() < until && is_under_way(fs, inode, opener)) {
		pthread_mutex_unlock(&inode->backing_lock);
		nanosleep(&moment, NULL);
		pthread_mutex_lock(&inode->backing_lock);
	}
}

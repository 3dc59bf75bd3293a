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
 * file is used, when its opener opens again, or when /proc/PID/syscall shows the
 * opener in another call.
 */
#include "fuse/open_order.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

/* How long an opener may need to take up its reply on a busy machine. */
#define SETTLE_NS 200000000

/* The numbers of these calls in programs of the other architecture that the kernel runs. */
#if defined(__x86_64__) /* i386: open creat execve openat open_by_handle_at execveat */
#define FOREIGN_OPENS 5, 8, 11, 295, 342, 358
#elif defined(__i386__) /* x86-64, in the same order */
#define FOREIGN_OPENS 2, 85, 59, 257, 304, 322
#elif defined(__aarch64__) /* arm, in the same order */
#define FOREIGN_OPENS 5, 8, 11, 322, 371, 387
#elif defined(__arm__) /* arm64: execve openat open_by_handle_at execveat */
#define FOREIGN_OPENS 221, 56, 265, 281
#else
#define FOREIGN_OPENS SYS_openat
#endif

/*
 * Does a call open files?  /proc/PID/syscall gives its number and not whose number
 * that is, so both count.  An opener that is waited for in vain costs SETTLE_NS.
 */
static bool is_open_call(long number)
{
	static const long calls[] = {
#ifdef SYS_open
		SYS_open,     SYS_creat,
#endif
		SYS_openat,   SYS_openat2,	  SYS_open_by_handle_at, SYS_execve,
		SYS_execveat, SYS_io_uring_enter, FOREIGN_OPENS,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (calls[i] == number)
			return true;
	}
	return false;
}

/*
 * Has a thread returned from open(2)?  It has when it waits in another call or
 * has ended.  /proc/PID/syscall says "running" of a thread that runs, wherever it
 * is.  A thread of another PID namespace (0) cannot be asked about.
 */
static bool has_returned(pid_t thread)
{
	SHMFS_AUTO_FD int fd = -1;
	char path[32];
	char text[32] = "";

	if (thread == 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return errno == ENOENT || errno == ESRCH;
	return isdigit((unsigned char)text[0]) && !is_open_call(strtol(text, NULL, 10));
}

void shmfs_open_order_acknowledge(struct shmfs_file *file)
{
	if (atomic_load(&file->unacknowledged) && atomic_exchange(&file->unacknowledged, false))
		atomic_fetch_sub(&file->inode->nunacknowledged, 1);
}

void shmfs_open_order_served(struct shmfs_file *file)
{
	file->inode->daemon_open_at = shmfs_now_ns();
	atomic_store(&file->unacknowledged, true);
	atomic_fetch_add(&file->inode->nunacknowledged, 1);
}

/* Acknowledge the opens of `inode` whose openers have gone on. */
static void acknowledge_returned(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	SHMFS_LOCKED(&fs->lock);

	for (struct shmfs_file *file = inode->files; file; file = file->next) {
		if (atomic_load(&file->unacknowledged) &&
		    ((opener && file->opener == opener) || has_returned(file->opener)))
			shmfs_open_order_acknowledge(file);
	}
}

void shmfs_open_order_settle(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	const struct timespec moment = { .tv_nsec = SETTLE_NS / 200 };

	while (inode->backing_users == 0 && atomic_load(&inode->nunacknowledged) > 0 &&
	       shmfs_now_ns() - inode->daemon_open_at < SETTLE_NS) {
		acknowledge_returned(fs, inode, opener);
		if (atomic_load(&inode->nunacknowledged) == 0)
			break;
		pthread_mutex_unlock(&inode->backing_lock);
		nanosleep(&moment, NULL);
		pthread_mutex_lock(&inode->backing_lock);
	}
}

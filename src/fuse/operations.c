/* SPDX-License-Identifier: MIT */
/* The table of requests, what they share, and what INIT agrees on with the kernel. */
#include "fuse/internal.h"

#include <sys/inotify.h>
#include <sys/random.h>

#include "shmfs/sanitizer.h"

void shmfs_fs_init(struct shmfs_fs *fs)
{
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->dropped, NULL);
	/* With a hash that users can foresee they could make many names stand at one place. */
	if (getrandom(&fs->dirs.seed, sizeof(fs->dirs.seed), GRND_NONBLOCK) < 0)
		fs->dirs.seed = shmfs_now_ns();
	fs->names_watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void shmfs_fs_clear(struct shmfs_fs *fs)
{
	dirs_clear(fs);
	close_files(fs);
	shmfs_walks_clear(fs);
	shmfs_inode_forget_all(fs);
	free(fs->users);
	if (fs->names_watch >= 0)
		close(fs->names_watch);
	pthread_cond_destroy(&fs->dropped);
	pthread_mutex_destroy(&fs->lock);
}

/* libfuse 3.17 has functions for it, and keeps conn->want for older programs. */
static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (wanted)
		fuse_set_feature_flag(conn, capability);
	else
		fuse_unset_feature_flag(conn, capability);
#else
	if (wanted)
		conn->want |= conn->capable & capability;
	else
		conn->want &= ~capability;
#endif
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct shmfs_fs *fs = userdata;

	/* The kernel checks ACLs, and a default ACL replaces the umask. */
	want(conn, FUSE_CAP_POSIX_ACL, true);
	want(conn, FUSE_CAP_DONT_MASK, true);
	/*
	 * Long replies are spliced (io.c), requests are read.  ThreadSanitizer knows that a
	 * write(2) comes before the read(2) that it lets return, and knows nothing of splice(2).
	 */
	want(conn, FUSE_CAP_SPLICE_WRITE, !SHMFS_TSAN);
	want(conn, FUSE_CAP_SPLICE_READ, false);
	shmfs_reply_init(&fs->passthrough, conn);
	if (conn->max_write > MAX_TRANSFER)
		conn->max_write = MAX_TRANSFER;
}

#define ROW(name) .name = shmfs_fuse_##name,

const struct fuse_lowlevel_ops shmfs_fuse_operations = { .init = on_init, SHMFS_REQUESTS(ROW) };

/* SPDX-License-Identifier: MIT */
/* The table of requests, what they share, and what INIT agrees on with the kernel. */
#include "fuse/internal.h"

#include <sys/inotify.h>
#include <sys/random.h>

#include "shmfs/sanitizer.h"

void shmfs_fs_init(struct shmfs_fs *fs)
{
	pthread_mutex_init(&fs->lock, NULL);
	/* With a hash that users can foresee they could make many names stand at one place. */
	if (getrandom(&fs->dirs.seed, sizeof(fs->dirs.seed), GRND_NONBLOCK) < 0)
		fs->dirs.seed = shmfs_now_ns();
	fs->names_watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void close_all(struct shmfs_fs *fs)
{
	struct shmfs_inode *inode;

	while ((inode = fs->inodes.inodes)) {
		while (inode->files)
			close_file(fs, inode->files);
		shmfs_inode_forget(fs, inode, inode->nlookup);
	}
}

void shmfs_fs_clear(struct shmfs_fs *fs)
{
	dirs_clear(fs);
	close_all(fs);
	shmfs_walks_clear(fs);
	forget_clear(fs);
	if (fs->session)
		fuse_session_destroy(fs->session);
	free(fs->users);
	if (fs->names_watch >= 0)
		close(fs->names_watch);
	pthread_mutex_destroy(&fs->lock);
}

/* Directories are not counted. */
static void forget(struct shmfs_fs *fs, fuse_ino_t ino, uint64_t nlookup)
{
	if (!is_dir(ino))
		shmfs_inode_forget(fs, inode_of(ino), nlookup);
}

static void forget_many(struct shmfs_fs *fs, const struct fuse_batch_forget_in *in)
{
	const struct fuse_forget_one *forgets = (const void *)(in + 1);

	for (uint32_t i = 0; i < in->count; i++)
		forget(fs, forgets[i].nodeid, forgets[i].nlookup);
}

static void release(struct shmfs_fs *fs, const struct fuse_release_in *in)
{
	close_file(fs, (struct shmfs_file *)(uintptr_t)in->fh);
}

/*
 * libfuse drops a request that it has no memory for (lib/fuse_lowlevel.c,
 * fuse_session_process_buf_internal(), 3.14).  The kernel sends each FORGET and RELEASE once, and
 * the object would be kept for ever.  So these do not go through libfuse, and take no memory.
 */
void serve_request(struct shmfs_fs *fs, const struct fuse_in_header *request)
{
	const struct fuse_buf buf = { .mem = (void *)(uintptr_t)request, .size = request->len };
	const void *in = request + 1;
	int err = 0;

	switch (request->opcode) {
	case FUSE_FORGET:
		forget(fs, request->nodeid, ((const struct fuse_forget_in *)in)->nlookup);
		return;
	case FUSE_BATCH_FORGET:
		forget_many(fs, in);
		return;
	case FUSE_RELEASE:
		release(fs, in);
		break;
	case FUSE_RELEASEDIR:
		dirs_close(fs);
		break;
	case FUSE_INTERRUPT:
		/* Told so, the kernel sends no more (fs/fuse/dev.c, fuse_dev_do_write()). */
		err = -ENOSYS;
		break;
	default:
		fuse_session_process_buf(fs->session, &buf);
		return;
	}
	shmfs_reply_error(fs, request, err);
}

/* The newer conn->want_ext takes over what conn->want says (libfuse 3.17). */
static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	/* The kernel checks ACLs, and a default ACL replaces the umask. */
	unsigned want = FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;

	/*
	 * Long replies are spliced (io.c).  ThreadSanitizer knows that a write(2) comes before the
	 * read(2) that it lets return, and knows nothing of splice(2).
	 */
	if (!SHMFS_TSAN)
		want |= FUSE_CAP_SPLICE_WRITE;
	conn->want |= conn->capable & want;
	if (conn->max_write > MAX_TRANSFER)
		conn->max_write = MAX_TRANSFER;
}

#define ROW(name) .name = shmfs_fuse_##name,

const struct fuse_lowlevel_ops shmfs_fuse_operations = { .init = on_init, SHMFS_REQUESTS(ROW) };

/* SPDX-License-Identifier: MIT */
/* Open files: a handle of the backend, and how the kernel serves it. */
#include "fuse/internal.h"

#include <sys/resource.h>

/* So many files a user may have open in any case. */
#define SMALL_SHARE 16

int check_open_share(struct shmfs_fs *fs, uid_t uid)
{
	struct rlimit limit;
	unsigned others, own;
	SHMFS_LOCKED(&fs->lock);

	own = fs->nopen_of[uid % SHMFS_USERS];
	others = fs->nopen - own;
	if (own < SMALL_SHARE || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	return others < limit.rlim_cur && own < (limit.rlim_cur - others) / 2 ? 0 : -EMFILE;
}

static void enter(struct shmfs_fs *fs, struct shmfs_file *file)
{
	SHMFS_LOCKED(&fs->lock);

	file->next = file->inode->files;
	file->link = &file->inode->files;
	if (file->next)
		file->next->link = &file->next;
	file->inode->files = file;
	fs->nopen++;
	fs->nopen_of[file->user % SHMFS_USERS]++;
}

static void leave(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;
	SHMFS_LOCKED(&fs->lock);

	fs->nopen--;
	fs->nopen_of[file->user % SHMFS_USERS]--;
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	inode->closers[inode->nclosed++ % SHMFS_CLOSERS] =
		(struct shmfs_closer){ .thread = file->opener, .at = shmfs_now_ns() };
}

void close_file(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;

	leave(fs, file);
	shmfs_open_order_acknowledge(file);
	shmfs_passthrough_unbind(fs, file);
	ops_of(inode)->release(file->handle);
	atomic_fetch_sub(&inode->nopen, 1);
	free(file);
}

int open_file(struct shmfs_fs *fs, struct shmfs_inode *inode, struct shmfs_handle *handle,
	      const struct fuse_ctx *opener, struct shmfs_file **out, struct shmfs_bound *bound)
{
	struct shmfs_file *file = calloc(1, sizeof(*file));

	if (!file) {
		ops_of(inode)->release(handle);
		return -ENOMEM;
	}
	file->inode = inode;
	file->handle = handle;
	file->opener = opener->pid;
	file->user = opener->uid;
	atomic_fetch_add(&inode->nopen, 1);
	enter(fs, file);
	*bound = fs->passthrough.on && !fs->passthrough.refused ?
			 shmfs_passthrough_bind(fs, file) :
			 (struct shmfs_bound){ .binding = SHMFS_IO_DAEMON, .parallel = true };
	if (bound->binding == SHMFS_IO_MOVABLE) {
		close_file(fs, file);
		return -ESTALE;
	}
	*out = file;
	return 0;
}

void close_files(struct shmfs_fs *fs)
{
	struct shmfs_file *file;

	for (struct shmfs_inode *inode = fs->inodes.inodes; inode; inode = inode->next) {
		while ((file = inode->files)) {
			inode->files = file->next;
			fs->nopen--;
			ops_of(inode)->release(file->handle);
			free(file);
		}
	}
}

/* SPDX-License-Identifier: MIT */
/* Open files: a handle of the backend, and how the kernel serves it. */
#include "fuse/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse/open_order.h"
#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

static void enter(struct shmfs_fs *fs, struct shmfs_file *file)
{
	SHMFS_LOCKED(&fs->open_lock);

	file->next = fs->open;
	file->link = &fs->open;
	if (fs->open)
		fs->open->link = &file->next;
	fs->open = file;
}

static void leave(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;
	SHMFS_LOCKED(&fs->open_lock);

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
	if (file->bound)
		shmfs_passthrough_unbind(fs, inode);
	ops_of(inode)->release(file->handle);
	atomic_fetch_sub(&inode->nopen, 1);
	free(file);
}

int open_file(struct shmfs_fs *fs, struct shmfs_inode *inode, struct shmfs_handle *handle,
	      pid_t opener, struct shmfs_file **out, struct shmfs_bound *bound)
{
	struct shmfs_file *file = calloc(1, sizeof(*file));

	if (!file) {
		ops_of(inode)->release(handle);
		return -ENOMEM;
	}
	file->inode = inode;
	file->handle = handle;
	file->opener = opener;
	atomic_fetch_add(&inode->nopen, 1);
	enter(fs, file);
	*bound = fs->passthrough.on ?
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
	while (fs->open) {
		struct shmfs_file *file = fs->open;

		fs->open = file->next;
		ops_of(file->inode)->release(file->handle);
		free(file);
	}
}

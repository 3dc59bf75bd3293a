/* SPDX-License-Identifier: MIT */
/* Open files: a handle of the backend, and how the kernel serves it. */
#include "fuse/internal.h"

#include <sys/resource.h>

#include "shmfs/minmax.h"

/* So many files a user may have open in any case. */
#define SMALL_SHARE 16

/* Find or add a user.  fs->lock is held.  NULL: no memory. */
static struct shmfs_user *user_of(struct shmfs_fs *fs, uid_t uid)
{
	struct shmfs_user *more;

	for (size_t i = 0; i < fs->nusers; i++)
		if (fs->users[i].uid == uid)
			return &fs->users[i];
	more = reallocarray(fs->users, fs->nusers + 1, sizeof(*more));
	if (!more)
		return NULL;
	fs->users = more;
	more[fs->nusers] = (struct shmfs_user){ .uid = uid };
	return &more[fs->nusers++];
}

int check_open_share(struct shmfs_fs *fs, uid_t uid)
{
	struct rlimit limit;
	unsigned own = 0;
	unsigned kin = 0;
	rlim_t left;
	SHMFS_LOCKED(&fs->lock);

	for (size_t i = 0; i < fs->nusers; i++) {
		own += fs->users[i].uid == uid ? fs->users[i].nopen : 0;
		kin += are_kin(fs->users[i].uid, uid) ? fs->users[i].nopen : 0;
	}
	if (kin < SMALL_SHARE || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	left = limit.rlim_cur - shmfs_min(limit.rlim_cur, fs->nopen - kin);
	return is_within_share(own, kin, left, SMALL_SHARE) ? 0 : -EMFILE;
}

static int enter(struct shmfs_fs *fs, struct shmfs_file *file)
{
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_user *user = user_of(fs, file->user);

	if (!user)
		return -ENOMEM;
	user->nopen++;
	file->next = file->inode->files;
	file->link = &file->inode->files;
	if (file->next)
		file->next->link = &file->next;
	file->inode->files = file;
	fs->nopen++;
	return 0;
}

static void leave(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;
	SHMFS_LOCKED(&fs->lock);
	struct shmfs_user *user = user_of(fs, file->user);

	fs->nopen--;
	if (--user->nopen == 0)
		*user = fs->users[--fs->nusers];
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
	shmfs_passthrough_unbind(fs, file);
	ops_of(inode)->release(file->handle);
	atomic_fetch_sub(&inode->nopen, 1);
	free(file);
}

int open_file(struct shmfs_fs *fs, struct shmfs_inode *inode, struct shmfs_handle *handle,
	      const struct fuse_ctx *opener, struct shmfs_file **out)
{
	struct shmfs_file *file = calloc(1, sizeof(*file));
	int err = -ENOMEM;

	if (file) {
		file->inode = inode;
		file->handle = handle;
		file->opener = opener->pid;
		file->user = opener->uid;
		err = enter(fs, file);
	}
	if (err) {
		free(file);
		ops_of(inode)->release(handle);
		return err;
	}
	atomic_fetch_add(&inode->nopen, 1);
	if (fs->passthrough.on && !fs->passthrough.refused)
		err = shmfs_passthrough_bind(fs, file);
	if (err)
		close_file(fs, file);
	else
		*out = file;
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * Directories.
 *
 * An open directory is listed once, when it is read from its beginning, and
 * offsets count in that listing: what was there all the time is in it once,
 * whatever comes and goes while it is being read.
 *
 * There is no readdirplus: it would hand out entries that may be used without
 * looking them up again, and names are never served stale.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <stdlib.h>

struct dir_handle {
	struct dir_handle *next;  /* in fs->dirs; fs->open_lock */
	struct dir_handle **link; /* what points here there */

	pthread_mutex_t lock; /* protects the listing */
	struct shmfs_listing listing;
};

/* Entries 0 and 1 of every directory. */
static const char *const dots[] = { ".", ".." };

static struct dir_handle *dir_handle(const struct fuse_file_info *fi)
{
	return (struct dir_handle *)(uintptr_t)fi->fh;
}

static void enter_dir(struct shmfs_fs *fs, struct dir_handle *dir)
{
	pthread_mutex_lock(&fs->open_lock);
	dir->next = fs->dirs;
	dir->link = &fs->dirs;
	if (fs->dirs)
		fs->dirs->link = &dir->next;
	fs->dirs = dir;
	pthread_mutex_unlock(&fs->open_lock);
}

static void leave_dir(struct shmfs_fs *fs, struct dir_handle *dir)
{
	pthread_mutex_lock(&fs->open_lock);
	*dir->link = dir->next;
	if (dir->next)
		dir->next->link = dir->link;
	pthread_mutex_unlock(&fs->open_lock);
	shmfs_listing_clear(&dir->listing);
	pthread_mutex_destroy(&dir->lock);
	free(dir);
}

void close_dirs(struct shmfs_fs *fs)
{
	while (fs->dirs)
		leave_dir(fs, fs->dirs);
}

void shmfs_fuse_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct dir_handle *dir = calloc(1, sizeof(*dir));
	struct shmfs_fs *fs = fs_of(req);

	(void)ino;
	if (!dir) {
		reply_error(req, -ENOMEM);
		return;
	}
	pthread_mutex_init(&dir->lock, NULL);
	enter_dir(fs, dir);
	fi->fh = (uintptr_t)dir;
	if (fuse_reply_open(req, fi) != 0)
		leave_dir(fs, dir);
}

static size_t add_entry(fuse_req_t req, const struct dir_handle *dir, fuse_ino_t ino, off_t pos,
			char *buf, size_t room)
{
	size_t ndots = sizeof(dots) / sizeof(*dots);
	struct stat st = { .st_ino = ino, .st_mode = S_IFDIR };
	const char *name;

	if ((size_t)pos < ndots) {
		name = dots[pos];
		if (pos == 1)
			st.st_ino = shmfs_tree_parent(dir_of(ino));
	} else {
		const struct shmfs_entry *entry = &dir->listing.entries[(size_t)pos - ndots];

		name = dir->listing.names + entry->name;
		st.st_ino = entry->ino;
		st.st_mode = entry->is_dir ? S_IFDIR : S_IFREG;
	}
	return fuse_add_direntry(req, buf, room, name, &st, pos + 1);
}

/* Fill `buf` from position `pos` on; returns the bytes used. */
static size_t fill(fuse_req_t req, const struct dir_handle *dir, fuse_ino_t ino, off_t pos,
		   char *buf, size_t size)
{
	off_t end = (off_t)(dir->listing.count + sizeof(dots) / sizeof(*dots));
	size_t used = 0;

	for (; pos < end; pos++) {
		size_t need = add_entry(req, dir, ino, pos, buf + used, size - used);

		if (need > size - used)
			break;
		used += need;
	}
	return used;
}

void shmfs_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t pos,
			struct fuse_file_info *fi)
{
	struct dir_handle *dir = dir_handle(fi);
	AS_CALLER who = caller_of(req);
	char *buf = malloc(size);
	size_t used = 0;
	int err = buf ? 0 : -ENOMEM;

	pthread_mutex_lock(&dir->lock);
	if (!err && pos == 0)
		err = shmfs_tree_list(&fs_of(req)->tree, dir_of(ino), &who.caller, &dir->listing);
	if (!err)
		used = fill(req, dir, ino, pos, buf, size);
	pthread_mutex_unlock(&dir->lock);
	if (err)
		reply_error(req, err);
	else
		fuse_reply_buf(req, buf, used);
	free(buf);
}

void shmfs_fuse_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	leave_dir(fs_of(req), dir_handle(fi));
	reply_error(req, 0);
}

void shmfs_fuse_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int err = shmfs_tree_statfs(&fs_of(req)->tree, &st);

	(void)ino;
	if (err)
		reply_error(req, err);
	else
		fuse_reply_statfs(req, &st);
}

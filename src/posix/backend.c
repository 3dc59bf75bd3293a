/* SPDX-License-Identifier: MIT */
/*
 * POSIX objects behind the backend interface.
 *
 * glibc's shm_open(3) is open(2) in /dev/shm, so the objects are its regular files.
 */
#include "posix/internal.h"

static struct posix_backend *backend(struct shmfs_backend *base)
{
	return (struct posix_backend *)base;
}

/* Fills in the blocks; the inodes are those of System V segments. */
int posix_statfs(struct shmfs_backend *base, struct statvfs *st)
{
	struct statvfs fs;

	if (fstatvfs(backend(base)->dir, &fs) != 0)
		return -errno;
	st->f_bsize = fs.f_bsize;
	st->f_frsize = fs.f_frsize;
	st->f_blocks = fs.f_blocks;
	st->f_bfree = fs.f_bfree;
	st->f_bavail = fs.f_bavail;
	st->f_namemax = NAME_MAX;
	st->f_flag = fs.f_flag;
	return 0;
}

#define ROW(slot) .slot = posix_##slot,

static const struct shmfs_backend_ops posix_ops = {
	SHMFS_SLOTS(ROW) /* and the rest */
		.fallocate = posix_allocate,
	.xattrs = posix_xattrs,
	.has_acls = true,
};

int shmfs_posix_new(int dir, const char *proc_dir, struct shmfs_users *users,
		    struct shmfs_backend **out)
{
	struct posix_backend *be;
	struct stat st;

	if (fstat(dir, &st) != 0)
		return -errno;
	be = calloc(1, sizeof(*be));
	if (!be || shmfs_object_table_init(&be->base.objects) != 0) {
		free(be);
		return -ENOMEM;
	}
	be->base.ops = &posix_ops;
	be->base.number = SHMFS_POSIX_NUMBER;
	be->base.names_dir = dir;
	be->dir = dir;
	be->users = users;
	be->dev = st.st_dev;
	posix_dir_find_mounts(be, proc_dir);
	pthread_mutex_init(&be->base.lock, NULL);
	*out = &be->base;
	return 0;
}

void shmfs_posix_free(struct shmfs_backend *base)
{
	if (backend(base)->mounts)
		fclose(backend(base)->mounts);
	pthread_mutex_destroy(&base->lock);
	close(backend(base)->dir);
	shmfs_object_table_destroy(&base->objects);
	free(base);
}

/* SPDX-License-Identifier: MIT */
/*
 * POSIX objects behind the backend interface.
 *
 * glibc's shm_open(3) is open(2) in /dev/shm, so the objects are its regular
 * files.  An object's identity is the inode number.  While handles are open
 * their descriptors reach it whatever becomes of its name; else it is reached
 * by the name that last led to it, which a lookup has just confirmed, and
 * -ESTALE says when another process was faster: the kernel then looks the
 * name up again.
 *
 * Something can be mounted on a name, in a container by whom we cannot trust,
 * and what is there need not answer, ever.  Names are looked at without asking
 * the filesystem that they lead to, and opened without going there.
 */
#include "posix/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Others can make and remove the name that a rename goes to. */
#define RENAME_TRIES 10

static struct posix_backend *backend(struct shmfs_backend *base)
{
	return (struct posix_backend *)base;
}

static struct posix_object *object(struct shmfs_object *base)
{
	return (struct posix_object *)base;
}

/* --- names --- */

static struct timespec time_of(const struct statx_timestamp *time)
{
	return (struct timespec){ .tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec };
}

static struct stat stat_of(const struct statx *stx)
{
	return (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = (ino_t)stx->stx_ino,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_size = (off_t)stx->stx_size,
		.st_blksize = (blksize_t)stx->stx_blksize,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_atim = time_of(&stx->stx_atime),
		.st_mtim = time_of(&stx->stx_mtime),
		.st_ctim = time_of(&stx->stx_ctime),
	};
}

/*
 * Only regular files are objects; directories and links are somebody's own,
 * and so is what is mounted.
 */
static int stat_name(const struct posix_backend *be, const char *name, struct stat *st)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx stx;
	struct stat now;

	if (statx(be->config.dir, name, flags, STATX_BASIC_STATS, &stx) != 0)
		return -errno;
	now = stat_of(&stx);
	if (!S_ISREG(now.st_mode) || now.st_dev != be->dev ||
	    (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return -ENOENT;
	*st = now;
	return 0;
}

/* `ask_each`: the entry does not say whether something is mounted on it. */
static int list_entry(const struct posix_backend *be, const struct dirent *entry, bool ask_each,
		      shmfs_list_fn *fn, void *arg)
{
	struct shmfs_name name;
	struct stat st;

	if (shmfs_name_parse_posix(entry->d_name, &name) != 0)
		return 0;
	if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
		return 0;
	if ((ask_each || entry->d_type == DT_UNKNOWN) && stat_name(be, entry->d_name, &st) != 0)
		return 0;
	return fn(&name, entry->d_ino, arg);
}

static int posix_list(const struct shmfs_view *view, enum shmfs_space space, uint32_t number,
		      const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct posix_backend *be = backend(view->backend);
	int fd = openat(be->config.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool ask_each = posix_mounts_may_be(&backend(view->backend)->mounts);
	struct dirent *entry;
	int err = 0;

	(void)space, (void)number, (void)caller;
	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (errno = 0, entry = readdir(dir)) != NULL)
		err = list_entry(be, entry, ask_each, fn, arg);
	if (!err && errno)
		err = -errno;
	closedir(dir);
	return err;
}

static int posix_remove(const struct shmfs_view *view, const struct shmfs_name *name,
			const struct shmfs_caller *caller)
{
	struct stat st;
	int err = stat_name(backend(view->backend), name->text, &st);

	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);

	if (refused)
		return refused;
	return unlinkat(backend(view->backend)->config.dir, name->text, 0) == 0 ? 0 : -errno;
}

/*
 * renameat2(2) to a name where no object is: something else can be there, which
 * must stay.
 */
static unsigned spare_others(const struct posix_backend *be, const char *to, unsigned flags)
{
	struct stat st;

	if ((flags & RENAME_EXCHANGE) || stat_name(be, to, &st) == 0)
		return flags;
	return flags | RENAME_NOREPLACE;
}

static int posix_rename(const struct shmfs_view *view, const struct shmfs_name *from,
			const struct shmfs_name *to, unsigned flags,
			const struct shmfs_caller *caller)
{
	const struct posix_backend *be = backend(view->backend);
	struct stat st;
	int err = stat_name(be, from->text, &st);

	/* What is not shown is not exchanged either. */
	if (!err && (flags & RENAME_EXCHANGE))
		err = stat_name(be, to->text, &st);
	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);

	if (refused)
		return refused;
	/* An object that somebody puts there meanwhile is replaced after all. */
	for (int i = 0; i < RENAME_TRIES; i++) {
		unsigned sparing = spare_others(be, to->text, flags);

		if (renameat2(be->config.dir, from->text, be->config.dir, to->text, sparing) == 0)
			return 0;
		err = -errno;
		if (err != -EEXIST || sparing == flags)
			return err;
	}
	return err;
}

/* Fills in the blocks; the inodes are those of System V segments. */
static int posix_statfs(struct shmfs_backend *base, struct statvfs *st)
{
	struct statvfs fs;

	if (fstatvfs(backend(base)->config.dir, &fs) != 0)
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

static int posix_stat_names(struct shmfs_backend *base, struct stat *st)
{
	struct stat dir;

	if (fstat(backend(base)->config.dir, &dir) != 0)
		return -errno;
	st->st_atim = dir.st_atim;
	st->st_mtim = dir.st_mtim;
	st->st_ctim = dir.st_ctim;
	return 0;
}

/* --- objects --- */

static struct shmfs_object *object_make(struct shmfs_backend *base, uint64_t identity)
{
	struct posix_object *obj = calloc(1, sizeof(*obj));

	(void)base, (void)identity;
	if (!obj)
		return NULL;
	pthread_mutex_init(&obj->lock, NULL);
	return &obj->base;
}

static void posix_object_free(struct shmfs_object *base)
{
	struct posix_object *obj = object(base);

	pthread_mutex_destroy(&obj->lock);
	free(obj->name);
	free(obj);
}

static int set_name(struct posix_object *obj, const char *name)
{
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	if (!obj->name || strcmp(obj->name, name) != 0) {
		char *copy = strdup(name);

		if (copy) {
			free(obj->name);
			obj->name = copy;
		} else {
			err = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&obj->lock);
	return err;
}

int posix_object_get(struct shmfs_backend *base, uint64_t identity, const char *name,
		     struct shmfs_object **out)
{
	struct shmfs_object *obj;
	int err = shmfs_object_get(base, identity, object_make, &obj);

	if (err)
		return err;
	err = set_name(object(obj), name);
	if (err)
		shmfs_object_put(obj);
	else
		*out = obj;
	return err;
}

static int posix_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
			const struct shmfs_caller *caller, struct shmfs_object **out,
			struct stat *st)
{
	struct stat now;
	int err = stat_name(backend(view->backend), name->text, &now);

	(void)caller;
	if (!err)
		err = posix_object_get(view->backend, now.st_ino, name->text, out);
	if (!err)
		*st = now;
	return err;
}

/* openat(2) that does not leave the filesystem, where the kernel has that (Linux 5.6). */
static int open_within(int dir, const char *name, int flags)
{
	const struct open_how how = { .flags = (unsigned)flags, .resolve = RESOLVE_NO_XDEV };
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 && errno == ENOSYS ? openat(dir, name, flags) : fd;
}

int posix_open_object(struct posix_object *obj, int flags, const struct shmfs_caller *caller)
{
	struct stat st;
	int err = caller ? shmfs_caller_assume(caller) : 0;
	int fd;

	if (err)
		return err;
	pthread_mutex_lock(&obj->lock);
	/* Should the name be a fifo's now, do not wait for a writer. */
	if (!(flags & O_PATH))
		flags |= O_NONBLOCK;
	fd = open_within(backend(obj->base.backend)->config.dir, obj->name,
			 flags | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		err = errno == ENOENT || errno == ELOOP || errno == EXDEV ? -ESTALE : -errno;
	pthread_mutex_unlock(&obj->lock);
	if (caller)
		shmfs_caller_drop();
	if (fd < 0)
		return err;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == obj->base.identity)
		return fd;
	close(fd);
	return -ESTALE;
}

bool posix_dir_is_closed(const struct posix_backend *be)
{
	char path[POSIX_PROC_PATH];
	struct stat dir;

	if (fstat(be->config.dir, &dir) != 0 || (dir.st_mode & 0111) != 0111)
		return true;
	posix_proc_path(be->config.dir, path);
	return getxattr(path, XATTR_NAME_POSIX_ACL_ACCESS, NULL, 0) > 0;
}

/* May the caller look up names in the directory? */
static int check_search(const struct posix_backend *be, const struct shmfs_caller *caller)
{
	int err;

	if (shmfs_caller_is_self(caller) || !posix_dir_is_closed(be))
		return 0;
	err = shmfs_caller_assume(caller);
	if (err)
		return err;
	err = faccessat(be->config.dir, ".", X_OK, AT_EACCESS) == 0 ? 0 : -errno;
	shmfs_caller_drop();
	return err;
}

void posix_release_lead(const struct posix_backend *be)
{
	if (be->config.release_lead)
		be->config.release_lead();
}

int posix_refer_to(struct posix_object *obj, const struct shmfs_caller *caller)
{
	int err = caller ? check_search(backend(obj->base.backend), caller) : 0;
	bool is_open;
	int fd = 0;

	if (err)
		return err;
	pthread_mutex_lock(&obj->lock);
	is_open = obj->handles;
	if (is_open) {
		fd = fcntl(obj->handles->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			fd = -errno;
	}
	pthread_mutex_unlock(&obj->lock);
	return is_open ? fd : posix_open_object(obj, O_PATH, NULL);
}

bool posix_is_named(struct posix_object *obj)
{
	struct stat st;

	return stat_name(backend(obj->base.backend), obj->name, &st) == 0 &&
	       st.st_ino == obj->base.identity;
}

static int posix_getattr(struct shmfs_object *base, const struct shmfs_caller *caller,
			 struct stat *st)
{
	struct posix_object *obj = object(base);
	struct stat now;
	int err;

	(void)caller;
	pthread_mutex_lock(&obj->lock);
	if (obj->handles)
		err = fstat(obj->handles->fd, &now) == 0 ? 0 : -errno;
	else
		err = stat_name(backend(base->backend), obj->name, &now);
	pthread_mutex_unlock(&obj->lock);
	if (err == -ENOENT || (!err && now.st_ino != base->identity))
		return -ESTALE;
	if (!err)
		*st = now;
	return err;
}

void posix_drop_setid(int fd, const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	struct stat st;
	mode_t drop = S_ISUID;

	if (caller->uid == 0 || fstat(fd, &st) != 0)
		return;
	/* Without group execution set-group-ID means something else (inode(7)). */
	if (st.st_mode & S_IXGRP)
		drop |= S_ISGID;
	if (!(st.st_mode & drop))
		return;
	posix_proc_path(fd, path);
	chmod(path, st.st_mode & 07777 & ~drop);
}

void posix_proc_path(int fd, char path[static POSIX_PROC_PATH])
{
	snprintf(path, POSIX_PROC_PATH, "/proc/self/fd/%d", fd);
}

ssize_t posix_call(struct posix_object *obj, const struct shmfs_caller *caller, posix_call_fn *call,
		   const void *arg)
{
	SHMFS_AUTO_FD int fd = posix_refer_to(obj, caller);
	char path[POSIX_PROC_PATH];
	ssize_t n;

	if (fd < 0)
		return fd;
	posix_proc_path(fd, path);
	if (!caller) {
		n = call(path, arg);
	} else {
		SHMFS_AS_CALLER(err, caller);

		if (err)
			return err;
		n = call(path, arg);
	}
	return n < 0 ? -errno : n;
}

int posix_change(struct posix_object *obj, const struct shmfs_caller *caller, posix_call_fn *call,
		 const void *arg)
{
	posix_release_lead(backend(obj->base.backend));
	return (int)posix_call(obj, caller, call, arg);
}

static ssize_t call_chmod(const char *path, const void *mode)
{
	return chmod(path, *(const mode_t *)mode);
}

static int posix_chmod(struct shmfs_object *base, mode_t mode, const struct shmfs_caller *caller)
{
	return posix_change(object(base), caller, call_chmod, &mode);
}

struct owner {
	uid_t uid;
	gid_t gid;
};

static ssize_t call_chown(const char *path, const void *arg)
{
	const struct owner *owner = arg;

	return chown(path, owner->uid, owner->gid);
}

static int drop_setid(struct posix_object *obj, const struct shmfs_caller *caller)
{
	SHMFS_AUTO_FD int fd = posix_refer_to(obj, NULL);

	if (fd < 0)
		return fd;
	posix_release_lead(backend(obj->base.backend));
	posix_drop_setid(fd, caller);
	return 0;
}

static int posix_chown(struct shmfs_object *base, uid_t uid, gid_t gid,
		       const struct shmfs_caller *caller)
{
	const struct owner owner = { uid, gid };

	if (uid == (uid_t)-1 && gid == (gid_t)-1)
		return drop_setid(object(base), caller);
	return posix_change(object(base), caller, call_chown, &owner);
}

static ssize_t call_utimens(const char *path, const void *times)
{
	return utimensat(AT_FDCWD, path, times, 0);
}

static int posix_utimens(struct shmfs_object *base, const struct timespec times[2],
			 const struct shmfs_caller *caller)
{
	return posix_change(object(base), caller, call_utimens, times);
}

static const struct shmfs_backend_ops posix_ops = {
	.lookup = posix_lookup,
	.list = posix_list,
	.create = posix_create,
	.remove = posix_remove,
	.rename = posix_rename,
	.statfs = posix_statfs,
	.stat_names = posix_stat_names,
	.object_free = posix_object_free,
	.getattr = posix_getattr,
	.chmod = posix_chmod,
	.chown = posix_chown,
	.utimens = posix_utimens,
	.truncate = posix_truncate,
	.xattrs = posix_xattrs,
	.has_acls = true,
	.getxattr = posix_getxattr,
	.setxattr = posix_setxattr,
	.listxattr = posix_listxattr,
	.removexattr = posix_removexattr,
	.open = posix_open,
	.flush = posix_flush,
	.release = posix_release,
	.binding = posix_binding,
	.lent = posix_lent,
	.read_begin = posix_read_begin,
	.read_end = posix_read_end,
	.write_begin = posix_write_begin,
	.write_end = posix_write_end,
	.fallocate = posix_allocate,
	.seek = posix_seek,
};

int shmfs_posix_new(const struct shmfs_posix_config *config, struct shmfs_backend **out)
{
	struct posix_backend *be;
	struct stat dir;

	if (fstat(config->dir, &dir) != 0)
		return -errno;
	be = calloc(1, sizeof(*be));
	if (!be)
		return -ENOMEM;
	if (shmfs_object_table_init(&be->base.objects) != 0) {
		free(be);
		return -ENOMEM;
	}
	be->base.ops = &posix_ops;
	be->config = *config;
	be->dev = dir.st_dev;
	posix_mounts_init(&be->mounts, config->proc_dir, config->dir);
	atomic_init(&be->mapping_budget, SHMFS_MAPPING_BUDGET);
	*out = &be->base;
	return 0;
}

void shmfs_posix_free(struct shmfs_backend *base)
{
	posix_mounts_clear(&backend(base)->mounts);
	close(backend(base)->config.dir);
	shmfs_object_table_destroy(&base->objects);
	free(base);
}

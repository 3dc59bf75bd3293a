/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes of POSIX objects: those that tell its name and who uses it, and all that
 * the object itself has, with the caller's rights to them.
 */
#include "posix/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shmfs/attached.h"
#include "shmfs/xattr.h"

static struct posix_object *object(struct shmfs_object *base)
{
	return (struct posix_object *)base;
}

/* --- ours; the subject is a struct posix_object --- */

/* As shm_open(3) takes it.  An object that is open may have lost it. */
static int get_name(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	struct posix_object *obj = context;
	int err;

	(void)field, (void)caller;
	pthread_mutex_lock(&obj->lock);
	err = posix_is_named(obj) ? 0 : -ENODATA;
	if (!err)
		fprintf(out, "/%s", obj->name);
	pthread_mutex_unlock(&obj->lock);
	return err;
}

/* Mapped or open: by its own name, or as a file of the mount. */
static int get_attached(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct posix_object *obj = context;
	const struct posix_backend *be = (const struct posix_backend *)obj->base.backend;
	struct stat dir;

	(void)field;
	if (fstat(be->config.dir, &dir) != 0)
		return -errno;

	const struct shmfs_attached_query query = {
		.proc_dir = be->config.proc_dir,
		.files = { { dir.st_dev, obj->base.identity },
			   { be->base.mount_dev, obj->base.identity } },
		.segment = -1,
		.open = true,
	};

	if (be->config.release_lead)
		be->config.release_lead();
	return shmfs_attached_write(&query, caller, out);
}

const struct shmfs_xattr posix_xattrs[] = {
	{ SHMFS_XATTR_OBJECT "name", .get = get_name },
	{ SHMFS_XATTR_OBJECT "attached", .get = get_attached },
	{ 0 },
};

/* --- the object's own --- */

/* A path to the object for the calls that follow; close *fd. */
static int reach(struct shmfs_object *base, const struct shmfs_caller *caller, int *fd,
		 char path[static POSIX_PROC_PATH])
{
	*fd = posix_refer_to(object(base), caller);
	if (*fd < 0)
		return *fd;
	posix_proc_path(*fd, path);
	return 0;
}

/*
 * Names that the caller's capabilities do not matter for: what the kernel asks
 * about itself, often, must not cost a look at who asks.
 */
static bool is_for_all(const char *name)
{
	return strncmp(name, "system.", 7) == 0 || strncmp(name, "security.", 9) == 0;
}

ssize_t posix_getxattr(struct shmfs_object *base, const char *name, void *value, size_t size,
		       const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	bool as_caller = !is_for_all(name);
	ssize_t len;
	int fd;

	len = reach(base, as_caller ? caller : NULL, &fd, path);
	if (len < 0)
		return len;
	if (as_caller)
		len = shmfs_caller_assume(caller);
	if (len == 0) {
		len = getxattr(path, name, value, size);
		if (len < 0)
			len = -errno;
		if (as_caller)
			shmfs_caller_drop();
	}
	close(fd);
	return len;
}

int posix_setxattr(struct shmfs_object *base, const char *name, const void *value, size_t size,
		   int flags, const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	int err;
	int fd;

	err = reach(base, caller, &fd, path);
	if (err)
		return err;
	err = shmfs_caller_assume(caller);
	if (!err) {
		err = setxattr(path, name, value, size, flags) == 0 ? 0 : -errno;
		shmfs_caller_drop();
	}
	close(fd);
	return err;
}

ssize_t posix_listxattr(struct shmfs_object *base, char *names, size_t size,
			const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	ssize_t len;
	int fd;

	len = reach(base, caller, &fd, path);
	if (len < 0)
		return len;
	len = shmfs_caller_assume(caller);
	if (len == 0) {
		len = listxattr(path, names, size);
		if (len < 0)
			len = -errno;
		shmfs_caller_drop();
	}
	close(fd);
	return len;
}

int posix_removexattr(struct shmfs_object *base, const char *name,
		      const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	int err;
	int fd;

	err = reach(base, caller, &fd, path);
	if (err)
		return err;
	err = shmfs_caller_assume(caller);
	if (!err) {
		err = removexattr(path, name) == 0 ? 0 : -errno;
		shmfs_caller_drop();
	}
	close(fd);
	return err;
}

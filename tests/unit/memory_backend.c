/* SPDX-License-Identifier: MIT */
#include "memory_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct memory_backend *backend(struct shmfs_backend *base)
{
	return (struct memory_backend *)base;
}

static struct memory_backend *backend_of(const struct shmfs_object *base)
{
	return backend(base->backend);
}

int memory_enter(struct memory_backend *be, enum memory_slot slot)
{
	struct memory_fault *fault = &be->faults[slot];

	if (be->hook)
		be->hook(be, slot, be->hook_arg);
	pthread_mutex_lock(&be->lock);
	be->calls[slot]++;
	if (fault->times == 0)
		return 0;
	if (fault->skip > 0) {
		fault->skip--;
		return 0;
	}
	fault->times--;
	return fault->err;
}

int memory_leave(struct memory_backend *be, int err)
{
	pthread_mutex_unlock(&be->lock);
	return err;
}

void memory_see_caller(struct memory_backend *be, const struct shmfs_caller *caller)
{
	be->seen.uid = caller->uid;
	be->seen.gid = caller->gid;
	be->seen.pid = caller->pid;
	be->seen.umask = caller->umask;
}

/* --- files --- */

static struct memory_file *by_name(struct memory_backend *be, const struct shmfs_name *name)
{
	for (struct memory_file *file = be->files; file; file = file->next) {
		if (!file->linked)
			continue;
		if (name->space == SHMFS_SPACE_POSIX ? strcmp(file->name, name->text) == 0 :
		    name->space == SHMFS_SPACE_KEY   ? file->key == name->number :
						       file->identity == name->number)
			return file;
	}
	return NULL;
}

struct memory_file *memory_by_object(const struct shmfs_object *obj)
{
	struct memory_file *file = backend_of(obj)->files;

	while (file && file->identity != obj->identity)
		file = file->next;
	return file && (file->linked || file->nhandles > 0) ? file : NULL;
}

struct memory_file *memory_add_file(struct memory_backend *be, uint32_t key, const char *text)
{
	struct memory_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->identity = ++be->last_identity;
	file->linked = true;
	file->key = key;
	if (text)
		strncpy(file->name, text, sizeof(file->name) - 1);
	file->mode = 0600;
	file->limit = (off_t)MEMORY_FILE_MAX;
	file->fd = -1;
	file->next = be->files;
	be->files = file;
	return file;
}

int memory_need_bytes(struct memory_file *file)
{
	if (file->fd >= 0)
		return 0;
	file->fd = memfd_create("memory_backend", MFD_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	file->bytes = mmap(NULL, MEMORY_FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	return file->bytes == MAP_FAILED ? -errno : 0;
}

int memory_resize(struct memory_file *file, off_t size)
{
	int err = memory_need_bytes(file);

	if (err)
		return err;
	if (size > file->limit)
		return -ENOSPC;
	if (ftruncate(file->fd, size) != 0)
		return -errno;
	file->size = size;
	return 0;
}

/* --- names --- */

static int memory_list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
		       const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	struct memory_backend *be = backend(view->backend);
	int err = memory_enter(be, MEMORY_LIST);

	for (struct memory_file *file = be->files; file && !err; file = file->next) {
		struct shmfs_name name = { .space = space, .text = file->name };

		name.number = space == SHMFS_SPACE_KEY	 ? file->key :
			      space == SHMFS_SPACE_SHMID ? (uint32_t)file->identity :
							   0;
		if (file->linked && (space != SHMFS_SPACE_KEY || file->key != 0))
			err = fn(&name, file->identity, arg);
	}
	return memory_leave(be, err);
}

/* As a backend does that puts them on. */
static int see_groups(struct memory_backend *be, const struct shmfs_caller *caller)
{
	const gid_t *groups = NULL;
	int count = caller->groups ? caller->groups(caller, &groups) : 0;

	if (count < 0)
		return count;
	if (count > 0)
		be->seen.group = groups[0];
	be->seen.ngroups = (size_t)count;
	return 0;
}

static int memory_remove(const struct shmfs_view *view, const struct shmfs_name *name,
			 const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend(view->backend);
	int err = memory_enter(be, MEMORY_REMOVE);
	struct memory_file *file = by_name(be, name);

	memory_see_caller(be, caller);
	if (!err && !file)
		err = -ENOENT;
	if (!err)
		file->linked = false;
	return memory_leave(be, err);
}

static int memory_rename(const struct shmfs_view *view, const struct shmfs_name *from,
			 const struct shmfs_name *to, unsigned flags,
			 const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend(view->backend);
	int err = memory_enter(be, MEMORY_RENAME);
	struct memory_file *file = by_name(be, from);
	struct memory_file *other = by_name(be, to);

	memory_see_caller(be, caller);
	be->seen.flags = (int)flags;
	if (!err && be->flavour == MEMORY_SYSV)
		err = -EXDEV;
	if (!err && !file)
		err = -ENOENT;
	if (!err && other && (flags & RENAME_NOREPLACE))
		err = -EEXIST;
	if (err)
		return memory_leave(be, err);
	if (other)
		other->linked = false;
	file->linked = true;
	strncpy(file->name, to->text, sizeof(file->name) - 1);
	return memory_leave(be, 0);
}

static int memory_statfs(struct shmfs_backend *base, struct statvfs *st)
{
	struct memory_backend *be = backend(base);
	int err = memory_enter(be, MEMORY_STATFS);

	if (err)
		return memory_leave(be, err);
	if (be->flavour == MEMORY_SYSV) {
		st->f_files = 4096;
		st->f_ffree = st->f_favail = 4000;
	} else {
		st->f_bsize = st->f_frsize = 4096;
		st->f_blocks = 1000;
		st->f_bfree = 900;
		st->f_bavail = 800;
		st->f_namemax = 255;
	}
	return memory_leave(be, 0);
}

/* --- objects --- */

struct shmfs_object *memory_object_make(struct shmfs_backend *base, uint64_t identity)
{
	struct memory_backend *be = backend(base);
	struct shmfs_object *obj = calloc(1, sizeof(*obj));

	if (obj) {
		be->objects++;
		be->made++;
	}
	return obj;
}

static void memory_object_free(struct shmfs_object *obj)
{
	struct memory_backend *be = backend_of(obj);

	memory_enter(be, MEMORY_OBJECT_FREE);
	be->objects--;
	free(obj);
	memory_leave(be, 0);
}

static struct stat stat_of(const struct memory_file *file)
{
	return (struct stat){
		.st_mode = S_IFREG | file->mode,
		.st_nlink = file->linked,
		.st_uid = file->uid,
		.st_gid = file->gid,
		.st_size = file->size,
		.st_blocks = file->size / 512,
		.st_blksize = 4096,
		.st_atim = file->times[0],
		.st_mtim = file->times[1],
	};
}

static int memory_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
			 const struct shmfs_caller *caller, struct shmfs_object **out,
			 struct stat *st)
{
	struct memory_backend *be = backend(view->backend);
	int err = memory_enter(be, MEMORY_LOOKUP);
	struct memory_file *file = by_name(be, name);

	be->seen.looker = caller->uid;
	if (!err && !file)
		err = -ENOENT;
	if (!err)
		err = shmfs_object_get(view->backend, file->identity, memory_object_make, out);
	if (!err)
		*st = stat_of(file);
	return memory_leave(be, err);
}

static struct memory_file *make_file(struct memory_backend *be, const struct shmfs_name *name,
				     mode_t mode, const struct shmfs_caller *caller)
{
	struct memory_file *file = memory_add_file(be, name->number, name->text);

	if (file) {
		file->mode = mode & 07777;
		file->uid = caller->uid;
		file->gid = caller->gid;
	}
	return file;
}

static int memory_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
			 mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
			 struct shmfs_handle **handle, struct stat *st)
{
	struct memory_backend *be = backend(view->backend);
	int err = memory_enter(be, MEMORY_CREATE);
	struct shmfs_object *obj = NULL;
	struct memory_file *file;
	struct shmfs_handle *h;

	memory_see_caller(be, caller);
	if (!err && be->want_groups)
		err = see_groups(be, caller);
	be->seen.mode = mode;
	if (!err && name->space == SHMFS_SPACE_SHMID)
		err = -EPERM;
	if (!err && by_name(be, name))
		err = -EEXIST;
	if (err)
		return memory_leave(be, err);
	file = make_file(be, name, mode, caller);
	if (!file || shmfs_object_get(view->backend, file->identity, memory_object_make, &obj) != 0)
		return memory_leave(be, -ENOMEM);
	h = memory_add_handle(be, file, flags);
	if (!h) {
		memory_leave(be, 0);
		shmfs_object_put(obj);
		return -ENOMEM;
	}
	h->object = obj;
	*out = obj;
	*handle = h;
	*st = stat_of(file);
	return memory_leave(be, 0);
}

static int memory_getattr(struct shmfs_object *obj, const struct shmfs_caller *caller,
			  struct stat *st)
{
	struct memory_backend *be = backend_of(obj);
	int err = memory_enter(be, MEMORY_GETATTR);
	struct memory_file *file = memory_by_object(obj);

	be->seen.looker = caller ? caller->uid : (uid_t)-1;
	if (!err && !file)
		err = -ESTALE;
	if (!err)
		*st = stat_of(file);
	return memory_leave(be, err);
}

/* What begins every change of an object; with the lock held also if it fails. */
static int change(struct shmfs_object *obj, enum memory_slot slot,
		  const struct shmfs_caller *caller, struct memory_file **file)
{
	struct memory_backend *be = backend_of(obj);
	int err = memory_enter(be, slot);

	memory_see_caller(be, caller);
	*file = memory_by_object(obj);
	return !err && !*file ? -ESTALE : err;
}

static int memory_chmod(struct shmfs_object *obj, mode_t mode, const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend_of(obj);
	struct memory_file *file;
	int err = change(obj, MEMORY_CHMOD, caller, &file);

	be->seen.mode = mode;
	if (!err)
		file->mode = mode;
	return memory_leave(be, err);
}

static int memory_chown(struct shmfs_object *obj, uid_t uid, gid_t gid,
			const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend_of(obj);
	struct memory_file *file;
	int err = change(obj, MEMORY_CHOWN, caller, &file);

	be->seen.new_uid = uid;
	be->seen.new_gid = gid;
	if (!err && uid != (uid_t)-1)
		file->uid = uid;
	if (!err && gid != (gid_t)-1)
		file->gid = gid;
	return memory_leave(be, err);
}

static int memory_utimens(struct shmfs_object *obj, const struct timespec times[2],
			  const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend_of(obj);
	struct memory_file *file;
	int err = change(obj, MEMORY_UTIMENS, caller, &file);

	memcpy(be->seen.times, times, sizeof(be->seen.times));
	if (!err)
		memcpy(file->times, times, sizeof(file->times));
	return memory_leave(be, err);
}

static int memory_truncate(struct shmfs_object *obj, struct shmfs_handle *h, off_t size,
			   const struct shmfs_caller *caller)
{
	struct memory_backend *be = backend_of(obj);
	struct memory_file *file;
	int err = change(obj, MEMORY_TRUNCATE, caller, &file);

	be->seen.handle = h;
	return memory_leave(be, err ? err : memory_resize(file, size));
}

#define COMMON_SLOTS \
	.lookup = memory_lookup, .list = memory_list, .create = memory_create, \
	.remove = memory_remove, .rename = memory_rename, .statfs = memory_statfs, \
	.object_free = memory_object_free, .getattr = memory_getattr, .chmod = memory_chmod, \
	.chown = memory_chown, .utimens = memory_utimens, .truncate = memory_truncate, \
	.getxattr = memory_getxattr, .setxattr = memory_setxattr, .xattrs = memory_xattrs, \
	.listxattr = memory_listxattr, .removexattr = memory_removexattr, .open = memory_open, \
	.flush = memory_flush, .release = memory_release, .binding = memory_binding, \
	.lent = memory_lent, .read_begin = memory_read_begin, .read_end = memory_read_end, \
	.write_begin = memory_write_begin, .write_end = memory_write_end, \
	.fallocate = memory_fallocate, .seek = memory_seek

static int get_flavour(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct memory_backend *be = context;

	fprintf(out, "%d", (int)be->flavour * 10 + field);
	return 0;
}

static const struct shmfs_xattr root_xattrs[] = {
	{ SHMFS_XATTR_ROOT "flavour", .get = get_flavour, .field = 7 },
	{ 0 },
};

static const struct shmfs_backend_ops sysv_ops = { COMMON_SLOTS, .root_xattrs = root_xattrs };
static const struct shmfs_backend_ops posix_ops = {
	COMMON_SLOTS,
	.has_acls = true,
};

/* --- for the tests --- */

/* A file whose times are those of the names. */
static int make_names_dir(void)
{
	const struct timespec times[2] = { { .tv_sec = 11 }, { .tv_sec = 12, .tv_nsec = 34 } };
	int fd = memfd_create("names", MFD_CLOEXEC);

	if (fd < 0 || futimens(fd, times) != 0)
		abort();
	return fd;
}

void memory_lose_names(struct memory_backend *be)
{
	close(be->base.names_dir);
	be->base.names_dir = INT_MAX;
}

struct memory_backend *memory_backend_new(enum memory_flavour flavour)
{
	struct memory_backend *be = calloc(1, sizeof(*be));

	if (!be)
		abort();
	be->base.ops = flavour == MEMORY_SYSV ? &sysv_ops : &posix_ops;
	be->base.names_dir = flavour == MEMORY_POSIX ? make_names_dir() : -1;
	be->flavour = flavour;
	if (shmfs_object_table_init(&be->base.objects) != 0)
		abort();
	pthread_mutex_init(&be->lock, NULL);
	return be;
}

bool memory_backend_free(struct memory_backend *be)
{
	bool clean = be->objects == 0 && be->handles == 0 && be->spans_held == 0;

	while (be->files) {
		struct memory_file *file = be->files;

		be->files = file->next;
		memory_free_xattrs(file);
		if (file->bytes)
			munmap(file->bytes, MEMORY_FILE_MAX);
		if (file->fd >= 0)
			close(file->fd);
		free(file);
	}
	if (be->flavour == MEMORY_POSIX)
		close(be->base.names_dir);
	shmfs_object_table_destroy(&be->base.objects);
	pthread_mutex_destroy(&be->lock);
	free(be);
	return clean;
}

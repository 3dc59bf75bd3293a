/* SPDX-License-Identifier: MIT */
#include "memory_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static struct memory_backend *backend_of(const struct shmfs_object *obj)
{
	return (struct memory_backend *)obj->backend;
}

/* What every object has that no test has given it. */
static int get_identity(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct shmfs_object *obj = context;

	memory_see_caller(backend_of(obj), caller);
	fprintf(out, "%llu", (unsigned long long)obj->identity);
	return 0;
}

static int set_mode(void *context, int field, const char *value, size_t size,
		    const struct shmfs_caller *caller)
{
	const struct shmfs_object *obj = context;

	memory_see_caller(backend_of(obj), caller);
	if (size != 1)
		return -EINVAL;
	memory_by_object(obj)->mode = (mode_t)(value[0] - '0');
	return 0;
}

const struct shmfs_xattr memory_xattrs[] = {
	{ SHMFS_XATTR_OBJECT "identity", .get = get_identity },
	{ SHMFS_XATTR_OBJECT "mode", .get = get_identity, .set = set_mode },
	{ 0 },
};

/* With the lock held, also if it fails. */
static int enter(struct shmfs_object *obj, enum memory_slot slot, const char *name,
		 const struct shmfs_caller *caller, struct memory_file **file)
{
	struct memory_backend *be = backend_of(obj);
	int err = memory_enter(be, slot);

	memory_see_caller(be, caller);
	strncpy(be->seen.xattr, name, sizeof(be->seen.xattr) - 1);
	*file = memory_by_object(obj);
	return !err && !*file ? -ESTALE : err;
}

static struct memory_xattr **find_link(struct memory_file *file, const char *name)
{
	struct memory_xattr **link = &file->xattrs;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

const struct memory_xattr *memory_find_xattr(const struct memory_file *file, const char *name)
{
	return *find_link((struct memory_file *)file, name);
}

ssize_t memory_getxattr(struct shmfs_object *obj, const char *name, void *value, size_t size,
			const struct shmfs_caller *caller)
{
	struct memory_file *file;
	ssize_t len = enter(obj, MEMORY_GETXATTR, name, caller, &file);
	const struct memory_xattr *xattr = len ? NULL : memory_find_xattr(file, name);

	if (xattr)
		len = shmfs_xattr_give(xattr->value, xattr->len, value, size);
	else if (!len)
		len = -ENODATA;
	memory_leave(backend_of(obj), 0);
	return len;
}

static void drop(struct memory_xattr **link)
{
	struct memory_xattr *xattr = *link;

	*link = xattr->next;
	free(xattr);
}

static int put(struct memory_file *file, const char *name, const void *value, size_t size)
{
	struct memory_xattr *xattr = calloc(1, sizeof(*xattr) + size + 1);
	struct memory_xattr **link = find_link(file, name);

	if (!xattr)
		return -ENOMEM;
	if (*link)
		drop(link);
	strncpy(xattr->name, name, sizeof(xattr->name) - 1);
	memcpy(xattr->value, value, size);
	xattr->len = size;
	xattr->next = file->xattrs;
	file->xattrs = xattr;
	return 0;
}

void memory_set_xattr(struct memory_file *file, const char *name, const char *value)
{
	if (put(file, name, value, strlen(value)) != 0)
		abort();
}

int memory_setxattr(struct shmfs_object *obj, const char *name, const void *value, size_t size,
		    int flags, const struct shmfs_caller *caller)
{
	struct memory_file *file;
	int err = enter(obj, MEMORY_SETXATTR, name, caller, &file);

	backend_of(obj)->seen.flags = flags;
	if (!err && (flags & XATTR_CREATE) && *find_link(file, name))
		err = -EEXIST;
	if (!err)
		err = put(file, name, value, size);
	return memory_leave(backend_of(obj), err);
}

ssize_t memory_listxattr(struct shmfs_object *obj, char *names, size_t size,
			 const struct shmfs_caller *caller)
{
	struct shmfs_xattr_list list = { .names = names, .size = size };
	struct memory_file *file;
	ssize_t len = enter(obj, MEMORY_LISTXATTR, "", caller, &file);

	if (!len) {
		for (struct memory_xattr *x = file->xattrs; x; x = x->next)
			shmfs_xattr_list_name(&list, x->name);
		len = shmfs_xattr_list_end(&list);
	}
	memory_leave(backend_of(obj), 0);
	return len;
}

int memory_removexattr(struct shmfs_object *obj, const char *name,
		       const struct shmfs_caller *caller)
{
	struct memory_file *file;
	int err = enter(obj, MEMORY_REMOVEXATTR, name, caller, &file);
	struct memory_xattr **link = err ? NULL : find_link(file, name);

	if (!err && !*link)
		err = -ENODATA;
	if (!err)
		drop(link);
	return memory_leave(backend_of(obj), err);
}

void memory_free_xattrs(struct memory_file *file)
{
	while (file->xattrs)
		drop(&file->xattrs);
}

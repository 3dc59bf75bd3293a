/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes of texts are those of the objects behind.  Tables name
 * their context, so a row here leads to the row behind with the subject there.
 */
#include "text/internal.h"

#include <errno.h>
#include <stdlib.h>

static int get_of_object(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct text_object *obj = context;
	const struct shmfs_xattr *row = &text_inner_ops(obj)->xattrs[field];

	return row->get(obj->inner, row->field, out, caller);
}

static int set_of_object(void *context, int field, const char *value, size_t size,
			 const struct shmfs_caller *caller)
{
	const struct text_object *obj = context;
	const struct shmfs_xattr *row = &text_inner_ops(obj)->xattrs[field];

	return row->set(obj->inner, row->field, value, size, caller);
}

static int get_of_root(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct text_backend *be = context;
	const struct shmfs_xattr *row = &be->inner->ops->root_xattrs[field];

	return row->get(be->inner, row->field, out, caller);
}

static int set_of_root(void *context, int field, const char *value, size_t size,
		       const struct shmfs_caller *caller)
{
	const struct text_backend *be = context;
	const struct shmfs_xattr *row = &be->inner->ops->root_xattrs[field];

	return row->set(be->inner, row->field, value, size, caller);
}

/* A table of as many rows, each of which has a `set` where the original has. */
static int wrap(const struct shmfs_xattr *table, const struct shmfs_xattr *row,
		struct shmfs_xattr **out)
{
	struct shmfs_xattr *rows;
	int count = 0;

	while (table && table[count].name)
		count++;
	rows = calloc((size_t)count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		rows[i] = *row;
		rows[i].name = table[i].name;
		rows[i].field = i;
		if (!table[i].set)
			rows[i].set = NULL;
	}
	*out = rows;
	return 0;
}

int text_xattrs_init(struct text_backend *be)
{
	static const struct shmfs_xattr object = { .get = get_of_object, .set = set_of_object };
	static const struct shmfs_xattr root = { .get = get_of_root, .set = set_of_root };
	int err = wrap(be->inner->ops->xattrs, &object, &be->xattrs);

	if (!err)
		err = wrap(be->inner->ops->root_xattrs, &root, &be->root_xattrs);
	be->ops.xattrs = be->xattrs;
	be->ops.root_xattrs = be->root_xattrs;
	return err;
}

void text_xattrs_clear(struct text_backend *be)
{
	free(be->xattrs);
	free(be->root_xattrs);
}

/* --- all other names --- */

ssize_t text_getxattr(struct shmfs_object *base, const char *name, void *value, size_t size,
		      const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->getxattr(obj->inner, name, value, size, caller);
}

int text_setxattr(struct shmfs_object *base, const char *name, const void *value, size_t size,
		  int flags, const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->setxattr(obj->inner, name, value, size, flags, caller);
}

ssize_t text_listxattr(struct shmfs_object *base, char *names, size_t size,
		       const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->listxattr(obj->inner, names, size, caller);
}

int text_removexattr(struct shmfs_object *base, const char *name, const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->removexattr(obj->inner, name, caller);
}

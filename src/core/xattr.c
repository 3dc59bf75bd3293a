/* SPDX-License-Identifier: MIT */
#include "shmfs/xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <linux/limits.h>

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

bool shmfs_xattr_is_own(const char *name)
{
	return has_prefix(name, SHMFS_XATTR_OBJECT) || has_prefix(name, SHMFS_XATTR_ROOT);
}

const struct shmfs_xattr *shmfs_xattr_find(const struct shmfs_xattr *table, const char *name)
{
	for (const struct shmfs_xattr *row = table; row && row->name; row++) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

ssize_t shmfs_xattr_give(const void *bytes, size_t len, void *value, size_t size)
{
	if (size == 0)
		return (ssize_t)len;
	if (len > size)
		return -ERANGE;
	memcpy(value, bytes, len);
	return (ssize_t)len;
}

ssize_t shmfs_xattr_get(const struct shmfs_xattr *row, void *context, void *value, size_t size,
			const struct shmfs_caller *caller)
{
	char *text = NULL;
	size_t len = 0;
	ssize_t given;
	FILE *out;
	int err;

	if (size == 0 && row->room > 0)
		return (ssize_t)row->room;
	out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;
	err = row->get(context, row->field, out, caller);
	if (fclose(out) != 0 && !err)
		err = -ENOMEM;
	if (!err && len > 0 && text[len - 1] == '\n')
		len--;
	if (!err && len > XATTR_SIZE_MAX)
		err = -E2BIG;
	given = err ? err : shmfs_xattr_give(text, len, value, size);
	free(text);
	return given;
}

int shmfs_xattr_set(const struct shmfs_xattr *row, void *context, const char *value, size_t size,
		    int flags, const struct shmfs_caller *caller)
{
	if (!row && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (!row || !row->set)
		return -EPERM;
	if (flags & XATTR_CREATE)
		return -EEXIST;
	return row->set(context, row->field, value, size, caller);
}

/* --- lists --- */

void shmfs_xattr_list_name(struct shmfs_xattr_list *list, const char *name)
{
	size_t len = strlen(name) + 1;

	if (list->size >= len && list->len <= list->size - len)
		memcpy(list->names + list->len, name, len);
	list->len += len;
}

void shmfs_xattr_list_table(struct shmfs_xattr_list *list, const struct shmfs_xattr *table)
{
	for (const struct shmfs_xattr *row = table; row && row->name; row++)
		shmfs_xattr_list_name(list, row->name);
}

void shmfs_xattr_list_others(struct shmfs_xattr_list *list, const char *names, size_t len)
{
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		if (!shmfs_xattr_is_own(name))
			shmfs_xattr_list_name(list, name);
	}
}

ssize_t shmfs_xattr_list_end(const struct shmfs_xattr_list *list)
{
	if (list->size > 0 && list->len > list->size)
		return -ERANGE;
	return (ssize_t)list->len;
}

int shmfs_xattr_parse_switch(const char *value, size_t size, bool *on)
{
	if (size == 2 && value[1] == '\n')
		size = 1;
	if (size != 1 || (value[0] != '0' && value[0] != '1'))
		return -EINVAL;
	*on = value[0] == '1';
	return 0;
}

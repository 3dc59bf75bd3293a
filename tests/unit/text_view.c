/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text_view.h"

const struct shmfs_caller view_root;

struct shmfs_view view_of(const struct view *v)
{
	return (struct shmfs_view){ .ops = v->text->ops, .backend = v->text };
}

int view_setup(void **state)
{
	struct view *v = calloc(1, sizeof(*v));
	enum memory_spans extents = *state ? MEMORY_DESCRIPTOR : MEMORY_MAPPED;

	assert_non_null(v);
	v->memory = memory_backend_new(MEMORY_SYSV);
	v->memory->extents = extents;
	assert_int_equal(shmfs_text_new(&v->memory->base, true, NULL, &v->text), 0);
	*state = v;
	return 0;
}

static void forget(struct view *v)
{
	if (v->handle)
		v->text->ops->release(v->handle);
	if (v->object)
		shmfs_object_put(v->object);
	v->handle = NULL;
	v->object = NULL;
}

int view_teardown(void **state)
{
	struct view *v = *state;
	bool clean;

	forget(v);
	clean = memory_backend_free(v->memory);
	shmfs_text_free(v->text);
	free(v);
	assert_true(clean);
	return 0;
}

struct shmfs_handle *view_open(struct view *v, int flags)
{
	struct shmfs_handle *handle;

	assert_int_equal(v->text->ops->open(v->object, flags, &view_root, &handle), 0);
	return handle;
}

/* Another object, of these bytes. */
void view_begin(struct view *v, const char *bytes, size_t len)
{
	struct shmfs_object *inner;

	forget(v);
	v->file = memory_add_bytes(v->memory, 1, NULL, bytes, len);
	assert_int_equal(
		shmfs_object_get(&v->memory->base, v->file->identity, memory_object_make, &inner),
		0);
	assert_int_equal(text_object_get(v->text, inner, &v->object), 0);
	v->handle = view_open(v, O_RDWR);
}

int view_size(struct view *v, const struct shmfs_caller *caller)
{
	struct stat st;
	int err = v->text->ops->getattr(v->object, caller, &st);

	return err ? err : (int)st.st_size;
}

ssize_t view_read(struct view *v, off_t off, char *to, size_t len)
{
	struct shmfs_extent extent;
	ssize_t n = v->text->ops->read_begin(v->handle, off, len, &extent);

	if (n)
		return n;
	assert_int_equal(extent.fd, -1);
	memcpy(to, extent.mem, extent.len);
	n = (ssize_t)extent.len;
	v->text->ops->read_end(v->handle, &extent);
	return n;
}

ssize_t view_write(struct shmfs_handle *handle, off_t off, bool append, const char *bytes,
		   size_t len)
{
	const struct shmfs_backend_ops *ops = handle->object->backend->ops;
	struct shmfs_extent extent;
	ssize_t n = ops->write_begin(handle, off, len, append, &view_root, &extent);

	if (n)
		return n;
	memcpy(extent.mem, bytes, extent.len);
	return ops->write_end(handle, &extent, extent.len);
}

void view_expect_text(struct view *v, const char *text, size_t len)
{
	char bytes[256];

	assert_int_equal(view_size(v, NULL), len);
	assert_int_equal(view_read(v, 0, bytes, sizeof(bytes)), len);
	assert_memory_equal(bytes, text, len);
}

void view_expect_bytes(struct view *v, const char *bytes, size_t len)
{
	assert_int_equal(v->file->size, len);
	assert_memory_equal(v->file->bytes, bytes, len);
}

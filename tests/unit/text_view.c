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
	return (struct shmfs_view){ .ops = &v->ops, .backend = &v->memory->base };
}

int view_setup(void **state)
{
	struct view *v = calloc(1, sizeof(*v));
	enum memory_spans extents = *state ? MEMORY_DESCRIPTOR : MEMORY_MAPPED;

	assert_non_null(v);
	v->memory = memory_backend_new(MEMORY_SYSV);
	v->memory->extents = extents;
	shmfs_text_ops(v->memory->base.ops, true, &v->ops);
	*state = v;
	return 0;
}

static void forget(struct view *v)
{
	if (v->handle)
		v->ops.release(v->handle);
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
	free(v);
	assert_true(clean);
	return 0;
}

struct shmfs_handle *view_open(struct view *v, int flags)
{
	struct shmfs_handle *handle;

	assert_int_equal(v->ops.open(v->object, flags, &view_root, &handle), 0);
	return handle;
}

/* Another object, of these bytes. */
void view_begin(struct view *v, const char *bytes, size_t len)
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_KEY, .number = 1, .text = "1" };
	const struct shmfs_view view = view_of(v);
	struct stat st;

	forget(v);
	if (v->file)
		v->file->linked = false;
	v->file = memory_add_bytes(v->memory, 1, NULL, bytes, len);
	assert_int_equal(v->ops.lookup(&view, &name, &view_root, &v->object, &st), 0);
	v->handle = view_open(v, O_RDWR);
}

int view_size(struct view *v, const struct shmfs_caller *caller)
{
	struct stat st;
	int err = v->ops.getattr(v->object, caller, &st);

	return err ? err : (int)st.st_size;
}

ssize_t view_read(struct view *v, off_t off, char *to, size_t len)
{
	struct shmfs_extent extent;
	ssize_t n = v->ops.read_begin(v->handle, off, len, &extent);

	if (n)
		return n;
	assert_int_equal(extent.fd, -1);
	memcpy(to, extent.mem, extent.len);
	n = (ssize_t)extent.len;
	v->ops.read_end(v->handle, &extent);
	return n;
}

ssize_t view_write(struct view *v, struct shmfs_handle *handle, off_t off, bool append,
		   const char *bytes, size_t len)
{
	struct shmfs_extent extent;
	ssize_t n = v->ops.write_begin(handle, off, len, append, &view_root, &extent);

	if (n)
		return n;
	memcpy(extent.mem, bytes, extent.len);
	return v->ops.write_end(handle, &extent, extent.len);
}

void view_expect_text(struct view *v, const char *text, size_t len)
{
	char bytes[256];

	assert_int_equal(view_size(v, &view_root), len);
	assert_int_equal(view_read(v, 0, bytes, sizeof(bytes)), len);
	assert_memory_equal(bytes, text, len);
}

void view_expect_bytes(struct view *v, const char *bytes, size_t len)
{
	assert_int_equal(v->file->size, len);
	assert_memory_equal(v->file->bytes, bytes, len);
}

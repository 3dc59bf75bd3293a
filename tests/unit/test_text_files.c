/* SPDX-License-Identifier: MIT */
/* The text view: open and close, sizes, and what it passes on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "text_view.h"

static int truncate_to(struct view *v, struct shmfs_handle *handle, off_t size)
{
	return v->ops.truncate(v->object, handle, size, &view_root);
}

/* --- truncate --- */

static void truncating_zeroes_what_is_behind(void **state)
{
	struct view *v = *state;
	struct shmfs_handle *handles[2] = { NULL };

	for (size_t i = 0; i < COUNT(handles); i++) {
		view_begin(v, B("hello\0zz"));
		handles[1] = v->handle;
		assert_int_equal(truncate_to(v, handles[i], 2), 0);
		view_expect_bytes(v, B("he\0\0\0\0\0\0"));
		assert_int_equal(truncate_to(v, handles[i], 0), 0);
		view_expect_bytes(v, B("\0\0\0\0\0\0\0\0"));
		view_begin(v, B("\0zzzzzzz"));
		handles[1] = v->handle;
		assert_int_equal(truncate_to(v, handles[i], 0), 0);
		view_expect_bytes(v, B("\0\0\0\0\0\0\0\0"));
		view_begin(v, B("full"));
		handles[1] = v->handle;
		assert_int_equal(truncate_to(v, handles[i], 3), 0);
		view_expect_bytes(v, B("ful\0"));
	}
}

static void truncating_makes_no_text_longer(void **state)
{
	struct view *v = *state;

	view_begin(v, B("hello\0zz"));
	assert_int_equal(truncate_to(v, v->handle, 5), 0);
	assert_int_equal(truncate_to(v, v->handle, 6), -EINVAL);
	assert_int_equal(truncate_to(v, NULL, 8), -EINVAL);
	assert_int_equal(truncate_to(v, NULL, INT64_MAX), -EINVAL);
	view_expect_bytes(v, B("hello\0zz"));
	view_begin(v, B("full"));
	assert_int_equal(truncate_to(v, v->handle, 4), 0);
	assert_int_equal(truncate_to(v, v->handle, 5), -EINVAL);
	view_expect_bytes(v, B("full"));
}

static void a_truncation_that_fails_is_told(void **state)
{
	struct view *v = *state;

	view_begin(v, B("hello\0zz"));
	memory_fail(v->memory, MEMORY_OPEN, -EACCES);
	assert_int_equal(truncate_to(v, NULL, 2), -EACCES);
	memory_fail(v->memory, MEMORY_READ_BEGIN, -EIO);
	assert_int_equal(truncate_to(v, v->handle, 2), -EIO);
	memory_fail(v->memory, MEMORY_WRITE_BEGIN, -EIO);
	assert_int_equal(truncate_to(v, v->handle, 2), -EIO);
	view_expect_bytes(v, B("hello\0zz"));
	memory_fail(v->memory, MEMORY_FALLOCATE, -EIO);
	assert_int_equal(truncate_to(v, v->handle, 2), -EIO);
	view_expect_text(v, B("he"));
	assert_int_equal(v->memory->handles, 1);
}

/* --- open and close --- */

static void opening_clears_where_it_shall(void **state)
{
	static const int flags[] = { O_WRONLY | O_TRUNC, O_RDWR | O_TRUNC, O_RDONLY | O_TRUNC };
	struct view *v = *state;
	struct shmfs_handle *handle;

	for (size_t i = 0; i < COUNT(flags); i++) {
		view_begin(v, B("hello\0zz"));
		v->ops.release(view_open(v, flags[i]));
		view_expect_bytes(v, B("\0\0\0\0\0\0\0\0"));
	}
	view_begin(v, B("hello\0zz"));
	memory_fail(v->memory, MEMORY_FALLOCATE, -EIO);
	assert_int_equal(v->ops.open(v->object, O_WRONLY | O_TRUNC, &view_root, &handle), -EIO);
	memory_fail(v->memory, MEMORY_OPEN, -EACCES);
	assert_int_equal(v->ops.open(v->object, O_RDONLY, &view_root, &handle), -EACCES);
	assert_int_equal(v->memory->handles, 1);
}

/* What can write can find the end; clearing and appending are done here. */
static void each_handle_can_find_the_end(void **state)
{
	static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR | O_APPEND };
	struct view *v = *state;
	struct shmfs_handle *handles[COUNT(flags)];

	view_begin(v, B("hello\0zz"));
	for (size_t i = 0; i < COUNT(flags); i++) {
		handles[i] = view_open(v, flags[i]);
		assert_int_equal(v->memory->seen.flags, i == 0 ? O_RDONLY : O_RDWR);
	}
	assert_int_equal(view_write(v, handles[1], 0, true, B("hi")), 2);
	assert_int_equal(view_write(v, handles[2], 0, true, B("!")), 1);
	view_expect_text(v, B("hellohi!"));
	for (size_t i = 0; i < COUNT(flags); i++)
		v->ops.release(handles[i]);
	assert_int_equal(v->memory->handles, 1);
}

static void closing_is_passed_on(void **state)
{
	struct view *v = *state;

	view_begin(v, B("hello\0zz"));
	assert_false(v->handle->may_flush);
	v->ops.release(v->handle);
	v->memory->may_flush = true;
	v->handle = view_open(v, O_RDWR);
	assert_true(v->handle->may_flush);
	assert_int_equal(v->ops.flush(v->handle, true, &view_root), 0);
	assert_true(v->memory->seen.by_opener);
	memory_fail(v->memory, MEMORY_FLUSH, -EBUSY);
	assert_int_equal(v->ops.flush(v->handle, true, &view_root), -EBUSY);
}

static void the_kernel_serves_nothing(void **state)
{
	struct view *v = *state;
	int fd = -1;

	v->memory->binding = SHMFS_IO_PASSTHROUGH;
	view_begin(v, B("hello\0zz"));
	assert_int_equal(v->ops.binding(v->handle, &fd), SHMFS_IO_DAEMON);
	assert_int_equal(fd, -1);
}

static void what_is_made_can_be_written(void **state)
{
	static const struct shmfs_caller caller = { .uid = 1000, .gid = 100 };
	const struct shmfs_name name = { .space = SHMFS_SPACE_KEY, .number = 3148, .text = "" };
	struct view *v = *state;
	const struct shmfs_backend_ops *ops = &v->ops;
	const struct shmfs_view view = view_of(v);
	struct shmfs_object *object;
	struct stat st;

	assert_int_equal(
		ops->create(&view, &name, O_WRONLY, 0640, &caller, &v->object, &v->handle, &st), 0);
	assert_int_equal(v->memory->seen.flags, O_RDWR);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(v->memory->files->mode, 0640);
	assert_int_equal(v->memory->files->uid, 1000);
	assert_int_equal(v->memory->handles, 1);
	assert_int_equal(view_write(v, v->handle, 0, false, B("hi\n")), 3);
	v->file = v->memory->files;
	view_expect_bytes(v, B("hi\n\0"));
	assert_int_equal(
		ops->create(&view, &name, O_WRONLY, 0640, &caller, &object, &v->handle, &st),
		-EEXIST);
}

/* --- fallocate, lseek --- */

static int allocate(struct view *v, int mode, off_t len)
{
	return v->ops.fallocate(v->handle, mode, 0, len, &view_root);
}

static void memory_can_be_had_and_no_hole(void **state)
{
	struct view *v = *state;

	view_begin(v, B("hello\0zz"));
	assert_int_equal(allocate(v, 0, 5), -EOPNOTSUPP);
	assert_int_equal(allocate(v, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5), -EOPNOTSUPP);
	/* Room for more, which does not show. */
	assert_int_equal(allocate(v, FALLOC_FL_KEEP_SIZE, 10), 0);
	view_expect_bytes(v, B("hello\0zz\0\0\0"));
	view_expect_text(v, B("hello"));
	v->file->limit = v->file->size;
	assert_int_equal(allocate(v, FALLOC_FL_KEEP_SIZE, 11), -ENOSPC);
	/* Who cannot have memory beforehand has it when it is written. */
	memory_fail(v->memory, MEMORY_FALLOCATE, -EOPNOTSUPP);
	assert_int_equal(allocate(v, FALLOC_FL_KEEP_SIZE, 3), 0);
}

static void all_of_a_text_is_data(void **state)
{
	struct view *v = *state;
	const struct shmfs_backend_ops *ops = &v->ops;

	view_begin(v, B("hello\0zz"));
	assert_int_equal(ops->seek(v->handle, 2, SEEK_DATA), 2);
	assert_int_equal(ops->seek(v->handle, 2, SEEK_HOLE), 5);
	assert_int_equal(ops->seek(v->handle, 5, SEEK_HOLE), -ENXIO);
	assert_int_equal(ops->seek(v->handle, 5, SEEK_DATA), -ENXIO);
	memory_fail(v->memory, MEMORY_READ_BEGIN, -EIO);
	assert_int_equal(ops->seek(v->handle, 0, SEEK_DATA), -EIO);
}

/* --- what is passed on --- */

static void changes_of_attributes_are_passed_on(void **state)
{
	static const struct shmfs_caller caller = { .uid = 1000 };
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };
	struct view *v = *state;
	const struct shmfs_backend_ops *ops = &v->ops;
	struct stat st;

	view_begin(v, B("hello\0zz"));
	assert_int_equal(ops->chmod(v->object, 0604, &caller), 0);
	assert_int_equal(v->memory->seen.uid, 1000);
	assert_int_equal(ops->chown(v->object, 7, 8, &caller), 0);
	assert_int_equal(ops->utimens(v->object, times, &caller), 0);
	assert_int_equal(ops->getattr(v->object, &view_root, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0604);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_gid, 8);
	assert_int_equal(st.st_mtim.tv_sec, 2);
	assert_int_equal(st.st_size, 5);
	memory_fail(v->memory, MEMORY_GETATTR, -ESTALE);
	assert_int_equal(ops->getattr(v->object, &view_root, &st), -ESTALE);
}

static int count_name(const struct shmfs_name *name, ino_t ino, void *arg)
{
	*(unsigned *)arg += name->number;
	return 0;
}

static void names_are_passed_on(void **state)
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_KEY, .number = 3148, .text = "" };
	struct view *v = *state;
	const struct shmfs_backend_ops *ops = &v->ops;
	const struct shmfs_view view = view_of(v);
	struct statvfs fs = { 0 };
	unsigned sum = 0;
	struct stat st;

	memory_add_bytes(v->memory, 3148, NULL, B("hello\0zz"));
	assert_int_equal(ops->lookup(&view, &name, &view_root, &v->object, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(v->object->identity, v->memory->files->identity);
	assert_int_equal(ops->list(&view, SHMFS_SPACE_KEY, 0, &view_root, count_name, &sum), 0);
	assert_int_equal(sum, 3148);
	assert_int_equal(ops->statfs(&v->memory->base, &fs), 0);
	assert_int_equal(fs.f_files, 4096);
	assert_int_equal(ops->rename(&view, &name, &name, 0, &view_root), -EXDEV);
	assert_int_equal(ops->remove(&view, &name, &view_root), 0);
	assert_int_equal(ops->lookup(&view, &name, &view_root, &v->object, &st), -ENOENT);
}

static void extended_attributes_are_those_of_the_object(void **state)
{
	struct view *v = *state;
	const struct shmfs_backend_ops *ops = &v->ops;
	const struct shmfs_xattr *row;
	char value[16] = "";

	view_begin(v, B("hello"));
	row = shmfs_xattr_find(ops->xattrs, "user.shm.identity");
	assert_non_null(row);
	assert_null(row->set);
	assert_int_equal(shmfs_xattr_get(row, v->object, value, sizeof(value), &view_root), 1);
	assert_int_equal(value[0], '0' + v->file->identity);
	row = shmfs_xattr_find(ops->xattrs, "user.shm.mode");
	assert_non_null(row);
	assert_int_equal(shmfs_xattr_set(row, v->object, "6", 1, 0, &view_root), 0);
	assert_int_equal(v->file->mode, 6);
	assert_null(shmfs_xattr_find(ops->xattrs, "user.shm.none"));

	assert_int_equal(ops->setxattr(v->object, "user.note", "mine", 4, 0, &view_root), 0);
	assert_int_equal(ops->getxattr(v->object, "user.note", value, sizeof(value), &view_root),
			 4);
	assert_memory_equal(value, "mine", 4);
	assert_int_equal(ops->listxattr(v->object, value, sizeof(value), &view_root), 10);
	assert_string_equal(value, "user.note");
	assert_int_equal(ops->removexattr(v->object, "user.note", &view_root), 0);
	assert_null(v->file->xattrs);
}

/* Names that can be moved take no content. */
static void content_is_taken_where_that_was_asked_for(void **state)
{
	struct view *v = *state;
	struct shmfs_backend_ops ops;

	assert_non_null(v->ops.replace_content);
	shmfs_text_ops(v->memory->base.ops, false, &ops);
	assert_null(ops.replace_content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VIEW_TEST(truncating_zeroes_what_is_behind),
		VIEW_TEST(truncating_makes_no_text_longer),
		VIEW_TEST(a_truncation_that_fails_is_told),
		VIEW_TEST(opening_clears_where_it_shall),
		VIEW_TEST(each_handle_can_find_the_end),
		VIEW_TEST(closing_is_passed_on),
		VIEW_TEST(the_kernel_serves_nothing),
		VIEW_TEST(what_is_made_can_be_written),
		VIEW_TEST(memory_can_be_had_and_no_hole),
		VIEW_TEST(all_of_a_text_is_data),
		VIEW_TEST(changes_of_attributes_are_passed_on),
		VIEW_TEST(names_are_passed_on),
		VIEW_TEST(extended_attributes_are_those_of_the_object),
		VIEW_TEST(content_is_taken_where_that_was_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

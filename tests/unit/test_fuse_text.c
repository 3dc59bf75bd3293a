/* SPDX-License-Identifier: MIT */
/* Renames onto keys in a text view: the name takes the content. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel.h"
#include "shmfs/text.h"

#define TEXT DIR_TEXT
#define KEY "3148"

static struct shmfs_backend_ops sysv_text;
static struct shmfs_backend_ops posix_text;

static struct shmfs_view text_view(struct memory_backend *memory, bool takes_content,
				   struct shmfs_backend_ops *ops)
{
	shmfs_text_ops(memory->base.ops, takes_content, ops);
	return (struct shmfs_view){ .ops = ops, .backend = &memory->base, .variant = 1 };
}

/* Over both backends, as in the daemon. */
static int setup(void **state)
{
	int err = kernel_setup(state);
	struct kernel *k = *state;

	k->fs.tree.views[SHMFS_VIEW_SYSV_TEXT] = text_view(k->sysv, true, &sysv_text);
	k->fs.tree.views[SHMFS_VIEW_POSIX_TEXT] = text_view(k->posix, false, &posix_text);
	return err;
}

static int teardown(void **state)
{
	kernel_stop(*state);
	return 0;
}

static int rename_to(struct kernel *k, const char *from, const char *to, unsigned flags)
{
	const struct fuse_rename2_in in = { .newdir = TEXT, .flags = flags };
	char names[64];
	int len = snprintf(names, sizeof(names), "%s%c%s", from, '\0', to);

	return kernel_ask(k, FUSE_RENAME2, TEXT, &in, sizeof(in), names, (size_t)len + 1);
}

static struct memory_file *add(struct memory_backend *be, uint32_t key, const char *name,
			       const char *text, size_t len)
{
	return memory_add_bytes(be, key, name, text, len);
}

static void the_key_takes_the_text(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "a longer text\0zz", 16);
	struct memory_file *object = add(k->posix, 0, "temp", "short\0zz", 8);

	segment->mode = 0622;
	segment->uid = 7;
	k->uid = object->uid = 1000;
	assert_int_equal(rename_to(k, "temp", KEY, 0), 0);
	assert_false(object->linked);
	assert_int_equal(k->posix->seen.uid, 1000);
	assert_true(segment->linked);
	assert_int_equal(segment->size, 16);
	assert_memory_equal(segment->bytes, "short\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(segment->mode, 0622);
	assert_int_equal(segment->uid, 7);
	assert_int_equal(k->sysv->calls[MEMORY_CREATE], 0);
}

static void nothing_is_left_behind_the_text(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "text\0zz", 8);

	add(k->posix, 0, "temp", "same", 4);
	assert_int_equal(rename_to(k, "temp", KEY, 0), 0);
	assert_memory_equal(segment->bytes, "same\0\0\0", 8);
}

static void a_longer_text_makes_it_grow(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "short\0zz", 8);

	add(k->posix, 0, "temp", "a longer text", 13);
	assert_int_equal(rename_to(k, "temp", KEY, 0), 0);
	assert_int_equal(segment->size, 14);
	assert_string_equal(segment->bytes, "a longer text");
}

static void a_key_that_was_not_there_is_made(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = add(k->posix, 0, "temp", "text\0", 5);

	object->mode = 0640;
	k->uid = object->uid = 1000;
	assert_int_equal(rename_to(k, "temp", KEY, RENAME_NOREPLACE), 0);
	assert_false(object->linked);
	assert_int_equal(k->sysv->files->key, 3148);
	assert_int_equal(k->sysv->files->mode, 0640);
	assert_int_equal(k->sysv->files->uid, 1000);
	assert_string_equal(k->sysv->files->bytes, "text");
}

struct failure {
	struct memory_backend *where;
	enum memory_slot slot;
	int err;
};

static void expect_unchanged(const struct memory_file *segment, const struct memory_file *object)
{
	assert_true(segment->linked);
	assert_true(object->linked);
	assert_memory_equal(segment->bytes, "short\0zz", 8);
	assert_memory_equal(object->bytes, "a longer text", 13);
}

static void what_fails_leaves_both_as_they_were(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "short\0zz", 8);
	struct memory_file *object = add(k->posix, 0, "temp", "a longer text", 13);
	const struct failure failures[] = {
		{ k->posix, MEMORY_LOOKUP, -EIO },	{ k->posix, MEMORY_OPEN, -EMFILE },
		{ k->sysv, MEMORY_LOOKUP, -EIO },	{ k->sysv, MEMORY_OPEN, -EMFILE },
		{ k->sysv, MEMORY_WRITE_BEGIN, -EIO },	{ k->sysv, MEMORY_READ_BEGIN, -EIO },
		{ k->sysv, MEMORY_FALLOCATE, -ENOMEM },
	};

	for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		memory_fail(failures[i].where, failures[i].slot, failures[i].err);
		assert_int_equal(rename_to(k, "temp", KEY, 0), failures[i].err);
		segment->size = 8; /* it may have grown by then */
		expect_unchanged(segment, object);
	}
	assert_int_equal(rename_to(k, "temp", KEY, RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_to(k, "temp", KEY, RENAME_EXCHANGE), -EXDEV);
	assert_int_equal(rename_to(k, "none", KEY, 0), -ENOENT);
	/* As one that others are attached to. */
	segment->limit = 8;
	assert_int_equal(rename_to(k, "temp", KEY, 0), -ENOSPC);
	expect_unchanged(segment, object);
	assert_int_equal(k->posix->calls[MEMORY_REMOVE], 0);
}

static void a_key_that_was_made_in_vain_is_removed(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = add(k->posix, 0, "temp", "text", 4);

	memory_fail(k->sysv, MEMORY_CREATE, -ENOSPC);
	assert_int_equal(rename_to(k, "temp", KEY, 0), -ENOSPC);
	assert_null(k->sysv->files);
	memory_fail(k->sysv, MEMORY_WRITE_BEGIN, -EIO);
	assert_int_equal(rename_to(k, "temp", KEY, 0), -EIO);
	assert_false(k->sysv->files->linked);
	assert_true(object->linked);
}

static void the_callers_rights_count(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "short\0zz", 8);
	struct memory_file *object = add(k->posix, 0, "temp", "a longer text", 13);

	k->uid = 1000;
	object->uid = 1000;
	/* After it was opened to be measured. */
	memory_fail_later(k->sysv, MEMORY_OPEN, 1, 1, -EACCES);
	assert_int_equal(rename_to(k, "temp", KEY, 0), -EACCES);
	assert_int_equal(k->sysv->seen.uid, 1000);
	assert_int_equal(k->sysv->seen.flags, O_RDONLY | SHMFS_OPEN_TO_LOOK);
	memory_fail_later(k->posix, MEMORY_OPEN, 1, 1, -EACCES);
	assert_int_equal(rename_to(k, "temp", KEY, 0), -EACCES);
	/* Another's source mv(1) copies, as far as it may. */
	object->uid = 1001;
	assert_int_equal(rename_to(k, "temp", KEY, 0), -EXDEV);
	expect_unchanged(segment, object);
	k->uid = 0;
	assert_int_equal(rename_to(k, "temp", KEY, 0), 0);
}

static void a_source_that_stays_is_an_error(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = add(k->sysv, 3148, NULL, "short\0zz", 8);

	add(k->posix, 0, "temp", "text", 4);
	memory_fail(k->posix, MEMORY_REMOVE, -EACCES);
	assert_int_equal(rename_to(k, "temp", KEY, 0), -EACCES);
	assert_string_equal(segment->bytes, "text");
	/* Somebody was faster: it is gone as it should be. */
	memory_fail(k->posix, MEMORY_REMOVE, -ENOENT);
	assert_int_equal(rename_to(k, "temp", KEY, 0), 0);
}

static void other_renames_are_as_without_text(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = add(k->posix, 0, "temp", "text", 4);

	add(k->sysv, 3148, NULL, "short\0zz", 8);
	assert_int_equal(rename_to(k, KEY, "other", 0), -EXDEV);
	assert_int_equal(rename_to(k, KEY, "3149", 0), -EXDEV);
	assert_int_equal(rename_to(k, "temp", "other", 0), 0);
	assert_string_equal(object->name, "other");
}

#define TAKE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TAKE_TEST(the_key_takes_the_text),
		TAKE_TEST(nothing_is_left_behind_the_text),
		TAKE_TEST(a_longer_text_makes_it_grow),
		TAKE_TEST(a_key_that_was_not_there_is_made),
		TAKE_TEST(what_fails_leaves_both_as_they_were),
		TAKE_TEST(a_key_that_was_made_in_vain_is_removed),
		TAKE_TEST(the_callers_rights_count),
		TAKE_TEST(a_source_that_stays_is_an_error),
		TAKE_TEST(other_renames_are_as_without_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

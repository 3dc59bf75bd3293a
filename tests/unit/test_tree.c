/* SPDX-License-Identifier: MIT */
/* The directories, over two backends in memory. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory_backend.h"
#include "shmfs/tree.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TREE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static const struct shmfs_caller nobody;

struct fixture {
	struct shmfs_tree tree;
	struct memory_backend *sysv;
	struct memory_backend *posix;
	struct shmfs_listing listing;
};

/* Growing an array, which src/core/tree.c does by reallocarray(3) alone. */
static unsigned allocations;
static bool no_memory;

void *__real_reallocarray(void *mem, size_t count, size_t size);
void *__wrap_reallocarray(void *mem, size_t count, size_t size);

void *__wrap_reallocarray(void *mem, size_t count, size_t size)
{
	allocations++;
	if (no_memory)
		return NULL;
	return __real_reallocarray(mem, count, size);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->sysv = memory_backend_new(MEMORY_SYSV);
	f->posix = memory_backend_new(MEMORY_POSIX);
	f->tree = (struct shmfs_tree){ .uid = 1234, .gid = 5678 };
	memory_tree(&f->tree, f->sysv, f->posix);
	allocations = 0;
	no_memory = false;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	shmfs_listing_clear(&f->listing);
	assert_true(memory_backend_free(f->sysv));
	assert_true(memory_backend_free(f->posix));
	free(f);
	return 0;
}

static const char *name_at(const struct fixture *f, size_t i)
{
	return f->listing.names + f->listing.entries[i].name;
}

/* The entry of that name, which is to be there exactly once; NULL: it is not. */
static const struct shmfs_entry *entry_of(const struct fixture *f, const char *name)
{
	const struct shmfs_entry *found = NULL;

	for (size_t i = 0; i < f->listing.count; i++)
		if (strcmp(name_at(f, i), name) == 0) {
			assert_null(found);
			found = &f->listing.entries[i];
		}
	return found;
}

static void list(struct fixture *f, shmfs_dir dir)
{
	assert_int_equal(shmfs_tree_list(&f->tree, dir, &nobody, &f->listing), 0);
}

static void expect_names(const struct fixture *f, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!entry_of(f, names[i]))
			fail_msg("%s is not listed", names[i]);
	assert_int_equal(f->listing.count, count);
}

/* --- names --- */

static int subdir(struct fixture *f, shmfs_dir dir, const char *name)
{
	shmfs_dir found = 0;
	int err = shmfs_tree_subdir(&f->tree, dir, name, &nobody, &found);

	return err ? err : (int)found;
}

static void subdirectories_are_of_the_root_alone(void **state)
{
	static const char *const others[] = { "",	 ".",	   "..",    ".by-",
					      ".by-id2", ".by-ID", "by-id", ".by-names" };
	static const char *const names[] = { ".by-id", ".by-name", ".text" };
	static const shmfs_dir dirs[] = { DIR_BY_ID, DIR_BY_NAME, DIR_TEXT };
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(others); i++)
		assert_int_equal(subdir(f, SHMFS_DIR_ROOT, others[i]), -ENOENT);
	for (size_t i = 0; i < COUNT(dirs); i++) {
		assert_int_equal(subdir(f, SHMFS_DIR_ROOT, names[i]), dirs[i]);
		assert_int_equal(shmfs_tree_parent(dirs[i]), SHMFS_DIR_ROOT);
		for (size_t j = 0; j < COUNT(dirs); j++)
			assert_int_equal(subdir(f, dirs[i], names[j]), -ENOENT);
	}
	assert_int_equal(shmfs_tree_parent(SHMFS_DIR_ROOT), SHMFS_DIR_ROOT);
}

struct resolve_case {
	const char *text;
	shmfs_dir dir;
	int err;
	enum shmfs_space space;
	uint32_t number;
	enum shmfs_view_index view;
};

static const struct resolve_case resolve_cases[] = {
	{ "3148", SHMFS_DIR_ROOT, 0, SHMFS_SPACE_KEY, 3148, SHMFS_VIEW_SYSV },
	{ "0xC4c", SHMFS_DIR_ROOT, 0, SHMFS_SPACE_KEY, 3148, SHMFS_VIEW_SYSV },
	{ "-1", SHMFS_DIR_ROOT, 0, SHMFS_SPACE_KEY, UINT32_MAX, SHMFS_VIEW_SYSV },
	{ "frames", SHMFS_DIR_ROOT, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX },
	{ "03148", SHMFS_DIR_ROOT, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX },
	{ "0", SHMFS_DIR_ROOT, -EINVAL, 0, 0, 0 },
	{ "sem.x", SHMFS_DIR_ROOT, -EPERM, 0, 0, 0 },
	{ "a/b", SHMFS_DIR_ROOT, -ENOENT, 0, 0, 0 },
	{ "3148", DIR_BY_NAME, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX },
	{ ".by-id", DIR_BY_NAME, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX },
	{ "0", DIR_BY_NAME, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX },
	{ "sem.x", DIR_BY_NAME, -EPERM, 0, 0, 0 },
	{ "0", DIR_BY_ID, 0, SHMFS_SPACE_SHMID, 0, SHMFS_VIEW_BY_ID },
	{ "65538", DIR_BY_ID, 0, SHMFS_SPACE_SHMID, 65538, SHMFS_VIEW_BY_ID },
	{ "3148", DIR_TEXT, 0, SHMFS_SPACE_KEY, 3148, SHMFS_VIEW_SYSV_TEXT },
	{ "frames", DIR_TEXT, 0, SHMFS_SPACE_POSIX, 0, SHMFS_VIEW_POSIX_TEXT },
	{ "0", DIR_TEXT, -EINVAL, 0, 0, 0 },
	{ "0x1", DIR_BY_ID, -ENOENT, 0, 0, 0 },
	{ "-1", DIR_BY_ID, -ENOENT, 0, 0, 0 },
	{ "frames", DIR_BY_ID, -ENOENT, 0, 0, 0 },
};

static void names_lead_to_their_backend(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(resolve_cases); i++) {
		const struct resolve_case *c = &resolve_cases[i];
		const struct shmfs_view *expected = NULL;
		const struct shmfs_view *view = NULL;
		struct shmfs_name name = { .text = NULL };
		int err = shmfs_tree_resolve(&f->tree, c->dir, c->text, &view, &name);

		if (!c->err)
			expected = &f->tree.views[c->view];
		if (err != c->err || view != expected)
			fail_msg("%d/%s: %d", c->dir, c->text, err);
		if (!err &&
		    (name.space != c->space || name.number != c->number || name.text != c->text))
			fail_msg("%d/%s: space %d, number %" PRIu32, c->dir, c->text, name.space,
				 name.number);
	}
}

/* --- listings --- */

static void lists_keys_and_names_together(void **state)
{
	static const char *const names[] = {
		"3148", "4294967295", "frames", "-x", "03148", ".dot"
	};
	struct fixture *f = *state;
	struct memory_file *segment = memory_add(f->sysv, 3148, NULL);

	memory_add(f->sysv, UINT32_MAX, NULL);
	memory_add(f->sysv, 0, NULL); /* IPC_PRIVATE: has no key */
	for (size_t i = 2; i < COUNT(names); i++)
		memory_add(f->posix, 0, names[i]);
	list(f, SHMFS_DIR_ROOT);
	expect_names(f, names, COUNT(names));
	assert_int_equal(entry_of(f, "3148")->ino, memory_ino(f->sysv, segment));
}

/* A name that means something else in the root is listed there as that alone. */
static void leaves_out_shadowed_names(void **state)
{
	static const char *const shadowed[] = { "3148", "0x00000c4c", "-1",
						"0",	".by-id",     ".by-name" };
	static const char *const root[] = { "3148", "plain" };
	struct fixture *f = *state;
	struct memory_file *segment = memory_add(f->sysv, 3148, NULL);

	for (size_t i = 0; i < COUNT(shadowed); i++)
		memory_add(f->posix, 0, shadowed[i]);
	memory_add(f->posix, 0, "plain");
	list(f, SHMFS_DIR_ROOT);
	expect_names(f, root, COUNT(root));
	assert_int_equal(entry_of(f, "3148")->ino, memory_ino(f->sysv, segment));

	list(f, DIR_BY_NAME);
	assert_int_equal(f->listing.count, COUNT(shadowed) + 1);
	for (size_t i = 0; i < COUNT(shadowed); i++)
		assert_non_null(entry_of(f, shadowed[i]));
}

static void spells_keys_as_asked(void **state)
{
	static const char *const root[] = { "0x00000c4c", "0xffffffff", "frames" };
	struct fixture *f = *state;
	struct memory_file *segment = memory_add(f->sysv, 3148, NULL);
	char id[SHMFS_NUMBER_MAX];

	memory_add(f->sysv, UINT32_MAX, NULL);
	memory_add(f->posix, 0, "frames");
	f->tree.keys = SHMFS_KEYS_HEX;
	list(f, SHMFS_DIR_ROOT);
	expect_names(f, root, COUNT(root));

	/* A shmid is a decimal number whatever the keys are. */
	list(f, DIR_BY_ID);
	snprintf(id, sizeof(id), "%" PRIu64, segment->identity);
	assert_non_null(entry_of(f, id));
}

static void lists_every_segment_by_id(void **state)
{
	struct fixture *f = *state;
	char id[SHMFS_NUMBER_MAX];

	memory_add(f->posix, 0, "frames");
	memory_add(f->sysv, 3148, NULL);
	snprintf(id, sizeof(id), "%" PRIu64, memory_add(f->sysv, 0, NULL)->identity);
	list(f, DIR_BY_ID);
	assert_int_equal(f->listing.count, 2);
	assert_non_null(entry_of(f, id));
	assert_int_equal(f->posix->calls[MEMORY_LIST], 0);
}

static shmfs_dir enter(struct fixture *f, shmfs_dir dir, const char *name)
{
	int found = subdir(f, dir, name);

	assert_true(found > 0);
	assert_int_equal(shmfs_tree_parent((shmfs_dir)found), dir);
	return (shmfs_dir)found;
}

static void directories_can_be_in_directories(void **state)
{
	static const char *const kinds[] = { "posix", "sysv" };
	static const char *const number[] = { "1234" };
	static const char *const name[] = { "frames" };
	struct fixture *f = *state;
	const struct shmfs_view *view;
	struct shmfs_name read;
	shmfs_dir process;

	memory_add(f->posix, 0, "frames");
	list(f, enter(f, SHMFS_DIR_ROOT, ".orphans"));
	expect_names(f, kinds, COUNT(kinds));
	list(f, enter(f, enter(f, SHMFS_DIR_ROOT, ".orphans"), "posix"));
	expect_names(f, name, COUNT(name));
	list(f, enter(f, SHMFS_DIR_ROOT, ".by-pid"));
	expect_names(f, number, COUNT(number));
	process = enter(f, enter(f, SHMFS_DIR_ROOT, ".by-pid"), "1234");
	list(f, process);
	expect_names(f, kinds, COUNT(kinds));
	list(f, enter(f, process, "posix"));
	expect_names(f, name, COUNT(name));
	assert_int_equal(
		shmfs_tree_resolve(&f->tree, enter(f, process, "posix"), "frames", &view, &read),
		0);
	assert_int_equal(read.dir, MEMORY_PID);
	assert_int_equal(subdir(f, shmfs_tree_parent(process), "1235"), -ENOENT);
	assert_int_equal(subdir(f, shmfs_tree_parent(process), "self"), -ENOENT);
	assert_int_equal(shmfs_tree_resolve(&f->tree, process, "frames", &view, &read), -ENOENT);
}

static void an_error_leaves_the_listing_empty(void **state)
{
	struct fixture *f = *state;

	memory_add(f->sysv, 1, NULL);
	memory_add(f->posix, 0, "frames");
	list(f, SHMFS_DIR_ROOT);
	memory_fail(f->posix, MEMORY_LIST, -EMFILE);
	assert_int_equal(shmfs_tree_list(&f->tree, SHMFS_DIR_ROOT, &nobody, &f->listing), -EMFILE);
	assert_int_equal(f->listing.count, 0);
	memory_fail(f->sysv, MEMORY_LIST, -EIO);
	assert_int_equal(shmfs_tree_list(&f->tree, SHMFS_DIR_ROOT, &nobody, &f->listing), -EIO);
	assert_int_equal(f->listing.count, 0);
	memory_fail(f->sysv, MEMORY_LIST, -EACCES);
	assert_int_equal(shmfs_tree_list(&f->tree, DIR_BY_ID, &nobody, &f->listing), -EACCES);
	memory_fail(f->posix, MEMORY_LIST, -ENFILE);
	assert_int_equal(shmfs_tree_list(&f->tree, DIR_BY_NAME, &nobody, &f->listing), -ENFILE);
	list(f, SHMFS_DIR_ROOT);
	assert_int_equal(f->listing.count, 2);
}

static void no_memory_leaves_the_listing_empty(void **state)
{
	struct fixture *f = *state;

	for (uint32_t key = 1; key <= 200; key++)
		memory_add(f->sysv, key, NULL);
	no_memory = true;
	assert_int_equal(shmfs_tree_list(&f->tree, SHMFS_DIR_ROOT, &nobody, &f->listing), -ENOMEM);
	assert_int_equal(f->listing.count, 0);
	no_memory = false;
	list(f, SHMFS_DIR_ROOT);
	assert_int_equal(f->listing.count, 200);
}

#define MANY 4000u

static void add_many(struct fixture *f)
{
	for (uint32_t i = 1; i <= MANY / 2; i++) {
		char name[64];

		snprintf(name, sizeof(name), "object-with-a-long-name-%u", i);
		memory_add(f->sysv, i * 7919, NULL);
		memory_add(f->posix, 0, name);
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void lists_thousands_once_each(void **state)
{
	struct fixture *f = *state;
	const char **sorted = calloc(MANY, sizeof(*sorted));

	assert_non_null(sorted);
	add_many(f);
	list(f, SHMFS_DIR_ROOT);
	assert_int_equal(f->listing.count, MANY);
	for (size_t i = 0; i < MANY; i++)
		sorted[i] = name_at(f, i);
	qsort(sorted, MANY, sizeof(*sorted), compare);
	for (size_t i = 1; i < MANY; i++)
		assert_string_not_equal(sorted[i - 1], sorted[i]);
	free(sorted);
	assert_non_null(entry_of(f, "7919"));
	assert_non_null(entry_of(f, "object-with-a-long-name-2000"));
	/* Doubled each time, and not grown for each entry. */
	assert_in_range(allocations, 2, 40);
}

static void lists_again_without_allocating(void **state)
{
	struct fixture *f = *state;

	add_many(f);
	list(f, SHMFS_DIR_ROOT);
	allocations = 0;
	for (int i = 0; i < 3; i++) {
		list(f, SHMFS_DIR_ROOT);
		assert_int_equal(f->listing.count, MANY);
	}
	assert_int_equal(allocations, 0);
	/* One pass over each backend, every time. */
	assert_int_equal(f->sysv->calls[MEMORY_LIST], 4);
	assert_int_equal(f->posix->calls[MEMORY_LIST], 4);
}

/* --- attributes --- */

static void directories_have_attributes(void **state)
{
	struct fixture *f = *state;

	for (shmfs_dir dir = SHMFS_DIR_ROOT; dir <= DIR_TEXT; dir += 2) {
		struct stat st;

		assert_int_equal(shmfs_tree_getattr(&f->tree, dir, &st), 0);
		assert_int_equal(st.st_ino, dir);
		assert_int_equal(st.st_mode, S_IFDIR | 0777);
		assert_int_equal(st.st_nlink, 2);
		assert_int_equal(st.st_uid, 1234);
		assert_int_equal(st.st_gid, 5678);
		assert_int_equal(st.st_mtim.tv_sec, 12);
		assert_int_equal(st.st_mtim.tv_nsec, 34);
	}
}

static void directory_errors_pass_through(void **state)
{
	struct fixture *f = *state;
	struct stat st = { .st_size = 77 };

	memory_lose_names(f->posix);
	assert_int_equal(shmfs_tree_getattr(&f->tree, SHMFS_DIR_ROOT, &st), -EBADF);
	assert_int_equal(st.st_size, 77);
	assert_int_equal(st.st_ino, 0);
}

static void statfs_joins_blocks_and_inodes(void **state)
{
	struct fixture *f = *state;
	struct statvfs st;

	memset(&st, 0xff, sizeof(st));
	assert_int_equal(shmfs_tree_statfs(&f->tree, &st), 0);
	assert_int_equal(st.f_bsize, 4096);
	assert_int_equal(st.f_blocks, 1000);
	assert_int_equal(st.f_bfree, 900);
	assert_int_equal(st.f_bavail, 800);
	assert_int_equal(st.f_files, 4096);
	assert_int_equal(st.f_ffree, 4000);
	assert_int_equal(st.f_namemax, 255);
	assert_int_equal(st.f_flag, 0);
}

static void statfs_errors_pass_through(void **state)
{
	struct fixture *f = *state;
	struct statvfs st = { .f_blocks = 77 };

	memory_fail(f->posix, MEMORY_STATFS, -EIO);
	assert_int_equal(shmfs_tree_statfs(&f->tree, &st), -EIO);
	memory_fail(f->sysv, MEMORY_STATFS, -EMFILE);
	assert_int_equal(shmfs_tree_statfs(&f->tree, &st), -EMFILE);
	assert_int_equal(st.f_blocks, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(subdirectories_are_of_the_root_alone),
		TREE_TEST(names_lead_to_their_backend),
		TREE_TEST(lists_keys_and_names_together),
		TREE_TEST(leaves_out_shadowed_names),
		TREE_TEST(spells_keys_as_asked),
		TREE_TEST(lists_every_segment_by_id),
		TREE_TEST(directories_can_be_in_directories),
		TREE_TEST(an_error_leaves_the_listing_empty),
		TREE_TEST(no_memory_leaves_the_listing_empty),
		TREE_TEST(lists_thousands_once_each),
		TREE_TEST(lists_again_without_allocating),
		TREE_TEST(directories_have_attributes),
		TREE_TEST(directory_errors_pass_through),
		TREE_TEST(statfs_joins_blocks_and_inodes),
		TREE_TEST(statfs_errors_pass_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

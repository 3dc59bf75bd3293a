/* SPDX-License-Identifier: MIT */
/* Directories, as the kernel reads them, and statfs. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel.h"

#define ROOT SHMFS_DIR_ROOT
#define NAMES_MAX 5000

/* What was read of a directory. */
struct names {
	size_t count;
	struct name {
		char text[32];
		uint64_t ino;
		uint64_t next; /* the offset of what follows */
		uint32_t type;
	} at[NAMES_MAX];
};

static uint64_t open_dir(struct kernel *k, uint64_t dir)
{
	const struct fuse_open_in in = { 0 };
	struct fuse_open_out out;

	assert_int_equal(kernel_get(k, FUSE_OPENDIR, dir, &in, sizeof(in), NULL, &out, sizeof(out)),
			 0);
	return out.fh;
}

static void close_dir(struct kernel *k, uint64_t dir, uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	assert_int_equal(kernel_ask(k, FUSE_RELEASEDIR, dir, &in, sizeof(in), NULL, 0), 0);
}

static int read_dir(struct kernel *k, uint64_t dir, uint64_t fh, uint64_t off, uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

	return kernel_ask(k, FUSE_READDIR, dir, &in, sizeof(in), NULL, 0);
}

/* Add the entries of the last reply, and check that they are whole. */
static void parse_reply(const struct kernel *k, struct names *names)
{
	size_t at = 0;

	while (at < k->reply_len) {
		struct name *name = &names->at[names->count];
		struct fuse_dirent entry;

		assert_true(k->reply_len - at >= FUSE_NAME_OFFSET);
		memcpy(&entry, k->reply + at, FUSE_NAME_OFFSET);
		assert_true(FUSE_DIRENT_SIZE(&entry) <= k->reply_len - at);
		assert_in_range(entry.namelen, 1, sizeof(name->text) - 1);
		assert_in_range(names->count, 0, NAMES_MAX - 1);
		*name = (struct name){ .ino = entry.ino, .next = entry.off, .type = entry.type };
		memcpy(name->text, k->reply + at + FUSE_NAME_OFFSET, entry.namelen);
		names->count++;
		at += FUSE_DIRENT_SIZE(&entry);
	}
}

/* Read on from `off` to the end, in replies of up to `size` bytes. */
static void read_on(struct kernel *k, uint64_t dir, uint64_t fh, uint64_t off, uint32_t size,
		    struct names *names)
{
	size_t before;

	names->count = 0;
	do {
		before = names->count;
		assert_int_equal(read_dir(k, dir, fh, off, size), 0);
		assert_true(k->reply_len <= size);
		parse_reply(k, names);
		if (names->count > 0)
			off = names->at[names->count - 1].next;
	} while (names->count > before);
}

static struct names *list(struct kernel *k, uint64_t dir)
{
	struct names *names = malloc(sizeof(*names));
	uint64_t fh = open_dir(k, dir);

	assert_non_null(names);
	read_on(k, dir, fh, 0, 4096, names);
	close_dir(k, dir, fh);
	return names;
}

/* The entry of that name, of which there is one; NULL: none. */
static const struct name *find(const struct names *names, const char *text)
{
	const struct name *found = NULL;

	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->at[i].text, text) == 0) {
			assert_null(found);
			found = &names->at[i];
		}
	return found;
}

/* --- readdir --- */

static void the_root_lists_what_can_be_opened(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 3148, NULL);
	struct memory_file *object = memory_add(k->posix, 0, "frames");
	struct names *names;

	memory_add(k->posix, 0, "3148");
	names = list(k, ROOT);
	assert_int_equal(names->count, 4);
	assert_string_equal(names->at[0].text, ".");
	assert_string_equal(names->at[1].text, "..");
	assert_int_equal(names->at[0].ino, ROOT);
	assert_int_equal(names->at[0].type, DT_DIR);
	assert_int_equal(find(names, "3148")->ino, memory_ino(k->sysv, segment));
	assert_int_equal(find(names, "3148")->type, DT_REG);
	assert_int_equal(find(names, "frames")->ino, memory_ino(k->posix, object));
	free(names);
	/* Looking makes no inodes. */
	assert_int_equal(k->sysv->objects, 0);
	assert_int_equal(k->posix->objects, 0);
}

static void hidden_directories_list_their_own(void **state)
{
	struct kernel *k = *state;
	struct names *names;

	memory_add(k->sysv, 0, NULL);
	memory_add(k->posix, 0, "3148");
	names = list(k, DIR_BY_ID);
	assert_int_equal(names->count, 3);
	assert_non_null(find(names, "1"));
	assert_int_equal(names->at[0].ino, DIR_BY_ID);
	assert_int_equal(names->at[1].ino, ROOT);
	free(names);
	names = list(k, DIR_BY_NAME);
	assert_int_equal(names->count, 3);
	assert_non_null(find(names, "3148"));
	free(names);
}

static void replies_are_as_long_as_asked_for(void **state)
{
	static const uint32_t sizes[] = { 32, 100, 1000, 4096, 65536 };
	struct kernel *k = *state;
	struct names *names = malloc(sizeof(*names));
	uint64_t fh = open_dir(k, ROOT);

	assert_non_null(names);
	for (uint32_t key = 1; key <= 100; key++)
		memory_add(k->sysv, key, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		read_on(k, ROOT, fh, 0, sizes[i], names);
		assert_int_equal(names->count, 102);
		assert_non_null(find(names, "1"));
		assert_non_null(find(names, "100"));
	}
	/* Where not even one entry has room there is none. */
	assert_int_equal(read_dir(k, ROOT, fh, 0, 16), 0);
	assert_int_equal(k->reply_len, 0);
	free(names);
	close_dir(k, ROOT, fh);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static void thousands_of_entries_come_once_each(void **state)
{
	struct kernel *k = *state;
	struct names *names;

	for (uint32_t i = 1; i <= 2000; i++) {
		char name[24];

		snprintf(name, sizeof(name), "object-%u", i);
		memory_add(k->sysv, i, NULL);
		memory_add(k->posix, 0, name);
	}
	names = list(k, ROOT);
	assert_int_equal(names->count, 4002);
	qsort(names->at, names->count, sizeof(*names->at), by_text);
	for (size_t i = 1; i < names->count; i++)
		assert_string_not_equal(names->at[i - 1].text, names->at[i].text);
	free(names);
	/* Read from the beginning once, and not for every reply. */
	assert_int_equal(k->sysv->calls[MEMORY_LIST], 1);
}

/* What is there all the time is in it once, whatever else comes and goes. */
static void a_listing_stays_while_it_is_read(void **state)
{
	struct kernel *k = *state;
	struct names *names = malloc(2 * sizeof(*names));
	uint64_t fh = open_dir(k, ROOT);
	struct memory_file *file;

	assert_non_null(names);
	for (uint32_t key = 1; key <= 50; key++)
		file = memory_add(k->sysv, key, NULL);
	assert_int_equal(read_dir(k, ROOT, fh, 0, 400), 0);
	names->count = 0;
	parse_reply(k, names);
	assert_in_range(names->count, 5, 20);
	memory_unlink(k->sysv, file);
	memory_add(k->sysv, 51, NULL);
	read_on(k, ROOT, fh, names->at[names->count - 1].next, 400, &names[1]);
	for (uint32_t key = 1; key <= 51; key++) {
		char text[12];

		snprintf(text, sizeof(text), "%u", key);
		assert_int_equal((find(names, text) != NULL) + (find(&names[1], text) != NULL),
				 key <= 50);
	}

	/* rewinddir(3) shows what is there now. */
	read_on(k, ROOT, fh, 0, 400, names);
	assert_int_equal(names->count, 52);
	assert_non_null(find(names, "51"));
	assert_null(find(names, "50"));
	free(names);
	close_dir(k, ROOT, fh);
}

static void any_entry_can_be_returned_to(void **state)
{
	struct kernel *k = *state;
	struct names *names;
	uint64_t fh = open_dir(k, ROOT);

	for (uint32_t key = 1; key <= 20; key++)
		memory_add(k->sysv, key, NULL);
	names = malloc(2 * sizeof(*names));
	assert_non_null(names);
	read_on(k, ROOT, fh, 0, 4096, names);
	for (size_t i = 1; i < names->count; i++) {
		read_on(k, ROOT, fh, names->at[i - 1].next, 4096, &names[1]);
		assert_int_equal(names[1].count, names->count - i);
		assert_string_equal(names[1].at[0].text, names->at[i].text);
	}
	read_on(k, ROOT, fh, INT32_MAX, 4096, &names[1]);
	assert_int_equal(names[1].count, 0);
	free(names);
	close_dir(k, ROOT, fh);
}

static void listing_errors_pass_through(void **state)
{
	struct kernel *k = *state;
	uint64_t fh = open_dir(k, ROOT);

	memory_add(k->sysv, 1, NULL);
	memory_fail(k->posix, MEMORY_LIST, -EMFILE);
	assert_int_equal(read_dir(k, ROOT, fh, 0, 4096), -EMFILE);
	memory_fail(k->sysv, MEMORY_LIST, -EIO);
	assert_int_equal(read_dir(k, ROOT, fh, 0, 4096), -EIO);
	assert_int_equal(read_dir(k, ROOT, fh, 0, 4096), 0);
	assert_int_not_equal(k->reply_len, 0);
	close_dir(k, ROOT, fh);
}

static void an_interrupted_opendir_leaves_nothing(void **state)
{
	struct kernel *k = *state;
	const struct fuse_open_in in = { 0 };
	const struct kernel_part part = { &in, sizeof(in) };

	kernel_interrupt(1);
	kernel_send(k, FUSE_OPENDIR, ROOT, &part, 1);
	kernel_expect_silence(k);
}

/* What is listed is kept for those who read on, once, and until all have closed. */
static void open_directories_share_a_listing(void **state)
{
	struct kernel *k = *state;
	uint64_t fh[100];
	size_t kept = 0;

	for (uint32_t key = 1; key <= 100; key++)
		memory_add(k->sysv, key, NULL);
	for (int i = 0; i < 100; i++) {
		fh[i] = open_dir(k, ROOT);
		assert_int_equal(read_dir(k, ROOT, fh[i], 0, 400), 0);
	}
	for (size_t i = 0; i < SHMFS_DIRS_KEPT; i++)
		kept += k->fs.dirs.kept[i] != NULL;
	assert_int_equal(kept, 1);
	for (int i = 0; i < 100; i++)
		close_dir(k, ROOT, fh[i]);
	assert_null(k->fs.dirs.kept[0]);
}

/* NFS servers open a directory anew for each piece. */
static void a_new_stream_goes_on_from_an_offset(void **state)
{
	struct kernel *k = *state;
	struct names *names = malloc(2 * sizeof(*names));
	uint64_t fh;

	assert_non_null(names);
	for (uint32_t key = 1; key <= 100; key++)
		memory_add(k->sysv, key, NULL);
	names->count = 0;
	for (size_t before = 1; names->count != before;) {
		off_t off = names->count ? (off_t)names->at[names->count - 1].next : 0;

		before = names->count;
		fh = open_dir(k, ROOT);
		assert_int_equal(read_dir(k, ROOT, fh, (uint64_t)off, 400), 0);
		parse_reply(k, names);
		close_dir(k, ROOT, fh);
	}
	assert_int_equal(names->count, 102);
	for (uint32_t key = 1; key <= 100; key++) {
		char text[12];

		snprintf(text, sizeof(text), "%u", key);
		assert_non_null(find(names, text));
	}
	free(names);
}

/* A stream that is opened sees what was made before, wherever it begins. */
static void a_new_stream_is_not_served_an_old_listing(void **state)
{
	struct kernel *k = *state;
	struct names *names = malloc(sizeof(*names));
	uint64_t early = open_dir(k, ROOT);
	uint64_t late;

	assert_non_null(names);
	assert_int_equal(read_dir(k, ROOT, early, 0, 4096), 0);
	memory_add(k->sysv, 1, NULL);
	late = open_dir(k, ROOT);
	read_on(k, ROOT, late, 2, 4096, names);
	assert_non_null(find(names, "1"));
	free(names);
	close_dir(k, ROOT, early);
	close_dir(k, ROOT, late);
}

/* What is listed can depend on who asks. */
static void each_user_has_a_listing(void **state)
{
	struct kernel *k = *state;
	uint64_t fh = open_dir(k, ROOT);

	assert_int_equal(read_dir(k, ROOT, fh, 0, 4096), 0);
	k->uid = 1000;
	assert_int_equal(read_dir(k, ROOT, fh, 2, 4096), 0);
	assert_int_equal(k->sysv->calls[MEMORY_LIST], 2);
	close_dir(k, ROOT, fh);
}

/* Two names at one place, and one right behind another, wherever a reply ends. */
static void names_whose_hashes_meet_come_once_each(void **state)
{
	static const char *const hashed_with_1[] = { "n240063", "n192362", "n513382", "n544188" };
	enum { ENTRY = 32 };
	struct kernel *k = *state;
	struct names *names = malloc(sizeof(*names));
	uint64_t fh = open_dir(k, ROOT);

	assert_non_null(names);
	k->fs.dirs.seed = 1;
	for (size_t i = 0; i < 4; i++)
		memory_add(k->posix, 0, hashed_with_1[i]);
	for (uint32_t size = 2 * ENTRY; size <= 6 * ENTRY; size += ENTRY) {
		read_on(k, ROOT, fh, 0, size, names);
		assert_int_equal(names->count, 6);
		for (size_t i = 0; i < 4; i++)
			assert_non_null(find(names, hashed_with_1[i]));
	}
	assert_int_equal(names->at[2].next + 1, names->at[3].next);
	assert_int_equal(names->at[4].next, names->at[5].next);
	free(names);
	close_dir(k, ROOT, fh);
}

/* 32-bit programs have no more. */
static void offsets_fit_into_31_bits(void **state)
{
	struct kernel *k = *state;
	struct names *names;

	for (uint32_t key = 1; key <= 200; key++)
		memory_add(k->sysv, key, NULL);
	names = list(k, ROOT);
	for (size_t i = 0; i < names->count; i++)
		assert_in_range(names->at[i].next, 1, INT32_MAX);
	free(names);
}

/* --- statfs --- */

static void statfs_tells_blocks_and_segments(void **state)
{
	struct kernel *k = *state;
	struct fuse_statfs_out out;

	assert_int_equal(kernel_get(k, FUSE_STATFS, ROOT, NULL, 0, NULL, &out, sizeof(out)), 0);
	assert_int_equal(out.st.blocks, 1000);
	assert_int_equal(out.st.bfree, 900);
	assert_int_equal(out.st.bavail, 800);
	assert_int_equal(out.st.files, 4096);
	assert_int_equal(out.st.ffree, 4000);
	assert_int_equal(out.st.bsize, 4096);
	assert_int_equal(out.st.namelen, 255);
	memory_fail(k->sysv, MEMORY_STATFS, -EMFILE);
	assert_int_equal(kernel_get(k, FUSE_STATFS, ROOT, NULL, 0, NULL, &out, sizeof(out)),
			 -EMFILE);
	memory_fail(k->posix, MEMORY_STATFS, -EIO);
	assert_int_equal(kernel_get(k, FUSE_STATFS, ROOT, NULL, 0, NULL, &out, sizeof(out)), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(the_root_lists_what_can_be_opened),
		KERNEL_TEST(hidden_directories_list_their_own),
		KERNEL_TEST(replies_are_as_long_as_asked_for),
		KERNEL_TEST(thousands_of_entries_come_once_each),
		KERNEL_TEST(a_listing_stays_while_it_is_read),
		KERNEL_TEST(any_entry_can_be_returned_to),
		KERNEL_TEST(listing_errors_pass_through),
		KERNEL_TEST(an_interrupted_opendir_leaves_nothing),
		KERNEL_TEST(open_directories_share_a_listing),
		KERNEL_TEST(a_new_stream_goes_on_from_an_offset),
		KERNEL_TEST(a_new_stream_is_not_served_an_old_listing),
		KERNEL_TEST(each_user_has_a_listing),
		KERNEL_TEST(names_whose_hashes_meet_come_once_each),
		KERNEL_TEST(offsets_fit_into_31_bits),
		KERNEL_TEST(statfs_tells_blocks_and_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

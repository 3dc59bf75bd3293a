/* SPDX-License-Identifier: MIT */
/* What can be stored through a window, and extents that are. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "shmfs/sigbus.h"
#include "shmfs/extent.h"
#include "shmfs/write_mapping.h"
#include "sigbus.h"

enum { SIZE = 1 << 20, BLOCK = 300000, SMALL = 60000 };

#define WINDOW_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* A file of 'a', and what is stored in it. */
struct room {
	atomic_size_t left;
	struct shmfs_write_mapping mapping;
	int fd;
	size_t page;
	char from[SIZE];
	char now[SIZE];
};

/* This file is cut to nothing after the next write to it; -1: none is. */
static int cut = -1;
static unsigned writes;

/* What pwritev2(2) is with offsets of 64 bits. */
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t pos, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t pos, int flags);

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t pos, int flags)
{
	ssize_t n = __real_pwritev64v2(fd, iov, count, pos, flags);

	writes++;
	if (cut >= 0)
		assert_int_equal(ftruncate(cut, 0), 0);
	cut = -1;
	return n;
}

static int setup(void **state)
{
	struct room *room = calloc(1, sizeof(*room));

	assert_non_null(room);
	atomic_init(&room->left, SIZE);
	room->mapping.budget = &room->left;
	room->page = (size_t)sysconf(_SC_PAGESIZE);
	room->fd = memfd_create("test_window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	memset(room->now, 'a', SIZE);
	assert_int_equal(write(room->fd, room->now, SIZE), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		room->from[i] = (char)('b' + i % 23);
	writes = 0;
	*state = room;
	return 0;
}

static int teardown(void **state)
{
	struct room *room = *state;

	shmfs_write_mapping_close(&room->mapping);
	assert_int_equal(atomic_load(&room->left), SIZE);
	close(room->fd);
	free(room);
	return 0;
}

static char *find(struct room *room, off_t pos, size_t len)
{
	return shmfs_write_mapping_find(&room->mapping, room->fd, pos, len);
}

/* Is `len` bytes at `pos` what was stored, and all else as it was? */
static bool has_stored(struct room *room, size_t pos, size_t len)
{
	assert_int_equal(pread(room->fd, room->now, SIZE, 0), SIZE);
	for (size_t i = 0; i < SIZE; i++) {
		bool stored = i >= pos && i < pos + len;

		if (room->now[i] != (stored ? room->from[i - pos] : 'a'))
			return false;
	}
	return true;
}

/* --- windows --- */

static void what_is_there_is_found(void **state)
{
	struct room *room = *state;
	char *mem = find(room, 100, BLOCK);

	assert_non_null(mem);
	assert_int_equal(shmfs_store_nofault(mem, room->from, BLOCK), 0);
	assert_true(has_stored(room, 100, BLOCK));
	assert_ptr_equal(find(room, 0, SIZE), mem - 100);
}

static void small_blocks_are_not(void **state)
{
	assert_null(find(*state, 0, SMALL));
}

static void missing_pages_are_not(void **state)
{
	struct room *room = *state;
	struct stat before, after;

	assert_int_equal(fallocate(room->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   10 * (off_t)room->page, (off_t)room->page),
			 0);
	fstat(room->fd, &before);
	assert_null(find(room, 0, BLOCK));
	fstat(room->fd, &after);
	assert_int_equal(before.st_blocks, after.st_blocks);
	/* Behind them is a matter of its own. */
	assert_non_null(find(room, 11 * (off_t)room->page, BLOCK));
}

static void what_is_behind_the_end_is_not(void **state)
{
	struct room *room = *state;

	assert_null(find(room, SIZE - BLOCK + 1, BLOCK));
	assert_null(find(room, (off_t)1 << 40, BLOCK));
	assert_non_null(find(room, SIZE - BLOCK, BLOCK));
	assert_null(find(room, SIZE - BLOCK + 1, BLOCK));
	assert_null(find(room, (off_t)1 << 40, BLOCK));
}

static void a_file_that_becomes_longer_is_seen_once_it_is(void **state)
{
	struct room *room = *state;

	assert_int_equal(ftruncate(room->fd, SMALL), 0);
	assert_null(find(room, 0, BLOCK));
	assert_int_equal(pwrite(room->fd, room->now, SIZE, 0), SIZE);
	assert_non_null(find(room, 0, BLOCK));
}

static void a_descriptor_that_only_writes_will_do(void **state)
{
	struct room *room = *state;
	int both = room->fd;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", both);
	room->fd = open(path, O_WRONLY);
	assert_true(room->fd >= 0);
	assert_non_null(find(room, 0, BLOCK));
	close(room->fd);
	room->fd = both;
}

static void what_cannot_be_mapped_is_not_found(void **state)
{
	struct room *room = *state;

	assert_int_equal(fcntl(room->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_null(find(room, 0, BLOCK));
	assert_null(find(room, 0, BLOCK));
}

static void all_windows_have_a_room_together(void **state)
{
	struct room *room = *state;
	struct shmfs_write_mapping other = { .budget = &room->left };

	assert_non_null(find(room, 0, BLOCK));
	assert_null(shmfs_write_mapping_find(&other, room->fd, 0, BLOCK));
	shmfs_write_mapping_close(&room->mapping);
	assert_non_null(shmfs_write_mapping_find(&other, room->fd, 0, BLOCK));
	assert_null(find(room, 0, BLOCK));
	shmfs_write_mapping_close(&other);
}

static void far_behind_in_a_file_is_not_seen(void **state)
{
	struct room *room = *state;
	const off_t far = (off_t)64 << 20;

	atomic_store(&room->left, SIZE_MAX);
	assert_int_equal(pwrite(room->fd, room->now, SIZE, far - SIZE / 2), SIZE);
	assert_null(find(room, far - SIZE / 2, SIZE));
	assert_non_null(find(room, far - SIZE / 2, SIZE / 2));
	shmfs_write_mapping_close(&room->mapping);
	atomic_store(&room->left, SIZE);
}

struct viewer {
	struct room *room;
	pthread_barrier_t *start;
	char *mem;
};

static void *view(void *arg)
{
	struct viewer *viewer = arg;

	pthread_barrier_wait(viewer->start);
	viewer->mem = find(viewer->room, 0, SIZE);
	return NULL;
}

static void several_can_come_first(void **state)
{
	struct viewer viewers[4];
	pthread_t threads[4];
	pthread_barrier_t start;

	atomic_fetch_add(&((struct room *)*state)->left, 3 * SIZE);
	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 4; i++) {
		viewers[i] = (struct viewer){ .room = *state, .start = &start };
		assert_int_equal(pthread_create(&threads[i], NULL, view, &viewers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_non_null(viewers[i].mem);
		assert_ptr_equal(viewers[i].mem, viewers[0].mem);
	}
	pthread_barrier_destroy(&start);
	atomic_fetch_sub(&((struct room *)*state)->left, 3 * SIZE);
}

/* --- extents --- */

static ssize_t store(struct room *room, off_t pos, size_t len)
{
	const struct shmfs_extent extent = {
		.fd = room->fd,
		.pos = pos,
		.len = len,
		.mapping = &room->mapping,
	};
	ssize_t n;

	/* cmocka handles SIGBUS itself until a test has begun. */
	assert_int_equal(shmfs_sigbus_install(), 0);
	n = shmfs_extent_store(&extent, room->from);
	sigbus_over();
	return n;
}

static void a_extent_is_stored_with_one_short_write(void **state)
{
	struct room *room = *state;
	const struct timespec long_ago[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct stat st;

	for (size_t pos = 0; pos < 2; pos++) {
		assert_int_equal(futimens(room->fd, long_ago), 0);
		assert_int_equal(store(room, (off_t)pos, BLOCK), BLOCK);
		assert_true(has_stored(room, pos, BLOCK) || pos);
		assert_int_equal(writes, pos + 1);
		assert_int_equal(fstat(room->fd, &st), 0);
		assert_true(st.st_mtim.tv_sec > 1);
	}
	assert_int_equal(store(room, 0, SIZE), SIZE);
	assert_true(has_stored(room, 0, SIZE));
}

static void what_has_no_window_is_written(void **state)
{
	struct room *room = *state;

	assert_int_equal(store(room, SIZE - 100, BLOCK), BLOCK);
	assert_int_equal(writes, 1);
	assert_int_equal(pread(room->fd, room->now, BLOCK, SIZE - 100), BLOCK);
	assert_memory_equal(room->now, room->from, BLOCK);
}

/* As if it had become shorter before, and not in the middle. */
static void a_file_that_becomes_shorter_is_written_whole(void **state)
{
	struct room *room = *state;
	struct stat st;

	cut = room->fd;
	assert_int_equal(store(room, 0, BLOCK), BLOCK);
	assert_int_equal(fstat(room->fd, &st), 0);
	assert_int_equal(st.st_size, BLOCK);
	assert_int_equal(pread(room->fd, room->now, BLOCK, 0), BLOCK);
	assert_memory_equal(room->now, room->from, BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WINDOW_TEST(what_is_there_is_found),
		WINDOW_TEST(small_blocks_are_not),
		WINDOW_TEST(missing_pages_are_not),
		WINDOW_TEST(what_is_behind_the_end_is_not),
		WINDOW_TEST(a_file_that_becomes_longer_is_seen_once_it_is),
		WINDOW_TEST(a_descriptor_that_only_writes_will_do),
		WINDOW_TEST(what_cannot_be_mapped_is_not_found),
		WINDOW_TEST(all_windows_have_a_room_together),
		WINDOW_TEST(far_behind_in_a_file_is_not_seen),
		WINDOW_TEST(several_can_come_first),
		WINDOW_TEST(a_extent_is_stored_with_one_short_write),
		WINDOW_TEST(what_has_no_window_is_written),
		WINDOW_TEST(a_file_that_becomes_shorter_is_written_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

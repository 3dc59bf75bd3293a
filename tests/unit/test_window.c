/* SPDX-License-Identifier: MIT */
/* What is stored through a window, and what is left to write(2). */
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
#include <unistd.h>

#include <cmocka.h>

#include "shmfs/guard.h"
#include "shmfs/window.h"
#include "sigbus.h"

enum { SIZE = 1 << 20, BLOCK = 300000, SMALL = 60000 };

#define WINDOW_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* A file of 'a', and what is stored in it. */
struct room {
	struct shmfs_window window;
	int fd;
	size_t page;
	char from[SIZE];
	char now[SIZE];
};

/* Shrunk as soon as it was looked at; -1: nothing is. */
static int shrinks = -1;

int __real_mincore(void *mem, size_t len, unsigned char *pages);
int __wrap_mincore(void *mem, size_t len, unsigned char *pages);

int __wrap_mincore(void *mem, size_t len, unsigned char *pages)
{
	int err = __real_mincore(mem, len, pages);

	if (shrinks >= 0)
		assert_int_equal(ftruncate(shrinks, 0), 0);
	return err;
}

static int setup(void **state)
{
	struct room *room = calloc(1, sizeof(*room));

	assert_non_null(room);
	room->page = (size_t)sysconf(_SC_PAGESIZE);
	room->fd = memfd_create("test_window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	memset(room->now, 'a', SIZE);
	assert_int_equal(write(room->fd, room->now, SIZE), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		room->from[i] = (char)('b' + i % 23);
	*state = room;
	return 0;
}

static int teardown(void **state)
{
	struct room *room = *state;

	shmfs_window_close(&room->window);
	close(room->fd);
	free(room);
	return 0;
}

static size_t store(struct room *room, off_t pos, size_t len)
{
	size_t n;

	/* cmocka handles SIGBUS itself until a test has begun. */
	assert_int_equal(shmfs_guard_install(), 0);
	n = shmfs_window_store(&room->window, room->fd, pos, room->from, len);

	sigbus_over();
	return n;
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

static void all_but_the_last_page_is_stored(void **state)
{
	struct room *room = *state;
	size_t last = (100 + BLOCK) / room->page * room->page;

	assert_int_equal(store(room, 100, BLOCK), last - 100);
	assert_true(has_stored(room, 100, last - 100));
}

static void a_whole_last_page_is_left_as_well(void **state)
{
	struct room *room = *state;

	assert_int_equal(store(room, 0, SIZE), SIZE - room->page);
	assert_true(has_stored(room, 0, SIZE - room->page));
}

static void small_blocks_are_left(void **state)
{
	assert_int_equal(store(*state, 0, SMALL), 0);
}

static void missing_pages_are_left_missing(void **state)
{
	struct room *room = *state;
	struct stat before, after;

	assert_int_equal(fallocate(room->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   10 * (off_t)room->page, (off_t)room->page),
			 0);
	fstat(room->fd, &before);
	assert_int_equal(store(room, 0, BLOCK), 0);
	fstat(room->fd, &after);
	assert_int_equal(before.st_blocks, after.st_blocks);
	/* Behind them is a matter of its own. */
	assert_int_not_equal(store(room, 11 * (off_t)room->page, BLOCK), 0);
}

static void what_is_behind_the_end_is_left(void **state)
{
	struct room *room = *state;

	assert_int_equal(store(room, SIZE - BLOCK + 1, BLOCK), 0);
	assert_int_equal(store(room, (off_t)1 << 40, BLOCK), 0);
	assert_true(has_stored(room, 0, 0));
	assert_int_not_equal(store(room, SIZE - BLOCK, BLOCK), 0);
	assert_int_equal(store(room, SIZE - BLOCK + 1, BLOCK), 0);
	assert_int_equal(store(room, (off_t)1 << 40, BLOCK), 0);
}

static void a_file_that_becomes_longer_is_seen_once_it_is(void **state)
{
	struct room *room = *state;

	assert_int_equal(ftruncate(room->fd, SMALL), 0);
	assert_int_equal(store(room, 0, BLOCK), 0);
	assert_int_equal(pwrite(room->fd, room->now, SIZE, 0), SIZE);
	assert_int_not_equal(store(room, 0, BLOCK), 0);
}

static void a_file_that_becomes_shorter_ends_the_store(void **state)
{
	struct room *room = *state;

	shrinks = room->fd;
	assert_int_equal(store(room, 0, BLOCK), 0);
	shrinks = -1;
	assert_int_equal(store(room, 0, BLOCK), 0);
}

static void a_descriptor_that_only_writes_will_do(void **state)
{
	struct room *room = *state;
	int both = room->fd;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", both);
	room->fd = open(path, O_WRONLY);
	assert_true(room->fd >= 0);
	assert_int_not_equal(store(room, 0, BLOCK), 0);
	close(room->fd);
	room->fd = both;
	assert_int_equal(pread(both, room->now, 1, 0), 1);
	assert_int_equal(room->now[0], room->from[0]);
}

static void what_cannot_be_mapped_is_left(void **state)
{
	struct room *room = *state;

	assert_int_equal(fcntl(room->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(store(room, 0, BLOCK), 0);
	assert_int_equal(store(room, 0, BLOCK), 0);
}

struct painter {
	struct room *room;
	pthread_barrier_t *start;
	off_t pos;
	size_t stored;
};

static void *paint(void *arg)
{
	struct painter *painter = arg;
	struct room *room = painter->room;

	pthread_barrier_wait(painter->start);
	painter->stored = shmfs_window_store(&room->window, room->fd, painter->pos,
					     room->from + painter->pos, SIZE / 4);
	return NULL;
}

static void several_can_come_first(void **state)
{
	struct painter painters[4];
	pthread_t threads[4];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 4; i++) {
		painters[i] = (struct painter){ *state, &start, i * (SIZE / 4), 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, paint, &painters[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		const struct room *room = painters[i].room;
		size_t whole = SIZE / 4 - room->page;

		pthread_join(threads[i], NULL);
		assert_int_equal(painters[i].stored, whole);
		assert_int_equal(pread(room->fd, painters[i].room->now, whole, painters[i].pos),
				 whole);
		assert_memory_equal(room->now, room->from + painters[i].pos, whole);
	}
	pthread_barrier_destroy(&start);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WINDOW_TEST(all_but_the_last_page_is_stored),
		WINDOW_TEST(a_whole_last_page_is_left_as_well),
		WINDOW_TEST(small_blocks_are_left),
		WINDOW_TEST(missing_pages_are_left_missing),
		WINDOW_TEST(what_is_behind_the_end_is_left),
		WINDOW_TEST(a_file_that_becomes_longer_is_seen_once_it_is),
		WINDOW_TEST(a_file_that_becomes_shorter_ends_the_store),
		WINDOW_TEST(a_descriptor_that_only_writes_will_do),
		WINDOW_TEST(what_cannot_be_mapped_is_left),
		WINDOW_TEST(several_can_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

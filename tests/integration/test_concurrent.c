/* SPDX-License-Identifier: MIT */
/* Many at a time: nobody sees torn bytes, nothing is lost, nothing hangs. */
#include "harness.h"

#include <time.h>

enum { KEY = 3148, PAGE = 4096, CHILDREN = 4 };

#define PATH MNT "/3148"

/* Children run until then. */
static time_t deadline(void)
{
	return time(NULL) + 1;
}

typedef int work(int number);

/* All of them must end well. */
static void run_at_a_time(work *const functions[], int count)
{
	pid_t children[CHILDREN];
	for (int i = 0; i < count; i++)
		children[i] = child_start(functions[i], i);
	assert_int_equal(children_join(children, count), 0);
}

static void run_four(work *function)
{
	work *const functions[CHILDREN] = { function, function, function, function };

	run_at_a_time(functions, CHILDREN);
}

static char bytes[3 * PAGE];

/* Whoever reads while the segment is made anew gets the old bytes, or the same. */
static int read_all_the_time(int number)
{
	char seen[sizeof(bytes)];
	for (time_t end = deadline(); time(NULL) <= end;) {
		int fd = open(PATH, O_RDONLY);
		if (fd == -1 && errno == ENOENT)
			continue; /* between removal and re-creation */
		child_must(fd != -1);
		child_must(pread(fd, seen, sizeof(seen), 0) == sizeof(seen));
		child_must(memcmp(seen, bytes, sizeof(seen)) == 0);
		close(fd);
	}
	return 0;
}

static int resize_all_the_time(int number)
{
	for (time_t end = deadline(); time(NULL) <= end;) {
		off_t size = (off_t)sizeof(bytes) + rand() % 100000;
		if (truncate(PATH, size) == -1)
			child_must(errno == EBUSY || errno == ENOENT);
	}
	return 0;
}

static void readers_see_whole_content_while_it_is_resized(void **state)
{
	work *const functions[] = { resize_all_the_time, read_all_the_time, read_all_the_time };
	pattern_fill(bytes, sizeof(bytes), 1);
	segment_put(segment_create(KEY, sizeof(bytes), 0600), 0, bytes, sizeof(bytes));
	run_at_a_time(functions, 3);
	assert_int_equal(segments_count(), 1);
	assert_true(segment_has(segment_find(KEY), 0, bytes, sizeof(bytes)));
}

static int list_all_the_time(int number)
{
	for (time_t end = deadline(); time(NULL) <= end;)
		child_must(directory_count(MNT) == 2);
	return 0;
}

/* Its new segment may have an index in the kernel's table that was passed already. */
static void a_key_is_listed_once_while_it_is_resized(void **state)
{
	work *const functions[] = { resize_all_the_time, list_all_the_time, list_all_the_time };
	segment_create(KEY + 1, PAGE, 0600);
	segment_create(KEY, sizeof(bytes), 0600);
	run_at_a_time(functions, 3);
	assert_int_equal(segments_count(), 2);
}

/* Each has a key of its own, and writes, resizes, reads and removes. */
static int work_on_own_key(int number)
{
	char path[64], text[64], seen[64];
	snprintf(path, sizeof(path), MNT "/%d", 100 + number);
	for (time_t end = deadline(); time(NULL) <= end;) {
		snprintf(text, sizeof(text), "this is %d at %d", number, rand());
		int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		child_must(fd != -1);
		child_must(pwrite(fd, text, sizeof(text), 20000) == sizeof(text));
		child_must(close(fd) == 0);
		child_must(truncate(path, 50000) == 0);
		fd = open(path, O_RDONLY);
		child_must(fd != -1);
		child_must(pread(fd, seen, sizeof(seen), 20000) == sizeof(seen));
		child_must(strcmp(seen, text) == 0);
		child_must(close(fd) == 0);
		child_must(unlink(path) == 0);
	}
	return 0;
}

static void work_on_different_keys_does_not_mix(void **state)
{
	run_four(work_on_own_key);
	assert_int_equal(segments_count(), 0);
	assert_int_equal(segments_pages(), 0);
}

static int work_on_own_object(int number)
{
	char path[64], other[64], text[64], seen[64];
	snprintf(path, sizeof(path), MNT "/object-%d", number);
	snprintf(other, sizeof(other), MNT "/other-%d", number);
	for (time_t end = deadline(); time(NULL) <= end;) {
		snprintf(text, sizeof(text), "this is %d at %d", number, rand());
		int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		child_must(fd != -1);
		child_must(pwrite(fd, text, sizeof(text), 0) == sizeof(text));
		child_must(rename(path, other) == 0);
		child_must(pread(fd, seen, sizeof(seen), 0) == sizeof(seen));
		child_must(strcmp(seen, text) == 0);
		child_must(close(fd) == 0);
		child_must(unlink(other) == 0);
	}
	return 0;
}

static void work_on_different_objects_does_not_mix(void **state)
{
	run_four(work_on_own_object);
	assert_int_equal(directory_count(NATIVE), 0);
}

/* One key for all: whatever order they come in, no call may hang or fail oddly. */
static int fight_for_one_key(int number)
{
	char byte = (char)number;
	for (time_t end = deadline(); time(NULL) <= end;) {
		int fd = open(PATH, O_CREAT | O_RDWR | (rand() % 2 ? O_TRUNC : 0), 0600);
		child_must(fd != -1 || errno == ENOENT || errno == EEXIST);
		if (fd == -1)
			continue;
		ssize_t count = pwrite(fd, &byte, 1, rand() % 30000);
		child_must(count == 1 || errno == ENOSPC);
		child_must(ftruncate(fd, 1 + rand() % 30000) == 0 || errno == EBUSY ||
			   errno == ENOENT || errno == EIDRM || errno == ESTALE);
		/* Or it could not be cut to what was written, since others have it open. */
		child_must(close(fd) == 0 || errno == EBUSY);
		child_must(number % 2 || unlink(PATH) == 0 || errno == ENOENT);
	}
	return 0;
}

static void a_fight_for_one_key_has_no_victims(void **state)
{
	run_four(fight_for_one_key);
	assert_true(segments_count() <= 1);
	if (file_exists(PATH))
		must(unlink(PATH));
	file_write(PATH, O_CREAT | O_EXCL, "still serving", 13);
	assert_true(segment_has(segment_find(KEY), 0, "still serving", 13));
}

/* Segments come and go natively while others list and stat them. */
static int churn(int number)
{
	for (time_t end = deadline(); time(NULL) <= end;) {
		int id = shmget(1000 + number * 10 + rand() % 10, PAGE, IPC_CREAT | 0600);
		child_must(id != -1);
		child_must(shmctl(id, IPC_RMID, NULL) == 0);
	}
	return 0;
}

static int look(int number)
{
	for (time_t end = deadline(); time(NULL) <= end;) {
		child_must(system("ls -l " MNT " " MNT "/.by-id > " TMP "/out 2>&1; "
				  "! grep -v 'No such file' " TMP "/out | grep -i error") == 0);
		child_must(directory_count(MNT) >= 0);
	}
	return 0;
}

static void looking_at_what_comes_and_goes_is_harmless(void **state)
{
	work *const functions[] = { churn, churn, look };
	run_at_a_time(functions, 3);
	assert_int_equal(directory_count(MNT), 0);
	assert_int_equal(segments_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(readers_see_whole_content_while_it_is_resized),
		mounted(a_key_is_listed_once_while_it_is_resized),
		mounted(work_on_different_keys_does_not_mix),
		mounted(work_on_different_objects_does_not_mix),
		mounted(a_fight_for_one_key_has_no_victims),
		mounted(looking_at_what_comes_and_goes_is_harmless),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Directories: offsets that survive changes, many segments, what looking costs. */
#include "harness.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

enum { PAGE = 4096, MANY = 4000, FIRST = 100000 };

static void create_segments(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		segment_create((key_t)(FIRST + i), 1, 0600);
}

/* What getdents64(2) writes. */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/*
 * A reader that takes a few entries at a time, so that each step asks the
 * filesystem to go on at an offset.  It counts how often it meets each key.
 */
struct reader {
	int fd;
	unsigned met[MANY];
	unsigned total;
};

static bool read_some(struct reader *reader)
{
	_Alignas(struct entry) char buffer[256];
	long count = must(syscall(SYS_getdents64, reader->fd, buffer, sizeof(buffer)));

	for (long at = 0; at < count;) {
		const struct entry *entry = (const void *)(buffer + at);
		long key = strtol(entry->name, NULL, 10);
		if (key >= FIRST && key < FIRST + MANY)
			reader->met[key - FIRST]++;
		reader->total++;
		at += entry->length;
	}
	return count > 0;
}

static struct reader *start_reading(const char *path)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	assert_non_null(reader);
	reader->fd = must(open(path, O_RDONLY | O_DIRECTORY));
	return reader;
}

static void end_reading(struct reader *reader)
{
	close(reader->fd);
	free(reader);
}

static void four_thousand_segments_are_each_listed_once(void **state)
{
	create_segments(MANY);
	struct reader *reader = start_reading(MNT);
	while (read_some(reader))
		;
	assert_int_equal(reader->total, MANY + 2);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(reader->met[i], 1);
	end_reading(reader);
	assert_int_equal(directory_count(MNT "/.by-id"), MANY);
}

static void removal_while_reading_hides_nothing_else(void **state)
{
	create_segments(1000);
	struct reader *reader = start_reading(MNT);
	unsigned next = 0;
	while (read_some(reader)) {
		for (int i = 0; i < 3 && next < 1000; i++, next += 2)
			segment_remove(segment_find((key_t)(FIRST + next)));
	}
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 2 == 1)
			assert_int_equal(reader->met[i], 1); /* was there throughout */
		assert_true(reader->met[i] <= 1);
	}
	end_reading(reader);
}

static void creation_while_reading_repeats_nothing(void **state)
{
	create_segments(500);
	struct reader *reader = start_reading(MNT);
	unsigned next = 500;
	while (read_some(reader)) {
		for (int i = 0; i < 2 && next < 1000; i++, next++)
			segment_create((key_t)(FIRST + next), 1, 0600);
	}
	for (unsigned i = 0; i < 1000; i++) {
		if (i < 500)
			assert_int_equal(reader->met[i], 1);
		assert_true(reader->met[i] <= 1);
	}
	end_reading(reader);
}

static void segments_that_come_and_go_disturb_nothing(void **state)
{
	create_segments(600);
	struct reader *reader = start_reading(MNT);
	unsigned step = 0;
	while (read_some(reader)) {
		/* The kernel gives a freed place in its table to the next segment. */
		unsigned victim = (step * 7) % 300;
		int id = segment_find((key_t)(FIRST + victim));
		if (id != -1)
			segment_remove(id);
		segment_create((key_t)(FIRST + 600 + step), 1, 0600);
		step++;
	}
	for (unsigned i = 300; i < 600; i++)
		assert_int_equal(reader->met[i], 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(reader->met[i] <= 1);
	end_reading(reader);
}

static void objects_that_come_and_go_disturb_nothing(void **state)
{
	char name[32];
	for (int i = FIRST; i < FIRST + 400; i++) {
		snprintf(name, sizeof(name), "%d", i);
		object_create(name, 1);
	}
	struct reader *reader = start_reading(MNT "/.by-name");
	for (int step = 0; read_some(reader) && step < 200; step++) {
		snprintf(name, sizeof(name), "%d", FIRST + 2 * step);
		must(shm_unlink(name));
		snprintf(name, sizeof(name), "new-%d", step);
		object_create(name, 1);
	}
	while (read_some(reader))
		;
	for (unsigned i = 0; i < 400; i++) {
		if (i % 2 == 1)
			assert_int_equal(reader->met[i], 1);
		assert_true(reader->met[i] <= 1);
	}
	end_reading(reader);
}

static void rm_of_everything_leaves_nothing(void **state)
{
	create_segments(MANY);
	assert_int_equal(shell(NULL, 0, "find " MNT " -type f -delete"), 0);
	assert_int_equal(segments_count(), 0);
	create_segments(500);
	object_create("frames", 1);
	assert_int_equal(shell(NULL, 0, "rm -r " MNT "/*"), 0);
	assert_int_equal(segments_count(), 0);
	assert_false(object_exists("frames"));
}

static void telldir_leads_back_to_the_same_entry(void **state)
{
	enum { COUNT = 300 };
	static char names[COUNT + 10][32];
	static long places[COUNT + 10];
	create_segments(COUNT);
	object_create("frames", 1);
	DIR *directory = opendir(MNT);
	assert_non_null(directory);
	int count = 0;
	for (struct dirent *entry;; count++) {
		places[count] = telldir(directory);
		entry = readdir(directory);
		if (!entry)
			break;
		snprintf(names[count], sizeof(names[count]), "%.31s", entry->d_name);
	}
	assert_int_equal(count, COUNT + 3);
	for (int i = count - 1; i >= 0; i -= 7) {
		seekdir(directory, places[i]);
		assert_string_equal(readdir(directory)->d_name, names[i]);
	}
	seekdir(directory, places[count]);
	assert_null(readdir(directory));
	closedir(directory);
}

/* NFS servers open a directory anew for each piece. */
static void a_new_stream_goes_on_from_an_offset(void **state)
{
	_Alignas(struct entry) char buffer[256];
	struct reader *reader = start_reading(MNT);
	int64_t offset = 0;
	long count;
	create_segments(500);
	do {
		lseek(reader->fd, offset, SEEK_SET);
		count = must(syscall(SYS_getdents64, reader->fd, buffer, sizeof(buffer)));
		for (long at = 0; at < count;) {
			const struct entry *entry = (const void *)(buffer + at);
			long key = strtol(entry->name, NULL, 10);
			if (key >= FIRST)
				reader->met[key - FIRST]++;
			offset = entry->offset;
			at += entry->length;
		}
		close(reader->fd);
		reader->fd = must(open(MNT, O_RDONLY | O_DIRECTORY));
	} while (count > 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(reader->met[i], 1);
	end_reading(reader);
}

/* A name that is replaced is there all the time. */
static void a_replaced_name_is_met_once(void **state)
{
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%dx", FIRST + i);
		object_create(name, 0);
	}
	struct reader *reader = start_reading(MNT "/.by-name");
	for (bool more = true; more;) {
		for (int i = 0; i < 100; i++) {
			char to[64];
			snprintf(to, sizeof(to), NATIVE "/%dx", FIRST + i);
			file_write(NATIVE "/new", O_CREAT, "", 0);
			must(rename(NATIVE "/new", to));
		}
		more = read_some(reader);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(reader->met[i], 1);
	end_reading(reader);
}

/* The least that a listing of these names could cost for each is 200 times 1.4 MB. */
static void open_directories_cost_nothing(void **state)
{
	enum { NAMES = 20000, DIRECTORIES = 200 };
	static struct reader *readers[DIRECTORIES];
	struct fixture *fixture = *state;
	for (int i = 0; i < NAMES; i++) {
		char name[80];
		snprintf(name, sizeof(name), "an-object-with-a-long-name-among-many-others-%08d",
			 i);
		object_create(name, 0);
	}
	for (int i = 0; i < DIRECTORIES; i++) {
		readers[i] = start_reading(MNT);
		read_some(readers[i]);
	}
	if (!SANITIZED)
		assert_true(daemon_status(fixture, "VmRSS:") < 32 << 10);
	for (int i = 0; i < DIRECTORIES; i++)
		end_reading(readers[i]);
}

/* The kernel forgets the files that go, and what was kept of them is no use any more. */
static void memory_goes_back_when_files_go(void **state)
{
	enum { NAMES = 20000 };
	struct fixture *fixture = *state;
	char name[32];
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "object-%d", i);
		object_create(name, 0);
	}
	assert_int_equal(shell(NULL, 0, "ls -l " MNT " > /dev/null"), 0);
	long most = daemon_status(fixture, "VmRSS:");
	assert_int_equal(shell(NULL, 0, "find " MNT " -type f -delete"), 0);
	if (!SANITIZED)
		assert_true(eventually(daemon_status(fixture, "VmRSS:") < most - 2048));
}

static void entries_tell_inode_and_type(void **state)
{
	segment_create(FIRST, 1, 0600);
	object_create("frames", 1);
	DIR *directory = opendir(MNT);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		char path[PATH_MAX];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MNT "/%s", entry->d_name);
		assert_int_equal(entry->d_type, DT_REG);
		assert_int_equal(entry->d_ino, file_stat(path).st_ino);
	}
	closedir(directory);
}

static void the_daemon_stays_small(void **state)
{
	struct fixture *fixture = *state;
	create_segments(MANY);
	for (int i = 0; i < 3; i++)
		assert_int_equal(shell(NULL, 0, "ls -l " MNT " > /dev/null"), 0);
	if (!SANITIZED)
		assert_true(daemon_status(fixture, "VmRSS:") < 8192);
}

/* The time of one stat(2) of an existing and one of a missing name: least of many. */
static double lookup_cost(void)
{
	double least = 1;
	for (int i = 0; i < 2000; i++) {
		struct timespec start, end;
		struct stat data;
		clock_gettime(CLOCK_MONOTONIC, &start);
		must(stat(MNT "/100003", &data));
		must_fail(ENOENT, stat(MNT "/99", &data));
		clock_gettime(CLOCK_MONOTONIC, &end);
		double cost = (double)(end.tv_sec - start.tv_sec) +
			      (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
		if (cost < least)
			least = cost;
	}
	return least;
}

static void a_lookup_costs_the_same_among_many(void **state)
{
	create_segments(10);
	double among_few = lookup_cost();
	for (unsigned i = 10; i < MANY; i++)
		segment_create((key_t)(FIRST + i), 1, 0600);
	double among_many = lookup_cost();
	/* Reading the table of 4,000 takes a hundred times as long. */
	if (among_many > 5 * among_few)
		fail_msg("%.1f us among 10, %.1f us among %d", among_few * 1e6, among_many * 1e6,
			 MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(four_thousand_segments_are_each_listed_once),
		mounted(removal_while_reading_hides_nothing_else),
		mounted(creation_while_reading_repeats_nothing),
		mounted(segments_that_come_and_go_disturb_nothing),
		mounted(objects_that_come_and_go_disturb_nothing),
		mounted(rm_of_everything_leaves_nothing),
		mounted(telldir_leads_back_to_the_same_entry),
		mounted(a_new_stream_goes_on_from_an_offset),
		mounted(a_replaced_name_is_met_once),
		mounted(open_directories_cost_nothing),
		mounted(memory_goes_back_when_files_go),
		mounted(entries_tell_inode_and_type),
		mounted(the_daemon_stays_small),
		mounted(a_lookup_costs_the_same_among_many),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* A process that changes the size of a key which it also has open for reading, as rsync --inplace. */
#include "harness.h"

#include "engine.h"

#include <pthread.h>
#include <sys/mman.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 100, WRITERS = 3, ROUNDS = 200 };

#define SEGMENT MNT "/3148"

/* The reader, the segment and a file of tmpfs have the same bytes. */
static void assert_same(int reader, int model)
{
	static char expected[1 << 20], seen[1 << 20];
	ssize_t size = must(pread(model, expected, sizeof(expected), 0));
	struct stat st;
	assert_int_equal(pread(reader, seen, sizeof(seen), 0), size);
	assert_memory_equal(seen, expected, (size_t)size);
	assert_true(segment_has(segment_find(KEY), 0, expected, (size_t)size));
	must(fstat(reader, &st));
	assert_int_equal(st.st_size, size);
	must(stat(SEGMENT, &st));
	assert_int_equal(st.st_size, size);
}

static void change(int fd, int step)
{
	char bytes[5000];
	memset(bytes, 'a' + step, sizeof(bytes));
	switch (step) {
	case 0: /* a hole in between */
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 2 * PAGE), sizeof(bytes));
		break;
	case 1:
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 17), sizeof(bytes));
		break;
	case 2:
		must(fcntl(fd, F_SETFL, O_APPEND));
		assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
		break;
	case 3:
		must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 6000));
		break;
	case 4:
		must(ftruncate(fd, 7000));
		break;
	case 5:
		must(ftruncate(fd, 70000));
		break;
	default:
		must(fallocate(fd, 0, 60000, 30000));
	}
}

static void the_reader_sees_all_that_is_written(void **state)
{
	segment_put(segment_create(KEY, SIZE, 0600), 0, "old", 3);
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	int model = must(open(TMP "/model", O_RDWR | O_CREAT, 0600));
	assert_int_equal(pwrite(model, "old", 3, 0), 3);
	must(ftruncate(model, SIZE));
	for (int step = 0; step < 7; step++) {
		change(fd, step);
		change(model, step);
		assert_same(reader, model);
	}
	/* Clearing keeps the size. */
	must(truncate(SEGMENT, 0));
	must(ftruncate(model, 0));
	must(ftruncate(model, 90000));
	assert_same(reader, model);
	close(fd);
	assert_same(reader, model);
	close(reader);
	assert_int_equal(segments_count(), 1);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 90000);
}

static void *write_far(void *arg)
{
	return (void *)(intptr_t)pwrite(*(int *)arg, "x", 1, 3 * PAGE);
}

static void a_thread_writes_what_another_reads(void **state)
{
	char byte = 0;
	pthread_t thread;
	void *written;
	segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pthread_create(&thread, NULL, write_far, &fd), 0);
	pthread_join(thread, &written);
	assert_int_equal((intptr_t)written, 1);
	assert_int_equal(pread(reader, &byte, 1, 3 * PAGE), 1);
	assert_int_equal(byte, 'x');
}

static void its_mapping_shows_what_is_written(void **state)
{
	needs(engine_is_passthrough(), "kernel passthrough");
	segment_create(KEY, PAGE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	char *before = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "far", 3, 3 * PAGE), 3);
	assert_int_equal(pwrite(fd, "near", 4, 0), 4);
	char *after = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, reader, 0);
	assert_string_equal(before, "near");
	assert_string_equal(after, "near");
	assert_string_equal(after + 3 * PAGE, "far");
	close(reader);
	close(fd);
	/* They keep what they show, and nothing else. */
	must(truncate(SEGMENT, 5 * PAGE));
	assert_string_equal(before, "near");
	/* The next one that opens the key reaches the segment that it has now. */
	fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "new", 4, 0), 4);
	close(fd);
	assert_true(segment_has(segment_find(KEY), 0, "new", 4));
	munmap(before, PAGE);
	munmap(after, 4 * PAGE);
}

static void *clear_all_the_time(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		close(open(SEGMENT, O_WRONLY | O_TRUNC));
	return NULL;
}

static void several_clear_it_at_once(void **state)
{
	pthread_t threads[4];
	char seen[PAGE];
	segment_create(KEY, PAGE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "far", 3, 3 * PAGE), 3);
	for (size_t i = 0; i < array_size(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, clear_all_the_time, NULL), 0);
	for (size_t i = 0; i < array_size(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(pread(reader, seen, PAGE, 3 * PAGE), 3);
	assert_memory_equal(seen, "\0\0\0", 3);
	close(fd);
	close(reader);
}

/* Each writes its own bytes, and appends. */
static int write_all_the_time(int number)
{
	int fd = open(SEGMENT, O_WRONLY);
	int end = open(SEGMENT, O_WRONLY | O_APPEND);
	char bytes[300];
	child_must(fd != -1 && end != -1);
	for (int i = 0; i < ROUNDS; i++) {
		memset(bytes, rand(), sizeof(bytes));
		child_must(pwrite(fd, bytes, sizeof(bytes), rand() % 20000) == sizeof(bytes));
		child_must(write(end, bytes, sizeof(bytes)) == sizeof(bytes));
		child_must(i % 50 || ftruncate(fd, 1 + rand() % 30000) == 0);
	}
	return 0;
}

static void others_may_write_then(void **state)
{
	static char seen[1 << 20];
	pid_t children[WRITERS];
	segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "x", 1, SIZE), 1);
	for (int i = 0; i < WRITERS; i++)
		children[i] = child_start(write_all_the_time, i);
	assert_int_equal(children_join(children, WRITERS), 0);
	ssize_t size = must(pread(reader, seen, sizeof(seen), 0));
	assert_true(file_has(SEGMENT, 0, seen, (size_t)size));
	assert_true(segment_has(segment_find(KEY), 0, seen, (size_t)size));
	close(fd);
	close(reader);
}

static void a_reader_of_another_process_holds_it_up(void **state)
{
	needs(engine_is_passthrough(), "kernel passthrough");
	segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	int other = must(open_as_other(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	must_fail(ENOSPC, pwrite(fd, "x", 1, SIZE));
	must_fail(EBUSY, truncate(SEGMENT, 2 * SIZE));
	close(other);
	assert_true(eventually(pwrite(fd, "x", 1, SIZE) == 1));
	assert_int_equal(pread(reader, &(char){ 0 }, 1, SIZE), 1);
	close(reader);
	/* A file that may be written through a mapping. */
	int both = must(open(SEGMENT, O_RDWR));
	close(fd);
	close(both);
	both = must(open(SEGMENT, O_RDWR));
	fd = must(open(SEGMENT, O_WRONLY));
	must_fail(EBUSY, ftruncate(fd, 2 * SIZE));
}

/* What is stored in it would be lost. */
static void a_mapping_without_a_descriptor_holds_it_up(void **state)
{
	needs(engine_is_passthrough(), "kernel passthrough");
	int id = segment_create(KEY, PAGE, 0600);
	for (int before = 0; before < 2; before++) {
		int reader = before ? -1 : must(open(SEGMENT, O_RDONLY));
		int both = must(open(SEGMENT, O_RDWR));
		char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, both, 0);
		close(both);
		if (before)
			reader = must(open(SEGMENT, O_RDONLY));
		int fd = must(open(SEGMENT, O_WRONLY));
		must_fail(EBUSY, ftruncate(fd, 2 * PAGE));
		map[0] = (char)('a' + before);
		assert_true(segment_has(id, 0, map, 1));
		munmap(map, PAGE);
		close(fd);
		close(reader);
		must(truncate(SEGMENT, 2 * PAGE));
		must(truncate(SEGMENT, PAGE));
		id = segment_find(KEY);
	}
}

/* It is opened by the reader's descriptor, so the kernel maps what it has for that. */
static void a_mapping_by_its_descriptor_holds_it_up(void **state)
{
	char path[64];
	needs(engine_is_passthrough(), "kernel passthrough");
	int id = segment_create(KEY, PAGE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader);
	int both = must(open(path, O_RDWR | O_TRUNC));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, both, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(both);
	int fd = must(open(SEGMENT, O_WRONLY));
	must_fail(EBUSY, ftruncate(fd, 2 * PAGE));
	map[0] = 'm';
	assert_true(segment_has(id, 0, "m", 1));
	munmap(map, PAGE);
	close(fd);
	close(reader);
}

/* Bytes that are stored in a mapping of what the reader reads would be lost. */
static void it_is_not_opened_for_writing_by_its_descriptor(void **state)
{
	char path[64], byte = 0;
	segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "x", 1, SIZE), 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader);
	int again = must(open(path, O_RDONLY));
	assert_int_equal(pread(again, &byte, 1, SIZE), 1);
	assert_int_equal(byte, 'x');
	int both = open(path, O_RDWR);
	if (engine_is_passthrough())
		assert_int_equal(both, -1);
	else
		assert_int_not_equal(both, -1);
	/* By its name it is another file to the kernel. */
	must(open(SEGMENT, O_RDWR));
}

/* A file that is open for writing alone cannot be mapped. */
static void a_writer_by_its_descriptor_leaves_it_free_to_grow(void **state)
{
	char path[64], byte = 0;
	segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader);
	int fd = must(open(path, O_WRONLY));
	assert_int_equal(pwrite(fd, "w", 1, 0), 1);
	close(fd);
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 3 * PAGE);
	assert_int_equal(pread(reader, &byte, 1, 0), 1);
	assert_int_equal(byte, 'w');
	assert_int_equal(pread(reader, &byte, 1, 3 * PAGE - 1), 1);
}

static void rsync_writes_in_place(void **state)
{
	assert_int_equal(shell(NULL, 0,
			       "cd " TMP " && seq 100 > file && cp file " SEGMENT
			       " && for n in 20000 30000 4000; do seq $n > file;"
			       " rsync --inplace file " SEGMENT " && cmp file " SEGMENT
			       " || exit 1; done"),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(the_reader_sees_all_that_is_written),
		mounted(a_thread_writes_what_another_reads),
		mounted(its_mapping_shows_what_is_written),
		mounted(several_clear_it_at_once),
		mounted(others_may_write_then),
		mounted(a_reader_of_another_process_holds_it_up),
		mounted(a_mapping_without_a_descriptor_holds_it_up),
		mounted(a_mapping_by_its_descriptor_holds_it_up),
		mounted(it_is_not_opened_for_writing_by_its_descriptor),
		mounted(a_writer_by_its_descriptor_leaves_it_free_to_grow),
		mounted(rsync_writes_in_place),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

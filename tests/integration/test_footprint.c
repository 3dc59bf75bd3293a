/* SPDX-License-Identifier: MIT */
/*
 * What the use of a segment's file leaves in what ipcs(1) shows: no more than
 * one short attach does, and nothing while the file is open.
 */
#include "harness.h"

#include "engine.h"

#include <sys/mman.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 4 * PAGE };

#define SEGMENT MNT "/3148"

#define MAP_A_BYTE \
	"python3 -c 'import mmap; f = open(\"" SEGMENT "\", \"r+b\"); " \
	"m = mmap.mmap(f.fileno(), 0); m[0:1] = m[1:2]'"

static void using_a_file_leaves_what_one_short_attach_leaves(void **state)
{
	struct fixture *fixture = *state;
	static const char *const commands[] = {
		"cat " SEGMENT " > /dev/null", "xxd " SEGMENT " > /dev/null",
		"cp " SEGMENT " " TMP "/copy", "cp " TMP "/copy " SEGMENT,
		"cmp " TMP "/copy " SEGMENT,   "truncate -s 0 " SEGMENT,
		"fallocate -l 100 " SEGMENT,   MAP_A_BYTE,
	};
	for (size_t i = 0; i < array_size(commands); i++) {
		if (!engine_is_passthrough() && strcmp(commands[i], MAP_A_BYTE) == 0)
			continue;
		int id = segment_create(KEY, SIZE, 0600);
		const struct shmid_ds before = segment_stat(id);
		time_t start = time(NULL);
		assert_int_equal(shell(NULL, 0, "%s", commands[i]), 0);
		assert_int_equal(segment_find(KEY), id);
		const struct shmid_ds after = segment_stat(id);
		assert_int_equal(after.shm_nattch, 0);
		assert_int_equal(after.shm_lpid, fixture->daemon);
		assert_int_equal(after.shm_cpid, before.shm_cpid);
		assert_int_equal(after.shm_ctime, before.shm_ctime);
		assert_in_range(after.shm_atime, start, time(NULL));
		assert_in_range(after.shm_dtime, start, time(NULL));
		segment_remove(id);
	}
}

static void an_open_handle_is_no_attachment(void **state)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC };
	int fds[array_size(modes)];
	int id = segment_create(KEY, SIZE, 0600);
	const void *own = segment_attach(id);
	for (size_t i = 0; i < array_size(modes); i++) {
		fds[i] = must(open(SEGMENT, modes[i]));
		assert_int_equal(segment_stat(id).shm_nattch, 1);
	}
	segment_detach(own);
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	for (size_t i = 0; i < array_size(modes); i++)
		close(fds[i]);
}

static void map_and_unmap(int fd)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!engine_is_passthrough())
		return;
	assert_ptr_not_equal(memory, MAP_FAILED);
	memory[0] = 'x';
	munmap(memory, SIZE);
}

static void an_open_handle_leaves_nothing(void **state)
{
	char bytes[SIZE];
	int id = segment_create(KEY, SIZE, 0600);
	int reader = must(open(SEGMENT, O_RDONLY)), both = must(open(SEGMENT, O_RDWR));
	int writer = must(open(SEGMENT, O_WRONLY));
	/* From here on the last one that attached is this process. */
	segment_detach(segment_attach(id));
	const struct shmid_ds before = segment_stat(id);
	assert_int_equal(before.shm_lpid, getpid());
	sleep(1); /* the times are in seconds */
	map_and_unmap(both);
	assert_int_equal(pread(reader, bytes, SIZE, 0), SIZE);
	assert_int_equal(pread(both, bytes, SIZE, 0), SIZE);
	assert_int_equal(pwrite(writer, bytes, SIZE, 0), SIZE);
	must(ftruncate(writer, 0));
	close(reader);
	close(both);
	close(writer);
	const struct shmid_ds after = segment_stat(id);
	assert_int_equal(after.shm_nattch, 0);
	assert_int_equal(after.shm_lpid, before.shm_lpid);
	assert_int_equal(after.shm_atime, before.shm_atime);
	assert_int_equal(after.shm_dtime, before.shm_dtime);
	assert_int_equal(after.shm_ctime, before.shm_ctime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(using_a_file_leaves_what_one_short_attach_leaves),
		mounted(an_open_handle_is_no_attachment),
		mounted(an_open_handle_leaves_nothing),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

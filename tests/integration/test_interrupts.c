/* SPDX-License-Identifier: MIT */
/*
 * Callers that are interrupted or killed in the middle of a call: what was
 * begun is done or undone, and nothing of it stays behind in the daemon.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/time.h>

enum { KEY = 3148, PAGE = 4096, MIB = 1 << 20, LARGE = 24 * MIB, ROUNDS = 12 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static char content[LARGE];

static int write_long(int number)
{
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600);
	child_must(fd != -1);
	child_must(write(fd, content, LARGE) == LARGE);
	return close(fd);
}

static int append_long(int number)
{
	int fd = open(SEGMENT, O_CREAT | O_WRONLY | O_APPEND, 0600);
	child_must(fd != -1);
	return write(fd, content, LARGE) > 0 ? 0 : 1;
}

static int copy_long(int number)
{
	int from = open(OBJECT, O_RDONLY), to = open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600);
	child_must(from != -1 && to != -1);
	while (copy_file_range(from, NULL, to, NULL, LARGE, 0) > 0)
		;
	return 0;
}

static int resize_long(int number)
{
	return truncate(SEGMENT, LARGE + MIB) == 0 ? 0 : 1;
}

static int list_long(int number)
{
	for (;;) {
		DIR *directory = opendir(MNT);
		child_must(directory);
		while (readdir(directory))
			;
		closedir(directory);
	}
}

/* Have it killed a little later in each round. */
static void kill_in(int (*call)(int), int round, int signal)
{
	int status;
	pid_t child = child_start(call, round);

	usleep((unsigned)(round * 1500 + rand() % 1500));
	kill(child, signal);
	must(waitpid(child, &status, 0));
	assert_true(exit_status(status) == 0 || exit_status(status) == 128 + signal);
}

/* No handle is open, no lock held: else resizing would be refused, or never end. */
static void assert_nothing_is_held(const struct fixture *fixture)
{
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 3 * PAGE);
	assert_int_equal(segments_count(), 1);
	must(unlink(SEGMENT));
}

static void a_killed_writer_leaves_what_it_wrote(void **state)
{
	int (*const calls[])(int) = { write_long, copy_long, append_long };
	pattern_fill(content, LARGE, 3);
	object_create("frames", LARGE);
	object_put("frames", 0, content, LARGE);
	for (int round = 0; round < ROUNDS * 3; round++) {
		/* It is there, or the writer was killed before it made it. */
		kill_in(calls[round % 3], round / 3, round % 2 ? SIGKILL : SIGINT);
		assert_true(eventually(daemon_holds_objects(*state) == 0));
		int id = segment_find(KEY);
		if (id == -1)
			continue;
		size_t size = segment_stat(id).shm_segsz;
		/* Cut to what was written, a page at least. */
		assert_in_range(size, PAGE, LARGE);
		assert_true(size == PAGE || segment_has(id, 0, content, size));
		assert_nothing_is_held(*state);
	}
}

static void a_killed_resize_is_done_or_undone(void **state)
{
	pattern_fill(content, LARGE, 4);
	for (int round = 0; round < ROUNDS; round++) {
		int id = segment_create(KEY, LARGE, 0640);
		segment_put(id, 0, content, LARGE);
		kill_in(resize_long, round, round % 2 ? SIGKILL : SIGINT);
		id = segment_find(KEY);
		size_t size = segment_stat(id).shm_segsz;
		assert_true(size == LARGE || size == LARGE + MIB);
		assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0640);
		assert_true(segment_has(id, 0, content, LARGE));
		assert_nothing_is_held(*state);
	}
}

static void a_killed_listing_leaves_nothing(void **state)
{
	const struct fixture *fixture = *state;
	for (int i = 0; i < 500; i++)
		segment_create(10000 + i, PAGE, 0600);
	for (int round = 0; round < ROUNDS; round++)
		kill_in(list_long, round, SIGKILL);
	assert_int_equal(directory_count(MNT), 500);
	segments_remove_all();
	segment_create(KEY, PAGE, 0600);
	assert_nothing_is_held(fixture);
}

static void on_alarm(int signal)
{
}

/* Signals come all the time; each call does all of what it says, or nothing. */
static int work_interrupted(int number)
{
	const struct itimerval timer = { { 0, 500 }, { 0, 500 } };
	const struct sigaction action = { .sa_handler = on_alarm };
	char *seen = malloc(LARGE);

	child_must(seen);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (int i = 0; i < 5; i++) {
		int fd = open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600);
		child_must(fd != -1);
		for (ssize_t n, done = 0; done < LARGE; done += n) {
			n = pwrite(fd, content + done, (size_t)(LARGE - done), done);
			child_must(n > 0);
		}
		for (ssize_t n, done = 0; done < LARGE; done += n) {
			n = pread(fd, seen + done, (size_t)(LARGE - done), done);
			child_must(n > 0);
		}
		child_must(memcmp(seen, content, LARGE) == 0);
		child_must(ftruncate(fd, LARGE + MIB) == 0);
		child_must(close(fd) == 0);
		child_must(truncate(SEGMENT, LARGE) == 0);
		child_must(unlink(SEGMENT) == 0);
	}
	free(seen);
	return 0;
}

static void interrupted_calls_are_done(void **state)
{
	pattern_fill(content, LARGE, 5);
	pid_t child = child_start(work_interrupted, 0);
	assert_int_equal(children_join(&child, 1), 0);
	segment_create(KEY, PAGE, 0600);
	assert_nothing_is_held(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_killed_writer_leaves_what_it_wrote),
		mounted(a_killed_resize_is_done_or_undone),
		mounted(a_killed_listing_leaves_nothing),
		mounted(interrupted_calls_are_done),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

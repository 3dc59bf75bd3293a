/* SPDX-License-Identifier: MIT */
/* Reading processes that let their reader wait, that end, or that are many. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/limits.h>

#include "processes.h"

/* Opening a FIFO waits for a writer, as reading /proc can wait for what a process holds. */
static void a_process_that_lets_its_reader_wait_is_passed_over(void **state)
{
	dev_t dev = device_of_segments();
	time_t began = time(NULL);
	const int hung = within_budget(8);

	add_process(10, "before", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	for (int pid = 11; pid < 11 + hung; pid++) {
		char path[64];

		add_process(pid, "hung", OURS);
		snprintf(path, sizeof(path), "%d/maps", pid);
		assert_int_equal(unlink(path) | mkfifo(path, 0600), 0);
	}
	add_process(19, "behind", OURS);
	add_mapping(19, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 before\n19 behind\n");
	/* Not a second for each: the more there are, the shorter. */
	assert_in_range(time(NULL) - began, 0, 6);
}

/* Somebody can have more mappings than anybody has time for.  Returns who makes them. */
static pid_t add_endless(int pid)
{
	dev_t dev = device_of_segments();
	char path[64];
	pid_t writer;

	add_process(pid, "endless", OURS);
	snprintf(path, sizeof(path), "%d/maps", pid);
	assert_int_equal(unlink(path) | mkfifo(path, 0600), 0);
	writer = fork();
	if (writer == 0) {
		FILE *maps = fopen(path, "w");

		while (maps && fprintf(maps, "7f00-7f01 r--s 0 %x:%x %d /SYSV00000c4c\n",
				       major(dev), minor(dev), SHMID) > 0)
			;
		_exit(0);
	}
	return writer;
}

static void a_process_that_never_ends_is_cut(void **state)
{
	pid_t writer = add_endless(10);

	add_process(11, "behind", OURS);
	add_mapping(11, device_of_segments(), SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 endless\n11 behind\n");
	assert_int_equal(waitpid(writer, NULL, 0), writer);
}

static void a_snapshot_serves_a_moment(void **state)
{
	const struct shmfs_users_snapshot *first;
	const struct shmfs_users_snapshot *second;
	struct shmfs_users *users;

	/* Now it takes a second. */
	add_process(11, "hung", OURS);
	assert_int_equal(unlink("11/maps") | mkfifo("11/maps", 0600), 0);
	assert_int_equal(shmfs_users_new(proc_dir, objects_dev, &users), 0);
	assert_int_equal(shmfs_users_get(users, &first), 0);
	assert_int_equal(shmfs_users_get(users, &second), 0);
	assert_ptr_equal(first, second);
	shmfs_users_put(&first);
	shmfs_users_put(&second);
	shmfs_users_free(users);
}

/* A thread that asks under SCHED_IDLE. */
struct idle_asker {
	atomic_int tid;
	atomic_bool done;
	bool skipped;
};

static bool set_policy(int policy)
{
	const struct sched_param none = { 0 };

	return sched_setscheduler(0, policy, &none) == 0;
}

static void *ask_idly(void *arg)
{
	struct idle_asker *asker = arg;
	char *text = NULL;

	/* To come back takes CAP_SYS_NICE or RLIMIT_NICE. */
	asker->skipped = !set_policy(SCHED_IDLE) || !set_policy(SCHED_OTHER);
	if (!asker->skipped && set_policy(SCHED_IDLE)) {
		asker->tid = gettid();
		ask(&of_segment, &text);
	}
	free(text);
	asker->done = true;
	return NULL;
}

/* Does a child of the thread run under SCHED_OTHER? */
static bool has_usual_child(pid_t thread)
{
	char path[64];
	int child = 0;
	FILE *children;
	bool is_there;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", thread);
	children = fopen(path, "r");
	is_there = children && fscanf(children, "%d", &child) == 1;
	if (children)
		fclose(children);
	return is_there && sched_getscheduler(child) == SCHED_OTHER;
}

/* Others wait for the reader, whoever it is that asked first. */
static void the_reader_has_the_usual_priority(void **state)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct idle_asker asker = { 0 };
	bool usual = false;
	pthread_t thread;

	add_process(10, "hung", OURS);
	assert_int_equal(unlink("10/maps") | mkfifo("10/maps", 0600), 0);
	assert_int_equal(pthread_create(&thread, NULL, ask_idly, &asker), 0);
	while (!asker.done) {
		usual = usual || (asker.tid && has_usual_child(asker.tid));
		nanosleep(&moment, NULL);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (asker.skipped || access("/proc/thread-self/children", F_OK) != 0)
		skip();
	assert_true(usual);
}

static void what_is_no_process_of_a_user_is_skipped(void **state)
{
	struct shmfs_users_query query = of_object();

	/* A kernel thread has no mappings, a process that ends no files. */
	add_process(10, "kthreadd", OURS);
	write_file("10/maps", "%s", "");
	add_descriptor(10, 0, "object");
	add_process(11, "gone", OURS);
	assert_int_equal(unlink("11/maps"), 0);
	add_descriptor(11, 0, "object");
	add_process(12, "nameless", OURS);
	add_descriptor(12, 0, "object");
	assert_int_equal(unlink("12/comm"), 0);
	assert_int_equal(mkdir("13", 0700), 0);
	assert_int_equal(mkdir("sys", 0700) | mkdir("14x", 0700), 0);
	add_process(15, "there", OURS);
	add_descriptor(15, 0, "object");
	assert_says(&query, "15 there\n");
}

/* What is read at once ends in every place of the line that counts. */
static void a_line_may_come_in_two_pieces(void **state)
{
	enum { CHUNK = 32768, LINES = 4, PLACES = 110 };
	char filler[CHUNK / LINES];
	dev_t dev = device_of_segments();

	memset(filler, 'x', sizeof(filler));
	add_process(10, "p", OURS);
	for (int place = 0; place < PLACES; place++) {
		FILE *maps = fopen("10/maps", "w");

		assert_non_null(maps);
		for (int i = 0; i < LINES; i++)
			fprintf(maps, "%.*s\n", CHUNK / LINES - 1 - (i == 0 ? place : 0), filler);
		assert_int_equal(fclose(maps), 0);
		add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
		assert_says(&of_segment, "10 p\n");
	}
}

static void what_does_not_read_as_a_mapping_matches_nothing(void **state)
{
	char *line = malloc(100000);

	assert_non_null(line);
	memset(line, 'x', 99999);
	line[99999] = '\0';
	add_process(10, "long", OURS);
	write_file("10/maps", "%s", line);
	add_process(11, "short", OURS);
	write_file("11/maps",
		   "\n7f\n7f r\n7f r 0\n7f r 0 zz:1 65538 /SYSV\n7f r 0 00:\n7f r 0 00:1");
	assert_says(&of_segment, "");
	free(line);
}

/* With no descriptor left, one, two ... until there are enough. */
static unsigned count_shortages(const struct shmfs_users_query *query, const char *expected)
{
	rlim_t used = (rlim_t)dup(STDIN_FILENO);
	struct rlimit before;
	unsigned shortages = 0;
	char *text;
	int err;

	close((int)used);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	do {
		struct rlimit limit = { used + shortages, before.rlim_max };

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		err = ask(query, &text);
		setrlimit(RLIMIT_NOFILE, &before);
		if (err)
			assert_int_equal(err, -EMFILE);
		else
			assert_string_equal(text, expected);
		free(text);
	} while (err && ++shortages < 100);
	return shortages;
}

static void a_shortage_of_ours_is_no_answer(void **state)
{
	struct shmfs_users_query query = of_object();

	add_process(10, "open", OURS);
	add_descriptor(10, 7, "object");
	assert_in_range(count_shortages(&query, "10 open\n"), 1, 10);
}

static void without_proc_there_is_no_answer(void **state)
{
	char *text;

	proc_dir = "nowhere";
	assert_int_equal(ask(&of_segment, &text), -ENOENT);
	free(text);
}

#define in_proc(test) cmocka_unit_test_setup_teardown(test, processes_begin, processes_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_proc(a_process_that_lets_its_reader_wait_is_passed_over),
		in_proc(a_process_that_never_ends_is_cut),
		in_proc(a_snapshot_serves_a_moment),
		in_proc(the_reader_has_the_usual_priority),
		in_proc(what_is_no_process_of_a_user_is_skipped),
		in_proc(a_line_may_come_in_two_pieces),
		in_proc(what_does_not_read_as_a_mapping_matches_nothing),
		in_proc(a_shortage_of_ours_is_no_answer),
		in_proc(without_proc_there_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

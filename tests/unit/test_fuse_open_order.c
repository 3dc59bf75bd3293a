/* SPDX-License-Identifier: MIT */
/* Which opens wait for which, so that the kernel takes their replies in order. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"
#include "shmfs/clock.h"

#define ROOT SHMFS_DIR_ROOT
#define BACKING 5
#define ORDER_TEST(function) cmocka_unit_test_setup_teardown(function, setup, kernel_teardown)

static const char name[] = "frames";

static int setup(void **state)
{
	struct kernel *k = kernel_start(true);
	struct fuse_init_out out;

	*state = k;
	kernel_backing.next_id = BACKING;
	return kernel_init(k, FUSE_INIT_EXT, KERNEL_INIT2_PASSTHROUGH, &out);
}

/* The object `name` opened for reading, which the backend wants bound like this. */
static struct kernel_file open_as(struct kernel *k, enum shmfs_io_mode binding)
{
	struct kernel_file file;

	k->posix->binding = binding;
	assert_int_equal(kernel_open(k, kernel_find(k, ROOT, name), O_RDONLY, &file), 0);
	return file;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A process that waits until it is killed. */
static pid_t start_process(void)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	/* A case that fails does not get to end it. */
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (pid == 0)
		pause();
	return pid;
}

static void end_process(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* How long process `second` has to wait with an open for that of `opener`. */
static int64_t wait_for_served(struct kernel *k, pid_t opener, pid_t second, bool used)
{
	struct kernel_file served;
	struct kernel_file bound;
	int64_t before;

	k->pid = (uint32_t)opener;
	served = open_as(k, SHMFS_IO_DAEMON);
	k->pid = (uint32_t)second;
	if (used)
		assert_int_equal(kernel_read(k, &served, 0, 1), 0);
	before = now_ms();
	bound = open_as(k, SHMFS_IO_PASSTHROUGH);
	before = now_ms() - before;
	k->pid = 0;
	assert_int_equal(bound.backing_id, BACKING);
	kernel_close(k, &served);
	assert_int_equal(kernel_backing.opened, kernel_backing.closed + 1);
	kernel_close(k, &bound);
	assert_int_equal(kernel_backing.opened, kernel_backing.closed);
	return before;
}

/* Who is held back is so each time; who is not may meet a busy machine, but not always. */
static bool is_held_back(struct kernel *k, pid_t opener, pid_t second, bool used)
{
	for (int i = 0; i < 10; i++)
		if (wait_for_served(k, opener, second, used) < 100)
			return false;
	return true;
}

/*
 * The kernel takes replies in any order, and would refuse the served open if
 * it saw the bound one first: that one is held back for a moment.
 */
static void a_file_is_bound_a_moment_after_a_served_one(void **state)
{
	struct kernel *k = *state;
	pid_t opener = start_process();

	memory_add(k->posix, 0, name);
	assert_true(wait_for_served(k, opener, 0, false) >= 100);
	end_process(opener);
}

static void an_opener_that_opens_again_is_not_held_back(void **state)
{
	struct kernel *k = *state;

	pid_t opener = start_process();

	memory_add(k->posix, 0, name);
	assert_false(is_held_back(k, opener, opener, false));
	end_process(opener);
}

/* Two that are not to be seen from here need not be the same. */
static void an_opener_that_is_not_to_be_seen_is_waited_for(void **state)
{
	struct kernel *k = *state;

	memory_add(k->posix, 0, name);
	assert_true(wait_for_served(k, (pid_t)KERNEL_UNSEEN, (pid_t)KERNEL_UNSEEN, false) >= 100);
}

/* Whoever reads has been told that its file is open. */
static void a_served_file_in_use_holds_nobody_back(void **state)
{
	struct kernel *k = *state;
	pid_t opener = start_process();

	memory_add(k->posix, 0, name);
	assert_false(is_held_back(k, opener, 0, true));
	end_process(opener);
}

/* How long an open takes beside that of a writer, which is served. */
static int64_t wait_for_writer(struct kernel *k)
{
	const uint64_t node = kernel_find(k, ROOT, name);
	struct kernel_file writer;
	struct kernel_file file;
	int64_t before;

	k->posix->binding = SHMFS_IO_DAEMON;
	assert_int_equal(kernel_open(k, node, O_WRONLY, &writer), 0);
	k->pid = (uint32_t)getppid();
	before = now_ms();
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	before = now_ms() - before;
	k->pid = 0;
	assert_int_equal(file.backing_id, 0);
	kernel_close(k, &writer);
	kernel_close(k, &file);
	return before;
}

/* Nothing is bound beside a writer, and so there is nothing to wait for. */
static void a_writer_holds_nobody_back(void **state)
{
	struct kernel *k = *state;
	int64_t least = INT64_MAX;

	memory_add(k->posix, 0, name);
	for (int i = 0; i < 10; i++) {
		int64_t wait = wait_for_writer(k);

		least = wait < least ? wait : least;
	}
	assert_in_range(least, 0, 99);
}

static atomic_bool is_over;

/* As if the file were opened all the time, and served. */
static void *open_again_and_again(void *arg)
{
	struct shmfs_inode *inode = arg;

	while (!atomic_load(&is_over)) {
		pthread_mutex_lock(&inode->backing_lock);
		inode->daemon_open_at = shmfs_now_ns();
		pthread_mutex_unlock(&inode->backing_lock);
		usleep(10000);
	}
	return NULL;
}

static void nobody_is_held_back_for_ever(void **state)
{
	struct kernel *k = *state;
	struct kernel_file served;
	struct kernel_file bound;
	pthread_t others;

	memory_add(k->posix, 0, name);
	served = open_as(k, SHMFS_IO_DAEMON);
	atomic_store(&is_over, false);
	assert_int_equal(
		pthread_create(&others, NULL, open_again_and_again, (void *)(uintptr_t)served.node),
		0);
	alarm(60);
	k->pid = (uint32_t)getppid();
	bound = open_as(k, SHMFS_IO_PASSTHROUGH);
	k->pid = 0;
	alarm(0);
	atomic_store(&is_over, true);
	assert_int_equal(pthread_join(others, NULL), 0);
	kernel_close(k, &served);
	kernel_close(k, &bound);
}

/* An opener that needs longer than others wait for it comes by a descriptor, or is slow. */
static void nobody_is_sent_away_twice(void **state)
{
	struct kernel *k = *state;
	struct kernel_file bound;
	struct kernel_file again;

	memory_add(k->posix, 0, name);
	bound = open_as(k, SHMFS_IO_PASSTHROUGH);
	k->pid = (uint32_t)getppid();
	k->posix->binding = SHMFS_IO_MOVABLE;
	assert_int_equal(kernel_open(k, bound.node, O_RDONLY, &again), -ESTALE);
	usleep(1200000);
	assert_int_equal(kernel_open(k, bound.node, O_RDONLY, &again), 0);
	k->pid = 0;
	kernel_release(k, &again);
	kernel_close(k, &bound);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ORDER_TEST(a_file_is_bound_a_moment_after_a_served_one),
		ORDER_TEST(an_opener_that_opens_again_is_not_held_back),
		ORDER_TEST(an_opener_that_is_not_to_be_seen_is_waited_for),
		ORDER_TEST(a_served_file_in_use_holds_nobody_back),
		ORDER_TEST(a_writer_holds_nobody_back),
		ORDER_TEST(nobody_is_held_back_for_ever),
		ORDER_TEST(nobody_is_sent_away_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

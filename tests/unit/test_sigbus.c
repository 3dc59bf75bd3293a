/* SPDX-License-Identifier: MIT */
/*
 * Copies from and to memory that is not there.
 *
 * The memory is a mapping that is longer than its file: touching what lies
 * behind the end raises SIGBUS.  cmocka handles SIGBUS itself between tests,
 * so each test installs the guard anew.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shmfs/sigbus.h"
#include "sigbus.h"

#define GUARD_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* Two pages, of which the second is missing. */
struct memory {
	char *page;
	char *missing;
	size_t size; /* of a page */
	char *copy;  /* room for both of them */
};

static int setup(void **state)
{
	struct memory *m = malloc(sizeof(*m));
	int fd = memfd_create("test_guard", MFD_CLOEXEC);

	assert_non_null(m);
	m->size = (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(ftruncate(fd, (off_t)m->size), 0);
	m->page = mmap(NULL, 2 * m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(m->page, MAP_FAILED);
	close(fd);
	m->missing = m->page + m->size;
	m->copy = calloc(2, m->size);
	assert_non_null(m->copy);
	memset(m->page, 'x', m->size);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct memory *m = *state;

	munmap(m->page, 2 * m->size);
	free(m->copy);
	free(m);
	return 0;
}

static int copy(void *to, const void *from, size_t len)
{
	int err = shmfs_copy_nofault(to, from, len);

	sigbus_over();
	return err;
}

static int zero(void *to, size_t len)
{
	int err = shmfs_zero_nofault(to, len);

	sigbus_over();
	return err;
}

static void copies_and_clears_what_is_there(void **state)
{
	struct memory *m = *state;

	assert_int_equal(shmfs_sigbus_install(), 0);
	assert_int_equal(copy(m->copy, m->page, m->size), 0);
	assert_memory_equal(m->copy, m->page, m->size);
	assert_int_equal(zero(m->page + 1, 10), 0);
	assert_memory_equal(m->page, "x\0\0\0\0\0\0\0\0\0\0x", 12);
	assert_int_equal(copy(m->page, "hello", 5), 0);
	assert_memory_equal(m->page, "hello", 5);
	assert_int_equal(copy(m->missing, m->copy, 0), 0);
}

static void missing_memory_is_an_error(void **state)
{
	struct memory *m = *state;

	assert_int_equal(shmfs_sigbus_install(), 0);
	assert_int_equal(copy(m->copy, m->missing, 1), -EFAULT);
	assert_int_equal(copy(m->missing, m->copy, 1), -EFAULT);
	assert_int_equal(zero(m->missing, 1), -EFAULT);
	/* From what is there into what is not. */
	assert_int_equal(copy(m->copy, m->page, 2 * m->size), -EFAULT);
	assert_int_equal(copy(m->page, m->copy, 2 * m->size), -EFAULT);
	assert_int_equal(zero(m->page, 2 * m->size), -EFAULT);
}

/* A signal that stayed blocked would kill the second time. */
static void it_can_be_missing_again_and_again(void **state)
{
	struct memory *m = *state;
	sigset_t before;
	sigset_t after;

	assert_int_equal(shmfs_sigbus_install(), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(copy(m->copy, m->missing, 1), -EFAULT);
		assert_int_equal(copy(m->copy, m->page, m->size), 0);
		assert_int_equal(zero(m->missing, 1), -EFAULT);
	}
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
	assert_int_equal(sigismember(&before, SIGBUS), 0);
	assert_int_equal(sigismember(&after, SIGBUS), 0);
}

/* --- threads --- */

#define ROUNDS 500

struct copier {
	const struct memory *m;
	bool missing;
	int wrong;
};

static void *copy_often(void *arg)
{
	struct copier *copier = arg;
	const struct memory *m = copier->m;
	char *to = malloc(m->size);

	for (int i = 0; i < ROUNDS && to; i++) {
		if (copier->missing)
			copier->wrong += copy(to, m->missing, m->size) != -EFAULT;
		else
			copier->wrong += copy(to, m->page, m->size) != 0 ||
					 memcmp(to, m->page, m->size) != 0;
	}
	copier->wrong += !to;
	free(to);
	return NULL;
}

static void threads_are_guarded_each_for_itself(void **state)
{
	struct copier copiers[4];
	pthread_t ids[4];

	assert_int_equal(shmfs_sigbus_install(), 0);
	for (int i = 0; i < 4; i++) {
		copiers[i] = (struct copier){ .m = *state, .missing = i % 2 };
		assert_int_equal(pthread_create(&ids[i], NULL, copy_often, &copiers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(ids[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(copiers[i].wrong, 0);
}

/* --- what is no copy --- */

/* The signal that ends a process that does `act`, or 0. */
static int end_of(const struct memory *m, void (*act)(const struct memory *))
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		if (shmfs_sigbus_install() == 0)
			act(m);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch(const struct memory *m)
{
	*(volatile char *)m->missing = 1;
}

static void touch_after_a_failed_copy(const struct memory *m)
{
	if (copy(m->copy, m->missing, 1) == -EFAULT)
		touch(m);
}

static void touch_after_a_copy(const struct memory *m)
{
	if (copy(m->copy, m->page, m->size) == 0)
		touch(m);
}

static void touch_after_clearing(const struct memory *m)
{
	if (zero(m->page, m->size) == 0 && zero(m->missing, 1) == -EFAULT)
		touch(m);
}

static atomic_bool copying;

static void *copy_forever(void *arg)
{
	const struct memory *m = arg;

	for (;;) {
		copy(m->copy, m->page, m->size);
		atomic_store(&copying, true);
	}
	return NULL;
}

static void touch_while_another_thread_copies(const struct memory *m)
{
	pthread_t id;

	if (pthread_create(&id, NULL, copy_forever, (void *)(uintptr_t)m) != 0)
		return;
	while (!atomic_load(&copying))
		usleep(100);
	touch(m);
}

/* A fault of our own must not pass for missing memory. */
static void what_is_no_copy_ends_the_process(void **state)
{
	const struct memory *m = *state;

	assert_int_equal(end_of(m, touch), SIGBUS);
	assert_int_equal(end_of(m, touch_after_a_failed_copy), SIGBUS);
	assert_int_equal(end_of(m, touch_after_a_copy), SIGBUS);
	assert_int_equal(end_of(m, touch_after_clearing), SIGBUS);
	assert_int_equal(end_of(m, touch_while_another_thread_copies), SIGBUS);
}

/* A parent may have left the signal blocked, and a blocked one ends the process. */
static void copy_after_it_was_blocked(const struct memory *m)
{
	sigset_t sigbus;

	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	sigprocmask(SIG_BLOCK, &sigbus, NULL);
	if (shmfs_sigbus_install() != 0 || copy(m->copy, m->missing, 1) != -EFAULT)
		raise(SIGABRT);
}

static void a_blocked_signal_is_let_through(void **state)
{
	assert_int_equal(end_of(*state, copy_after_it_was_blocked), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(copies_and_clears_what_is_there),
		GUARD_TEST(missing_memory_is_an_error),
		GUARD_TEST(it_can_be_missing_again_and_again),
		/* The next two fork: before there are threads. */
		GUARD_TEST(a_blocked_signal_is_let_through),
		GUARD_TEST(what_is_no_copy_ends_the_process),
		GUARD_TEST(threads_are_guarded_each_for_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

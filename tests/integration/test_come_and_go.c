/* SPDX-License-Identifier: MIT */
/*
 * A key and a name that others make and remove natively, without a pause: opens that may create
 * always succeed, other calls succeed or find nothing.
 */
#include "harness.h"

#include <time.h>

enum { KEY = 3148, PAGE = 4096, MAKERS = 3, CALLERS = 2 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* Until it is killed. */
static int make_and_remove(int number)
{
	for (time_t end = time(NULL) + 60; time(NULL) < end;) {
		if (number % 2 == 0) {
			shmctl(shmget(KEY, PAGE, IPC_CREAT | 0600), IPC_RMID, NULL);
		} else {
			close(open(NATIVE "/frames", O_CREAT | O_RDWR, 0600));
			unlink(NATIVE "/frames");
		}
	}
	return 0;
}

static bool is_done_or_missing(int result)
{
	return result >= 0 || errno == ENOENT;
}

static bool opens(const char *path, int flags, int allowed)
{
	int fd = open(path, flags, 0600);

	if (fd == -1)
		return errno == allowed;
	close(fd);
	return true;
}

static int call_for_a_while(int number)
{
	static const int sorts[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC };
	const char *const paths[] = { SEGMENT, OBJECT };
	unsigned seed = (unsigned)number;

	for (time_t end = time(NULL) + 1; time(NULL) <= end;) {
		const char *path = paths[rand_r(&seed) % 2];
		int sort = sorts[rand_r(&seed) % 4];
		struct stat data;

		child_must(opens(path, sort | O_CREAT, 0));
		child_must(opens(path, sort, ENOENT));
		child_must(opens(path, sort | O_CREAT | O_EXCL, EEXIST));
		child_must(is_done_or_missing(stat(path, &data)));
		child_must(opens(path, sort | O_CREAT, 0));
		child_must(is_done_or_missing(truncate(path, 0)));
		child_must(is_done_or_missing(chmod(path, 0600)));
	}
	return 0;
}

/* Returns how many of the callers met another error. */
static int call_beside(void *makers)
{
	pid_t children[2 * MAKERS], callers[CALLERS];
	int count = 2 * *(int *)makers;

	for (int i = 0; i < count; i++)
		children[i] = child_start(make_and_remove, i);
	for (int i = 0; i < CALLERS; i++)
		callers[i] = child_start(call_for_a_while, i);
	int failed = children_join(callers, CALLERS);
	for (int i = 0; i < count; i++)
		kill(children[i], SIGKILL);
	children_join(children, count);
	return failed;
}

static void beside_one_maker(void **state)
{
	assert_int_equal(call_beside(&(int){ 1 }), 0);
}

static void beside_several_makers(void **state)
{
	assert_int_equal(call_beside(&(int){ MAKERS }), 0);
}

static void on_a_users_mount_beside_one_maker(void **state)
{
	assert_int_equal(run_as(&NOBODY, call_beside, &(int){ 1 }), 0);
}

static void on_a_users_mount_beside_several_makers(void **state)
{
	assert_int_equal(run_as(&NOBODY, call_beside, &(int){ MAKERS }), 0);
}

static int open_first(int number)
{
	char path[64];

	snprintf(path, sizeof(path), MNT "/first%d", number);
	child_must(opens(path, O_CREAT | O_RDWR, 0));
	return 0;
}

/* The kernel does not know the mode of the directory yet, and hears that names have changed. */
static void the_first_opens_of_a_mount_are_allowed(void **state)
{
	pid_t makers[MAKERS], callers[CALLERS];
	int failed = 0;

	for (int i = 0; i < MAKERS; i++)
		makers[i] = child_start(make_and_remove, 1);
	for (int i = 0; i < 20; i++) {
		daemon_start(*state, NULL);
		become(&ALICE);
		for (int j = 0; j < CALLERS; j++)
			callers[j] = child_start(open_first, j);
		become(&ROOT);
		failed += children_join(callers, CALLERS);
		daemon_stop(*state);
	}
	for (int i = 0; i < MAKERS; i++)
		kill(makers[i], SIGKILL);
	children_join(makers, MAKERS);
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bare(the_first_opens_of_a_mount_are_allowed),
		mounted(beside_one_maker),
		mounted(beside_several_makers),
		mounted_by_user(on_a_users_mount_beside_one_maker),
		mounted_by_user(on_a_users_mount_beside_several_makers),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

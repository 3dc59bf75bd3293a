/* SPDX-License-Identifier: MIT */
/* When the one thread looks for its caller, and when there is more than one. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuse/follow.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static struct shmfs_follow fresh(void)
{
	return (struct shmfs_follow){ .useful = true, .cpu = -1, .load_fd = -1 };
}

static void looks_at_a_new_caller_and_then_seldom(void **state)
{
	struct shmfs_follow follow = fresh();
	uint64_t now = 1000 * MS;
	int looks = 0;

	(void)state;
	assert_int_equal(shmfs_follow_note(&follow, 7, now), SHMFS_FOLLOW_LOOK);
	for (int i = 0; i < 320; i++)
		looks += shmfs_follow_note(&follow, 7, now += 10 * US) == SHMFS_FOLLOW_LOOK;
	assert_int_equal(looks, 10);
	assert_int_equal(shmfs_follow_note(&follow, 7, now + 2 * MS), SHMFS_FOLLOW_LOOK);
}

static void several_at_once_are_not_followed(void **state)
{
	struct shmfs_follow follow = fresh();
	uint64_t now = 1000 * MS;
	int left = 0;

	(void)state;
	shmfs_follow_note(&follow, 7, now);
	assert_int_equal(shmfs_follow_note(&follow, 8, now += 10 * US), SHMFS_FOLLOW_NONE);
	while (shmfs_follow_note(&follow, 8, now += 10 * US) == SHMFS_FOLLOW_NONE)
		left++;
	assert_in_range(left, 30, 100);
	/* After a pause the other one is a new caller. */
	assert_int_equal(shmfs_follow_note(&follow, 7, now + 2 * MS), SHMFS_FOLLOW_LOOK);
}

/* RELEASE has no caller, and one in another PID namespace cannot be seen. */
static void who_cannot_be_seen_changes_nothing(void **state)
{
	struct shmfs_follow follow = fresh();
	uint64_t now = 1000 * MS;

	(void)state;
	shmfs_follow_note(&follow, 7, now);
	assert_int_equal(shmfs_follow_note(&follow, 0, now += 10 * US), SHMFS_FOLLOW_STAY);
	assert_int_equal(shmfs_follow_note(&follow, 7, now += 10 * US), SHMFS_FOLLOW_STAY);
}

static void one_processor_needs_nothing(void **state)
{
	struct shmfs_follow follow = fresh();

	(void)state;
	follow.useful = false;
	assert_int_equal(shmfs_follow_note(&follow, 7, MS), SHMFS_FOLLOW_STAY);
}

static void finds_where_a_thread_is(void **state)
{
	cpu_set_t one;
	cpu_set_t before;
	int cpu = sched_getcpu();

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(shmfs_follow_find(gettid()), cpu);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(shmfs_follow_find(0x7fffffff), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_at_a_new_caller_and_then_seldom),
		cmocka_unit_test(several_at_once_are_not_followed),
		cmocka_unit_test(who_cannot_be_seen_changes_nothing),
		cmocka_unit_test(one_processor_needs_nothing),
		cmocka_unit_test(finds_where_a_thread_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Random operations against a model: a short run of tests/exerciser.  It says
 * which seed it had, and what went before a difference.
 */
#include "harness.h"

static void exercise(const char *kind, int count)
{
	const char *seed = getenv("SHMFS_EXERCISER_SEED");

	assert_int_equal(shell(NULL, 0, EXERCISER_PROGRAM " --kind %s --seed %s --ops %d " MNT,
			       kind, seed ? seed : "1", count),
			 0);
}

static void objects_are_as_the_model_has_them(void **state)
{
	exercise("posix", 60000);
	assert_int_equal(directory_count(NATIVE), 0);
}

static void segments_are_as_the_model_has_them(void **state)
{
	exercise("sysv", 25000);
	assert_int_equal(segments_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(objects_are_as_the_model_has_them),
		mounted(segments_are_as_the_model_has_them),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

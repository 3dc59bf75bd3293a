/* SPDX-License-Identifier: MIT */
/*
 * The same random calls of four processes on tmpfs and on the mount: a short run
 * of tests/differential.  It says which seed it had, and what went before a
 * difference.
 */
#include "harness.h"

#include "engine.h"

#define REFERENCE STAGE "/reference"

static void compare(const char *options, int steps)
{
	const char *seed = getenv("SHMFS_DIFFERENTIAL_SEED");

	assert_int_equal(shell(NULL, 0,
			       "mkdir -p " REFERENCE
			       " && mount -t tmpfs -o mode=1777 tmpfs " REFERENCE),
			 0);
	assert_int_equal(shell(NULL, 0,
			       DIFFERENTIAL_PROGRAM " %s --seed %s --steps %d " REFERENCE " " MNT,
			       options, seed ? seed : "1", steps),
			 0);
	assert_int_equal(umount(REFERENCE), 0);
}

static void names_are_files_of_tmpfs(void **state)
{
	(void)state;
	compare("", 20000);
	assert_int_equal(directory_count(NATIVE), 0);
}

static void keys_differ_in_what_is_said_of_sizes_alone(void **state)
{
	(void)state;
	compare(engine_is_passthrough() ? "--keys --passthrough" : "--keys", 4000);
	assert_int_equal(segments_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(names_are_files_of_tmpfs),
		mounted(keys_differ_in_what_is_said_of_sizes_alone),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The same random calls of four processes on tmpfs and on the mount: a short run
 * of tests/differential.  It says which seed it had, and what went before a
 * difference.
 */
#include "harness.h"

#include "engine.h"

#define REFERENCE STAGE "/reference"
#define PROGRAM TMP "/differential"

static int run(void *command)
{
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	return 127;
}

static void compare(const struct user *user, const char *options, int steps)
{
	const char *seed = getenv("SHMFS_DIFFERENTIAL_SEED");
	char command[256];

	assert_int_equal(shell(NULL, 0,
			       "cp " DIFFERENTIAL_PROGRAM " " PROGRAM " && chmod 755 " PROGRAM
			       " && mkdir -p " REFERENCE
			       " && mount -t tmpfs -o mode=1777 tmpfs " REFERENCE),
			 0);
	snprintf(command, sizeof(command), PROGRAM " %s --seed %s --steps %d " REFERENCE " " MNT,
		 options, seed ? seed : "31", steps);
	assert_int_equal(run_as(user, run, command), 0);
	assert_int_equal(umount(REFERENCE), 0);
}

static void names_are_files_of_tmpfs(void **state)
{
	compare(&ROOT, "", 20000);
	assert_int_equal(directory_count(NATIVE), 0);
}

static void keys_differ_by_the_rules_of_segments_alone(void **state)
{
	compare(&ROOT, engine_is_passthrough() ? "--keys --passthrough" : "--keys", 10000);
	assert_int_equal(segments_count(), 0);
}

static void so_they_do_on_a_mount_of_an_ordinary_user(void **state)
{
	compare(&NOBODY, "", 5000);
	compare(&NOBODY, "--keys --attached", 5000);
	assert_int_equal(segments_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(names_are_files_of_tmpfs),
		mounted(keys_differ_by_the_rules_of_segments_alone),
		mounted_by_user(so_they_do_on_a_mount_of_an_ordinary_user),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

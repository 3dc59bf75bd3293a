/* SPDX-License-Identifier: MIT */
/*
 * What cannot be mounted: one clear line on standard error, exit status 1,
 * and nothing is mounted; in the foreground and in the background alike.
 */
#include "harness.h"

#define SHMFS "timeout 10 " BIN "/shmfs "

static void assert_refused(const char *arguments, const char *word)
{
	static const char *const modes[] = { "", "-f " };
	for (size_t i = 0; i < array_size(modes); i++) {
		char output[4096];
		int status = shell(output, sizeof(output), SHMFS "%s%s 2>&1 > /dev/null", modes[i],
				   arguments);
		if (status != 1 || !is_one_line_with(output, word))
			fail_msg("shmfs %s%s: status %d, \"%s\"", modes[i], arguments, status,
				 output);
		assert_false(daemon_is_mounted());
	}
}

static void unknown_options(void **state)
{
	assert_refused("-o nosuch " MNT, "nosuch'; see: shmfs --help");
	assert_refused("-o min_size=4096,nosuch=7 " MNT, "nosuch");
	assert_refused("--nosuch " MNT, "--nosuch");
	assert_refused("-Z " MNT, "-Z");
}

static void sizes_that_are_none(void **state)
{
	assert_refused("-o min_size=0 " MNT, "0");
	assert_refused("-o min_size=12Q " MNT, "12Q");
	assert_refused("-o min_size=99999999999999999999 " MNT, "99999999999999999999");
	assert_refused("-o min_size= " MNT, "size");
	assert_refused("-o size " MNT, "size");
	assert_refused("-o min_size=-1 " MNT, "-1");
	assert_refused("-o min_size=0x1000 " MNT, "0x1000");
	assert_refused("-o min_size=K " MNT, "K");
	assert_refused("-o min_size=10000000000G " MNT, "10000000000G");
}

static void spellings_of_keys_that_are_none(void **state)
{
	assert_refused("-o keys=foo " MNT, "foo");
	assert_refused("-o keys= " MNT, "keys");
	assert_refused("-o keys=HEX " MNT, "HEX");
}

static void mount_points_that_are_none(void **state)
{
	file_write(TMP "/file", O_CREAT, "x", 1);
	assert_refused("", "mount");
	assert_refused("-o min_size=4096", "mount");
	assert_refused(TMP "/missing", TMP "/missing");
	assert_refused(TMP "/file", TMP "/file");
	assert_refused("shmfs " MNT " " TMP, TMP);
}

static void no_fuse_device(void **state)
{
	char output[512];
	/* A /dev of its own without it, in a mount namespace of the command's own. */
	int status = shell(output, sizeof(output),
			   "unshare -m sh -c 'mount -t tmpfs none /dev && mkdir /dev/shm && "
			   "mknod /dev/null c 1 3 && " SHMFS "-f " MNT " 2>&1 > /dev/null'");
	assert_int_equal(status, 1);
	assert_true(is_one_line_with(output, "fuse"));
	assert_false(daemon_is_mounted());
}

struct attempt {
	const char *arguments, *word;
};

static int be_refused(void *arg)
{
	const struct attempt *attempt = arg;
	char command[256], output[512] = "";
	snprintf(command, sizeof(command), SHMFS "-f %s 2>&1 > /dev/null", attempt->arguments);
	FILE *pipe = popen(command, "r");
	size_t count = fread(output, 1, sizeof(output) - 1, pipe);
	int status = pclose(pipe);
	fprintf(stderr, "as a user: %.*s", (int)count, output);
	child_must(exit_status(status) == 1);
	child_must(is_one_line_with(output, attempt->word));
	return 0;
}

static void a_mount_point_of_somebody_else(void **state)
{
	struct attempt attempt = { MNT, MNT };
	assert_int_equal(run_as(&NOBODY, be_refused, &attempt), 0);
	assert_false(daemon_is_mounted());
}

static void a_user_who_lets_others_in(void **state)
{
	struct attempt attempt = { "-o ro,allow_other " MNT, "allow_other is for root" };
	must(chown(MNT, NOBODY.uid, NOBODY.gid));
	assert_int_equal(run_as(&NOBODY, be_refused, &attempt), 0);
	assert_false(daemon_is_mounted());
}

static void root_who_lets_only_root_in(void **state)
{
	char output[512];
	int status =
		shell(output, sizeof(output), SHMFS "-f -o ro,allow_root " MNT " 2>&1 > /dev/null");
	assert_int_equal(status, 1);
	assert_true(is_one_line_with(output, "allow_root is for ordinary users"));
	assert_false(daemon_is_mounted());
}

static void root_without_the_right_to_mount(void **state)
{
	char output[512];
	int status = shell(output, sizeof(output),
			   "setpriv --bounding-set -sys_admin --inh-caps -sys_admin " SHMFS
			   "-f " MNT " 2>&1 > /dev/null");
	assert_int_equal(status, 1);
	assert_true(is_one_line_with(output, "not permitted"));
	assert_false(daemon_is_mounted());
}

static void help_and_version_are_no_errors(void **state)
{
	static const char *const words[] = { "min_size=", "keys=", "-f", "-V", "-h" };
	char output[16384];
	assert_int_equal(shell(output, sizeof(output), SHMFS "-h 2> " TMP "/err"), 0);
	for (size_t i = 0; i < array_size(words); i++)
		assert_non_null(strstr(output, words[i]));
	assert_int_equal(file_stat(TMP "/err").st_size, 0);
	assert_int_equal(shell(output, sizeof(output), SHMFS "--help > /dev/null"), 0);
	assert_int_equal(shell(output, sizeof(output), SHMFS "-V"), 0);
	assert_non_null(strstr(output, "shmfs"));
	assert_int_equal(shell(output, sizeof(output), SHMFS "--version > /dev/null"), 0);
	assert_false(daemon_is_mounted());
}

static void known_options_are_accepted(void **state)
{
	static const char *const options[] = {
		"min_size=1", "min_size=64k,keys=dec", "min_size=1M,keys=hex", "min_size=1G",
		"ro",	      "fsname=memory",	       "allow_other"
	};
	struct fixture *fixture = *state;
	for (size_t i = 0; i < array_size(options); i++) {
		daemon_start(fixture, options[i]);
		daemon_stop(fixture);
	}
}

static void a_read_only_mount_is_read_only(void **state)
{
	segment_create(3148, 100, 0600);
	must_fail(EROFS, open(MNT "/3148", O_RDWR));
	must_fail(EROFS, unlink(MNT "/3148"));
	close(must(open(MNT "/3148", O_RDONLY)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bare(unknown_options),
		bare(sizes_that_are_none),
		bare(spellings_of_keys_that_are_none),
		bare(mount_points_that_are_none),
		bare(no_fuse_device),
		bare(a_mount_point_of_somebody_else),
		bare(a_user_who_lets_others_in),
		bare(root_who_lets_only_root_in),
		bare(root_without_the_right_to_mount),
		bare(help_and_version_are_no_errors),
		bare(known_options_are_accepted),
		mounted_with(a_read_only_mount_is_read_only, "ro"),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

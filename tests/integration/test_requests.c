/* SPDX-License-Identifier: MIT */
/* What the kernel asks the daemon for: no more than there has to be. */
#include "harness.h"

#include <sys/shm.h>
#include <sys/xattr.h>
#include <time.h>

enum { KEY = 3148 };

#define SEGMENT MNT "/3148"
#define ROOT_ATTRIBUTES "opcode: GETATTR (3), nodeid: 1,"

/* More than a jiffy, for which attributes are kept in any case. */
static void pause_as_a_person(void)
{
	usleep(50000);
}

static unsigned asked(const char *request)
{
	char command[128];
	char count[32];
	snprintf(command, sizeof(command), "grep -cF '%s' " STAGE "/stderr", request);
	shell(count, sizeof(count), "%s", command);
	return (unsigned)strtoul(count, NULL, 10);
}

/* For so long the daemon counts on more changes. */
static void let_names_rest(void)
{
	usleep(1100000);
	file_stat(MNT);
}

static void a_walk_does_not_ask_for_the_root(void **state)
{
	segment_create(KEY, 4096, 0600);
	let_names_rest();
	unsigned before = asked(ROOT_ATTRIBUTES);
	unsigned lookups = asked("opcode: LOOKUP");
	for (int i = 0; i < 5; i++) {
		pause_as_a_person();
		file_stat(SEGMENT);
	}
	assert_int_equal(asked(ROOT_ATTRIBUTES), before);
	assert_int_equal(asked("opcode: LOOKUP"), lookups + 5);
}

/* The name of a directory that is always there, and its attributes, are asked for once. */
static void a_walk_through_a_hidden_directory_asks_for_the_file_alone(void **state)
{
	static const char *const paths[] = { MNT "/.text/3148", MNT "/.orphans/posix/frames" };
	segment_create(KEY, 4096, 0644);
	object_create("frames", 1);
	let_names_rest();
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		file_stat(paths[i]);
		pause_as_a_person();
		file_stat(paths[i]);
		unsigned before = asked("opcode:");
		for (int j = 0; j < 5; j++) {
			pause_as_a_person();
			file_stat(paths[i]);
		}
		assert_int_equal(asked("opcode:"), before + 5);
	}
}

static bool is_as_native(const char *dir)
{
	struct stat seen = file_stat(dir);
	struct stat native = file_stat(NATIVE);
	return memcmp(&seen.st_mtim, &native.st_mtim, sizeof(seen.st_mtim)) == 0 &&
	       memcmp(&seen.st_ctim, &native.st_ctim, sizeof(seen.st_ctim)) == 0;
}

static bool directories_are_as_native(void)
{
	return is_as_native(MNT) && is_as_native(MNT "/.text") &&
	       is_as_native(MNT "/.orphans/sysv");
}

/* Long ones: those of a LOOKUP are for a jiffy. */
static void let_attributes_be_kept(void)
{
	let_names_rest();
	directories_are_as_native();
	pause_as_a_person();
	assert_true(directories_are_as_native());
}

static void directories_change_with_the_names_of_the_root(void **state)
{
	let_attributes_be_kept();
	object_create("frames", 1);
	assert_true(eventually(directories_are_as_native()));
	let_attributes_be_kept();
	must(rename(NATIVE "/frames", NATIVE "/films"));
	assert_true(eventually(directories_are_as_native()));
	let_attributes_be_kept();
	must(unlink(MNT "/films"));
	assert_true(is_as_native(MNT));
	assert_true(eventually(directories_are_as_native()));
	let_attributes_be_kept();
	must(chmod(NATIVE, 01755));
	assert_true(eventually(directories_are_as_native()));
	must(chmod(NATIVE, 01777));
}

/* One who makes names again and again is not to keep the daemon busy. */
static void restless_names_cost_nothing(void **state)
{
	let_names_rest();
	time_t begin = time(NULL);
	for (int i = 0; i < 100; i++) {
		object_create("frames", 1);
		file_stat(MNT);
		must(unlink(NATIVE "/frames"));
	}
	assert_true(eventually(asked("NOTIFY") > 0));
	/* One for each directory that was found: the harness has looked into two besides the root. */
	assert_in_range(asked("NOTIFY"), 1, 3 * (2 + time(NULL) - begin));
}

/* ls(1) asks for no more security contexts where it is told once that there are none. */
static void a_list_of_objects_asks_no_more_than_one_of_segments(void **state)
{
	for (int i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "frames%d", i);
		object_create(name, 1);
	}
	unsigned before = asked("opcode: GETXATTR");
	assert_int_equal(shell(NULL, 0, "ls -l " MNT "/frames*"), 0);
	assert_in_range(asked("opcode: GETXATTR") - before, 0, 21);
	must_fail(EOPNOTSUPP, getxattr(MNT "/frames1", "security.selinux", NULL, 0));
	must_fail(ENODATA, getxattr(MNT "/frames1", "security.other", NULL, 0));
	must(setxattr(NATIVE "/frames1", "security.selinux", "kept", 4, 0));
	assert_int_equal(getxattr(MNT "/frames1", "security.selinux", NULL, 0), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_with(a_walk_does_not_ask_for_the_root, "debug"),
		mounted_with(a_walk_through_a_hidden_directory_asks_for_the_file_alone, "debug"),
		mounted_with(a_list_of_objects_asks_no_more_than_one_of_segments, "debug"),
		mounted_with(directories_change_with_the_names_of_the_root, "debug"),
		mounted_with(restless_names_cost_nothing, "debug"),
	};
	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

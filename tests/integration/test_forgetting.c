/* SPDX-License-Identifier: MIT */
/* A name that is removed in one directory goes from the others, and nobody waits for that. */
#include "harness.h"

#include <sys/mman.h>
#include <sys/statvfs.h>

#include "holders.h"
#include "hung.h"

enum { NAMES = 40, ROUNDS = 1000, BIG = 64 << 20, LIMIT_S = 10 };

static void path_in(char path[64], const char *dir, int number)
{
	snprintf(path, 64, "%s/name-%d", dir, number);
}

/* Each is looked up in the one directory and removed in the other. */
static int make_and_remove(const char *seen, const char *removed, int first, int count)
{
	char path[64];
	struct stat st;
	alarm((unsigned)patience(LIMIT_S));
	for (int i = first; i < first + count; i++) {
		path_in(path, NATIVE, i);
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		child_must(fd != -1 && close(fd) == 0);
		path_in(path, seen, i);
		child_must(stat(path, &st) == 0);
		path_in(path, removed, i);
		child_must(unlink(path) == 0);
	}
	return 0;
}

static int remove_by_either(int number)
{
	return number == 0 ? make_and_remove(MNT, MNT "/.by-name", 0, ROUNDS) :
			     make_and_remove(MNT "/.by-name", MNT, ROUNDS, ROUNDS);
}

/* The one thread serves those who remove in the other directory meanwhile. */
static void one_thread_is_enough(void **state)
{
	pid_t children[2];
	assert_int_equal(shell(NULL, 0, BIN "/shmfs -s " MNT), 0);
	for (int i = 0; i < 2; i++)
		children[i] = child_start(remove_by_either, i);
	int failed = children_join(children, 2);
	must(umount2(MNT, MNT_DETACH));
	assert_int_equal(failed, 0);
}

static int remove_until_the_end(int number)
{
	const char *const removed = number % 2 ? MNT "/.by-name" : MNT;
	const char *const seen = number % 2 ? MNT : MNT "/.by-name";
	char path[64];
	struct stat st;
	alarm((unsigned)patience(LIMIT_S));
	do {
		path_in(path, NATIVE, number);
		child_must(close(open(path, O_CREAT | O_RDWR, 0600)) == 0);
		path_in(path, seen, number);
		(void)!stat(path, &st);
		path_in(path, removed, number);
		(void)!unlink(path);
	} while (access(MNT "/.by-name", F_OK) == 0);
	return 0;
}

/* They hold locks that the thread waits for, which has the device open meanwhile. */
static void the_end_lets_go_of_those_who_remove(void **state)
{
	struct fixture *fixture = *state;
	pid_t children[NAMES];
	for (int i = 0; i < NAMES; i++)
		children[i] = child_start(remove_until_the_end, i);
	usleep(300000);
	must(kill(fixture->daemon, SIGTERM));
	int hung = children_join(children, NAMES);
	assert_int_equal(daemon_wait(fixture), 0);
	assert_int_equal(hung, 0);
}

/* Holds the lock of the file in the mount while it reads what never comes. */
static int write_for_ever(int number)
{
	int source = open(HUNG_FILE, O_RDWR);
	int target = open(MNT "/held", O_RDWR);
	child_must(source != -1 && target != -1);
	void *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, source, 0);
	child_must(bytes != MAP_FAILED);
	return write(target, bytes, PAGE) == PAGE;
}

/* Holds the lock of the directory while it waits for that of the file. */
static int hold_directory(int number)
{
	return unlink(MNT "/.by-name/held") != 0;
}

static int remove_in_root(int number)
{
	return make_and_remove(MNT, MNT, 0, NAMES);
}

static void a_directory_that_somebody_holds_costs_others_nothing(void **state)
{
	object_create("held", PAGE);
	must(chmod(NATIVE "/held", 0666));
	assert_int_equal(file_stat(MNT "/.by-name/held").st_size, PAGE);
	hung_start();
	become(&ALICE);
	pid_t writer = child_start(write_for_ever, 0);
	usleep(100000);
	become(&ROOT);
	pid_t holder = child_start(hold_directory, 0);
	usleep(100000);
	become(&BOB);
	pid_t child = child_start(remove_in_root, 0);
	become(&ROOT);
	int failed = children_join(&child, 1);
	hung_stop();
	waitpid(writer, NULL, 0);
	waitpid(holder, NULL, 0);
	assert_int_equal(failed, 0);
}

static bool has_memory_back(void)
{
	struct statvfs st;
	must(statvfs(NATIVE, &st));
	return (st.f_blocks - st.f_bfree) * st.f_bsize < BIG / 2;
}

/* By whatever path it was looked at. */
static void the_memory_of_a_removed_object_is_free(void **state)
{
	char by_pid[64];
	native_resize("256M");
	object_create("frames", BIG);
	int fd = must(open(NATIVE "/frames", O_RDWR | O_CLOEXEC));
	must(fallocate(fd, 0, 0, BIG));
	close(fd);
	pid_t pid = hold(map_object, &ROOT);
	snprintf(by_pid, sizeof(by_pid), MNT "/.by-pid/%d/posix/frames", pid);
	assert_true(eventually(file_exists(by_pid)));
	assert_true(file_exists(MNT "/.by-name/frames"));
	assert_true(file_exists(MNT "/.text/frames"));
	let_go();
	must(unlink(OBJECT));
	assert_true(eventually(has_memory_back()));
}

/* The key has the content, and the kernel's dentry of it has the old object. */
static void the_memory_of_a_text_that_was_moved_to_a_key_is_free(void **state)
{
	native_resize("256M");
	object_create("frames", BIG);
	int fd = must(open(NATIVE "/frames", O_RDWR | O_CLOEXEC));
	must(fallocate(fd, 0, 0, BIG));
	close(fd);
	file_write(MNT "/.text/frames", 0, "text", 4);
	must(rename(MNT "/.text/frames", MNT "/.text/3148"));
	assert_true(eventually(has_memory_back()));
}

static int end_case(void **state)
{
	become(&ROOT);
	hung_stop();
	let_go();
	return fixture_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_thread_is_enough, fixture_begin, end_case),
		cmocka_unit_test_setup_teardown(
			a_directory_that_somebody_holds_costs_others_nothing, fixture_mount,
			end_case),
		cmocka_unit_test_setup_teardown(the_end_lets_go_of_those_who_remove, fixture_mount,
						end_case),
		cmocka_unit_test_setup_teardown(the_memory_of_a_removed_object_is_free,
						fixture_mount, end_case),
		cmocka_unit_test_setup_teardown(
			the_memory_of_a_text_that_was_moved_to_a_key_is_free, fixture_mount,
			end_case),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

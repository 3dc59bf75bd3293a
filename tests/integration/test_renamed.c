/* SPDX-License-Identifier: MIT */
/*
 * POSIX objects that are renamed, replaced or removed while they are in use,
 * through the mount and natively: as on tmpfs.
 */
#include "harness.h"

#include <sys/mman.h>
#include <sys/time.h>

enum { ROUNDS = 3000, READERS = 2 };

#define A MNT "/a"
#define B MNT "/b"
#define BOUND TMP "/bound"

static const char *by_descriptor(int fd)
{
	static char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void object_with(const char *name, const char *text)
{
	object_create(name, (off_t)strlen(text));
	object_put(name, 0, text, strlen(text));
}

/* What one can do to a file by a descriptor that leads to it, of whatever kind. */
static void assert_in_use(int fd, const char *text, nlink_t links)
{
	struct stat st;
	must(fstat(fd, &st));
	assert_int_equal(st.st_size, strlen(text));
	assert_int_equal(st.st_nlink, links);
	assert_true(file_has(by_descriptor(fd), 0, text, strlen(text)));
	must(chmod(by_descriptor(fd), 0640));
	must(fstat(fd, &st));
	assert_int_equal(st.st_mode & 07777, 0640);
	must(truncate(by_descriptor(fd), 1000));
	must(truncate(by_descriptor(fd), (off_t)strlen(text)));
	must(utimes(by_descriptor(fd), NULL));
	must(chown(by_descriptor(fd), ALICE.uid, ALICE.gid));
	int again = must(open(by_descriptor(fd), O_RDWR));
	assert_int_equal(pwrite(again, text, 1, 0), 1);
	close(again);
}

static void a_path_descriptor_follows_a_rename(void **state)
{
	for (int natively = 0; natively < 2; natively++) {
		object_with("a", "text");
		int fd = must(open(A, O_PATH));
		if (natively)
			must(rename(NATIVE "/a", NATIVE "/b"));
		else
			must(rename(A, B));
		assert_in_use(fd, "text", 1);
		object_with("a", "another");
		assert_in_use(fd, "text", 1);
		must(renameat2(AT_FDCWD, A, AT_FDCWD, B, RENAME_EXCHANGE));
		assert_in_use(fd, "text", 1);
		close(fd);
		objects_remove_all();
	}
}

/* Whatever has its name by then. */
static void it_does_so_when_the_name_is_another_objects(void **state)
{
	struct stat st;
	object_with("a", "text");
	int fd = must(open(A, O_PATH));
	must(rename(NATIVE "/a", NATIVE "/b"));
	object_with("a", "another");
	must(fstat(fd, &st));
	assert_int_equal(st.st_size, 4);
	close(fd);
	/* Nobody waits for the other end of a FIFO. */
	fd = must(open(A, O_PATH));
	must(unlink(NATIVE "/a"));
	must(mkfifo(NATIVE "/a", 0600));
	alarm((unsigned)patience(20));
	assert_int_equal(open(by_descriptor(fd), O_RDONLY), -1);
	alarm(0);
	close(fd);
	must(unlink(NATIVE "/a"));
}

static void a_bind_mount_follows_a_rename(void **state)
{
	object_with("a", "text");
	file_write(BOUND, O_CREAT, "", 0);
	must(mount(A, BOUND, NULL, MS_BIND, NULL));
	must(rename(A, B));
	assert_true(file_has(BOUND, 0, "text", 4));
	must(unlink(B));
	assert_true(file_has(BOUND, 0, "text", 4));
	assert_int_equal(file_stat(BOUND).st_nlink, 0);
	must(umount2(BOUND, MNT_DETACH));
}

/* Removed by name, or replaced, while it is open or only referred to. */
static void what_lost_its_name_stays_in_use(void **state)
{
	static const int ways[] = { O_PATH, O_RDONLY };
	for (size_t i = 0; i < 2 * array_size(ways); i++) {
		object_with("a", "text");
		object_with("b", "other");
		int fd = must(open(A, ways[i % array_size(ways)]));
		if (i < array_size(ways))
			must(unlink(A));
		else
			must(rename(B, A));
		assert_in_use(fd, "text", 0);
		object_with("c", "third");
		must(rename(MNT "/c", A));
		assert_in_use(fd, "text", 0);
		assert_true(object_has("a", 0, "third", 5));
		close(fd);
		objects_remove_all();
	}
}

static void an_open_object_outlives_a_native_removal(void **state)
{
	object_with("a", "text");
	int fd = must(open(A, O_RDONLY));
	must(unlink(NATIVE "/a"));
	assert_in_use(fd, "text", 0);
	close(fd);
}

static void a_refused_removal_keeps_nothing(void **state)
{
	struct fixture *fixture = *state;
	object_with("a", "text");
	object_with("b", "other");
	become(&ALICE);
	must_fail(EPERM, unlink(A));
	must_fail(EPERM, rename(A, B));
	become(&ROOT);
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	must(unlink(A));
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
}

/* The kernel knows the object by other directories as well, and by a text. */
static void what_is_removed_is_freed(void **state)
{
	struct fixture *fixture = *state;
	static const char *const ways[] = { A, MNT "/.by-name/a", MNT "/.text/a" };
	for (size_t i = 0; i < 2 * array_size(ways); i++) {
		object_with("a", "text");
		for (size_t way = 0; way < array_size(ways); way++)
			assert_int_equal(file_stat(ways[way]).st_size, 4);
		if (i < array_size(ways)) {
			must(unlink(ways[i]));
		} else {
			object_with("b", "other");
			must(rename(B, ways[i - array_size(ways)]));
			must(unlink(ways[i % 2]));
		}
		assert_true(eventually(daemon_holds_objects(fixture) == 0));
	}
}

/* --- again and again --- */

/* Any error but `allowed`. */
static int read_always(const char *path, int allowed)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	child_must(fd != -1 || errno == allowed);
	if (fd != -1) {
		child_must(fstat(fd, &st) == 0);
		close(fd);
	}
	child_must(stat(path, &st) == 0 || errno == allowed);
	child_must(access(path, R_OK) == 0 || errno == allowed);
	return 0;
}

static int read_replaced(int number)
{
	for (int i = 0; i < ROUNDS; i++)
		child_must(read_always(A, 0) == 0);
	return 0;
}

static int use_removed(int number)
{
	for (int i = 0; i < ROUNDS; i++) {
		child_must(read_always(A, ENOENT) == 0);
		child_must(truncate(A, 0) == 0 || errno == ENOENT);
		child_must(chmod(A, 0644) == 0 || errno == ENOENT);
		child_must(utimes(A, NULL) == 0 || errno == ENOENT);
	}
	return 0;
}

static bool are_running(const pid_t *children)
{
	siginfo_t info;
	for (int i = 0; i < READERS; i++) {
		info.si_pid = 0;
		must(waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOHANG | WNOWAIT));
		if (info.si_pid == 0)
			return true;
	}
	return false;
}

static void replace_in(const char *dir)
{
	char from[64], to[64];
	pid_t children[READERS];
	snprintf(from, sizeof(from), "%s/temp", dir);
	snprintf(to, sizeof(to), "%s/a", dir);
	file_write(to, O_CREAT, "old", 3);
	for (int i = 0; i < READERS; i++)
		children[i] = child_start(read_replaced, i);
	while (are_running(children)) {
		file_write(from, O_CREAT, "new", 3);
		must(rename(from, to));
	}
	assert_int_equal(children_join(children, READERS), 0);
}

static void a_name_that_is_replaced_is_never_missing(void **state)
{
	replace_in(MNT);
	objects_remove_all();
	replace_in(NATIVE);
}

static void a_name_that_comes_and_goes_is_there_or_not(void **state)
{
	pid_t children[READERS];
	for (int i = 0; i < READERS; i++)
		children[i] = child_start(use_removed, i);
	while (are_running(children)) {
		object_create("a", 10);
		must(unlink(NATIVE "/a"));
	}
	assert_int_equal(children_join(children, READERS), 0);
}

static int replace_as_user(void *arg)
{
	struct stat st;
	for (int i = 0; i < 200; i++) {
		int fd = open(A, O_CREAT | O_RDWR, 0600);
		int path = open(A, O_PATH);
		child_must(fd != -1 && path != -1 && write(fd, "text", 4) == 4);
		close(fd);
		child_must(rename(A, B) == 0 && stat(by_descriptor(path), &st) == 0);
		child_must(st.st_size == 4 && unlink(B) == 0);
		fd = open(by_descriptor(path), O_RDONLY);
		child_must(fd != -1 && fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 4);
		close(fd);
		close(path);
	}
	return 0;
}

static void an_ordinary_users_mount_does_the_same(void **state)
{
	assert_int_equal(run_as(&NOBODY, replace_as_user, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_path_descriptor_follows_a_rename),
		mounted(it_does_so_when_the_name_is_another_objects),
		mounted(a_bind_mount_follows_a_rename),
		mounted(what_lost_its_name_stays_in_use),
		mounted(an_open_object_outlives_a_native_removal),
		mounted(a_refused_removal_keeps_nothing),
		mounted(what_is_removed_is_freed),
		mounted(a_name_that_is_replaced_is_never_missing),
		mounted(a_name_that_comes_and_goes_is_there_or_not),
		mounted_by_user(an_ordinary_users_mount_does_the_same),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

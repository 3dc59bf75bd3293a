/* SPDX-License-Identifier: MIT */
/*
 * The extended attributes that users give a segment: they stay with it as long
 * as it lives, and looking at them leaves no trace on it.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, MOST = 4096 };

#define SEGMENT MNT "/3148"
#define STORE RUN "/shmfs"
#define NOTE "user.note"

static int note(const char *path, const char *name, const char *value)
{
	return setxattr(path, name, value, strlen(value), 0);
}

static bool has_note(const char *path, const char *name, const char *expected)
{
	char value[MOST] = "";
	ssize_t length = getxattr(path, name, value, sizeof(value) - 1);
	return length == (ssize_t)strlen(expected) && strcmp(value, expected) == 0;
}

static bool has_no_note(const char *path)
{
	return getxattr(path, NOTE, NULL, 0) == -1 && errno == ENODATA;
}

static const char *by_id(int id)
{
	static char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	return path;
}

static void remount(struct fixture *fixture)
{
	daemon_stop(fixture);
	daemon_start(fixture, NULL);
}

/* How many files there are; their directory need not be. */
static int count_files(void)
{
	return file_exists(STORE) ? directory_count(STORE) : 0;
}

/* --- staying --- */

static void attributes_stay_as_long_as_the_segment(void **state)
{
	struct fixture *fixture = *state;
	char output[4096];
	int id = segment_create(KEY, PAGE, 0640);
	assert_true(has_no_note(SEGMENT));
	assert_int_equal(shell(NULL, 0, "setfattr -n user.note -v payroll " SEGMENT), 0);
	must(note(SEGMENT, "user.empty", ""));
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
	assert_true(has_note(SEGMENT, "user.empty", ""));
	assert_true(has_note(by_id(id), NOTE, "payroll"));
	remount(fixture);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
	assert_int_equal(shell(output, sizeof(output), "getfattr -d " SEGMENT " 2>&1"), 0);
	assert_non_null(strstr(output, "user.note=\"payroll\""));
	assert_non_null(strstr(output, "user.empty=\"\""));
	assert_non_null(strstr(output, "user.shm.key="));
	/* Without a mount the segment is used, changed and attached as ever. */
	daemon_stop(fixture);
	segment_put(id, 0, "text", 4);
	segment_chmod(id, 0600);
	segment_chown(id, ALICE.uid, ALICE.gid);
	daemon_start(fixture, NULL);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
	/* And goes with it. */
	must(unlink(SEGMENT));
	segment_create(KEY, PAGE, 0640);
	assert_true(has_no_note(SEGMENT));
}

static void attributes_are_set_replaced_and_removed(void **state)
{
	char names[MOST];
	segment_create(KEY, PAGE, 0600);
	ssize_t listed = listxattr(SEGMENT, names, sizeof(names));
	must_fail(ENODATA, removexattr(SEGMENT, NOTE));
	must_fail(ENODATA, setxattr(SEGMENT, NOTE, "x", 1, XATTR_REPLACE));
	assert_int_equal(count_files(), 0);
	must(setxattr(SEGMENT, NOTE, "one", 3, XATTR_CREATE));
	must_fail(EEXIST, setxattr(SEGMENT, NOTE, "x", 1, XATTR_CREATE));
	must(setxattr(SEGMENT, NOTE, "two", 3, XATTR_REPLACE));
	must(note(SEGMENT, "user.other", "three"));
	assert_true(has_note(SEGMENT, NOTE, "two"));
	must_fail(ERANGE, getxattr(SEGMENT, NOTE, (char[2]){ 0 }, 2));
	must(removexattr(SEGMENT, NOTE));
	assert_true(has_no_note(SEGMENT));
	assert_true(has_note(SEGMENT, "user.other", "three"));
	assert_int_equal(count_files(), 1);
	must(removexattr(SEGMENT, "user.other"));
	assert_int_equal(listxattr(SEGMENT, names, sizeof(names)), listed);
}

static void a_segment_without_a_key_has_notes_too(void **state)
{
	struct fixture *fixture = *state;
	int id = must(shmget(IPC_PRIVATE, PAGE, 0600));
	must(note(by_id(id), NOTE, "nameless"));
	remount(fixture);
	assert_true(has_note(by_id(id), NOTE, "nameless"));
}

static void a_resize_carries_attributes_over(void **state)
{
	struct fixture *fixture = *state;
	char bytes[5 * PAGE];
	int id = segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	must(note(SEGMENT, "user.other", "three"));
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_not_equal(segment_find(KEY), id);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
	/* A writer that goes on past the end. */
	pattern_fill(bytes, sizeof(bytes), 1);
	file_write(SEGMENT, O_APPEND, bytes, sizeof(bytes));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 8 * PAGE);
	assert_true(has_note(SEGMENT, "user.other", "three"));
	assert_int_equal(count_files(), 1);
	remount(fixture);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
	assert_true(has_note(SEGMENT, "user.other", "three"));
	/* Emptied it is the same segment. */
	must(truncate(SEGMENT, 0));
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
}

/* --- leaving no trace --- */

static void look_at_all(void)
{
	assert_int_equal(shell((char[8192]){ "" }, 8192,
			       "cd " MNT
			       " && getfattr -d 3148 5000 .by-id/*; getfattr -n user.note 3148;"
			       " getfattr -n user.none 5000; setfattr -x user.none 5000; ls -l"),
			 0);
}

static void assert_looking_leaves_no_trace(const int *ids, size_t count)
{
	struct shmid_ds before[2], after[2];
	for (size_t i = 0; i < count; i++)
		before[i] = segment_stat(ids[i]);
	usleep(1100000); /* a change would show in the times too */
	look_at_all();
	for (size_t i = 0; i < count; i++)
		after[i] = segment_stat(ids[i]);
	assert_memory_equal(after, before, count * sizeof(*before));
}

static void looking_leaves_no_trace(void **state)
{
	struct fixture *fixture = *state;
	const int ids[] = { segment_create(KEY, PAGE, 0600), segment_create(5000, PAGE, 0600) };
	must(note(SEGMENT, NOTE, "payroll"));
	assert_looking_leaves_no_trace(ids, array_size(ids));
	remount(fixture);
	assert_looking_leaves_no_trace(ids, array_size(ids));
	/* What the mount itself changes is no reason to look closer either. */
	must(chmod(SEGMENT, 0644));
	must(chown(SEGMENT, ALICE.uid, ALICE.gid));
	must(utimensat(AT_FDCWD, SEGMENT, NULL, 0));
	assert_looking_leaves_no_trace(ids, array_size(ids));
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
}

static void looking_after_a_resize_leaves_no_trace(void **state)
{
	segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	must(truncate(SEGMENT, 3 * PAGE));
	const int ids[] = { segment_find(KEY), segment_create(5000, PAGE, 0600) };
	assert_looking_leaves_no_trace(ids, array_size(ids));
}

/* --- who may, and how much --- */

static void attributes_go_by_the_mode(void **state)
{
	become(&ALICE);
	int id = segment_create(KEY, PAGE, 0644);
	must(note(SEGMENT, NOTE, "hers"));
	must_fail(EPERM, note(SEGMENT, "trusted.note", "hers"));
	become(&BOB);
	assert_true(has_note(SEGMENT, NOTE, "hers"));
	must_fail(EACCES, note(SEGMENT, NOTE, "his"));
	must_fail(EACCES, removexattr(SEGMENT, NOTE));
	become(&ROOT);
	segment_chmod(id, 0600);
	become(&BOB);
	must_fail(EACCES, getxattr(SEGMENT, NOTE, NULL, 0));
	become(&ROOT);
	assert_true(has_note(SEGMENT, NOTE, "hers"));
	must_fail(EOPNOTSUPP, note(SEGMENT, "trusted.note", "x"));
	must_fail(EOPNOTSUPP, note(SEGMENT, "security.note", "x"));
}

/* Not the one that the kernel has seen a moment ago, and goes by at a descriptor. */
static void attributes_go_by_the_mode_at_that_moment(void **state)
{
	char path[32];
	struct stat seen;
	int id = segment_create(KEY, PAGE, 0666);
	must(note(SEGMENT, NOTE, "payroll"));
	int fd = must(open(SEGMENT, O_PATH | O_CLOEXEC));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (int i = 0; i < 20; i++) {
		segment_chmod(id, 0666);
		become(&BOB);
		must(stat(SEGMENT, &seen));
		become(&ROOT);
		segment_chmod(id, 0600);
		become(&BOB);
		must_fail(EACCES, note(path, NOTE, "his"));
		must_fail(EACCES, removexattr(path, NOTE));
		must_fail(EACCES, getxattr(path, NOTE, NULL, 0));
		become(&ROOT);
	}
	close(fd);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
}

static void attributes_are_for_notes(void **state)
{
	char value[MOST + 1];
	memset(value, 'v', sizeof(value));
	segment_create(KEY, PAGE, 0600);
	must_fail(ENOSPC, setxattr(SEGMENT, NOTE, value, sizeof(value), 0));
	assert_true(has_no_note(SEGMENT));
	must(setxattr(SEGMENT, NOTE, value, MOST / 2, 0));
	must_fail(ENOSPC, setxattr(SEGMENT, "user.other", value, MOST / 2, 0));
	/* What is replaced makes room. */
	must(setxattr(SEGMENT, NOTE, value, MOST - 100, 0));
	must_fail(ENOSPC, setxattr(SEGMENT, "user.other", value, 100, 0));
	must(setxattr(SEGMENT, NOTE, value, 1, 0));
	must(setxattr(SEGMENT, "user.other", value, 100, 0));
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_equal(getxattr(SEGMENT, "user.other", NULL, 0), 100);
}

/* --- the store --- */

static void a_promise_is_only_made_if_it_can_be_kept(void **state)
{
	segment_create(KEY, PAGE, 0600);
	must(mkdir(STORE, 0700));
	must(mount("tmpfs", STORE, "tmpfs", MS_RDONLY, "mode=0700"));
	must_fail(EROFS, note(SEGMENT, NOTE, "payroll"));
	int fd = must(open(SEGMENT, O_RDONLY));
	must_fail(ENODATA, fgetxattr(fd, NOTE, NULL, 0));
	close(fd);
}

static void the_store_is_for_nobody_else(void **state)
{
	struct fixture *fixture = *state;
	struct stat data;
	segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	must(stat(STORE, &data));
	assert_int_equal(data.st_mode & 07777, 0700);
	/* Others' directories are not used. */
	must(chown(STORE, ALICE.uid, ALICE.gid));
	remount(fixture);
	assert_true(has_no_note(SEGMENT));
	must_fail(EPERM, note(SEGMENT, NOTE, "other"));
}

static int make_other(int key)
{
	child_must(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600) != -1);
	return 0;
}

static void a_shmid_that_is_used_again_brings_no_attributes(void **state)
{
	char number[16];
	int id = segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	segment_remove(id);
	if (!file_exists("/proc/sys/kernel/shm_next_id"))
		skip();
	file_write("/proc/sys/kernel/shm_next_id", 0, number,
		   (size_t)snprintf(number, sizeof(number), "%d", id));
	pid_t child = child_start(make_other, KEY);
	assert_int_equal(children_join(&child, 1), 0);
	assert_int_equal(segment_find(KEY), id);
	assert_true(has_no_note(SEGMENT));
	must(note(SEGMENT, NOTE, "other"));
	assert_true(has_note(SEGMENT, NOTE, "other"));
}

static void attributes_outlive_the_key(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	void *memory = segment_attach(id);
	must(unlink(SEGMENT));
	assert_true(has_note(by_id(id), NOTE, "payroll"));
	must(note(by_id(id), "user.other", "late"));
	assert_true(has_note(by_id(id), "user.other", "late"));
	segment_detach(memory);
}

static void a_store_that_is_removed_is_made_again(void **state)
{
	segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "one"));
	assert_int_equal(shell(NULL, 0, "rm -r " STORE), 0);
	assert_true(has_no_note(SEGMENT));
	assert_true(daemon_said(STORE " was removed"));
	must(note(SEGMENT, NOTE, "two"));
	assert_true(has_note(SEGMENT, NOTE, "two"));
	/* Somebody else may make it. */
	assert_int_equal(shell(NULL, 0, "rm -r " STORE " && mkdir -m 700 " STORE), 0);
	must(note(SEGMENT, NOTE, "three"));
	must(truncate(SEGMENT, 3L * PAGE));
	assert_true(has_note(SEGMENT, NOTE, "three"));
}

static void attributes_that_stay_behind_do_not_stop_a_resize(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, "content", 7);
	must(note(SEGMENT, NOTE, "payroll"));
	must(mount(STORE, STORE, NULL, MS_BIND, NULL));
	must(mount(NULL, STORE, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	must(truncate(SEGMENT, 3L * PAGE));
	assert_true(segment_has(segment_find(KEY), 0, "content", 7));
	assert_true(has_no_note(SEGMENT));
	assert_true(daemon_said("attributes of key 0x00000c4c are lost"));
}

static void files_of_what_is_gone_do_not_pile_up(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 200; i++) {
		int id = must(shmget(IPC_PRIVATE, PAGE, 0600));
		must(note(by_id(id), NOTE, "temporary"));
		segment_remove(id);
	}
	assert_true(count_files() <= 64);
	segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	remount(fixture);
	assert_int_equal(count_files(), 1);
	assert_true(has_note(SEGMENT, NOTE, "payroll"));
}

static void the_last_unmount_leaves_no_file_of_what_is_gone(void **state)
{
	struct fixture *fixture = *state;
	segment_create(KEY, PAGE, 0600);
	must(note(SEGMENT, NOTE, "payroll"));
	must(unlink(SEGMENT));
	daemon_stop(fixture);
	assert_int_equal(count_files(), 0);
	daemon_start(fixture, NULL);
}

static void two_mounts_see_the_same(void **state)
{
	segment_create(KEY, PAGE, 0600);
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	must(note(SEGMENT, NOTE, "one"));
	assert_true(has_note(STAGE "/other/3148", NOTE, "one"));
	must(note(STAGE "/other/3148", NOTE, "two"));
	must(note(STAGE "/other/3148", "user.other", "three"));
	assert_true(has_note(SEGMENT, NOTE, "two"));
	must(note(SEGMENT, "user.more", "four"));
	must(removexattr(STAGE "/other/3148", NOTE));
	assert_true(has_no_note(SEGMENT));
	assert_true(has_note(SEGMENT, "user.other", "three"));
	assert_true(has_note(STAGE "/other/3148", "user.more", "four"));
	must(umount(STAGE "/other"));
	must(rmdir(STAGE "/other"));
}

/* --- an ordinary user's own mount --- */

static int note_own(void *arg)
{
	char names[4096];
	child_must(shmget(KEY, PAGE, IPC_CREAT | 0600) != -1);
	child_must(note(SEGMENT, NOTE, "his") == -1 && errno == EOPNOTSUPP);
	child_must(getxattr(SEGMENT, NOTE, NULL, 0) == -1 && errno == EOPNOTSUPP);
	child_must(listxattr(SEGMENT, names, sizeof(names)) > 0);
	return 0;
}

static void a_user_without_descriptors_has_none(void **state)
{
	assert_int_equal(run_as(&NOBODY, note_own, NULL), 0);
}

/* Each case has the store for itself. */
static int without_store(void **state)
{
	while (umount2(STORE, MNT_DETACH) == 0)
		;
	return shell(NULL, 0, "rm -rf " STORE);
}

static int mount_without_store(void **state)
{
	without_store(state);
	return fixture_mount(state);
}

#define noted(test) \
	cmocka_unit_test_prestate_setup_teardown(test, mount_without_store, fixture_end, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		noted(attributes_stay_as_long_as_the_segment),
		noted(attributes_are_set_replaced_and_removed),
		noted(a_segment_without_a_key_has_notes_too),
		noted(a_resize_carries_attributes_over),
		noted(looking_leaves_no_trace),
		noted(looking_after_a_resize_leaves_no_trace),
		noted(attributes_go_by_the_mode),
		noted(attributes_go_by_the_mode_at_that_moment),
		noted(attributes_are_for_notes),
		noted(a_promise_is_only_made_if_it_can_be_kept),
		noted(the_store_is_for_nobody_else),
		noted(a_shmid_that_is_used_again_brings_no_attributes),
		noted(attributes_outlive_the_key),
		noted(a_store_that_is_removed_is_made_again),
		noted(attributes_that_stay_behind_do_not_stop_a_resize),
		noted(files_of_what_is_gone_do_not_pile_up),
		noted(the_last_unmount_leaves_no_file_of_what_is_gone),
		noted(two_mounts_see_the_same),
		mounted_by_user(a_user_without_descriptors_has_none),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

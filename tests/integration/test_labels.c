/* SPDX-License-Identifier: MIT */
/*
 * Labels, the attributes that users give a segment: they stay with it as long
 * as it lives, and looking at them leaves no trace on it.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, MOST = 4096 };

#define SEGMENT MNT "/3148"
#define HINTS RUN "/shmfs"
#define NOTE "user.note"

static int label(const char *path, const char *name, const char *value)
{
	return setxattr(path, name, value, strlen(value), 0);
}

static bool has_label(const char *path, const char *name, const char *expected)
{
	char value[MOST] = "";
	ssize_t length = getxattr(path, name, value, sizeof(value) - 1);
	return length == (ssize_t)strlen(expected) && strcmp(value, expected) == 0;
}

static bool has_no_label(const char *path)
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

/* How many hints there are; their directory need not be. */
static int count_hints(void)
{
	return file_exists(HINTS) ? directory_count(HINTS) : 0;
}

/* The hint of a segment. */
static const char *hint_of(int id)
{
	static char path[128];
	struct stat ipc;
	must(stat("/proc/self/ns/ipc", &ipc));
	snprintf(path, sizeof(path), HINTS "/%lu-%d", (unsigned long)ipc.st_ino, id);
	return path;
}

/* --- staying --- */

static void a_label_stays_as_long_as_the_segment(void **state)
{
	struct fixture *fixture = *state;
	char output[4096];
	int id = segment_create(KEY, PAGE, 0640);
	assert_true(has_no_label(SEGMENT));
	assert_int_equal(shell(NULL, 0, "setfattr -n user.note -v payroll " SEGMENT), 0);
	must(label(SEGMENT, "user.empty", ""));
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
	assert_true(has_label(SEGMENT, "user.empty", ""));
	assert_true(has_label(by_id(id), NOTE, "payroll"));
	remount(fixture);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
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
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
	/* And goes with it. */
	must(unlink(SEGMENT));
	segment_create(KEY, PAGE, 0640);
	assert_true(has_no_label(SEGMENT));
}

static void labels_are_set_replaced_and_removed(void **state)
{
	(void)state;
	segment_create(KEY, PAGE, 0600);
	must_fail(ENODATA, removexattr(SEGMENT, NOTE));
	must_fail(ENODATA, setxattr(SEGMENT, NOTE, "x", 1, XATTR_REPLACE));
	assert_int_equal(count_hints(), 0);
	must(setxattr(SEGMENT, NOTE, "one", 3, XATTR_CREATE));
	must_fail(EEXIST, setxattr(SEGMENT, NOTE, "x", 1, XATTR_CREATE));
	must(setxattr(SEGMENT, NOTE, "two", 3, XATTR_REPLACE));
	must(label(SEGMENT, "user.other", "three"));
	assert_true(has_label(SEGMENT, NOTE, "two"));
	must_fail(ERANGE, getxattr(SEGMENT, NOTE, (char[2]){ 0 }, 2));
	must(removexattr(SEGMENT, NOTE));
	assert_true(has_no_label(SEGMENT));
	assert_true(has_label(SEGMENT, "user.other", "three"));
	assert_int_equal(count_hints(), 1);
	must(removexattr(SEGMENT, "user.other"));
	assert_int_equal(count_hints(), 0);
}

static void a_segment_without_a_key_has_labels_too(void **state)
{
	struct fixture *fixture = *state;
	int id = must(shmget(IPC_PRIVATE, PAGE, 0600));
	must(label(by_id(id), NOTE, "nameless"));
	remount(fixture);
	assert_true(has_label(by_id(id), NOTE, "nameless"));
}

static void a_resize_carries_labels_over(void **state)
{
	struct fixture *fixture = *state;
	char bytes[5 * PAGE];
	int id = segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	must(label(SEGMENT, "user.other", "three"));
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_not_equal(segment_find(KEY), id);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
	/* A writer that goes on past the end. */
	pattern_fill(bytes, sizeof(bytes), 1);
	file_write(SEGMENT, O_APPEND, bytes, sizeof(bytes));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 8 * PAGE);
	assert_true(has_label(SEGMENT, "user.other", "three"));
	assert_int_equal(count_hints(), 1);
	remount(fixture);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
	assert_true(has_label(SEGMENT, "user.other", "three"));
	/* Emptied it is the same segment. */
	must(truncate(SEGMENT, 0));
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
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
	must(label(SEGMENT, NOTE, "payroll"));
	assert_looking_leaves_no_trace(ids, array_size(ids));
	remount(fixture);
	assert_looking_leaves_no_trace(ids, array_size(ids));
	/* What the mount itself changes is no reason to look closer either. */
	must(chmod(SEGMENT, 0644));
	must(chown(SEGMENT, ALICE.uid, ALICE.gid));
	must(utimensat(AT_FDCWD, SEGMENT, NULL, 0));
	assert_looking_leaves_no_trace(ids, array_size(ids));
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
}

static void looking_after_a_resize_leaves_no_trace(void **state)
{
	(void)state;
	segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	must(truncate(SEGMENT, 3 * PAGE));
	const int ids[] = { segment_find(KEY), segment_create(5000, PAGE, 0600) };
	assert_looking_leaves_no_trace(ids, array_size(ids));
}

/* --- who may, and how much --- */

static void labels_go_by_the_mode(void **state)
{
	(void)state;
	become(&ALICE);
	int id = segment_create(KEY, PAGE, 0644);
	must(label(SEGMENT, NOTE, "hers"));
	must_fail(EPERM, label(SEGMENT, "trusted.note", "hers"));
	become(&BOB);
	assert_true(has_label(SEGMENT, NOTE, "hers"));
	must_fail(EACCES, label(SEGMENT, NOTE, "his"));
	must_fail(EACCES, removexattr(SEGMENT, NOTE));
	become(&ROOT);
	segment_chmod(id, 0600);
	become(&BOB);
	must_fail(EACCES, getxattr(SEGMENT, NOTE, NULL, 0));
	become(&ROOT);
	assert_true(has_label(SEGMENT, NOTE, "hers"));
	must_fail(EOPNOTSUPP, label(SEGMENT, "trusted.note", "x"));
	must_fail(EOPNOTSUPP, label(SEGMENT, "security.note", "x"));
}

/* Not the one that the kernel has seen a moment ago, and goes by at a descriptor. */
static void labels_go_by_the_mode_at_that_moment(void **state)
{
	(void)state;
	char path[32];
	struct stat seen;
	int id = segment_create(KEY, PAGE, 0666);
	must(label(SEGMENT, NOTE, "payroll"));
	int fd = must(open(SEGMENT, O_PATH | O_CLOEXEC));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (int i = 0; i < 20; i++) {
		segment_chmod(id, 0666);
		become(&BOB);
		must(stat(SEGMENT, &seen));
		become(&ROOT);
		segment_chmod(id, 0600);
		become(&BOB);
		must_fail(EACCES, label(path, NOTE, "his"));
		must_fail(EACCES, removexattr(path, NOTE));
		must_fail(EACCES, getxattr(path, NOTE, NULL, 0));
		become(&ROOT);
	}
	close(fd);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
}

static void labels_are_for_notes(void **state)
{
	(void)state;
	char value[MOST + 1];
	memset(value, 'v', sizeof(value));
	segment_create(KEY, PAGE, 0600);
	must_fail(ENOSPC, setxattr(SEGMENT, NOTE, value, sizeof(value), 0));
	assert_true(has_no_label(SEGMENT));
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

/* --- hints --- */

static void a_promise_is_only_made_if_it_can_be_kept(void **state)
{
	(void)state;
	segment_create(KEY, PAGE, 0600);
	must(mkdir(HINTS, 0700));
	must(mount("tmpfs", HINTS, "tmpfs", MS_RDONLY, "mode=0700"));
	must_fail(EROFS, label(SEGMENT, NOTE, "payroll"));
	/* Who has it open sees the inode itself. */
	int fd = must(open(SEGMENT, O_RDONLY));
	must_fail(ENODATA, fgetxattr(fd, NOTE, NULL, 0));
	close(fd);
}

static void hints_are_for_nobody_else(void **state)
{
	struct fixture *fixture = *state;
	struct stat data;
	segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	must(stat(HINTS, &data));
	assert_int_equal(data.st_mode & 07777, 0700);
	/* Others' directories are not used. */
	must(chown(HINTS, ALICE.uid, ALICE.gid));
	remount(fixture);
	assert_true(has_no_label(SEGMENT));
	must_fail(EPERM, label(SEGMENT, NOTE, "other"));
}

static void a_hint_that_does_not_fit_is_checked(void **state)
{
	(void)state;
	char copy[128];
	int id = segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	/* As if another segment had had this number. */
	int other = segment_create(5000, 2 * PAGE, 0600);
	snprintf(copy, sizeof(copy), "%s", hint_of(id));
	must(link(copy, hint_of(other)));
	assert_true(has_no_label(MNT "/5000"));
	assert_false(file_exists(hint_of(other)));
	/* As if who set it had been killed half way. */
	must(truncate(hint_of(id), 0));
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
	struct stat data;
	must(stat(hint_of(id), &data));
	assert_true(data.st_size > 0);
	/* Not what we write. */
	file_write(hint_of(id), O_TRUNC, "nonsense nonsense nonsense nonsense nonsense", 44);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
}

static void hints_of_what_is_gone_do_not_pile_up(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 200; i++) {
		int id = must(shmget(IPC_PRIVATE, PAGE, 0600));
		must(label(by_id(id), NOTE, "temporary"));
		segment_remove(id);
	}
	assert_true(count_hints() <= 64);
	segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	remount(fixture);
	assert_int_equal(count_hints(), 1);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
}

static void the_last_unmount_leaves_no_hint_of_what_is_gone(void **state)
{
	struct fixture *fixture = *state;
	segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	must(unlink(SEGMENT));
	daemon_stop(fixture);
	assert_int_equal(count_hints(), 0);
	daemon_start(fixture, NULL);
}

static void two_mounts_see_the_same(void **state)
{
	(void)state;
	segment_create(KEY, PAGE, 0600);
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	must(label(SEGMENT, NOTE, "one"));
	assert_true(has_label(STAGE "/other/3148", NOTE, "one"));
	must(label(STAGE "/other/3148", NOTE, "two"));
	must(label(STAGE "/other/3148", "user.other", "three"));
	assert_true(has_label(SEGMENT, NOTE, "two"));
	must(label(SEGMENT, "user.more", "four"));
	must(removexattr(STAGE "/other/3148", NOTE));
	assert_true(has_no_label(SEGMENT));
	assert_true(has_label(SEGMENT, "user.other", "three"));
	assert_true(has_label(STAGE "/other/3148", "user.more", "four"));
	must(umount(STAGE "/other"));
	must(rmdir(STAGE "/other"));
}

/* Another daemon is faster than one that has changed the mode and notes it. */
static void a_hint_is_renewed_with_what_is_in_it_then(void **state)
{
	(void)state;
	int id = segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	int lock = must(open(HINTS, O_RDONLY | O_DIRECTORY));
	must(flock(lock, LOCK_EX));
	pid_t child = must(fork());
	if (child == 0)
		_exit(chmod(SEGMENT, 0640) == 0 ? 0 : 1);
	/* It waits for the lock by then, or sees the new hint anyway. */
	usleep(200000);
	struct stat data;
	must(stat(hint_of(id), &data));
	int hint = must(open(hint_of(id), O_WRONLY));
	assert_int_equal(must(pwrite(hint, "another", 7, data.st_size - 7)), 7);
	close(hint);
	must(flock(lock, LOCK_UN));
	close(lock);
	int status;
	must(waitpid(child, &status, 0));
	assert_int_equal(status, 0);
	assert_true(has_label(SEGMENT, NOTE, "another"));
}

/* Looking opens the segment, for the hint is not of it as it is: nobody else is that. */
static void looking_is_no_use_that_keeps_a_size(void **state)
{
	(void)state;
	int id = segment_create(KEY, PAGE, 0600);
	must(label(SEGMENT, NOTE, "payroll"));
	must(truncate(hint_of(id), 0));
	int lock = must(open(HINTS, O_RDONLY | O_DIRECTORY));
	must(flock(lock, LOCK_EX));
	pid_t looks = must(fork());
	if (looks == 0)
		_exit(has_label(SEGMENT, NOTE, "payroll") ? 0 : 1);
	/* It waits for the lock by then, and nobody else does. */
	usleep(200000);
	pid_t asks = must(fork());
	if (asks == 0)
		_exit(file_exists(SEGMENT) ? 0 : 1);
	int status;
	bool answered = eventually(waitpid(asks, &status, WNOHANG) == asks && status == 0);
	pid_t resizes = must(fork());
	if (resizes == 0)
		_exit(truncate(SEGMENT, 2 * PAGE) == 0 ? 0 : errno);
	usleep(100000);
	must(flock(lock, LOCK_UN));
	close(lock);
	/* Not before: as long as the lock is held a daemon that waits for it does not end. */
	assert_true(answered);
	must(waitpid(looks, &status, 0));
	assert_int_equal(status, 0);
	must(waitpid(resizes, &status, 0));
	assert_int_equal(status, 0);
	assert_int_equal(file_stat(SEGMENT).st_size, 2 * PAGE);
	assert_true(has_label(SEGMENT, NOTE, "payroll"));
}

/* --- an ordinary user's own mount --- */

static int label_own(void *arg)
{
	char names[4096];
	(void)arg;
	child_must(shmget(KEY, PAGE, IPC_CREAT | 0600) != -1);
	child_must(label(SEGMENT, NOTE, "his") == -1 && errno == EOPNOTSUPP);
	child_must(getxattr(SEGMENT, NOTE, NULL, 0) == -1 && errno == EOPNOTSUPP);
	child_must(listxattr(SEGMENT, names, sizeof(names)) > 0);
	return 0;
}

static void a_user_without_descriptors_has_none(void **state)
{
	(void)state;
	assert_int_equal(run_as(&NOBODY, label_own, NULL), 0);
}

/* Each case has the directory of hints for itself. */
static int without_hints(void **state)
{
	(void)state;
	while (umount2(HINTS, MNT_DETACH) == 0)
		;
	return shell(NULL, 0, "rm -rf " HINTS);
}

static int mount_without_hints(void **state)
{
	without_hints(state);
	return fixture_mount(state);
}

#define labelled(test) \
	cmocka_unit_test_prestate_setup_teardown(test, mount_without_hints, fixture_end, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		labelled(a_label_stays_as_long_as_the_segment),
		labelled(labels_are_set_replaced_and_removed),
		labelled(a_segment_without_a_key_has_labels_too),
		labelled(a_resize_carries_labels_over),
		labelled(looking_leaves_no_trace),
		labelled(looking_after_a_resize_leaves_no_trace),
		labelled(labels_go_by_the_mode),
		labelled(labels_go_by_the_mode_at_that_moment),
		labelled(labels_are_for_notes),
		labelled(a_promise_is_only_made_if_it_can_be_kept),
		labelled(hints_are_for_nobody_else),
		labelled(a_hint_that_does_not_fit_is_checked),
		labelled(hints_of_what_is_gone_do_not_pile_up),
		labelled(the_last_unmount_leaves_no_hint_of_what_is_gone),
		labelled(two_mounts_see_the_same),
		labelled(a_hint_is_renewed_with_what_is_in_it_then),
		labelled(looking_is_no_use_that_keeps_a_size),
		mounted_by_user(a_user_without_descriptors_has_none),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

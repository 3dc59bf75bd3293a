/* SPDX-License-Identifier: MIT */
/* .by-pid: what each process uses, for those who may look into it. */
#include "harness.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "container.h"
#include "engine.h"
#include "holders.h"

#define BY_PID MNT "/.by-pid"

static int make_both(void **state)
{
	int result = fixture_mount(state);
	both_create(KEY, "frames", PAGE);
	object_put("frames", 0, "bytes", 5);
	must(chmod(NATIVE "/frames", 0666));
	return result;
}

static int end_case(void **state)
{
	become(&ROOT);
	let_go();
	return container_end(state);
}

#define with_both(test) cmocka_unit_test_setup_teardown(test, make_both, end_case)

static const char *path_of(pid_t pid, const char *rest)
{
	static char path[128];
	snprintf(path, sizeof(path), BY_PID "/%d%s", pid, rest);
	return path;
}

static const char *segment_of(pid_t pid, int id)
{
	char rest[64];
	snprintf(rest, sizeof(rest), "/sysv/%d", id);
	return path_of(pid, rest);
}

static void processes_that_use_any_are_listed(void **state)
{
	char name[16];
	pid_t pid = hold(attach, &ROOT);
	snprintf(name, sizeof(name), "%d", pid);
	assert_false(directory_lists(MNT, ".by-pid"));
	assert_true(eventually(directory_lists(BY_PID, name)));
	assert_int_equal(directory_count(path_of(pid, "")), 2);
	assert_int_equal(directory_count(path_of(pid, "/sysv")), 1);
	assert_int_equal(directory_count(path_of(pid, "/posix")), 0);
	let_go();
	assert_true(eventually(!directory_lists(BY_PID, name)));
	assert_true(eventually(!file_exists(path_of(pid, ""))));
	/* What uses nothing, or is no process, is not there. */
	assert_false(file_exists(path_of(getpid(), "")));
	assert_false(file_exists(BY_PID "/0"));
	assert_false(file_exists(BY_PID "/self"));
}

static bool open_a_semaphore(void)
{
	return open(NATIVE "/sem.x", O_RDWR) != -1;
}

static bool open_both(void)
{
	return open_a_semaphore() && open_object();
}

static void a_semaphore_is_no_shared_memory(void **state)
{
	object_create("sem.x", PAGE);
	pid_t waits = hold(open_a_semaphore, &ROOT);
	pid_t both = hold(open_both, &ROOT);
	assert_true(eventually(file_exists(path_of(both, ""))));
	assert_false(file_exists(path_of(waits, "")));
	assert_int_equal(directory_count(path_of(both, "/posix")), 1);
	must(unlink(NATIVE "/sem.x"));
	let_go();
}

static void each_has_what_it_uses(void **state)
{
	int id = segment_find(KEY);
	segment_create(KEY + 1, PAGE, 0600);
	object_create("other", PAGE);
	pid_t attached = hold(attach, &ROOT);
	pid_t opened = hold(open_object, &ROOT);
	pid_t mapped = hold(map_object, &ROOT);
	assert_true(eventually(directory_count(path_of(mapped, "/posix")) == 1));
	assert_true(file_exists(segment_of(attached, id)));
	assert_int_equal(directory_count(path_of(attached, "/sysv")), 1);
	assert_true(file_exists(path_of(opened, "/posix/frames")));
	assert_int_equal(directory_count(path_of(opened, "/posix")), 1);
	assert_true(file_exists(path_of(mapped, "/posix/frames")));
	assert_false(file_exists(path_of(mapped, "/posix/other")));
	assert_false(file_exists(segment_of(opened, id)));
}

static void uses_through_the_mount_count(void **state)
{
	int id = segment_find(KEY);
	pid_t segment = hold(open_segment_through_mount, &ROOT);
	pid_t object = hold(open_through_mount, &ROOT);
	assert_true(eventually(file_exists(segment_of(segment, id))));
	assert_true(eventually(file_exists(path_of(object, "/posix/frames"))));
	if (!engine_is_passthrough())
		return;
	segment = hold(map_segment_through_mount, &ROOT);
	object = hold(map_through_mount, &ROOT);
	assert_true(eventually(file_exists(segment_of(segment, id))));
	assert_true(eventually(file_exists(path_of(object, "/posix/frames"))));
}

static bool open_through_another_mount(void)
{
	return open(STAGE "/other/3148", O_RDONLY) != -1 &&
	       open(STAGE "/other/frames", O_RDONLY) != -1;
}

static void uses_through_another_mount_count(void **state)
{
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	pid_t pid = hold(open_through_another_mount, &ROOT);
	assert_true(eventually(file_exists(path_of(pid, "/posix/frames"))));
	assert_true(file_exists(segment_of(pid, segment_find(KEY))));
	let_go();
	must(umount2(STAGE "/other", 0));
	must(rmdir(STAGE "/other"));
}

static void they_are_the_same_files(void **state)
{
	char by_id[64];
	int id = segment_find(KEY);
	snprintf(by_id, sizeof(by_id), MNT "/.by-id/%d", id);
	pid_t pid = hold(attach, &ROOT);
	hold(open_object, &ROOT);
	assert_true(eventually(file_exists(path_of(holders[1], "/posix/frames"))));
	assert_int_equal(file_stat(segment_of(pid, id)).st_ino, file_stat(by_id).st_ino);
	file_write(segment_of(pid, id), O_WRONLY, "bytes", 5);
	assert_true(segment_has(id, 0, "bytes", 5));
	const char *object = path_of(holders[1], "/posix/frames");
	assert_int_equal(file_stat(object).st_ino, file_stat(OBJECT).st_ino);
	assert_true(file_has(object, 0, "bytes", 5));
	must_fail(EPERM, open(path_of(pid, "/posix/new"), O_CREAT | O_RDWR, 0600));
}

static void rm_removes(void **state)
{
	int id = segment_find(KEY);
	pid_t segment = hold(attach, &ROOT);
	pid_t object = hold(open_object, &ROOT);
	assert_true(eventually(file_exists(path_of(object, "/posix/frames"))));
	must(unlink(path_of(object, "/posix/frames")));
	assert_false(object_exists("frames"));
	must(unlink(segment_of(segment, id)));
	assert_true(segment_stat(id).shm_perm.mode & SHM_DEST);
}

static bool attach_and_remove(void)
{
	return attach() && shmctl(segment_find(KEY), IPC_RMID, NULL) == 0;
}

static void a_segment_that_is_to_go_is_marked(void **state)
{
	char name[64];
	char rest[80];
	int id = segment_find(KEY);
	segment_put(id, 0, "bytes", 5);
	pid_t pid = hold(attach_and_remove, &ROOT);
	snprintf(name, sizeof(name), "%d (deleted)", id);
	snprintf(rest, sizeof(rest), "/sysv/%s", name);
	assert_true(eventually(directory_lists(path_of(pid, "/sysv"), name)));
	assert_int_equal(directory_count(path_of(pid, "/sysv")), 1);
	assert_true(file_has(path_of(pid, rest), 0, "bytes", 5));
}

static bool open_and_unlink_twice(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = open(NATIVE "/frames", O_RDWR | O_CREAT, 0640);
		if (fd == -1 || pwrite(fd, i ? "new" : "old", 3, 0) != 3 ||
		    unlink(NATIVE "/frames") == -1)
			return false;
	}
	return true;
}

static void objects_that_have_lost_their_name_are_marked(void **state)
{
	must(unlink(NATIVE "/frames"));
	pid_t pid = hold(open_and_unlink_twice, &ALICE);
	assert_true(eventually(directory_lists(path_of(pid, "/posix"), "frames (deleted)")));
	assert_int_equal(directory_count(path_of(pid, "/posix")), 2);
	assert_int_equal(
		shell(NULL, 0, "grep -qx new %s/frames.[0-9]*' (deleted)'", path_of(pid, "/posix")),
		0);
	assert_true(file_has(path_of(pid, "/posix/frames (deleted)"), 0, "old", 3));
	object_create("frames", PAGE);
	must(chmod(NATIVE "/frames", 0666));
	assert_true(file_has(path_of(pid, "/posix/frames (deleted)"), 0, "old", 3));
	must_fail(EPERM, unlink(path_of(pid, "/posix/frames (deleted)")));
	become(&ALICE);
	assert_true(file_has(path_of(pid, "/posix/frames (deleted)"), 0, "old", 3));
	become(&BOB);
	assert_false(file_exists(path_of(pid, "/posix/frames (deleted)")));
}

#define SECRET TMP "/secret"

enum { VICTIM = 100 }; /* the holder's descriptor of an object without a name */

static void put_a_secret_there(int number)
{
	(void)number;
	dup2(open(SECRET, O_PATH), VICTIM);
}

static void put_another_object_there(int number)
{
	(void)number;
	int fd = open(NATIVE "/frames", O_RDWR | O_CREAT | O_EXCL, 0666);
	unlink(NATIVE "/frames");
	dup2(fd, VICTIM);
}

static bool open_what_changes(void)
{
	signal(SIGUSR1, put_a_secret_there);
	signal(SIGUSR2, put_another_object_there);
	int fd = open(NATIVE "/gone", O_RDWR | O_CREAT, 0666);
	return dup2(fd, VICTIM) == VICTIM && close(fd) == 0 && unlink(NATIVE "/gone") == 0;
}

static ino_t file_behind(pid_t pid)
{
	struct stat st;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, VICTIM);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Open an object of a process after `number` has let it put something else there. */
static void assert_not_opened_after(int number)
{
	char again[64];
	must(unlink(NATIVE "/frames"));
	pid_t pid = hold(open_what_changes, &ALICE);
	assert_true(eventually(file_exists(path_of(pid, "/posix/gone (deleted)"))));
	/* The kernel asks nothing before OPEN: the opener owns it, and attributes are kept a moment. */
	become(&ALICE);
	ino_t before = file_behind(pid);
	int fd = must(open(path_of(pid, "/posix/gone (deleted)"), O_PATH));
	kill(pid, number);
	for (int tries = 0; tries < 1000000 && file_behind(pid) == before; tries++)
		continue;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	must_fail(ENOENT, open(again, O_RDWR));
	close(fd);
}

static void another_file_that_a_process_puts_there_is_not_opened(void **state)
{
	(void)state;
	char event[128];
	int watch = must(inotify_init1(IN_NONBLOCK));
	close(must(open(SECRET, O_CREAT | O_RDWR | O_EXCL, 0600)));
	must(inotify_add_watch(watch, SECRET, IN_OPEN));
	assert_not_opened_after(SIGUSR1);
	must_fail(EAGAIN, read(watch, event, sizeof(event)));
	close(watch);
}

/* A process with the same number can be another user's. */
static void another_object_that_a_process_has_there_is_not_opened(void **state)
{
	(void)state;
	assert_not_opened_after(SIGUSR2);
}

static void nothing_disturbs(void **state)
{
	pid_t pid = hold(attach, &ROOT);
	hold(open_object, &ROOT);
	assert_true(eventually(file_exists(path_of(pid, ""))));
	struct shmid_ds before = segment_stat(segment_find(KEY));
	struct stat object = object_stat("frames");
	assert_int_equal(shell(NULL, 0, "ls -lR " BY_PID " >/dev/null && du -s " BY_PID "/*"), 0);
	struct shmid_ds after = segment_stat(segment_find(KEY));
	assert_memory_equal(&before, &after, sizeof(before));
	struct stat now = object_stat("frames");
	assert_memory_equal(&object, &now, sizeof(object));
}

static void only_what_the_asker_may_look_into_is_told(void **state)
{
	pid_t roots = hold(attach, &ROOT);
	pid_t alices = hold(attach, &ALICE);
	assert_true(eventually(file_exists(path_of(alices, ""))));
	assert_true(file_exists(path_of(roots, "")));
	become(&ALICE);
	assert_int_equal(directory_count(BY_PID), 1);
	assert_int_equal(directory_count(path_of(alices, "/sysv")), 1);
	assert_false(file_exists(path_of(roots, "")));
	become(&BOB);
	assert_int_equal(directory_count(BY_PID), 0);
	assert_false(file_exists(path_of(alices, "/sysv")));
}

/* Whoever may not look into a process does not see it anyway. */
static void a_proc_that_hides_processes_changes_nothing(void **state)
{
	must(mount(NULL, "/proc", NULL, MS_REMOUNT, "hidepid=2"));
	only_what_the_asker_may_look_into_is_told(state);
	become(&ROOT);
	must(mount(NULL, "/proc", NULL, MS_REMOUNT, "hidepid=0"));
}

static void a_targets_processes_use_what_is_the_targets(void **state)
{
	container_start(NULL, NULL);
	segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	inside({
		segment_create(KEY, PAGE, 0600);
		object_create("frames", PAGE);
	});
	pid_t outside = hold(open_object, &ROOT);
	pid_t inside_pid = 0;
	inside({ inside_pid = hold(open_object, &ROOT); });
	container_mount(*state);
	assert_true(eventually(file_exists(path_of(inside_pid, "/posix/frames"))));
	assert_int_equal(directory_count(BY_PID), 1);
	assert_false(file_exists(path_of(outside, "")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_both(processes_that_use_any_are_listed),
		with_both(a_semaphore_is_no_shared_memory),
		with_both(each_has_what_it_uses),
		with_both(uses_through_the_mount_count),
		with_both(uses_through_another_mount_count),
		with_both(they_are_the_same_files),
		with_both(rm_removes),
		with_both(a_segment_that_is_to_go_is_marked),
		with_both(objects_that_have_lost_their_name_are_marked),
		with_both(another_file_that_a_process_puts_there_is_not_opened),
		with_both(another_object_that_a_process_has_there_is_not_opened),
		with_both(nothing_disturbs),
		with_both(only_what_the_asker_may_look_into_is_told),
		with_both(a_proc_that_hides_processes_changes_nothing),
		cmocka_unit_test_setup_teardown(a_targets_processes_use_what_is_the_targets,
						fixture_begin, end_case),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

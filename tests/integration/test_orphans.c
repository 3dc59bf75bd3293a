/* SPDX-License-Identifier: MIT */
/* .orphans: what nobody uses, and removing it while others come to use it. */
#include "harness.h"

#include <sys/xattr.h>
#include <time.h>

#include "container.h"
#include "engine.h"
#include "holders.h"

#define ORPHANS MNT "/.orphans"
#define ORPHAN_OBJECT ORPHANS "/posix/frames"

static char orphan_segment[64];

/* Each: a segment and an object, of which nobody has any in use. */
static int make_both(void **state)
{
	int result = fixture_mount(state);
	snprintf(orphan_segment, sizeof(orphan_segment), ORPHANS "/sysv/%d",
		 both_create(KEY, "frames", PAGE));
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

static bool lists_segment(void)
{
	return directory_lists(ORPHANS "/sysv", strrchr(orphan_segment, '/') + 1);
}

static bool lists_object(void)
{
	return directory_lists(ORPHANS "/posix", "frames");
}

/* --- what is listed --- */

static void it_is_found_but_not_listed(void **state)
{
	assert_false(directory_lists(MNT, ".orphans"));
	assert_int_equal(directory_count(ORPHANS), 2);
	must_fail(EPERM, open(ORPHANS "/posix/new", O_CREAT | O_RDWR, 0600));
	must_fail(EPERM, open(ORPHANS "/sysv/1", O_CREAT | O_RDWR, 0600));
	must_fail(EPERM, mkdir(ORPHANS "/new", 0700));
}

static void what_nobody_uses_is_listed(void **state)
{
	segment_create(KEY + 1, PAGE, 0600);
	object_create("other", PAGE);
	object_create("sem.other", PAGE);
	assert_int_equal(directory_count(ORPHANS "/sysv"), 2);
	assert_int_equal(directory_count(ORPHANS "/posix"), 2);
	assert_true(lists_segment() && lists_object());
}

static void what_somebody_uses_is_not(bool (*use)(void), bool (*lists)(void), const char *path)
{
	hold(use, &ALICE);
	assert_true(eventually(!lists()));
	assert_true(eventually(!file_exists(path)));
	let_go();
	assert_true(eventually(lists()));
	assert_true(eventually(file_exists(path)));
}

static void an_attached_segment_is_not_listed(void **state)
{
	what_somebody_uses_is_not(attach, lists_segment, orphan_segment);
}

static void an_object_that_is_open_or_mapped_is_not_listed(void **state)
{
	what_somebody_uses_is_not(open_object, lists_object, ORPHAN_OBJECT);
	what_somebody_uses_is_not(map_object, lists_object, ORPHAN_OBJECT);
}

static void what_is_open_through_the_mount_is_not_listed(void **state)
{
	what_somebody_uses_is_not(open_segment_through_mount, lists_segment, orphan_segment);
	what_somebody_uses_is_not(open_through_mount, lists_object, ORPHAN_OBJECT);
	if (!engine_is_passthrough())
		return;
	what_somebody_uses_is_not(map_segment_through_mount, lists_segment, orphan_segment);
	what_somebody_uses_is_not(map_through_mount, lists_object, ORPHAN_OBJECT);
}

static bool open_object_there(void)
{
	return open_and_map(NATIVE "/there", true, false);
}

static void what_another_mount_serves_is_not_listed(void **state)
{
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	int segment = must(open(STAGE "/other/3148", O_RDONLY));
	int object = must(open(STAGE "/other/frames", O_RDONLY));
	assert_true(eventually(!lists_segment()));
	assert_true(eventually(!lists_object()));
	close(segment);
	close(object);
	assert_true(eventually(lists_segment()));
	assert_true(eventually(lists_object()));
	must(umount2(STAGE "/other", 0));
	must(rmdir(STAGE "/other"));
}

/* What is in use here can have the name of what nobody uses there. */
static void a_targets_orphans_are_the_targets(void **state)
{
	container_start(NULL, NULL);
	object_create("here", PAGE);
	object_create("there", PAGE);
	hold(open_object_there, &ROOT);
	segment_create(KEY, PAGE, 0600);
	inside({
		object_create("there", PAGE);
		object_create("frames", PAGE);
		hold(open_object, &ROOT);
		segment_create(KEY, PAGE, 0600);
		segment_create(KEY + 1, PAGE, 0600);
		hold(attach, &ROOT);
	});
	container_mount(*state);
	assert_int_equal(directory_count(ORPHANS "/posix"), 1);
	assert_true(directory_lists(ORPHANS "/posix", "there"));
	assert_int_equal(directory_count(ORPHANS "/sysv"), 1);
}

/* --- what the files are --- */

static void they_are_the_same_files(void **state)
{
	char path[64];
	char text[8] = "";
	snprintf(path, sizeof(path), MNT "/.by-id/%s", strrchr(orphan_segment, '/') + 1);
	assert_int_equal(file_stat(orphan_segment).st_ino, file_stat(path).st_ino);
	assert_int_equal(file_stat(ORPHAN_OBJECT).st_ino, file_stat(MNT "/.by-name/frames").st_ino);
	file_write(orphan_segment, O_WRONLY, "bytes", 5);
	assert_true(segment_has(segment_find(KEY), 0, "bytes", 5));
	file_write(ORPHAN_OBJECT, O_WRONLY, "bytes", 5);
	assert_true(object_has("frames", 0, "bytes", 5));
	must(chmod(ORPHAN_OBJECT, 0640));
	assert_int_equal(object_stat("frames").st_mode & 0777, 0640);
	must(getxattr(ORPHAN_OBJECT, "user.shm.name", text, sizeof(text)));
	assert_memory_equal(text, "/frames", 7);
	must(truncate(ORPHAN_OBJECT, 3));
	assert_int_equal(object_stat("frames").st_size, 3);
}

static void looking_leaves_no_trace(void **state)
{
	struct shmid_ds before = segment_stat(segment_find(KEY));
	struct stat object = object_stat("frames");
	assert_int_equal(shell(NULL, 0,
			       "ls -lR " ORPHANS " >/dev/null && find " ORPHANS
			       " -type f -mmin +60 -print"),
			 0);
	struct shmid_ds after = segment_stat(segment_find(KEY));
	assert_memory_equal(&before, &after, sizeof(before));
	struct stat now = object_stat("frames");
	assert_memory_equal(&object, &now, sizeof(object));
}

static int open_again_and_again(int number)
{
	for (int i = 0; i < 3000; i++) {
		int fd = open(number ? OBJECT : NATIVE "/frames", O_RDONLY);
		child_must(fd != -1);
		close(fd);
	}
	return 0;
}

static int list_for_ever(int number)
{
	for (;;)
		directory_count(ORPHANS "/posix");
	return 0;
}

/* The kernel is asked by a lease, which others could meet. */
static void looking_keeps_nobody_from_opening(void **state)
{
	pid_t lister = child_start(list_for_ever, 0);
	pid_t children[2] = { child_start(open_again_and_again, 0),
			      child_start(open_again_and_again, 1) };
	int failed = children_join(children, 2);
	kill(lister, SIGKILL);
	waitpid(lister, NULL, 0);
	assert_int_equal(failed, 0);
}

/* --- removing --- */

static void rm_removes(void **state)
{
	assert_true(lists_segment() && lists_object());
	must(unlink(orphan_segment));
	must(unlink(ORPHAN_OBJECT));
	assert_int_equal(segment_find(KEY), -1);
	assert_false(object_exists("frames"));
}

/* The snapshot that says so is older than the use, as long as it is kept. */
static int remove_as_it_comes_into_use(bool (*use)(void), const char *path)
{
	assert_true(eventually(file_exists(path)));
	hold(use, &ALICE);
	assert_int_equal(unlink(path), -1);
	int code = errno;
	assert_true(code == EBUSY || code == ENOENT);
	let_go();
	return code;
}

static void rm_says_that_it_has_come_into_use(bool (*use)(void), const char *path)
{
	assert_true(eventually(remove_as_it_comes_into_use(use, path) == EBUSY));
}

static void rm_of_what_came_into_use_is_busy(void **state)
{
	rm_says_that_it_has_come_into_use(attach, orphan_segment);
	rm_says_that_it_has_come_into_use(open_object, ORPHAN_OBJECT);
	rm_says_that_it_has_come_into_use(map_object, ORPHAN_OBJECT);
	rm_says_that_it_has_come_into_use(open_segment_through_mount, orphan_segment);
	rm_says_that_it_has_come_into_use(open_through_mount, ORPHAN_OBJECT);
	assert_true(object_exists("frames"));
	assert_int_not_equal(segment_find(KEY), -1);
}

static void only_who_may_remove_it_does(void **state)
{
	become(&BOB);
	must_fail(EPERM, unlink(orphan_segment));
	must_fail(EPERM, unlink(ORPHAN_OBJECT));
}

/* --- at random --- */

enum { NAMES = 6, USERS = 6, SLACK_MS = 100 };

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t seconds_of_the_run(void)
{
	const char *text = getenv("SHMFS_ORPHANS_SECONDS");
	return text ? strtoull(text, NULL, 10) : 3;
}

/* What has been in use for longer than a look takes stays until its user lets go of it. */
static int use_an_object(void)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "%s/o%d", random() % 2 ? NATIVE : MNT,
		 (int)(random() % NAMES));
	int fd = open(path, O_RDWR | O_CREAT, 0666);
	if (fd == -1)
		return 0;
	usleep(SLACK_MS * 1000);
	bool was_removed = fstat(fd, &st) == -1 || st.st_nlink == 0;
	usleep((useconds_t)(random() % 100000));
	child_must(was_removed || (fstat(fd, &st) == 0 && st.st_nlink == 1));
	close(fd);
	return 0;
}

static int use_a_segment(void)
{
	struct shmid_ds data;
	int id = shmget(KEY + 1 + (int)(random() % NAMES), PAGE, IPC_CREAT | 0666);
	const void *memory = id == -1 ? (void *)-1 : shmat(id, NULL, 0);
	if (memory == (void *)-1)
		return 0;
	usleep(SLACK_MS * 1000);
	bool was_removed = shmctl(id, IPC_STAT, &data) == -1 || (data.shm_perm.mode & SHM_DEST);
	usleep((useconds_t)(random() % 100000));
	child_must(was_removed ||
		   (shmctl(id, IPC_STAT, &data) == 0 && !(data.shm_perm.mode & SHM_DEST)));
	shmdt(memory);
	return 0;
}

static int use_at_random(int number)
{
	uint64_t end = now_ms() + seconds_of_the_run() * 1000;
	int failed = 0;
	srandom((unsigned)number);
	while (!failed && now_ms() < end)
		failed = number % 2 ? use_an_object() : use_a_segment();
	return failed;
}

static void nothing_in_use_is_removed_however_much_is_going_on(void **state)
{
	pid_t children[USERS];
	char count[64] = "";
	for (int i = 0; i < USERS; i++) {
		become(i % 3 == 2 ? &BOB : &ALICE);
		children[i] = child_start(use_at_random, i);
		become(&ROOT);
	}
	int status = shell(count, sizeof(count),
			   "end=$(($(date +%%s) + %d)); removed=0; "
			   "while [ $(date +%%s) -lt $end ]; do "
			   "n=$(find " ORPHANS " -type f -delete -print 2>/dev/null | wc -l); "
			   "removed=$((removed + n)); done; echo $removed",
			   (int)seconds_of_the_run());
	assert_int_equal(children_join(children, USERS), 0);
	assert_int_equal(status, 0);
	/* It found something to do. */
	assert_in_range(strtol(count, NULL, 10), 1, LONG_MAX);
	print_message("removed: %s", count);
}

/* --- an ordinary user's mount --- */

static int see_own(void *arg)
{
	child_must(eventually(directory_count(ORPHANS "/posix") == 1));
	child_must(directory_lists(ORPHANS "/posix", "mine"));
	child_must(unlink(ORPHANS "/posix/mine") == 0);
	child_must(directory_count(ORPHANS "/sysv") == 1);
	return 0;
}

/* Of others' objects it cannot know who uses them. */
static void a_user_sees_his_own(void **state)
{
	segment_create(KEY, PAGE, 0666);
	object_create("frames", PAGE);
	must(chmod(NATIVE "/frames", 0666));
	for (const char *const *name = (const char *const[]){ "mine", "used", NULL }; *name;
	     name++) {
		char path[64];
		object_create(*name, PAGE);
		snprintf(path, sizeof(path), NATIVE "/%s", *name);
		must(chown(path, NOBODY.uid, NOBODY.gid));
	}
	/* By a process that he may not look into. */
	int fd = must(open(NATIVE "/used", O_RDONLY));
	assert_int_equal(run_as(&NOBODY, see_own, NULL), 0);
	close(fd);
}

#define by_user(test) cmocka_unit_test_setup_teardown(test, fixture_mount_as_nobody, end_case)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_both(it_is_found_but_not_listed),
		with_both(what_nobody_uses_is_listed),
		with_both(an_attached_segment_is_not_listed),
		with_both(an_object_that_is_open_or_mapped_is_not_listed),
		with_both(what_is_open_through_the_mount_is_not_listed),
		with_both(what_another_mount_serves_is_not_listed),
		with_both(they_are_the_same_files),
		with_both(looking_leaves_no_trace),
		with_both(looking_keeps_nobody_from_opening),
		with_both(rm_removes),
		with_both(rm_of_what_came_into_use_is_busy),
		with_both(only_who_may_remove_it_does),
		with_both(nothing_in_use_is_removed_however_much_is_going_on),
		by_user(a_user_sees_his_own),
		cmocka_unit_test_setup_teardown(a_targets_orphans_are_the_targets, fixture_begin,
						end_case),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

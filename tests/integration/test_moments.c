/* SPDX-License-Identifier: MIT */
/* What others do between two steps of the daemon. */
#include "moment.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static char bytes[SIZE];

static int full_segment(unsigned mode)
{
	int id = segment_create(KEY, SIZE, mode);
	pattern_fill(bytes, sizeof(bytes), 1);
	segment_put(id, 0, bytes, sizeof(bytes));
	return id;
}

static int enlarge(int number)
{
	return truncate(SEGMENT, 2 * SIZE) == 0 ? 0 : errno;
}

/* Have a child enlarge the segment, as far as `point`. */
static pid_t enlarge_up_to(const char *point)
{
	plan(point);
	pid_t child = child_start(enlarge, 0);
	plan_await();
	return child;
}

static void assert_enlarged(pid_t child)
{
	int status;
	must(waitpid(child, &status, 0));
	assert_int_equal(exit_status(status), 0);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 2 * SIZE);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
}

static int attach(void *arg)
{
	return shmat(*(const int *)arg, NULL, 0) == (void *)-1 ? errno : 0;
}

/* Who attached then would be left with a segment that is nobody else's. */
static void nobody_attaches_to_what_is_about_to_be_removed(void **state)
{
	int id = full_segment(0666);
	pid_t child = enlarge_up_to("rmid");
	assert_int_equal(run_as(&NOBODY, attach, &id), EACCES);
	plan_go_on();
	assert_enlarged(child);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0666);
}

/* The daemon has seen that nobody had it attached, and looks once more. */
static void whoever_attaches_before_that_keeps_the_segment(void **state)
{
	int status;
	int id = full_segment(0604);
	pid_t child = enlarge_up_to("close");
	void *memory = segment_attach(id);
	plan_go_on();
	must(waitpid(child, &status, 0));
	assert_int_equal(exit_status(status), EBUSY);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_perm.mode, 0604);
	assert_true(segment_has(id, 0, bytes, SIZE));
	assert_int_equal(segments_count(), 1);
	segment_detach(memory);
}

static int open_segment(int number)
{
	(void)number;
	return open(SEGMENT, O_RDWR) == -1 ? errno : 0;
}

/* As by another mount.  What it is about to replace is not opened. */
static void a_segment_that_is_closed_before_it_is_attached_is_waited_for(void **state)
{
	(void)state;
	int id = full_segment(0600);
	plan("attach");
	pid_t child = child_start(open_segment, 0);
	plan_await();
	segment_chmod(id, 0111);
	plan_go_on();
	usleep(100000);
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	segment_chmod(id, 0600);
	assert_int_equal(children_join(&child, 1), 0);
}

static void a_key_between_two_segments_is_not_free(void **state)
{
	full_segment(0600);
	pid_t child = enlarge_up_to("shmget");
	assert_int_equal(segment_find(KEY), -1);
	must_fail(EEXIST, open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600));
	plan_go_on();
	assert_enlarged(child);
	assert_int_equal(segments_count(), 1);
}

/* The owner has been told that it is so. */
static void what_is_set_while_it_is_filled_stays(void **state)
{
	full_segment(0666);
	pid_t child = enlarge_up_to("copy");
	segment_chmod(segment_find(KEY), 0604);
	segment_chown(segment_find(KEY), ALICE.uid, ALICE.gid);
	plan_go_on();
	assert_enlarged(child);
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_perm.mode, 0604);
	assert_int_equal(data.shm_perm.uid, ALICE.uid);
	assert_int_equal(data.shm_perm.gid, ALICE.gid);
}

/* It has not told anybody of the segment. */
static void what_a_killed_replacer_has_just_made_is_removed(void **state)
{
	int id = full_segment(0600);
	int other = must(shmget(IPC_PRIVATE, PAGE, 0111));
	plan("made");
	assert_int_equal(enlarge(0), EIO);
	assert_true(plan_was_carried_out());
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_has(id, 0, bytes, SIZE));
	assert_int_equal(segments_count(), 2);
	segment_remove(other);
	assert_int_equal(enlarge(0), 0);
}

static int touch_by_id(int id)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	return utimensat(AT_FDCWD, path, NULL, 0) == 0 ? 0 : errno;
}

/* It is without a mode then, and that is not what touch(1) is to leave it with. */
static void by_its_id_it_is_left_alone_while_it_is_filled(void **state)
{
	full_segment(0640);
	pid_t child = enlarge_up_to("copy");
	pid_t other = child_start(touch_by_id, segment_find(KEY));
	usleep(100000);
	assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
	plan_go_on();
	assert_enlarged(child);
	assert_int_equal(children_join(&other, 1), 0);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0640);
}

static int enlarge_open_file(int fd)
{
	return ftruncate(fd, 2L * SIZE) == 0 ? 0 : errno;
}

/* It is a file without a name then. */
static void what_is_removed_while_it_is_filled_stays_for_its_writer(void **state)
{
	static char seen[SIZE];
	char again[64];
	full_segment(0600);
	int fd = must(open(SEGMENT, O_WRONLY));
	plan("copy");
	pid_t child = child_start(enlarge_open_file, fd);
	plan_await();
	segment_remove(segment_find(KEY));
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
	assert_int_equal(segment_find(KEY), -1);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	int reader = must(open(again, O_RDONLY));
	assert_int_equal(read(reader, seen, SIZE), SIZE);
	assert_memory_equal(seen, bytes, SIZE);
	close(reader);
	close(fd);
}

enum { PIECE = 4 << 20 };

static int enlarge_much(int number)
{
	return truncate(SEGMENT, 3L * PIECE) == 0 ? 0 : errno;
}

/* Where nobody reads it each piece goes when it is copied. */
static void a_reader_finds_all_of_it_while_it_is_copied(void **state)
{
	char seen[PAGE];
	char *large = malloc(2L * PIECE);
	assert_non_null(large);
	pattern_fill(large, 2L * PIECE, 2);
	segment_put(segment_create(KEY, 2L * PIECE, 0600), 0, large, 2L * PIECE);
	int reader = must(open(SEGMENT, O_RDONLY));
	plan("copy");
	pid_t child = child_start(enlarge_much, 0);
	plan_await();
	plan("copy");
	plan_go_on();
	plan_await();
	assert_int_equal(pread(reader, seen, PAGE, 0), PAGE);
	assert_memory_equal(seen, large, PAGE);
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
	assert_int_equal(pread(reader, seen, PAGE, 2L * PIECE - PAGE), PAGE);
	assert_memory_equal(seen, large + 2L * PIECE - PAGE, PAGE);
	close(reader);
	free(large);
}

#define LINE MNT "/.text/3148"

static int look_at_text(int number)
{
	struct stat st;
	(void)number;
	return stat(LINE, &st) == 0 ? 0 : errno;
}

/* The kernel holds the directory as long as a name is looked up in it. */
static void a_look_at_a_text_does_not_wait_for_the_copy(void **state)
{
	int status;
	full_segment(0600);
	int fd = must(open(LINE, O_RDONLY));
	pid_t child = enlarge_up_to("copy");
	pid_t looker = child_start(look_at_text, 0);
	assert_true(eventually(waitpid(looker, &status, WNOHANG) == looker));
	assert_int_equal(exit_status(status), 0);
	plan_go_on();
	assert_enlarged(child);
	close(fd);
}

static int remove_name(int number)
{
	return unlink(SEGMENT) == 0 ? 0 : errno;
}

static void what_others_remove_first_is_not_there(void **state)
{
	int status;
	int id = full_segment(0600);
	plan("rmid");
	pid_t child = child_start(remove_name, 0);
	plan_await();
	segment_remove(id);
	plan_go_on();
	must(waitpid(child, &status, 0));
	assert_int_equal(exit_status(status), ENOENT);
}

static int set_note(int number)
{
	return setxattr(SEGMENT, "user.note", "text", 4, 0) == 0 ? 0 : errno;
}

/* Another mount has already given the new segment the attributes of the old one. */
static void an_attribute_goes_to_the_segment_that_has_the_key(void **state)
{
	char text[8] = "";
	full_segment(0600);
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	must(setxattr(SEGMENT, "user.first", "text", 4, 0));
	plan("xattr");
	pid_t child = child_start(set_note, 0);
	plan_await();
	must(truncate(STAGE "/other/3148", 2 * SIZE));
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
	assert_int_equal(must(getxattr(SEGMENT, "user.note", text, sizeof(text))), 4);
	must(umount(STAGE "/other"));
	must(rmdir(STAGE "/other"));
}

static int open_object(int number)
{
	return open(OBJECT, O_RDONLY) == -1 ? errno : 0;
}

static void a_name_that_becomes_a_fifo_is_not_waited_for(void **state)
{
	int status = 0;
	object_create("frames", SIZE);
	plan("fifo");
	pid_t child = child_start(open_object, 0);
	if (!eventually(waitpid(child, &status, WNOHANG) == child)) {
		must(open(NATIVE "/frames", O_RDWR)); /* what it waits for */
		fail_msg("it is waited for");
	}
	assert_int_equal(exit_status(status), ENOENT);
	assert_int_equal(file_stat(NATIVE "/frames").st_mode & S_IFMT, S_IFIFO);
}

/* It has no attachment to be seen by then, but the file. */
static void whoever_maps_it_through_another_mount_keeps_it(void **state)
{
	(void)state;
	int status;
	int id = full_segment(0600);
	must(mkdir(STAGE "/other", 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " STAGE "/other"), 0);
	pid_t child = enlarge_up_to("close");
	int fd = must(open(STAGE "/other/3148", O_RDWR));
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	plan_go_on();
	must(waitpid(child, &status, 0));
	assert_int_equal(exit_status(status), EBUSY);
	map[0] ^= 1;
	bytes[0] ^= 1;
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_perm.mode, 0600);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
	munmap(map, SIZE);
	close(fd);
	assert_true(eventually(umount2(STAGE "/other", 0) == 0));
	must(rmdir(STAGE "/other"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		racing(nobody_attaches_to_what_is_about_to_be_removed),
		racing(whoever_attaches_before_that_keeps_the_segment),
		racing(whoever_maps_it_through_another_mount_keeps_it),
		racing(a_segment_that_is_closed_before_it_is_attached_is_waited_for),
		racing(a_key_between_two_segments_is_not_free),
		racing(what_is_set_while_it_is_filled_stays),
		racing(an_attribute_goes_to_the_segment_that_has_the_key),
		racing(by_its_id_it_is_left_alone_while_it_is_filled),
		racing(what_is_removed_while_it_is_filled_stays_for_its_writer),
		racing(a_look_at_a_text_does_not_wait_for_the_copy),
		racing(what_others_remove_first_is_not_there),
		racing(what_a_killed_replacer_has_just_made_is_removed),
		cmocka_unit_test_prestate_setup_teardown(
			a_reader_finds_all_of_it_while_it_is_copied, mount_with_race, fixture_end,
			(void *)"nopassthrough"),
		racing(a_name_that_becomes_a_fifo_is_not_waited_for),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

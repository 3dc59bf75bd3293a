/* SPDX-License-Identifier: MIT */
/*
 * The size of a System V segment: a re-creation that cannot be.  Whatever
 * fails, and at whatever moment, no byte is lost.
 */
#include "moment.h"

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE };
enum { LARGE = 16 << 20 }; /* several pieces of a copy; long enough for a kill to hit */

#define PATH MNT "/3148"

static char bytes[SIZE];
static const char zeros[SIZE];

static int full_segment(void)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	int id = segment_create(KEY, sizeof(bytes), 0640);
	segment_put(id, 0, bytes, sizeof(bytes));
	return id;
}

/* All of the old is under the key, though maybe not the id. */
static void assert_old_content_under_its_key(void)
{
	int id = must(segment_find(KEY));
	struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_segsz, SIZE);
	assert_int_equal(data.shm_perm.mode, 0640);
	assert_true(segment_has(id, 0, bytes, SIZE));
	assert_int_equal(file_stat(PATH).st_size, SIZE);
	assert_true(file_has(PATH, 0, bytes, SIZE));
}

/* Resizing fails, as a whole and with a reason, in all the ways to ask for it. */
static void assert_cannot_become(off_t size)
{
	assert_int_equal(truncate(PATH, size), -1);
	assert_true(errno == ENOSPC || errno == ENOMEM || errno == EFBIG);
	assert_old_content_under_its_key();
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(ftruncate(fd, size), -1);
	if (size > SIZE)
		assert_int_equal(fallocate(fd, 0, 0, size), -1);
	close(fd);
	assert_old_content_under_its_key();
}

static void shmmax_limits_a_segment(void **state)
{
	full_segment();
	limit_set("shmmax", 5 * PAGE);
	assert_cannot_become(5 * PAGE + 1);
	must(truncate(PATH, 5 * PAGE));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 5 * PAGE);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
}

static void shmmax_below_the_old_size_loses_nothing(void **state)
{
	full_segment();
	limit_set("shmmax", PAGE); /* the old one could not be made again either */
	assert_cannot_become(5 * PAGE);
	assert_cannot_become(2 * PAGE);
}

static void shmall_limits_all_segments(void **state)
{
	full_segment();
	segment_create(5000, 10 * PAGE, 0600);
	limit_set("shmall", 20);
	assert_cannot_become(11 * PAGE);
	limit_set("shmall", 1); /* less than there is */
	assert_cannot_become(5 * PAGE);
}

static void shmmni_below_the_number_of_segments_loses_nothing(void **state)
{
	full_segment();
	segment_create(5000, PAGE, 0600);
	segment_create(5001, PAGE, 0600);
	limit_set("shmmni", 1);
	assert_cannot_become(5 * PAGE);
	assert_cannot_become(PAGE);
}

static void at_shmmni_content_is_kept_whether_or_not_it_can_be_resized(void **state)
{
	full_segment();
	limit_set("shmmni", 1);
	if (truncate(PATH, 5 * PAGE) == -1) {
		assert_int_equal(errno, ENOSPC);
		assert_old_content_under_its_key();
	} else {
		assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 5 * PAGE);
		assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
	}
	assert_int_equal(segments_count(), 1);
}

static void more_memory_than_there_is_cannot_be_had(void **state)
{
	full_segment();
	assert_cannot_become(INT64_MAX / 2);
}

static void a_new_segment_over_the_limits_is_not_made(void **state)
{
	limit_set("shmmax", PAGE - 1);
	assert_int_equal(open(PATH, O_CREAT | O_WRONLY, 0600), -1);
	assert_true(errno == ENOSPC || errno == EFBIG || errno == EINVAL);
	limit_set("shmmax", PAGE);
	limit_set("shmmni", 0);
	must_fail(ENOSPC, open(PATH, O_CREAT | O_WRONLY, 0600));
	limit_set("shmmni", 1);
	limit_set("shmall", 0);
	must_fail(ENOSPC, open(PATH, O_CREAT | O_WRONLY, 0600));
	limit_set("shmall", 1);
	file_write(PATH, O_CREAT, "fits", 4);
	assert_int_equal(segments_count(), 1);
}

static void a_copy_just_under_shmmax_succeeds(void **state)
{
	enum { COUNT = 100000 };
	static char movie[COUNT];
	char output[256];
	pattern_fill(movie, COUNT, 2);
	file_write(TMP "/movie", O_CREAT, movie, COUNT);
	limit_set("shmmax", COUNT); /* no room for growing in large steps */
	assert_int_equal(shell(output, sizeof(output),
			       "dd if=" TMP "/movie of=" PATH " bs=1000 status=none"),
			 0);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, COUNT);
	assert_true(segment_has(segment_find(KEY), 0, movie, COUNT));
}

static void a_copy_over_shmmax_keeps_what_fits(void **state)
{
	enum { COUNT = 100000, MAX = 50000 };
	static char movie[COUNT];
	char output[256];
	pattern_fill(movie, COUNT, 2);
	file_write(TMP "/movie", O_CREAT, movie, COUNT);
	limit_set("shmmax", MAX);
	assert_int_equal(shell(output, sizeof(output), "cp " TMP "/movie " PATH), 1);
	assert_non_null(strstr(output, "No space left on device"));
	size_t kept = segment_stat(segment_find(KEY)).shm_segsz;
	assert_true(kept <= MAX);
	assert_true(kept >= PAGE);
	assert_true(segment_has(segment_find(KEY), 0, movie, kept));
	assert_int_equal(segments_count(), 1);
}

static void a_copy_over_shmall_keeps_what_fits(void **state)
{
	enum { COUNT = 100 * PAGE };
	static char movie[COUNT];
	char output[256];
	pattern_fill(movie, COUNT, 2);
	file_write(TMP "/movie", O_CREAT, movie, COUNT);
	limit_set("shmall", 50);
	assert_int_equal(shell(output, sizeof(output), "cp " TMP "/movie " PATH), 1);
	assert_non_null(strstr(output, "No space left on device"));
	size_t kept = segment_stat(segment_find(KEY)).shm_segsz;
	assert_true(kept >= PAGE && kept <= 50 * PAGE);
	assert_true(segment_has(segment_find(KEY), 0, movie, kept));
	assert_int_equal(segments_count(), 1);
}

/* The moment between removal and re-creation; see race.c. */

/* The old bytes are in a segment other than the key's, whose id was logged. */
static void assert_kept_under_a_logged_id(int except)
{
	char id[16];
	int kept = segment_search(except, bytes, SIZE);
	assert_true(kept >= 0);
	snprintf(id, sizeof(id), "%d", kept);
	assert_true(daemon_said(id));
}

static void a_failed_call_puts_the_old_back(void **state)
{
	full_segment();
	plan("12");
	must_fail(ENOMEM, truncate(PATH, 5 * PAGE));
	assert_true(plan_was_carried_out());
	assert_old_content_under_its_key();
	assert_int_equal(segments_count(), 1);
}

/* Another slot is in hand. */
static void a_slot_that_is_taken_is_made_good(void **state)
{
	full_segment();
	plan("28");
	must(truncate(PATH, 5 * PAGE));
	assert_true(plan_was_carried_out());
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 5 * PAGE);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
	assert_int_equal(segments_count(), 1);
}

/* What has been copied was no longer where it came from. */
static void memory_that_runs_out_halfway_puts_the_old_back(void **state)
{
	static char large[LARGE];
	pattern_fill(large, LARGE, 2);
	segment_put(segment_create(KEY, LARGE, 0640), 0, large, LARGE);
	for (int i = 0; i < 2; i++) {
		plan("shortage");
		must_fail(ENOMEM, truncate(PATH, i ? LARGE - PAGE - 1 : LARGE + PAGE));
		assert_true(plan_was_carried_out());
		assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, LARGE);
		assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0640);
		assert_true(segment_has(segment_find(KEY), 0, large, LARGE));
		assert_int_equal(segments_count(), 1);
	}
	must(truncate(PATH, LARGE + 1));
	assert_true(segment_has(segment_find(KEY), 0, large, LARGE));
}

/* The replacer shares descriptors with the daemon, whose number the end of each test looks at. */
static void a_replacer_that_is_killed_leaves_nothing_open(void **state)
{
	static char large[LARGE];
	pattern_fill(large, LARGE, 2);
	segment_put(segment_create(KEY, LARGE, 0640), 0, large, LARGE);
	plan("open");
	assert_true(truncate(PATH, LARGE + PAGE) == 0 || errno == EIO);
	if (!plan_was_carried_out())
		must(unlink(PLAN));
	assert_true(segment_has(segment_find(KEY), 0, large, LARGE));
}

static void what_is_removed_while_it_is_made_is_made_again(void **state)
{
	static const int flags[] = { 0, O_EXCL };
	for (size_t i = 0; i < array_size(flags); i++) {
		plan("gone");
		int fd = must(open(PATH, O_CREAT | O_WRONLY | flags[i], 0600));
		assert_true(plan_was_carried_out());
		assert_int_equal(write(fd, "hi", 2), 2);
		close(fd);
		assert_true(segment_has(segment_find(KEY), 0, "hi", 2));
		assert_int_equal(segments_count(), 1);
		must(unlink(PATH));
	}
}

/* As a file that is unlinked while it is open. */
static void what_is_removed_again_and_again_is_a_file_without_a_name(void **state)
{
	char seen[2];
	plan("gone always");
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_RDWR, 0600));
	assert_int_equal(write(fd, "hi", 2), 2);
	assert_int_equal(pread(fd, seen, 2, 0), 2);
	assert_memory_equal(seen, "hi", 2);
	assert_false(file_exists(PATH));
	close(fd);
	must(unlink(PLAN));
	assert_true(eventually(segments_count() == 0));
}

static void a_failed_call_while_writing_loses_nothing(void **state)
{
	full_segment();
	int fd = must(open(PATH, O_WRONLY));
	plan("12");
	ssize_t written = pwrite(fd, "tail", 4, 10 * PAGE);
	int code = errno;
	assert_true(plan_was_carried_out());
	close(fd);
	if (written == -1) {
		assert_true(code == ENOSPC || code == ENOMEM);
		assert_old_content_under_its_key();
	} else { /* it tried again with less */
		assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 10 * PAGE + 4);
		assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
		assert_true(segment_has(segment_find(KEY), 10 * PAGE, "tail", 4));
	}
	assert_int_equal(segments_count(), 1);
}

static void a_want_of_descriptors_is_no_full_disk(void **state)
{
	full_segment();
	int fd = must(open(PATH, O_WRONLY));
	plan("24");
	must_fail(EMFILE, pwrite(fd, "tail", 4, 10 * PAGE));
	assert_true(plan_was_carried_out());
	close(fd);
	assert_old_content_under_its_key();
	assert_int_equal(segments_count(), 1);
}

static void the_old_keeps_its_owner_when_put_back(void **state)
{
	int id = full_segment();
	segment_chown(id, BOB.uid, BOB.gid);
	plan("12");
	assert_int_equal(truncate(PATH, PAGE), -1);
	assert_true(plan_was_carried_out());
	assert_old_content_under_its_key();
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.uid, BOB.uid);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.gid, BOB.gid);
}

static void a_key_that_cannot_be_had_again_leaves_the_bytes_elsewhere(void **state)
{
	full_segment();
	plan("12 always");
	assert_int_equal(truncate(PATH, 5 * PAGE), -1);
	must(unlink(PLAN));
	if (segment_find(KEY) != -1)
		assert_old_content_under_its_key();
	else
		assert_kept_under_a_logged_id(-1);
}

static void a_key_taken_meanwhile_leaves_the_bytes_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	full_segment();
	plan("take");
	assert_int_equal(truncate(PATH, 5 * PAGE), -1);
	assert_true(plan_was_carried_out());
	int taken = segment_find(KEY);
	assert_true(segment_has(taken, 0, "taken", 6));
	assert_int_equal(segment_stat(taken).shm_segsz, 64);
	assert_true(file_has(PATH, 0, "taken", 6));
	assert_kept_under_a_logged_id(taken);
	/* They are no loan of the daemon. */
	daemon_stop(fixture);
	assert_true(segment_search(taken, bytes, SIZE) >= 0);
}

static void a_key_taken_under_an_open_handle_leaves_the_bytes_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	full_segment();
	int fd = must(open(PATH, O_WRONLY));
	plan("take");
	assert_int_equal(ftruncate(fd, 5 * PAGE), -1);
	assert_true(plan_was_carried_out());
	int taken = segment_find(KEY);
	assert_true(segment_has(taken, 0, "taken", 6));
	assert_kept_under_a_logged_id(taken);
	close(fd);
	daemon_stop(fixture);
	assert_true(segment_search(taken, bytes, SIZE) >= 0);
}

static void a_key_taken_while_streaming_leaves_the_bytes_elsewhere(void **state)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0640));
	assert_int_equal(write(fd, bytes, SIZE), SIZE);
	plan("take");
	ssize_t step = 0;
	for (int i = 0; i < 1000 && !plan_was_carried_out() && step >= 0; i++)
		step = write(fd, zeros, PAGE);
	assert_true(plan_was_carried_out());
	close(fd);
	assert_true(segment_has(segment_find(KEY), 0, "taken", 6));
	assert_kept_under_a_logged_id(segment_find(KEY));
}

/* The daemon itself may be gone in the middle of it. */

static int resize_while_it_lasts(int number)
{
	srand((unsigned)number);
	while (truncate(PATH, LARGE + 1 + rand() % LARGE) == 0)
		;
	return 0;
}

static void a_daemon_killed_while_it_resizes_loses_nothing(void **state)
{
	struct fixture *fixture = *state;
	static char large[LARGE];
	pattern_fill(large, LARGE, 3);
	segment_put(segment_create(KEY, LARGE, 0640), 0, large, LARGE);
	for (int i = 0; i < 10; i++) {
		pid_t child = child_start(resize_while_it_lasts, i);
		usleep((useconds_t)(5000 + i * 777));
		must(kill(fixture->daemon, SIGKILL));
		assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
		must(umount2(MNT, MNT_DETACH));
		children_join(&child, 1);
		assert_true(eventually(segment_find(KEY) != -1 &&
				       segment_has(segment_find(KEY), 0, large, LARGE)));
		assert_true(eventually(segments_count() == 1));
		daemon_start(fixture, NULL);
	}
}

/* The replacer, which is not killed, ends what it began: nothing of a trial is left. */
static void a_daemon_killed_at_the_trial_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	full_segment();
	file_write(PLAN, O_CREAT, "kill", 4);
	assert_int_equal(truncate(PATH, 5 * PAGE), -1);
	assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
	assert_true(eventually(waitpid(-1, NULL, WNOHANG) == -1));
	assert_int_equal(segments_count(), 1);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(shmmax_limits_a_segment),
		mounted(shmmax_below_the_old_size_loses_nothing),
		mounted(shmall_limits_all_segments),
		mounted(shmmni_below_the_number_of_segments_loses_nothing),
		mounted(at_shmmni_content_is_kept_whether_or_not_it_can_be_resized),
		mounted(more_memory_than_there_is_cannot_be_had),
		mounted(a_new_segment_over_the_limits_is_not_made),
		mounted(a_copy_just_under_shmmax_succeeds),
		mounted(a_copy_over_shmmax_keeps_what_fits),
		mounted(a_copy_over_shmall_keeps_what_fits),
		racing(a_failed_call_puts_the_old_back),
		racing(a_slot_that_is_taken_is_made_good),
		racing(memory_that_runs_out_halfway_puts_the_old_back),
		racing(a_replacer_that_is_killed_leaves_nothing_open),
		racing(what_is_removed_again_and_again_is_a_file_without_a_name),
		racing(what_is_removed_while_it_is_made_is_made_again),
		racing(a_failed_call_while_writing_loses_nothing),
		racing(a_want_of_descriptors_is_no_full_disk),
		racing(the_old_keeps_its_owner_when_put_back),
		racing(a_key_that_cannot_be_had_again_leaves_the_bytes_elsewhere),
		racing(a_key_taken_meanwhile_leaves_the_bytes_elsewhere),
		racing(a_key_taken_under_an_open_handle_leaves_the_bytes_elsewhere),
		racing(a_key_taken_while_streaming_leaves_the_bytes_elsewhere),
		racing(a_daemon_killed_at_the_trial_leaves_nothing),
		mounted(a_daemon_killed_while_it_resizes_loses_nothing),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

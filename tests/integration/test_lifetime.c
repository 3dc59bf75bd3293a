/* SPDX-License-Identifier: MIT */
/* It lets go: of every object with the last handle, of the mount at every kind of end. */
#include "harness.h"

#include <sys/mman.h>
#include <sys/statfs.h>

enum { KEY = 3148, PAGE = 4096, BIG = 8 << 20 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static char bytes[BIG];

static int full_segment(void)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	int id = segment_create(KEY, BIG, 0600);
	segment_put(id, 0, bytes, BIG);
	return id;
}

static void nothing_is_held_after_the_last_close(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int id = segment_create(KEY, PAGE, 0600), fds[20];
	object_create("frames", PAGE);
	for (size_t i = 0; i < array_size(fds); i++) {
		fds[i] = must(open(i % 2 ? SEGMENT : OBJECT, i % 3 ? O_RDWR : O_RDONLY));
		assert_int_equal(pread(fds[i], &byte, 1, 0), 1);
	}
	for (size_t i = 0; i < array_size(fds); i++)
		close(fds[i]);
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_true(eventually(segment_stat(id).shm_nattch == 0));
}

static void nothing_is_held_by_operations_on_names(void **state)
{
	struct fixture *fixture = *state;
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	must(truncate(SEGMENT, 0));
	must(truncate(SEGMENT, 2 * PAGE));
	must(truncate(OBJECT, 2 * PAGE));
	must(chmod(SEGMENT, 0640));
	must(chmod(OBJECT, 0640));
	must(rename(OBJECT, MNT "/others"));
	must_fail(EEXIST, open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600));
	shell(NULL, 0, "ls -lR " MNT " > /dev/null");
	assert_int_equal(daemon_holds_objects(fixture), 0);
	id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	must(unlink(SEGMENT));
	assert_int_equal(segments_count(), 0);
	assert_int_equal(segments_pages(), 0);
}

static void memory_of_a_removed_segment_goes_with_the_last_handle(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	full_segment();
	int first = must(open(SEGMENT, O_RDONLY));
	int second = must(open(SEGMENT, O_RDWR));
	segment_remove(segment_find(KEY));
	close(first);
	assert_int_equal(pread(second, &byte, 1, BIG - 1), 1);
	assert_int_equal(byte, bytes[BIG - 1]);
	assert_true(daemon_holds_objects(fixture) > 0);
	close(second);
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_true(eventually(segments_pages() == 0));
}

static void memory_that_was_written_in_large_blocks_goes_with_the_last_handle(void **state)
{
	struct fixture *fixture = *state;
	int id = full_segment();
	object_create("frames", BIG);
	object_put("frames", 0, bytes, BIG);
	int first = must(open(SEGMENT, O_WRONLY));
	int second = must(open(OBJECT, O_WRONLY));
	for (int fd = first; fd <= second; fd += second - first) {
		assert_int_equal(pwrite(fd, bytes + 5, BIG / 2, 1), BIG / 2);
		assert_int_equal(pwrite(fd, bytes, BIG / 2, BIG / 2), BIG / 2);
	}
	assert_true(segment_has(id, 1, bytes + 5, BIG / 2 - 1));
	assert_true(segment_has(id, BIG / 2, bytes, BIG / 2));
	assert_true(object_has("frames", 1, bytes + 5, BIG / 2 - 1));
	assert_true(object_has("frames", BIG / 2, bytes, BIG / 2));
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	segment_remove(id);
	must(shm_unlink("/frames"));
	close(first);
	close(second);
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_true(eventually(segments_pages() == 0));
}

static void memory_of_a_segment_that_was_only_looked_at_goes_at_once(void **state)
{
	int id = full_segment();
	file_stat(SEGMENT);
	assert_true(file_has(SEGMENT, 0, bytes, BIG));
	assert_true(eventually(segment_stat(id).shm_nattch == 0));
	segment_remove(id);
	assert_int_equal(segments_pages(), 0);
}

static unsigned long native_free(void)
{
	struct statfs fs;
	must(statfs(NATIVE, &fs));
	return (unsigned long)(fs.f_bfree * (unsigned long)fs.f_bsize);
}

static void memory_of_a_removed_object_goes_with_the_last_handle(void **state)
{
	char byte;
	unsigned long before = native_free();
	object_create("frames", 0);
	object_put("frames", 0, memset(bytes, 1, BIG), BIG);
	int fd = must(open(OBJECT, O_RDWR));
	must(unlink(OBJECT));
	assert_int_equal(native_free(), before - BIG);
	assert_int_equal(pread(fd, &byte, 1, BIG - 1), 1);
	close(fd);
	assert_true(eventually(native_free() == before));
}

static void ends_by(struct fixture *fixture, int signal)
{
	must(kill(fixture->daemon, signal));
	assert_int_equal(daemon_wait(fixture), 0);
	assert_false(daemon_is_mounted());
}

static void ends_by_signals(const int *signals, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct fixture fixture = { .owner = &ROOT };
		daemon_start(&fixture, NULL);
		ends_by(&fixture, signals[i]);
	}
}

static void signals_to_a_daemon_end_it(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	ends_by_signals(signals, array_size(signals));
}

/* Nobody sends them on purpose, and they would leave a mount that answers nothing. */
static void signals_to_other_programs_end_it_as_well(void **state)
{
	const int signals[] = { SIGQUIT, SIGALRM, SIGUSR1,   SIGUSR2,  SIGXCPU,
				SIGPWR,	 SIGPROF, SIGVTALRM, SIGRTMIN, SIGRTMAX };
	ends_by_signals(signals, array_size(signals));
}

static void umount_ends_it(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(shell(NULL, 0, "umount " MNT), 0);
	assert_int_equal(daemon_wait(fixture), 0);
}

static void fusermount_ends_it(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(shell(NULL, 0, "fusermount3 -u " MNT), 0);
	assert_int_equal(daemon_wait(fixture), 0);
}

static void an_open_file_keeps_umount_waiting(void **state)
{
	struct fixture *fixture = *state;
	segment_create(KEY, PAGE, 0600);
	int fd = must(open(SEGMENT, O_RDONLY));
	must_fail(EBUSY, umount2(MNT, 0));
	close(fd);
	daemon_stop(fixture);
}

static void a_signal_ends_it_with_files_open(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	int first = must(open(SEGMENT, O_RDWR));
	int second = must(open(OBJECT, O_RDWR));
	assert_int_equal(pread(first, &byte, 1, 0), 1);
	assert_int_equal(pread(second, &byte, 1, 0), 1);
	ends_by(fixture, SIGTERM);
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	close(first);
	close(second);
}

static void a_lazy_umount_lets_open_files_go_on(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	int first = must(open(SEGMENT, O_RDWR));
	int second = must(open(OBJECT, O_RDWR));
	assert_int_equal(shell(NULL, 0, "umount -l " MNT), 0);
	assert_false(daemon_is_mounted());
	assert_int_equal(pwrite(first, "x", 1, 0), 1);
	assert_int_equal(pread(first, &byte, 1, 0), 1);
	assert_int_equal(pwrite(second, "x", 1, 0), 1);
	assert_true(segment_has(id, 0, "x", 1));
	assert_true(object_has("frames", 0, "x", 1));
	assert_int_equal(waitpid(fixture->daemon, NULL, WNOHANG), 0);
	close(first);
	close(second);
	assert_int_equal(daemon_wait(fixture), 0);
	assert_int_equal(segment_stat(id).shm_nattch, 0);
}

static void a_copy_that_grows_is_exact_after_a_lazy_umount(void **state)
{
	struct fixture *fixture = *state;
	int fd = must(open(SEGMENT, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(write(fd, bytes, 100000), 100000);
	assert_int_equal(shell(NULL, 0, "umount -l " MNT), 0);
	assert_int_equal(write(fd, bytes, 100001), 100001);
	close(fd);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 200001);
	assert_int_equal(daemon_wait(fixture), 0);
}

/* The kernel takes requests back that are about to be read, such as the RELEASE of these. */
static void closing_what_a_lazy_umount_left_is_no_error(void **state)
{
	struct fixture *fixture = *state;

	for (int round = 0; round < 40; round++) {
		int files[8];

		for (int i = 0; i < 8; i++) {
			char path[64];

			snprintf(path, sizeof(path), MNT "/object%d", i);
			files[i] = must(open(path, O_CREAT | O_RDWR, 0600));
		}
		must(umount2(MNT, MNT_DETACH));
		for (int i = 0; i < 8; i++)
			close(files[i]);
		assert_int_equal(daemon_wait(fixture), 0);
		daemon_start(fixture, NULL);
	}
}

static void what_was_made_outlives_the_mount(void **state)
{
	struct fixture *fixture = *state;
	file_write(SEGMENT, O_CREAT, "stays", 5);
	file_write(OBJECT, O_CREAT, "stays", 5);
	daemon_stop(fixture);
	assert_true(segment_has(segment_find(KEY), 0, "stays", 5));
	assert_true(object_has("frames", 0, "stays", 5));
	daemon_start(fixture, NULL);
	assert_true(file_has(SEGMENT, 0, "stays", 5));
	assert_true(file_has(OBJECT, 0, "stays", 5));
}

static void it_mounts_in_the_background(void **state)
{
	char output[256];
	segment_create(KEY, PAGE, 0600);
	assert_int_equal(shell(output, sizeof(output), BIN "/shmfs " MNT), 0);
	assert_string_equal(output, "");
	assert_true(daemon_is_mounted());
	assert_true(file_exists(SEGMENT));
	must(umount2(MNT, 0));
	/* An orphan's parent is process 1. */
	int status = -1;
	assert_true(eventually(waitpid(-1, &status, WNOHANG) > 0));
	assert_int_equal(exit_status(status), 0);
}

/* Its owner may have moved the mount point away, and put a link in its place. */
static void its_end_unmounts_nothing_else(void **state)
{
	struct fixture *fixture = *state;
	must(mount("tmpfs", MNT, "tmpfs", 0, NULL));
	file_write(MNT "/others", O_CREAT, "content", 7);
	must(kill(fixture->daemon, SIGTERM));
	assert_int_equal(daemon_wait(fixture), 0);
	assert_true(file_has(MNT "/others", 0, "content", 7));
	must(umount2(MNT, MNT_DETACH));
	must_fail(ENOTCONN, access(MNT "/others", F_OK));
	must(umount2(MNT, MNT_DETACH));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(nothing_is_held_after_the_last_close),
		mounted(nothing_is_held_by_operations_on_names),
		mounted(memory_of_a_removed_segment_goes_with_the_last_handle),
		mounted(memory_that_was_written_in_large_blocks_goes_with_the_last_handle),
		mounted(memory_of_a_segment_that_was_only_looked_at_goes_at_once),
		mounted(memory_of_a_removed_object_goes_with_the_last_handle),
		bare(signals_to_a_daemon_end_it),
		bare(signals_to_other_programs_end_it_as_well),
		mounted(umount_ends_it),
		mounted(fusermount_ends_it),
		mounted(an_open_file_keeps_umount_waiting),
		mounted(a_signal_ends_it_with_files_open),
		mounted(a_lazy_umount_lets_open_files_go_on),
		mounted(a_copy_that_grows_is_exact_after_a_lazy_umount),
		mounted(closing_what_a_lazy_umount_left_is_no_error),
		mounted(its_end_unmounts_nothing_else),
		mounted(what_was_made_outlives_the_mount),
		bare(it_mounts_in_the_background),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

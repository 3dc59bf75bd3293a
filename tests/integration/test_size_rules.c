/* SPDX-License-Identifier: MIT */
/* The size of a System V segment: clearing, truncating, what re-creation keeps. */
#include "harness.h"

#include "engine.h"

enum { KEY = 3148, PAGE = 4096 };

#define PATH MNT "/3148"

static char bytes[3 * PAGE];

/* A segment of 3 pages full of bytes that are known. */
static int full_segment(void)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	int id = segment_create(KEY, sizeof(bytes), 0640);
	segment_put(id, 0, bytes, sizeof(bytes));
	return id;
}

/* The segment is the one it was, with all of its bytes. */
static void assert_unchanged(int id)
{
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_segsz, sizeof(bytes));
	assert_true(segment_has(id, 0, bytes, sizeof(bytes)));
	assert_true(file_has(PATH, 0, bytes, sizeof(bytes)));
}

static void truncating_to_zero_clears_and_keeps(void **state)
{
	int id = full_segment();
	segment_chown(id, 1001, 2000);
	const char *memory = segment_attach(id);
	must(truncate(PATH, 0));
	assert_int_equal(memory[0], 0);
	assert_true(segment_is_zero(id, 0, sizeof(bytes)));
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(data.shm_segsz, sizeof(bytes));
	assert_int_equal(data.shm_perm.mode, 0640);
	assert_int_equal(data.shm_perm.uid, 1001);
	assert_int_equal(data.shm_nattch, 1);
	assert_int_equal(file_stat(PATH).st_size, sizeof(bytes));
	segment_detach(memory);
}

static void clearing_an_open_handle_clears_and_keeps(void **state)
{
	int id = full_segment();
	int other = must(open(PATH, O_RDONLY));
	int fd = must(open(PATH, O_RDWR));
	must(ftruncate(fd, 0));
	assert_true(segment_is_zero(id, 0, sizeof(bytes)));
	assert_int_equal(segment_find(KEY), id);
	close(fd);
	close(other);
	assert_int_equal(segment_stat(id).shm_segsz, sizeof(bytes));
}

static void clearing_by_id_is_no_resizing(void **state)
{
	int id = full_segment();
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	must(truncate(path, 0));
	assert_true(segment_is_zero(id, 0, sizeof(bytes)));
	file_write(path, O_TRUNC, "text", 4);
	assert_true(segment_has(id, 0, "text", 5));
	assert_int_equal(segment_find(KEY), id);
}

static void clearing_gives_the_last_page_back(void **state)
{
	int id = segment_create(KEY, PAGE + 100, 0640);
	segment_put(id, PAGE, "text", 4);
	must(truncate(PATH, 0));
	assert_int_equal(file_stat(PATH).st_blocks, 0);
}

static void a_shorter_content_keeps_the_size(void **state)
{
	int id = full_segment();
	assert_int_equal(shell(NULL, 0, "echo hi > " PATH), 0);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_segsz, sizeof(bytes));
	assert_true(segment_has(id, 0, "hi\n", 3));
	assert_true(segment_is_zero(id, 3, sizeof(bytes) - 3));
}

static void truncating_to_the_same_size_does_nothing(void **state)
{
	int id = full_segment();
	void *memory = segment_attach(id);
	must(truncate(PATH, sizeof(bytes)));
	segment_detach(memory);
	assert_unchanged(id);
}

static void truncating_up_keeps_bytes_and_adds_zeros(void **state)
{
	full_segment();
	must(truncate(PATH, 100001));
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, 100001);
	assert_int_equal(file_stat(PATH).st_size, 100001);
	assert_true(segment_has(id, 0, bytes, sizeof(bytes)));
	assert_true(segment_is_zero(id, sizeof(bytes), 100001 - sizeof(bytes)));
	assert_int_equal(segments_count(), 1);
}

static void truncating_down_keeps_what_fits(void **state)
{
	full_segment();
	must(truncate(PATH, 5001));
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, 5001);
	assert_true(segment_has(id, 0, bytes, 5001));
	must(truncate(PATH, 1));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 1);
	assert_true(segment_has(segment_find(KEY), 0, bytes, 1));
	must(truncate(PATH, PAGE));
	assert_true(segment_is_zero(segment_find(KEY), 1, PAGE - 1)); /* nothing comes back */
	assert_int_equal(segments_count(), 1);
}

static void the_new_segment_is_found_by_shmget_with_its_size(void **state)
{
	full_segment();
	must(truncate(PATH, 100000));
	must(shmget(KEY, 100000, 0));
	must_fail(EINVAL, shmget(KEY, 100001, 0));
}

static void re_creation_keeps_owner_group_mode_and_creator(void **state)
{
	become(&ALICE);
	int id = segment_create(KEY, PAGE, 0604);
	segment_chown(id, BOB.uid, BOB.gid);
	become(&ROOT);
	must(truncate(PATH, 3 * PAGE));
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_segsz, 3 * PAGE);
	assert_int_equal(data.shm_perm.uid, BOB.uid);
	assert_int_equal(data.shm_perm.gid, BOB.gid);
	assert_int_equal(data.shm_perm.cuid, ALICE.uid);
	assert_int_equal(data.shm_perm.cgid, ALICE.gid);
	assert_int_equal(data.shm_perm.mode, 0604);
}

static void re_creation_keeps_the_memory_locked(void **state)
{
	int id = full_segment();
	must(shmctl(id, SHM_LOCK, NULL));
	must(truncate(PATH, 5 * PAGE));
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_perm.mode & (SHM_LOCKED | 0777), SHM_LOCKED | 0640);
	must(truncate(PATH, PAGE));
	data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_perm.mode & SHM_LOCKED, SHM_LOCKED);
	assert_true(segment_has(segment_find(KEY), 0, bytes, PAGE));
}

static void an_attached_segment_keeps_its_size(void **state)
{
	int id = full_segment();
	void *memory = segment_attach(id);
	time_t changed = segment_stat(id).shm_ctime;
	usleep(1100000); /* the kernel counts in seconds */
	must_fail(EBUSY, truncate(PATH, PAGE));
	must_fail(EBUSY, truncate(PATH, 10 * PAGE));
	int fd = must(open(PATH, O_RDWR));
	must_fail(EBUSY, ftruncate(fd, 10 * PAGE));
	close(fd);
	assert_unchanged(id);
	assert_int_equal(segment_stat(id).shm_ctime, changed);
	assert_int_equal(segment_stat(id).shm_perm.mode, 0640);
	segment_detach(memory);
	must(truncate(PATH, 10 * PAGE));
}

/* Where the kernel serves it.  What shmfs serves moves along. */
static void a_segment_open_elsewhere_keeps_its_size(void **state)
{
	char byte;
	int id = full_segment();
	int other = must(open_as_other(PATH, O_RDONLY));
	if (!engine_is_passthrough()) {
		must(truncate(PATH, PAGE));
		assert_int_equal(pread(other, &byte, 1, PAGE - 1), 1);
		assert_int_equal(byte, bytes[PAGE - 1]);
		assert_int_equal(pread(other, &byte, 1, PAGE), 0);
		close(other);
		return;
	}
	must_fail(EBUSY, truncate(PATH, PAGE));
	int fd = must(open(PATH, O_WRONLY));
	must_fail(EBUSY, ftruncate(fd, 10 * PAGE));
	assert_unchanged(id);
	close(other);
	close(fd);
	must(truncate(PATH, 10 * PAGE));
}

/* It has no key and no id any more, and nobody else can have it: it is a file like any other. */
static void a_removed_segment_is_resized_as_a_file_is(void **state)
{
	struct stat data;
	int fd = must(open(PATH, O_CREAT | O_RDWR | O_APPEND, 0600));
	assert_int_equal(write(fd, "one", 3), 3);
	must(unlink(PATH));
	must(ftruncate(fd, 2 * PAGE));
	must(fstat(fd, &data));
	assert_int_equal(data.st_size, 2 * PAGE);
	assert_int_equal(write(fd, "two", 3), 3);
	must(fstat(fd, &data));
	assert_int_equal(data.st_size, 2 * PAGE + 3);
	must(ftruncate(fd, 2));
	char seen[8];
	assert_int_equal(pread(fd, seen, sizeof(seen), 0), 2);
	assert_memory_equal(seen, "on", 2);
	must(fchmod(fd, 0640));
	must(fchown(fd, 1001, 2000));
	must(futimens(fd, NULL));
	must(fstat(fd, &data));
	assert_int_equal(data.st_mode, S_IFREG | 0640);
	assert_int_equal(data.st_uid, 1001);
	assert_int_equal(data.st_nlink, 0);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = must(open(path, O_RDWR));
	assert_int_equal(pread(again, seen, sizeof(seen), 0), 2);
	must(truncate(path, 1));
	close(again);
	close(fd);
	assert_int_equal(segments_count(), 0);
	assert_true(eventually(daemon_holds_objects(*state) == 0));
}

/* Not the room that a growing segment has to spare. */
static void readers_of_a_removed_segment_see_what_was_written(void **state)
{
	static char seen[10 * PAGE];
	full_segment();
	int reader = must(open(PATH, O_RDONLY));
	int fd = must(open(PATH, O_WRONLY | O_APPEND));
	must(unlink(PATH));
	assert_int_equal(write(fd, "more", 4), 4);
	assert_int_equal(pread(reader, seen, sizeof(seen), 0), sizeof(bytes) + 4);
	assert_memory_equal(seen, bytes, sizeof(bytes));
	assert_memory_equal(seen + sizeof(bytes), "more", 4);
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 8 * PAGE, PAGE));
	assert_int_equal(pread(reader, seen, sizeof(seen), 0), sizeof(bytes) + 4);
	close(fd);
	close(reader);
}

static void the_handle_that_resizes_goes_on_with_the_new_segment(void **state)
{
	struct stat data;
	char byte;
	full_segment();
	int fd = must(open(PATH, O_RDWR | O_TRUNC));
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	must(ftruncate(fd, 5 * PAGE));
	must(fstat(fd, &data));
	assert_int_equal(data.st_size, 5 * PAGE);
	assert_int_equal(pwrite(fd, "tail", 4, 5 * PAGE - 4), 4);
	assert_int_equal(pread(fd, &byte, 1, 100), 1);
	assert_int_equal(byte, bytes[100]);
	must(ftruncate(fd, 2 * PAGE));
	assert_int_equal(pread(fd, &byte, 1, 2 * PAGE), 0);
	close(fd);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 2 * PAGE);
	assert_true(segment_has(segment_find(KEY), 0, bytes, 2 * PAGE));
}

/* Its pages may be mapped, and then no others can take their place. */
static void a_handle_that_can_be_mapped_resizes_or_is_busy(void **state)
{
	char byte;
	int id = full_segment();
	int fd = must(open(PATH, O_RDWR));
	if (ftruncate(fd, 5 * PAGE) == -1) {
		assert_int_equal(errno, EBUSY);
		must_fail(ENOSPC, pwrite(fd, "x", 1, sizeof(bytes)));
		assert_unchanged(id);
	} else {
		assert_int_equal(pread(fd, &byte, 1, 5 * PAGE - 1), 1);
		assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 5 * PAGE);
		assert_true(segment_has(segment_find(KEY), 0, bytes, sizeof(bytes)));
	}
	close(fd);
}

static void fallocate_past_the_end_re_creates(void **state)
{
	full_segment();
	int fd = must(open(PATH, O_WRONLY));
	must(fallocate(fd, 0, 0, 5 * PAGE));
	close(fd);
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, 5 * PAGE);
	assert_true(segment_has(id, 0, bytes, sizeof(bytes)));
	assert_int_equal(file_stat(PATH).st_size, 5 * PAGE);
}

/*
 * A segment's inode that was grown in place would be larger than shmget()
 * says.  Only fallocate() without a change of size could try.
 */
/* It needs no other segment, which somebody who has it attached would not let it have. */
static void fallocate_in_the_room_of_a_new_segment_is_a_size(void **state)
{
	struct stat data;
	int fd = must(open(PATH, O_CREAT | O_RDWR, 0600));
	char *memory = segment_attach(segment_find(KEY));
	must(fallocate(fd, 0, 0, 100));
	must(fstat(fd, &data));
	assert_int_equal(data.st_size, 100);
	segment_detach(memory);
	close(fd);
	assert_true(eventually(segment_is_complete(KEY, 100)));
}

static void no_call_grows_the_inode_in_place(void **state)
{
	int id = full_segment();
	void *memory = segment_attach(id);
	int fd = must(open(PATH, O_RDWR));
	unsigned long pages = segments_pages();
	assert_int_equal(fallocate(fd, 0, 0, 5 * PAGE), -1);
	fallocate(fd, FALLOC_FL_KEEP_SIZE, 3 * PAGE, 10 * PAGE);
	must_fail(ENOSPC, pwrite(fd, "x", 1, 3 * PAGE));
	must_fail(ENOSPC, pwrite(fd, "x", 1, 100 * PAGE));
	close(fd);
	assert_int_equal(segments_pages(), pages);
	assert_true(eventually(file_stat(PATH).st_blocks == 3 * PAGE / 512));
	assert_unchanged(id);
	segment_detach(memory);
}

static void nothing_is_created_by_id(void **state)
{
	must_fail(EPERM, open(MNT "/.by-id/0", O_CREAT | O_WRONLY, 0600));
	must_fail(EPERM, open(MNT "/.by-id/12345", O_CREAT | O_EXCL | O_WRONLY, 0600));
	must_fail(EPERM, open(MNT "/.by-id/frames", O_CREAT | O_WRONLY, 0600));
	must_fail(EPERM, mknod(MNT "/.by-id/7", S_IFREG | 0600, 0));
	assert_int_equal(segments_count(), 0);
}

static void nothing_is_resized_by_id(void **state)
{
	char path[64];
	int id = full_segment();
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	must_fail(EPERM, truncate(path, PAGE));
	must_fail(EPERM, truncate(path, 10 * PAGE));
	must(truncate(path, sizeof(bytes)));
	int fd = must(open(path, O_RDWR));
	must_fail(EPERM, ftruncate(fd, 10 * PAGE));
	must_fail(EPERM, fallocate(fd, 0, 0, 10 * PAGE));
	assert_int_equal(pwrite(fd, bytes + sizeof(bytes) - 4, 4, sizeof(bytes) - 4), 4);
	assert_int_equal(pwrite(fd, "more", 4, sizeof(bytes)), -1);
	assert_true(errno == EPERM || errno == ENOSPC);
	close(fd);
	assert_unchanged(id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(truncating_to_zero_clears_and_keeps),
		mounted(clearing_an_open_handle_clears_and_keeps),
		mounted(clearing_by_id_is_no_resizing),
		mounted(clearing_gives_the_last_page_back),
		mounted(a_shorter_content_keeps_the_size),
		mounted(truncating_to_the_same_size_does_nothing),
		mounted(truncating_up_keeps_bytes_and_adds_zeros),
		mounted(truncating_down_keeps_what_fits),
		mounted(the_new_segment_is_found_by_shmget_with_its_size),
		mounted(re_creation_keeps_owner_group_mode_and_creator),
		mounted(re_creation_keeps_the_memory_locked),
		mounted(an_attached_segment_keeps_its_size),
		mounted(a_segment_open_elsewhere_keeps_its_size),
		mounted(a_removed_segment_is_resized_as_a_file_is),
		mounted(readers_of_a_removed_segment_see_what_was_written),
		mounted(the_handle_that_resizes_goes_on_with_the_new_segment),
		mounted(a_handle_that_can_be_mapped_resizes_or_is_busy),
		mounted(fallocate_past_the_end_re_creates),
		mounted(fallocate_in_the_room_of_a_new_segment_is_a_size),
		mounted(no_call_grows_the_inode_in_place),
		mounted(nothing_is_created_by_id),
		mounted(nothing_is_resized_by_id),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

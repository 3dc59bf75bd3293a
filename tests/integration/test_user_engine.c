/* SPDX-License-Identifier: MIT */
/*
 * The third way in which bytes move: an ordinary user's daemon may open no
 * segment as a file and attaches it, as everybody does.  What holds for root's
 * mount holds here; the user's side of each case runs in a child that is he.
 */
#include "harness.h"

#include <sys/mman.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE, LONG = 300000 };

#define SEGMENT MNT "/3148"

static char bytes[LONG];

static int is_nobody(int (*function)(void *arg))
{
	pattern_fill(bytes, LONG, 9);
	return run_as(&NOBODY, function, NULL);
}

/* In the user's child: his own segment, of three pages with bytes in them. */
static int make_segment(void)
{
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	char *memory = shmat(id, NULL, 0);
	if (memory == (void *)-1)
		return -1;
	memcpy(memory, bytes, SIZE);
	return shmdt(memory) == 0 ? id : -1;
}

/* Its size and its first bytes, from shmat(2). */
static bool segment_is(size_t size, const char *start, size_t count)
{
	struct shmid_ds data;
	int id = shmget(KEY, 0, 0);
	const char *memory = shmat(id, NULL, SHM_RDONLY);
	if (memory == (void *)-1 || shmctl(id, IPC_STAT, &data) == -1)
		return false;
	bool same = data.shm_segsz == size && memcmp(memory, start, count) == 0;
	shmdt(memory);
	return same;
}

/* --- growing --- */

static int stream(void *arg)
{
	static const size_t steps[] = { 1, 777, PAGE, 100000, LONG };
	for (size_t i = 0; i < array_size(steps); i++) {
		size_t size = steps[i] < 100 ? 5000 : LONG;
		int fd = open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600);
		child_must(fd != -1);
		for (size_t done = 0; done < size;) {
			size_t step = size - done < steps[i] ? size - done : steps[i];
			child_must(write(fd, bytes + done, step) == (ssize_t)step);
			done += step;
		}
		child_must(close(fd) == 0);
		child_must(segment_is(size, bytes, size));
		child_must(unlink(SEGMENT) == 0);
	}
	return 0;
}

static void what_is_written_is_as_long_as_it_is(void **state)
{
	assert_int_equal(is_nobody(stream), 0);
	assert_int_equal(segments_count(), 0);
}

static int write_over_the_end(void *arg)
{
	child_must(make_segment() != -1);
	int fd = open(SEGMENT, O_RDWR);
	child_must(pwrite(fd, bytes + PAGE, LONG - PAGE, PAGE) == LONG - PAGE);
	child_must(close(fd) == 0);
	child_must(segment_is(LONG, bytes, LONG));
	return 0;
}

static void writing_over_the_end_keeps_what_was_before(void **state)
{
	assert_int_equal(is_nobody(write_over_the_end), 0);
	assert_int_equal(segments_count(), 1);
}

static int write_over_the_end_in_use(void *arg)
{
	int id = make_segment();
	const void *memory = shmat(id, NULL, SHM_RDONLY);
	int fd = open(SEGMENT, O_RDWR);
	child_must(pwrite(fd, bytes, 100, SIZE - 10) == 10);
	child_must(pwrite(fd, bytes, 1, SIZE) == -1 && errno == ENOSPC);
	child_must(truncate(SEGMENT, LONG) == -1 && errno == EBUSY);
	child_must(shmdt(memory) == 0);
	/* The daemon's own attachment is nobody's use. */
	child_must(pwrite(fd, bytes, 1, SIZE) == 1);
	child_must(close(fd) == 0);
	child_must(segment_is(SIZE + 1, bytes, PAGE));
	return 0;
}

static void a_segment_in_use_takes_what_fits(void **state)
{
	assert_int_equal(is_nobody(write_over_the_end_in_use), 0);
}

static int append(void *arg)
{
	child_must(system("echo one > " SEGMENT "; truncate -s 4096 " SEGMENT) == 0);
	child_must(system("echo two >> " SEGMENT) == 0);
	child_must(segment_is(PAGE + 4, "one\n", 5));
	int fd = open(SEGMENT, O_WRONLY | O_APPEND);
	child_must(pwrite(fd, "three", 5, 0) == 5 && write(fd, "four", 4) == 4);
	child_must(close(fd) == 0);
	char text[14] = "";
	fd = open(SEGMENT, O_RDONLY);
	child_must(pread(fd, text, sizeof(text), PAGE) == 13);
	child_must(strcmp(text, "two\nthreefour") == 0);
	return 0;
}

static void appending_goes_to_the_end(void **state)
{
	assert_int_equal(is_nobody(append), 0);
}

/* --- sizes --- */

static int resize(void *arg)
{
	static const char zeros[LONG];
	struct shmid_ds before, after;
	int id = make_segment();
	child_must(shmctl(id, IPC_STAT, &before) == 0);
	before.shm_perm.mode = 0640;
	child_must(shmctl(id, IPC_SET, &before) == 0);
	child_must(truncate(SEGMENT, LONG) == 0);
	child_must(segment_is(LONG, bytes, SIZE));
	int fd = open(SEGMENT, O_RDWR);
	char tail[PAGE];
	child_must(pread(fd, tail, PAGE, LONG - PAGE) == PAGE);
	child_must(memcmp(tail, zeros, PAGE) == 0);
	child_must(ftruncate(fd, 100) == 0);
	child_must(pread(fd, tail, PAGE, 50) == 50 && pread(fd, tail, PAGE, 100) == 0);
	child_must(close(fd) == 0);
	child_must(segment_is(100, bytes, 100));
	child_must(shmctl(shmget(KEY, 0, 0), IPC_STAT, &after) == 0);
	child_must(after.shm_perm.mode == 0640);
	child_must(after.shm_perm.uid == NOBODY.uid && after.shm_perm.cuid == NOBODY.uid);
	return 0;
}

static void truncating_gives_any_size(void **state)
{
	assert_int_equal(is_nobody(resize), 0);
	assert_int_equal(segments_count(), 1);
}

static int clear(void *arg)
{
	static const char zeros[SIZE];
	int id = make_segment();
	const char *memory = shmat(id, NULL, SHM_RDONLY);
	child_must(truncate(SEGMENT, 0) == 0);
	child_must(memcmp(memory, zeros, SIZE) == 0);
	child_must(system("echo hi > " SEGMENT) == 0);
	child_must(memcmp(memory, "hi\n", 4) == 0);
	child_must(system("echo > " SEGMENT) == 0);
	child_must(memcmp(memory, "\n\0\0", 4) == 0);
	child_must(shmget(KEY, 0, 0) == id);
	child_must(shmdt(memory) == 0);
	return 0;
}

static void clearing_keeps_the_segment(void **state)
{
	assert_int_equal(is_nobody(clear), 0);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, SIZE);
}

/* --- holes --- */

static int punch(void *arg)
{
	static const char zeros[SIZE];
	int id = make_segment();
	const char *memory = shmat(id, NULL, SHM_RDONLY);
	int fd = open(SEGMENT, O_RDWR);
	/* A page and parts of its neighbours. */
	child_must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE - 10,
			     PAGE + 20) == 0);
	child_must(memcmp(memory, bytes, PAGE - 10) == 0);
	child_must(memcmp(memory + PAGE - 10, zeros, PAGE + 20) == 0);
	child_must(memcmp(memory + 2 * PAGE + 10, bytes + 2 * PAGE + 10, PAGE - 10) == 0);
	child_must(fallocate(fd, 0, 0, SIZE) == 0);
	child_must(fallocate(fd, 0, 0, SIZE + 1) == -1 && errno == EBUSY);
	child_must(lseek(fd, 0, SEEK_DATA) == 0 && lseek(fd, 0, SEEK_HOLE) == SIZE);
	child_must(lseek(fd, SIZE, SEEK_DATA) == -1 && errno == ENXIO);
	child_must(lseek(fd, SIZE, SEEK_HOLE) == -1 && errno == ENXIO);
	child_must(shmdt(memory) == 0);
	child_must(fallocate(fd, 0, 0, SIZE + 1) == 0);
	child_must(close(fd) == 0);
	child_must(segment_is(SIZE + 1, bytes, PAGE - 10));
	return 0;
}

static void holes_are_zero(void **state)
{
	assert_int_equal(is_nobody(punch), 0);
}

static int leave_hole(void *arg)
{
	static const char zeros[LONG];
	char *found = malloc(LONG);
	int fd = open(SEGMENT, O_CREAT | O_RDWR, 0600);
	child_must(pwrite(fd, "tail", 4, LONG - 4) == 4);
	child_must(pwrite(fd, "head", 4, 0) == 4);
	child_must(pread(fd, found, LONG, 0) == LONG);
	child_must(close(fd) == 0);
	child_must(memcmp(found, "head", 4) == 0 && memcmp(found + LONG - 4, "tail", 4) == 0);
	child_must(memcmp(found + 4, zeros, LONG - 8) == 0);
	child_must(segment_is(LONG, found, LONG));
	free(found);
	return 0;
}

static void a_hole_in_what_is_written_is_zero(void **state)
{
	assert_int_equal(is_nobody(leave_hole), 0);
}

/* --- modes --- */

static int write_without_rights(void *arg)
{
	umask(0777);
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0666);
	child_must(fd != -1);
	child_must(write(fd, bytes, 100000) == 100000);
	child_must(write(fd, bytes + 100000, LONG - 100000) == LONG - 100000);
	child_must(close(fd) == 0);
	child_must(open(SEGMENT, O_RDONLY) == -1 && errno == EACCES);
	return 0;
}

static void a_file_without_rights_grows_under_its_maker(void **state)
{
	assert_int_equal(is_nobody(write_without_rights), 0);
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, LONG);
	assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0);
	pattern_fill(bytes, LONG, 9);
	assert_true(segment_has(id, 0, bytes, LONG));
}

/* --- handles --- */

static int use_unlinked(void *arg)
{
	char byte;
	struct stat data;
	int id = make_segment();
	int fd = open(SEGMENT, O_RDWR), other = open(SEGMENT, O_RDONLY);
	child_must(unlink(SEGMENT) == 0);
	child_must(shmget(KEY, 0, 0) == -1 && errno == ENOENT);
	child_must(access(SEGMENT, F_OK) == -1 && errno == ENOENT);
	child_must(pwrite(fd, "x", 1, SIZE - 1) == 1);
	child_must(pread(other, &byte, 1, SIZE - 1) == 1 && byte == 'x');
	child_must(fstat(fd, &data) == 0 && data.st_nlink == 0 && data.st_size == SIZE);
	/* Its id is reached as long as somebody holds it. */
	const void *memory = shmat(id, NULL, SHM_RDONLY);
	child_must(memory != (void *)-1);
	child_must(fstat(fd, &data) == 0 && data.st_nlink == 1);
	child_must(shmdt(memory) == 0);
	/* The key is free for another. */
	int next = open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(next != -1 && pread(next, &byte, 1, 0) == 0);
	child_must(pread(fd, &byte, 1, 1000) == 1 && byte == bytes[1000]);
	child_must(close(fd) == 0 && close(other) == 0 && close(next) == 0);
	return 0;
}

static void an_unlinked_segment_stays_while_it_is_open(void **state)
{
	assert_int_equal(is_nobody(use_unlinked), 0);
	assert_true(eventually(segments_pages() == 1));
	assert_int_equal(segments_count(), 1);
}

static int resize_unlinked(void *arg)
{
	static const off_t sizes[] = { SIZE + 1, PAGE + 1, 2 * PAGE, LONG };
	char *read_back = calloc(1, LONG);
	struct stat data;
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(write(fd, bytes, SIZE + 1) == SIZE + 1);
	child_must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE) == 0);
	child_must(unlink(SEGMENT) == 0);
	for (size_t i = 0; i < array_size(sizes); i++) {
		child_must(ftruncate(fd, sizes[i]) == 0);
		child_must(fstat(fd, &data) == 0 && data.st_size == sizes[i]);
		child_must(data.st_nlink == 0);
		child_must(pread(fd, read_back, LONG, 0) == sizes[i]);
		child_must(memcmp(read_back, bytes, PAGE + 1) == 0);
	}
	/* Cut once, it is zero there. */
	for (int i = PAGE + 1; i < LONG; i++)
		child_must(read_back[i] == 0);
	child_must(pwrite(fd, bytes, LONG, 10) == LONG);
	child_must(pread(fd, read_back, LONG, 10) == LONG && !memcmp(read_back, bytes, LONG));
	free(read_back);
	return 0;
}

static void an_unlinked_segment_gets_any_size(void **state)
{
	assert_int_equal(is_nobody(resize_unlinked), 0);
	assert_true(eventually(segments_count() == 0));
}

/* It is the other's as well, by its id. */
static int resize_unlinked_in_use(void *arg)
{
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(write(fd, bytes, SIZE) == SIZE);
	child_must(shmat(shmget(KEY, 0, 0), NULL, 0) != (void *)-1);
	child_must(unlink(SEGMENT) == 0);
	child_must(ftruncate(fd, LONG) == -1 && errno == EBUSY);
	child_must(ftruncate(fd, PAGE) == -1 && errno == EBUSY);
	return 0;
}

static void an_unlinked_segment_in_use_keeps_its_size(void **state)
{
	assert_int_equal(is_nobody(resize_unlinked_in_use), 0);
}

static int count_links(void *arg)
{
	struct stat data;
	struct shmid_ds segment;
	const void *memory[3];
	int id = make_segment();
	int reader = open(SEGMENT, O_RDONLY), both = open(SEGMENT, O_RDWR);
	for (int i = 0; i < 3; i++) {
		child_must(fstat(both, &data) == 0 && data.st_nlink == (nlink_t)i + 1);
		memory[i] = shmat(id, NULL, 0);
		child_must(stat(SEGMENT, &data) == 0 && data.st_nlink == (nlink_t)i + 2);
	}
	for (int i = 0; i < 3; i++)
		child_must(shmdt(memory[i]) == 0);
	child_must(fstat(reader, &data) == 0 && data.st_nlink == 1);
	child_must(close(reader) == 0 && close(both) == 0);
	child_must(eventually(shmctl(id, IPC_STAT, &segment) == 0 && segment.shm_nattch == 0));
	return 0;
}

static void links_are_the_attachments_of_others(void **state)
{
	assert_int_equal(is_nobody(count_links), 0);
}

static int share(void *arg)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC };
	char byte;
	int fds[array_size(modes)];
	child_must(make_segment() != -1);
	for (size_t i = 0; i < array_size(modes); i++) {
		fds[i] = open(SEGMENT, modes[i]);
		child_must(fds[i] != -1);
	}
	for (size_t i = 1; i < array_size(modes); i++) {
		child_must(pwrite(fds[i], bytes + i, 1, PAGE) == 1);
		child_must(pread(fds[0], &byte, 1, PAGE) == 1 && byte == bytes[i]);
		child_must(pread(fds[3], &byte, 1, PAGE) == 1 && byte == bytes[i]);
		child_must(pread(fds[0], &byte, 1, SIZE) == 0);
	}
	child_must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fds[0], 0) == MAP_FAILED);
	child_must(errno == ENODEV);
	return 0;
}

static void handles_of_all_sorts_see_each_others_bytes(void **state)
{
	assert_int_equal(is_nobody(share), 0);
}

/* Open for reading alone, then for writing: the attachment has to follow. */
static int read_what_is_readable(void *arg)
{
	char byte = 0;
	int reader = open(SEGMENT, O_RDONLY);
	child_must(reader != -1 && pread(reader, &byte, 1, 0) == 1 && byte == 'r');
	child_must(open(SEGMENT, O_RDWR) == -1 && errno == EACCES);
	child_must(open(SEGMENT, O_WRONLY | O_TRUNC) == -1 && errno == EACCES);
	child_must(truncate(SEGMENT, 0) == -1 && errno == EACCES);
	child_must(pread(reader, &byte, 1, 0) == 1 && byte == 'r');
	return 0;
}

static void what_is_only_readable_is_read(void **state)
{
	int id = segment_create(KEY, SIZE, 0644);
	segment_put(id, 0, "r", 1);
	assert_int_equal(is_nobody(read_what_is_readable), 0);
	assert_true(segment_has(id, 0, "r", 1));
}

/* The daemon's child that looks through /proc would detach it at its end. */
static int look_for_users(void *arg)
{
	char users[4096];
	int id = make_segment();
	int fd = open(SEGMENT, O_RDWR);
	child_must(fd != -1);
	pid_t last = segment_stat(id).shm_lpid;
	child_must(getxattr(SEGMENT, "user.shm.users", users, sizeof(users)) >= 0);
	child_must(segment_stat(id).shm_lpid == last);
	return 0;
}

static void looking_for_users_leaves_no_trace(void **state)
{
	assert_int_equal(is_nobody(look_for_users), 0);
}

/* A process stores them while the file is open for writing, and goes. */
static int leave_bytes_behind_the_end(void *arg)
{
	struct shmid_ds data;
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600);
	child_must(pwrite(fd, bytes, LONG, 0) == LONG);
	int id = shmget(KEY, 0, 0);
	child_must(shmctl(id, IPC_STAT, &data) == 0 && data.shm_segsz > LONG + PAGE);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	memcpy(memory + LONG + PAGE, "kept", 4);
	child_must(shmdt(memory) == 0 && close(fd) == 0);
	memory = shmat(shmget(KEY, 0, 0), NULL, SHM_RDONLY);
	child_must(memory != (void *)-1);
	child_must(memcmp(memory, bytes, LONG) == 0);
	child_must(memcmp(memory + LONG + PAGE, "kept", 4) == 0);
	return shmdt(memory);
}

static void what_is_stored_behind_the_end_is_kept(void **state)
{
	assert_int_equal(is_nobody(leave_bytes_behind_the_end), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_by_user(what_is_written_is_as_long_as_it_is),
		mounted_by_user(writing_over_the_end_keeps_what_was_before),
		mounted_by_user(a_segment_in_use_takes_what_fits),
		mounted_by_user(appending_goes_to_the_end),
		mounted_by_user(truncating_gives_any_size),
		mounted_by_user(what_is_stored_behind_the_end_is_kept),
		mounted_by_user(clearing_keeps_the_segment),
		mounted_by_user(holes_are_zero),
		mounted_by_user(a_hole_in_what_is_written_is_zero),
		mounted_by_user(a_file_without_rights_grows_under_its_maker),
		mounted_by_user(an_unlinked_segment_stays_while_it_is_open),
		mounted_by_user(an_unlinked_segment_gets_any_size),
		mounted_by_user(an_unlinked_segment_in_use_keeps_its_size),
		mounted_by_user(links_are_the_attachments_of_others),
		mounted_by_user(handles_of_all_sorts_see_each_others_bytes),
		mounted_by_user(what_is_only_readable_is_read),
		mounted_by_user(looking_for_users_leaves_no_trace),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The size of a segment is fixed: shmget(2) would go on reporting it whatever
 * became of the file behind.  So nothing that is done to a file of the mount
 * may grow that, or store a byte behind the size, while something keeps the
 * segment from being replaced.
 */
#include "harness.h"

#include "engine.h"
#include "raw_io.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

/* No whole number of pages: what is behind the end in the last one is seen. */
enum { KEY = 3148, PAGE = 4096, SIZE = PAGE + 100, PAGES = 2 * PAGE, BULK = 3 * PAGE };

#define SEGMENT MNT "/3148"
#define SOURCE TMP "/source"

static char bulk[BULK]; /* of 'X' */

/* --- what is tried --- */

/* Gives what the system call gave; for a count of bytes that matters. */
typedef long attack_fn(int fd);

static long write_over_the_end(int fd)
{
	return pwrite(fd, bulk, 200, SIZE - 50);
}

static long write_all_and_more(int fd)
{
	return pwrite(fd, bulk, BULK, 0);
}

static long write_at_the_end(int fd)
{
	return pwrite(fd, bulk, 1, SIZE);
}

static long write_on_the_next_page(int fd)
{
	return pwrite(fd, bulk, 1, PAGES);
}

static long write_far_away(int fd)
{
	return pwrite(fd, bulk, 1, (off_t)1 << 40);
}

static long write_at_the_position(int fd)
{
	lseek(fd, 0, SEEK_END);
	return write(fd, bulk, 10);
}

static long write_vectors(int fd)
{
	const struct iovec parts[] = { { bulk, PAGE }, { bulk, PAGE }, { bulk, PAGE } };
	return pwritev(fd, parts, 3, 0);
}

static long append_by_write(int fd)
{
	return pwritev2(fd, &(const struct iovec){ bulk, 10 }, 1, -1, RWF_APPEND);
}

static long append_by_fcntl(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_APPEND);
	long count = write(fd, bulk, 10);
	fcntl(fd, F_SETFL, flags);
	return count;
}

/* Every mode, those that no filesystem here has as well. */
static long allocate(int fd)
{
	static const int modes[] = {
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE,
		FALLOC_FL_UNSHARE_RANGE,
	};
	for (size_t i = 0; i < array_size(modes); i++) {
		fallocate(fd, modes[i], SIZE - 50, PAGES);
		fallocate(fd, modes[i], PAGE, PAGE);
		fallocate(fd, modes[i], 0, BULK);
		fallocate(fd, modes[i], PAGES, PAGE);
	}
	posix_fallocate(fd, 0, BULK);
	return 0;
}

static long allocate_by_uring(int fd)
{
	return uring_fallocate(fd, 0, SIZE - 50, PAGES);
}

static long truncate_open_file(int fd)
{
	if (ftruncate(fd, BULK) == 0 || ftruncate(fd, SIZE + 1) == 0 || ftruncate(fd, 1) == 0)
		fail_msg("ftruncate of a segment in use succeeded");
	return 0;
}

/* copy_file_range(2) from `path` over the end. */
static long copy_from(const char *path, int fd, off_t at)
{
	off_t from = 0;
	int source = must(open(path, O_RDONLY));
	long count = copy_file_range(source, &from, fd, &at, BULK, 0);
	close(source);
	return count;
}

static long copy_from_elsewhere(int fd)
{
	return copy_from(SOURCE, fd, SIZE - 50);
}

static long copy_from_an_object(int fd)
{
	return copy_from(MNT "/source", fd, SIZE - 50);
}

static long copy_from_an_object_to_the_end(int fd)
{
	return copy_from(MNT "/source", fd, SIZE);
}

static long copy_from_a_segment(int fd)
{
	return copy_from(MNT "/3149", fd, 0);
}

static long copy_within(int fd)
{
	off_t from = 0, to = SIZE - 50;
	return copy_file_range(fd, &from, fd, &to, PAGE - 50, 0);
}

static int full_pipe(int ends[2])
{
	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	assert_int_equal(write(ends[1], bulk, BULK), BULK);
	close(ends[1]);
	return ends[0];
}

static long splice_from_a_pipe(int fd)
{
	int ends[2];
	off_t at = SIZE - 50;
	int pipe = full_pipe(ends);
	long count = splice(pipe, NULL, fd, &at, BULK, 0);
	close(pipe);
	return count;
}

static long splice_behind_the_end(int fd)
{
	int ends[2];
	off_t at = SIZE;
	int pipe = full_pipe(ends);
	long count = splice(pipe, NULL, fd, &at, BULK, SPLICE_F_MOVE);
	close(pipe);
	return count;
}

static long splice_by_uring(int fd)
{
	int ends[2];
	int pipe = full_pipe(ends);
	long count = uring_splice(pipe, fd, SIZE - 50, BULK);
	close(pipe);
	return count;
}

static long send_file(int fd)
{
	int source = must(open(SOURCE, O_RDONLY));
	lseek(fd, SIZE - 50, SEEK_SET);
	long count = sendfile(fd, source, NULL, BULK);
	close(source);
	return count;
}

static long write_by_aio(int fd)
{
	return aio_write_raw(fd, bulk, BULK, SIZE - 50);
}

static long write_by_aio_behind_the_end(int fd)
{
	return aio_write_raw(fd, bulk, BULK, SIZE);
}

static long write_by_uring(int fd)
{
	return uring_write(fd, bulk, BULK, SIZE - 50);
}

static long write_by_uring_behind_the_end(int fd)
{
	return uring_write(fd, bulk, BULK, PAGES);
}

static long write_directly(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_DIRECT);
	long count = pwrite(fd, bulk, BULK, 0);
	fcntl(fd, F_SETFL, flags);
	return count;
}

#define ATTACK(function) \
	{ \
		function, #function \
	}
static const struct {
	attack_fn *function;
	const char *name;
} attacks[] = {
	ATTACK(write_over_the_end),
	ATTACK(write_all_and_more),
	ATTACK(write_at_the_end),
	ATTACK(write_on_the_next_page),
	ATTACK(write_far_away),
	ATTACK(write_at_the_position),
	ATTACK(write_vectors),
	ATTACK(append_by_write),
	ATTACK(append_by_fcntl),
	ATTACK(allocate),
	ATTACK(allocate_by_uring),
	ATTACK(truncate_open_file),
	ATTACK(copy_from_elsewhere),
	ATTACK(copy_from_an_object),
	ATTACK(copy_from_an_object_to_the_end),
	ATTACK(copy_from_a_segment),
	ATTACK(copy_within),
	ATTACK(splice_from_a_pipe),
	ATTACK(splice_behind_the_end),
	ATTACK(splice_by_uring),
	ATTACK(send_file),
	ATTACK(write_by_aio),
	ATTACK(write_by_aio_behind_the_end),
	ATTACK(write_by_uring),
	ATTACK(write_by_uring_behind_the_end),
	ATTACK(write_directly),
};

/* --- the witness --- */

static void check_size(int id, const char *attack, int flags)
{
	static const char zeros[PAGES - SIZE];
	const char *memory = segment_attach(id);
	size_t size = segment_stat(id).shm_segsz;
	off_t behind = inode_size(memory, SIZE, PAGE);

	if (segment_find(KEY) != id || size != SIZE)
		fail_msg("%s, flags 0%o: segment %d has %zu bytes", attack, flags,
			 segment_find(KEY), size);
	if (behind != SIZE)
		fail_msg("%s, flags 0%o: the inode has %jd bytes", attack, flags, (intmax_t)behind);
	if (memcmp(memory + SIZE, zeros, sizeof(zeros)) != 0)
		fail_msg("%s, flags 0%o: stored behind the end", attack, flags);
	segment_detach(memory);
}

static void attack_handle(int id, int fd, int flags)
{
	for (size_t i = 0; i < array_size(attacks); i++) {
		long count = attacks[i].function(fd);
		if (count > SIZE)
			fail_msg("%s, flags 0%o: %ld bytes written", attacks[i].name, flags, count);
		check_size(id, attacks[i].name, flags);
	}
	close(fd);
	check_size(id, "close", flags);
}

static const int sorts[] = {
	O_RDONLY,	    O_WRONLY,		O_RDWR,		  O_WRONLY | O_APPEND,
	O_RDWR | O_APPEND,  O_WRONLY | O_TRUNC, O_RDWR | O_TRUNC, O_RDWR | O_TRUNC | O_APPEND,
	O_WRONLY | O_CREAT, O_RDWR | O_DIRECT,
};

static void make_sources(void)
{
	memset(bulk, 'X', BULK);
	file_write(SOURCE, O_CREAT, bulk, BULK);
	object_create("source", 0);
	object_put("source", 0, bulk, BULK);
	segment_put(segment_create(KEY + 1, BULK, 0600), 0, bulk, BULK);
}

static void attack_all(int id)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	for (size_t i = 0; i < array_size(sorts); i++) {
		attack_handle(id, must(open(SEGMENT, sorts[i], 0600)), sorts[i]);
		if (!(sorts[i] & O_CREAT))
			attack_handle(id, must(open(path, sorts[i])), sorts[i]);
	}
}

static void an_attached_segment_does_not_grow(void **state)
{
	int id = segment_create(KEY, SIZE, 0600);
	make_sources();
	const void *memory = segment_attach(id);
	attack_all(id);
	segment_detach(memory);
}

static void a_segment_that_the_kernel_serves_does_not_grow(void **state)
{
	static const int others[] = { O_RDONLY, O_RDWR };
	if (!engine_is_passthrough())
		return; /* shmfs moves what it serves */
	int id = segment_create(KEY, SIZE, 0600);
	make_sources();
	for (size_t i = 0; i < array_size(others); i++) {
		int other = must(open_as_other(SEGMENT, others[i]));
		attack_all(id);
		close(other);
	}
}

static void a_mapped_segment_does_not_grow(void **state)
{
	int id = segment_create(KEY, SIZE, 0600);
	if (!engine_is_passthrough())
		return; /* nothing is mapped then */
	make_sources();
	int fd = must(open(SEGMENT, O_RDONLY));
	void *memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(memory, MAP_FAILED);
	attack_all(id);
	munmap(memory, SIZE);
}

static void a_new_segment_that_was_attached_does_not_grow(void **state)
{
	static const int modes[] = { O_WRONLY, O_RDWR, O_RDWR | O_APPEND };
	make_sources();
	for (size_t i = 0; i < array_size(modes); i++) {
		int fd = must(open(SEGMENT, O_CREAT | O_EXCL | modes[i], 0600));
		int id = segment_find(KEY);
		const void *memory = segment_attach(id);
		attack_handle(id, fd, modes[i]);
		segment_detach(memory);
		must(unlink(SEGMENT));
	}
}

/* Two that write at a time, one of them served in full, one bound in name. */
static int write_over_and_over(int number)
{
	int fd = open(SEGMENT, number ? O_RDWR : O_WRONLY);
	child_must(fd != -1);
	for (int i = 0; i < 300; i++) {
		ssize_t count = pwrite(fd, bulk, BULK, i % SIZE);
		child_must(count == SIZE - i % SIZE || (count == -1 && errno == ENOSPC));
		child_must(pwrite(fd, bulk, 1, SIZE) == -1 && errno == ENOSPC);
	}
	return 0;
}

static void writers_at_a_time_do_not_grow_it(void **state)
{
	pid_t children[4];
	int id = segment_create(KEY, SIZE, 0600);
	const void *memory = segment_attach(id);
	memset(bulk, 'X', BULK);
	for (int i = 0; i < 4; i++)
		children[i] = child_start(write_over_and_over, i % 2);
	assert_int_equal(children_join(children, 4), 0);
	segment_detach(memory);
	check_size(id, "writers at a time", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(an_attached_segment_does_not_grow),
		mounted(a_segment_that_the_kernel_serves_does_not_grow),
		mounted(a_mapped_segment_does_not_grow),
		mounted_with(a_new_segment_that_was_attached_does_not_grow, "min_size=4196"),
		mounted(writers_at_a_time_do_not_grow_it),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

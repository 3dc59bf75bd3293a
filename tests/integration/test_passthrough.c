/* SPDX-License-Identifier: MIT */
/*
 * Which open files the kernel serves by itself, and that handles of every sort
 * on one file show the same bytes.  On a mount without passthrough the same cases
 * prove that everything is served and nothing is ever stale.
 */
#include "harness.h"

#include "engine.h"
#include "raw_io.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 2 * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* The first write of a mount may ask the daemon whether files have capabilities. */
static bool kernel_goes_on_writing(const struct fixture *fixture, int fd)
{
	assert_int_equal(pwrite(fd, "f", 1, 0), 1);
	return kernel_writes(fixture, fd);
}

static void *map(int fd)
{
	return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* The kernel reads and writes `path`, opened with `flags`, if `bound` says so. */
static void check_binding(const struct fixture *fixture, const char *path, int flags, bool bound)
{
	bool expected = bound && engine_is_passthrough();
	int fd = must(open(path, flags, 0600));

	if ((flags & O_ACCMODE) != O_WRONLY && kernel_reads(fixture, fd) != expected)
		fail_msg("%s with flags 0%o: reads are %s", path, flags,
			 expected ? "served" : "bound");
	if ((flags & O_ACCMODE) != O_RDONLY && kernel_goes_on_writing(fixture, fd) != expected)
		fail_msg("%s with flags 0%o: writes are %s", path, flags,
			 expected ? "served" : "bound");
	close(fd);
}

static void every_open_object_is_bound(void **state)
{
	static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR };
	both_create(KEY, "frames", SIZE);
	for (size_t i = 0; i < array_size(flags); i++) {
		check_binding(*state, OBJECT, flags[i], true);
		check_binding(*state, MNT "/.by-name/frames", flags[i], true);
	}
	check_binding(*state, OBJECT, O_WRONLY | O_TRUNC, true);
	check_binding(*state, MNT "/new", O_CREAT | O_EXCL | O_WRONLY, true);
	assert_true(object_has("new", 0, "w", 1));
}

/* O_APPEND may be taken away, and the kernel would go on appending. */
static void an_object_opened_for_appending_is_served(void **state)
{
	both_create(KEY, "frames", SIZE);
	check_binding(*state, OBJECT, O_WRONLY | O_APPEND, false);
	check_binding(*state, OBJECT, O_RDWR | O_APPEND, false);
}

static void a_segment_opened_for_reading_is_bound(void **state)
{
	char path[64];
	int id = both_create(KEY, "frames", SIZE);
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	check_binding(*state, SEGMENT, O_RDONLY, true);
	check_binding(*state, path, O_RDONLY, true);
	check_binding(*state, SEGMENT, O_CREAT | O_RDONLY, true);
}

static bool touch(void *arg)
{
	volatile char *memory = arg;
	memory[PAGE] = 't';
	return memory[0] == 's';
}

static void a_segment_opened_for_both_is_mapped_and_served(void **state)
{
	int id = both_create(KEY, "frames", SIZE);
	int fd = must(open(SEGMENT, O_RDWR));
	assert_false(kernel_reads(*state, fd));
	assert_false(kernel_goes_on_writing(*state, fd));
	if (!engine_is_passthrough()) {
		assert_ptr_equal(map(fd), MAP_FAILED);
		assert_int_equal(errno, ENODEV);
		return;
	}
	char *memory = map(fd);
	assert_ptr_not_equal(memory, MAP_FAILED);
	segment_put(id, 0, "s", 1);
	assert_true(kernel_does(*state, touch, memory));
	assert_true(segment_has(id, PAGE, "t", 1));
	munmap(memory, SIZE);
}

static void a_segment_that_may_grow_is_served(void **state)
{
	both_create(KEY, "frames", SIZE);
	check_binding(*state, SEGMENT, O_WRONLY, false);
	check_binding(*state, SEGMENT, O_WRONLY | O_APPEND | O_TRUNC, false);
	check_binding(*state, SEGMENT, O_RDWR | O_TRUNC, false);
	check_binding(*state, MNT "/3149", O_CREAT | O_EXCL | O_WRONLY, false);
	int fd = must(open(SEGMENT, O_RDWR | O_TRUNC));
	assert_ptr_equal(map(fd), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
}

/* --- handles together --- */

/* One writes, and all that can read see it in the same moment. */
static void check_coherence(const int *fds, const int *flags, int count, int id)
{
	for (int i = 0; i < count; i++) {
		char seen, byte = (char)('a' + i);
		if ((flags[i] & O_ACCMODE) == O_RDONLY)
			continue;
		assert_int_equal(pwrite(fds[i], &byte, 1, 17), 1);
		for (int j = 0; j < count; j++) {
			if ((flags[j] & O_ACCMODE) == O_WRONLY)
				continue;
			assert_int_equal(pread(fds[j], &seen, 1, 17), 1);
			assert_int_equal(seen, byte);
		}
		assert_true(id == -1 ? object_has("frames", 17, &byte, 1) :
				       segment_has(id, 17, &byte, 1));
	}
}

static void check_in_order(const char *path, const int *flags, int count, int id)
{
	int fds[4];
	for (int i = 0; i < count; i++)
		fds[i] = must(open(path, flags[i]));
	check_coherence(fds, flags, count, id);
	/* And with the first of them, which made the binding or not, gone. */
	close(fds[0]);
	check_coherence(fds + 1, flags + 1, count - 1, id);
	for (int i = 1; i < count; i++)
		close(fds[i]);
}

static void handles_of_all_sorts_see_each_others_bytes(void **state)
{
	static const int sorts[] = { O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_TRUNC };
	int id = both_create(KEY, "frames", SIZE);
	/* Every order of the four: the digits of a number to base 4, all different. */
	for (int order = 0; order < 256; order++) {
		int flags[4], used = 0;
		for (int i = 0; i < 4; i++) {
			int digit = order >> (2 * i) & 3;
			flags[i] = sorts[digit];
			used |= 1 << digit;
		}
		if (used != 15)
			continue;
		check_in_order(SEGMENT, flags, 4, id);
		/* Truncated, an object is shorter: grown again by the first write. */
		check_in_order(OBJECT, flags, 4, -1);
	}
}

static void other_users_read_and_write_bound_files(void **state)
{
	both_create(KEY, "frames", SIZE);
	must(chmod(NATIVE "/frames", 0666));
	become(&ALICE);
	int object = must(open(OBJECT, O_RDWR)), segment = must(open(SEGMENT, O_RDONLY));
	become(&ROOT);
	assert_int_equal(kernel_goes_on_writing(*state, object), engine_is_passthrough());
	assert_int_equal(kernel_reads(*state, segment), engine_is_passthrough());
}

/* --- nothing stale --- */

/* What sendfile(2) brings of the first byte, or minus its errno. */
static int sent_byte(int fd)
{
	char byte;
	off_t offset = 0;
	int ends[2];

	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	ssize_t count = sendfile(ends[1], fd, &offset, 1);
	int result = count == -1 ? -errno : read(ends[0], &byte, 1) == 1 ? byte : 0;
	close(ends[0]);
	close(ends[1]);
	return result;
}

static int spliced_byte(int fd)
{
	char byte;
	off_t offset = 0;
	int ends[2];

	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	ssize_t count = splice(fd, &offset, ends[1], NULL, 1, 0);
	int result = count == -1 ? -errno : read(ends[0], &byte, 1) == 1 ? byte : 0;
	close(ends[0]);
	close(ends[1]);
	return result;
}

/*
 * What was put last.  Where the kernel does not serve the file: or EINVAL, whereupon programs read.
 * Newer kernels make EIO of any error in reading a page (7.3).
 */
static void check_sent(int sent, char byte, bool bound)
{
	if (sent != byte && (bound || (sent != -EINVAL && sent != -EIO)))
		fail_msg("sent is %d where '%c' is", sent, byte);
}

static void check_sending(int fd, bool bound, int id)
{
	struct stat data;
	/* After O_TRUNC the kernel takes the size to be 0 until it asks. */
	must(fstat(fd, &data));
	for (int round = 0; round < 200; round++) {
		char seen, byte = (char)('a' + round % 26);
		if (id == -1)
			object_put("frames", 0, &byte, 1);
		else
			segment_put(id, 0, &byte, 1);
		check_sent(sent_byte(fd), byte, bound);
		check_sent(spliced_byte(fd), byte, bound);
		assert_int_equal(pread(fd, &seen, 1, 0), 1);
		assert_int_equal(seen, byte);
	}
	close(fd);
}

static void what_is_sent_is_never_stale(void **state)
{
	int id = both_create(KEY, "frames", SIZE);
	bool bound = engine_is_passthrough();
	check_sending(must(open(SEGMENT, O_RDONLY)), bound, id);
	check_sending(must(open(SEGMENT, O_RDWR)), false, id);
	check_sending(must(open(SEGMENT, O_RDWR | O_TRUNC)), false, id);
	check_sending(must(open(OBJECT, O_RDONLY)), bound, -1);
	check_sending(must(open(OBJECT, O_RDWR)), bound, -1);
}

/* Its own exit statuses: 0 it is what was put last, 1 something else. */
static int peek_privately(int number)
{
	int fd = open(number ? OBJECT : SEGMENT, O_RDWR);
	volatile char *memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	signal(SIGBUS, SIG_DFL); /* cmocka's would go on with the test, here */
	child_must(memory != MAP_FAILED);
	return memory[0] != 'p';
}

static int peek(int number)
{
	int status;
	must(waitpid(child_start(peek_privately, number), &status, 0));
	return exit_status(status);
}

/* It shows what is there, or nothing: SIGBUS, as for a page that cannot be had. */
static void a_private_mapping_is_never_stale(void **state)
{
	int id = both_create(KEY, "frames", SIZE);
	for (int number = 0; number < 2; number++) {
		peek(number); /* a page that could stay */
		segment_put(id, 0, "p", 1);
		object_put("frames", 0, "p", 1);
		int status = peek(number);
		assert_true(status == 0 || (status == 128 + SIGBUS && !engine_is_passthrough()));
	}
}

static void without_passthrough_nothing_is_mapped_shared(void **state)
{
	static const int sorts[] = { O_RDONLY, O_RDWR };
	int id = both_create(KEY, "frames", SIZE);
	for (size_t i = 0; i < 2 * array_size(sorts); i++) {
		int fd = must(open(i % 2 ? SEGMENT : OBJECT, sorts[i / 2]));
		assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
		assert_int_equal(errno, ENODEV);
		check_sending(fd, false, i % 2 ? id : -1);
	}
}

static void check_asynchronous(const char *path, int flags)
{
	char byte = 0;
	int fd = must(open(path, flags));
	assert_int_equal(pwrite(fd, "A", 1, PAGE), 1);
	assert_int_equal(aio_read_raw(fd, &byte, 1, PAGE), 1);
	assert_int_equal(byte, 'A');
	assert_int_equal(aio_write_raw(fd, "B", 1, PAGE), 1);
	ssize_t count = uring_read(fd, &byte, 1, PAGE);
	if (count != -ENOSYS) {
		assert_int_equal(count, 1);
		assert_int_equal(byte, 'B');
		assert_int_equal(uring_write(fd, "C", 1, PAGE), 1);
		assert_true(file_has(path, PAGE, "C", 1));
	}
	close(fd);
}

static void asynchronous_calls_do_as_the_others(void **state)
{
	both_create(KEY, "frames", SIZE);
	check_asynchronous(SEGMENT, O_RDWR);
	check_asynchronous(SEGMENT, O_RDWR | O_TRUNC);
	check_asynchronous(OBJECT, O_RDWR);
}

/* The end of the file, met as the first thing that a handle reads. */
static void reading_at_the_end_gives_nothing(void **state)
{
	static const int sorts[] = { O_RDONLY, O_RDWR, O_RDWR | O_TRUNC };
	char byte;
	both_create(KEY, "frames", SIZE);
	for (size_t i = 0; i < 2 * array_size(sorts); i++) {
		int fd = must(open(i % 2 ? SEGMENT : OBJECT, sorts[i / 2]));
		assert_int_equal(pread(fd, &byte, 1, SIZE), 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(every_open_object_is_bound),
		mounted(an_object_opened_for_appending_is_served),
		mounted(a_segment_opened_for_reading_is_bound),
		mounted(a_segment_opened_for_both_is_mapped_and_served),
		mounted(a_segment_that_may_grow_is_served),
		mounted(handles_of_all_sorts_see_each_others_bytes),
		mounted(other_users_read_and_write_bound_files),
		mounted(what_is_sent_is_never_stale),
		mounted(a_private_mapping_is_never_stale),
		mounted_with(without_passthrough_nothing_is_mapped_shared, "nopassthrough"),
		mounted(asynchronous_calls_do_as_the_others),
		mounted(reading_at_the_end_gives_nothing),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

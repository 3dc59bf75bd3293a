/* SPDX-License-Identifier: MIT */
/* The size of a System V segment: what is written makes it as long as it is. */
#include "harness.h"

#include "engine.h"

#include <time.h>

enum { KEY = 3148, PAGE = 4096, MIB = 1 << 20 };

#define PATH MNT "/3148"
#define MOVIE TMP "/movie"

static char bytes[5 * MIB + 12345];

/* A file to copy from, with `count` bytes that are known. */
static void make_movie(size_t count)
{
	pattern_fill(bytes, count, 7);
	file_write(MOVIE, O_CREAT | O_TRUNC, bytes, count);
}

static size_t segment_size(void)
{
	return segment_stat(segment_find(KEY)).shm_segsz;
}

/* The segment holds the first `count` bytes, and is exactly so long. */
static void assert_holds_movie(size_t count)
{
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, count);
	assert_int_equal(file_stat(PATH).st_size, count);
	assert_true(segment_has(id, 0, bytes, count));
	assert_int_equal(segments_count(), 1);
}

static void a_copy_compares_equal(void **state)
{
	static const size_t sizes[] = { PAGE, PAGE + 1, 131071, 131072, 131073, sizeof(bytes) };
	char output[256];
	for (size_t i = 0; i < array_size(sizes); i++) {
		make_movie(sizes[i]);
		assert_int_equal(shell(output, sizeof(output),
				       "cp " MOVIE " " PATH " && cmp " MOVIE " " PATH),
				 0);
		assert_string_equal(output, "");
		assert_holds_movie(sizes[i]);
		must(unlink(PATH));
	}
}

static void a_short_text_makes_one_page(void **state)
{
	assert_int_equal(shell(NULL, 0, "echo hi > " PATH), 0);
	assert_int_equal(segment_size(), PAGE);
	assert_true(segment_has(segment_find(KEY), 0, "hi\n", 4));
}

static void a_stream_in_small_pieces_is_exact(void **state)
{
	char output[256];
	make_movie(300 * 1000);
	assert_int_equal(
		shell(output, sizeof(output), "dd if=" MOVIE " of=" PATH " bs=1000 2>&1 | tail -1"),
		0);
	assert_holds_movie(300 * 1000);
}

static void the_size_is_exact_when_close_returns(void **state)
{
	pattern_fill(bytes, sizeof(bytes), 7);
	for (size_t size = PAGE + 1; size < 50000; size += 3331) {
		int fd = must(open(PATH, O_CREAT | O_WRONLY, 0600));
		for (size_t done = 0; done < size; done += 777) {
			size_t step = size - done < 777 ? size - done : 777;
			assert_int_equal(write(fd, bytes + done, step), step);
		}
		close(fd);
		assert_holds_movie(size);
		must(unlink(PATH));
	}
}

static void commands_that_share_a_handle_write_one_after_the_other(void **state)
{
	char output[256];
	make_movie(100000);
	/* Each command's end closes a copy of the shell's handle. */
	assert_int_equal(shell(output, sizeof(output),
			       "{ head -c 30000 " MOVIE "; tail -c +30001 " MOVIE
			       " | head -c 20000; tail -c 50000 " MOVIE "; } > " PATH),
			 0);
	assert_holds_movie(100000);
}

/* As a shell does it that has the file open all the time. */
static void its_maker_goes_on_behind_what_was_written(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_WRONLY | O_APPEND, 0600));
	for (int i = 0; i < 3; i++) {
		int copy = must(dup(fd));
		assert_int_equal(write(copy, "text", 4), 4);
		must(close(copy));
	}
	must(close(fd));
	assert_true(segment_has(segment_find(KEY), 0, "texttexttext", 13));
}

/* Another process clears it after a close that has cut it. */
static void a_new_segment_that_is_cleared_keeps_its_least_size(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_WRONLY | O_APPEND, 0600));
	int copy = must(dup(fd));
	assert_int_equal(write(copy, "text", 4), 4);
	must(close(copy));
	must(truncate(PATH, 0));
	assert_int_equal(write(fd, "end", 3), 3);
	must(close(fd));
	assert_true(segment_has(segment_find(KEY), 0, "end", 4));
	assert_int_equal(segment_size(), PAGE);
}

/* A shell has two descriptors of the file for a moment, and each command appends. */
static void two_that_append_to_a_new_key_begin_at_its_beginning(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_WRONLY | O_APPEND, 0600));
	int maker = must(dup(fd));
	must(close(fd));
	assert_int_equal(file_stat(PATH).st_size, 0);
	int other = must(open(PATH, O_WRONLY | O_APPEND));
	assert_int_equal(write(other, "one", 3), 3);
	assert_int_equal(write(maker, "two", 3), 3);
	must(close(other));
	must(close(maker));
	assert_true(segment_has(segment_find(KEY), 0, "onetwo", 7));
	assert_int_equal(segment_size(), PAGE);
}

static void what_fills_its_segment_keeps_it(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_WRONLY, 0600));
	int id = segment_find(KEY);
	assert_int_equal(write(fd, bytes, PAGE), PAGE);
	must(close(fd));
	assert_int_equal(segment_find(KEY), id);
}

static void a_reader_meanwhile_defers_the_cut_to_size(void **state)
{
	pattern_fill(bytes, 20000, 7);
	int writer = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(write(writer, bytes, 20000), 20000);
	int reader = must(open(PATH, O_RDONLY));
	close(writer);
	assert_true(file_has(PATH, 0, bytes, 20000));
	close(reader);
	assert_true(eventually(file_stat(PATH).st_size == 20000));
	assert_holds_movie(20000);
}

/* Write a key, and close it while it is attached; it is cut a moment later. */
static void let_it_be_cut_later(key_t key)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/%d", (int)key);
	int writer = must(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(write(writer, bytes, 100000), 100000);
	const void *memory = segment_attach(segment_find(key));
	close(writer);
	segment_detach(memory);
}

/* All that wait to be cut are tried in one go. */
static void await_a_cut(key_t key)
{
	let_it_be_cut_later(key);
	assert_true(eventually(segment_is_complete(key, 100000)));
}

static void the_next_segment_of_the_key_is_not_cut(void **state)
{
	struct stat data;
	pattern_fill(bytes, 100000, 7);
	let_it_be_cut_later(KEY);
	int known = must(open(PATH, O_PATH));
	segment_remove(segment_find(KEY));
	int id = segment_create(KEY, MIB, 0600);
	assert_true(eventually(fstat(known, &data) == 0 && data.st_size == MIB));
	await_a_cut(KEY + 1);
	await_a_cut(KEY + 2);
	close(known);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_segsz, MIB);
}

static void copy_file_range_grows_too(void **state)
{
	pattern_fill(bytes, 100000, 7);
	object_create("frames", 100000);
	object_put("frames", 0, bytes, 100000);
	int from = must(open(MNT "/frames", O_RDONLY));
	int to = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	off_t at = 0;
	while (at < 100000)
		assert_true(copy_file_range(from, &at, to, NULL, (size_t)(100000 - at), 0) > 0);
	assert_int_equal(copy_file_range(from, NULL, to, NULL, 0, 0), 0);
	close(from);
	close(to);
	assert_holds_movie(100000);
}

static void what_is_written_so_far_can_be_read(void **state)
{
	struct stat data;
	static char seen[100 * 1000];
	pattern_fill(bytes, sizeof(seen), 7);
	int fd = must(open(PATH, O_CREAT | O_RDWR, 0600));
	for (size_t done = 0; done < sizeof(seen); done += 10000)
		assert_int_equal(write(fd, bytes + done, 10000), 10000);
	assert_int_equal(pread(fd, seen, sizeof(seen), 0), sizeof(seen));
	assert_memory_equal(seen, bytes, sizeof(seen));
	must(fstat(fd, &data));
	assert_true(data.st_size >= (off_t)sizeof(seen));
	close(fd);
	assert_holds_movie(sizeof(seen));
}

static void a_hole_in_what_is_written_is_zero(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(pwrite(fd, "tail", 4, 99996), 4);
	assert_int_equal(pwrite(fd, "head", 4, 0), 4);
	close(fd);
	int id = segment_find(KEY);
	assert_int_equal(segment_size(), 100000);
	assert_true(segment_has(id, 0, "head", 4));
	assert_true(segment_is_zero(id, 4, 99992));
	assert_true(segment_has(id, 99996, "tail", 4));
}

/* What a process that has the room behind the end attached puts there is not the file's. */
static void data_behind_the_end_is_no_data(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_RDWR, 0600));
	assert_int_equal(pwrite(fd, "x", 1, 2 * PAGE - 1), 1);
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2L * PAGE));
	assert_true(segment_size() > 2 * PAGE);
	segment_put(segment_find(KEY), 2 * PAGE, "y", 1);
	must_fail(ENXIO, lseek(fd, 0, SEEK_DATA));
	must_fail(ENXIO, lseek(fd, 2L * PAGE, SEEK_HOLE));
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
	close(fd);
}

static void copying_onto_a_shorter_segment_grows_it(void **state)
{
	make_movie(50000);
	int id = segment_create(KEY, PAGE, 0604);
	segment_chown(id, BOB.uid, BOB.gid);
	assert_int_equal(shell(NULL, 0, "cp " MOVIE " " PATH), 0);
	assert_holds_movie(50000);
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_perm.uid, BOB.uid);
	assert_int_equal(data.shm_perm.gid, BOB.gid);
	assert_int_equal(data.shm_perm.mode, 0604);
}

static void writing_over_the_end_keeps_what_was_before(void **state)
{
	pattern_fill(bytes, 20000, 7);
	segment_put(segment_create(KEY, 10000, 0600), 0, bytes, 10000);
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, bytes + 9000, 11000, 9000), 11000);
	close(fd);
	assert_holds_movie(20000);
}

static void writing_within_keeps_size_and_id(void **state)
{
	int id = segment_create(KEY, 10000, 0600);
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, "x", 1, 9999), 1);
	close(fd);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_size(), 10000);
}

static void an_attached_segment_takes_what_fits(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	const char *memory = segment_attach(id);
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, "0123456789", 10, PAGE - 4), 4);
	assert_memory_equal(memory + PAGE - 4, "0123", 4);
	must_fail(ENOSPC, pwrite(fd, "x", 1, PAGE));
	close(fd);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_size(), PAGE);
	segment_detach(memory);
}

/* Where the kernel serves the reader nothing can be moved.  Where shmfs does, it moves along. */
static void a_segment_open_elsewhere_takes_what_fits(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	int other = must(open_as_other(PATH, O_RDONLY));
	int fd = must(open(PATH, O_WRONLY));
	if (engine_is_passthrough()) {
		time_t began = time(NULL);
		assert_int_equal(pwrite(fd, "0123456789", 10, PAGE - 4), 4);
		/* It waits for the reader once, and not each time. */
		for (int i = 0; i < 6; i++)
			must_fail(ENOSPC, pwrite(fd, "x", 1, PAGE));
		assert_in_range(time(NULL) - began, 1, patience(4));
	} else {
		assert_int_equal(pwrite(fd, "0123456789", 10, PAGE - 4), 10);
	}
	close(fd);
	assert_true(file_has(PATH, PAGE - 4, "0123", 4));
	char seen[16];
	assert_int_equal(pread(other, seen, sizeof(seen), PAGE - 4),
			 engine_is_passthrough() ? 4 : 10);
	close(other);
	assert_true(segment_has(segment_find(KEY), PAGE - 4, "0123", 4));
	if (engine_is_passthrough())
		assert_int_equal(segment_find(KEY), id);
}

/* A file that may be mapped keeps its own segment from growing.  That costs nobody else a wait. */
static void a_writer_waits_for_a_reader_after_a_vain_write_of_another(void **state)
{
	segment_create(KEY, PAGE, 0600);
	int both = must(open(PATH, O_RDWR));
	if (engine_is_passthrough())
		must_fail(ENOSPC, pwrite(both, "x", 1, PAGE));
	must(close(both));
	pid_t reader = must(fork());
	if (reader == 0) {
		both = open(PATH, O_RDONLY);
		usleep(300000);
		_exit(both == -1);
	}
	usleep(100000);
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, "x", 1, PAGE), 1);
	must(close(fd));
	must(waitpid(reader, NULL, 0));
	assert_int_equal(segment_size(), PAGE + 1);
}

static void a_copy_onto_an_attached_segment_says_no_space(void **state)
{
	char output[256];
	make_movie(50000);
	int id = segment_create(KEY, PAGE, 0600);
	const char *memory = segment_attach(id);
	assert_int_equal(shell(output, sizeof(output), "cp " MOVIE " " PATH), 1);
	assert_non_null(strstr(output, "No space left on device"));
	assert_memory_equal(memory, bytes, PAGE);
	assert_int_equal(segment_find(KEY), id);
	segment_detach(memory);
}

static void a_page_attached_while_it_grows_is_not_torn_away(void **state)
{
	pattern_fill(bytes, 50000, 7);
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(write(fd, bytes, 20000), 20000);
	int id = segment_find(KEY);
	const char *memory = segment_attach(id);
	ssize_t more = write(fd, bytes + 20000, 30000);
	assert_true(more == -1 ? errno == ENOSPC : more <= 30000);
	close(fd);
	assert_int_equal(segment_find(KEY), id);
	assert_memory_equal(memory, bytes, 20000);
	segment_detach(memory);
}

static void a_large_file_that_grows_fast_is_copied_seldom(void **state)
{
	const off_t large = 17 << 20;
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(pwrite(fd, "x", 1, large), 1);
	size_t room = segment_size();
	assert_in_range(room, large + 1, 2 * large + 2);
	usleep(2500000);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)room), 1);
	assert_in_range(segment_size(), room + 1, 2 * room + 2);
	room = segment_size();
	assert_int_equal(pwrite(fd, "x", 1, (off_t)room), 1);
	assert_in_range(segment_size(), 7 * room, 9 * room);
	must(close(fd));
	assert_int_equal(segment_size(), room + 1);
}

/* What is known of a segment when it is made is not what is true when it goes. */
static void a_grown_segment_that_is_removed_has_its_size(void **state)
{
	struct stat data;
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_RDWR, 0600));
	assert_int_equal(pwrite(fd, "x", 1, 100000), 1);
	segment_remove(segment_find(KEY));
	must(fstat(fd, &data));
	assert_in_range(data.st_size, 100001, INT_MAX);
	assert_int_equal(lseek(fd, 0, SEEK_END), data.st_size);
	assert_true(segment_find(KEY) == -1);
	close(fd);
}

/*
 * The one that made it grow is closed first; the other may be mapped, so it is
 * cut when that is released, and there is no error to tell anybody.
 */
static void a_growing_segment_is_cut_when_one_that_may_be_mapped_is_closed(void **state)
{
	make_movie(100000);
	segment_create(KEY, 4096, 0600);
	int writer = must(open(PATH, O_WRONLY));
	assert_int_equal(write(writer, bytes, 100000), 100000);
	int both = must(open(PATH, O_RDWR));
	must(close(writer));
	must(close(both));
	assert_true(eventually(file_stat(PATH).st_size == 100000));
	assert_holds_movie(100000);
}

/* Each new id is a copy of what was written so far. */
static void streaming_is_linear(void **state)
{
	enum { STEP = 65536, TOTAL = 64 * MIB };
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0600));
	int id = segment_find(KEY);
	size_t copied = 0, done = 0;
	while (done < TOTAL) {
		assert_int_equal(write(fd, bytes, STEP), STEP);
		if (segment_find(KEY) != id)
			copied += done;
		id = segment_find(KEY);
		done += STEP;
	}
	close(fd);
	if (segment_find(KEY) != id)
		copied += done;
	assert_int_equal(segment_size(), TOTAL);
	assert_true(copied <= 4UL * TOTAL); /* with steps of 1 MiB it would be 32 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_copy_compares_equal),
		mounted(a_short_text_makes_one_page),
		mounted(a_stream_in_small_pieces_is_exact),
		mounted(the_size_is_exact_when_close_returns),
		mounted(commands_that_share_a_handle_write_one_after_the_other),
		mounted(its_maker_goes_on_behind_what_was_written),
		mounted(a_new_segment_that_is_cleared_keeps_its_least_size),
		mounted(two_that_append_to_a_new_key_begin_at_its_beginning),
		mounted_with(two_that_append_to_a_new_key_begin_at_its_beginning, "nopassthrough"),
		mounted(what_fills_its_segment_keeps_it),
		mounted(a_reader_meanwhile_defers_the_cut_to_size),
		mounted(the_next_segment_of_the_key_is_not_cut),
		mounted(copy_file_range_grows_too),
		mounted(what_is_written_so_far_can_be_read),
		mounted(a_hole_in_what_is_written_is_zero),
		mounted(data_behind_the_end_is_no_data),
		mounted(copying_onto_a_shorter_segment_grows_it),
		mounted(writing_over_the_end_keeps_what_was_before),
		mounted(writing_within_keeps_size_and_id),
		mounted(an_attached_segment_takes_what_fits),
		mounted(a_segment_open_elsewhere_takes_what_fits),
		mounted(a_writer_waits_for_a_reader_after_a_vain_write_of_another),
		mounted(a_copy_onto_an_attached_segment_says_no_space),
		mounted(a_page_attached_while_it_grows_is_not_torn_away),
		mounted(a_large_file_that_grows_fast_is_copied_seldom),
		mounted(a_grown_segment_that_is_removed_has_its_size),
		mounted(a_growing_segment_is_cut_when_one_that_may_be_mapped_is_closed),
		mounted(streaming_is_linear),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

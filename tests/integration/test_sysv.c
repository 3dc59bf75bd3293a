/* SPDX-License-Identifier: MIT */
/* System V segments: their life and their bytes. */
#include "harness.h"

#include <sys/mman.h>

enum { KEY = 3148, PAGE = 4096 };

#define PATH MNT "/3148"

/* A segment of a page that begins with `text`. */
static int segment_with(const char *text)
{
	int id = segment_create(KEY, PAGE, 0666);
	segment_put(id, 0, text, strlen(text) + 1);
	return id;
}

static void creating_makes_a_segment_of_one_page(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_WRONLY, 0640));
	close(fd);
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_segsz, PAGE);
	assert_int_equal(data.shm_perm.mode, 0640);
	assert_int_equal(data.shm_perm.__key, KEY);
}

static void creating_obeys_the_umask(void **state)
{
	mode_t old = umask(027);
	file_write(PATH, O_CREAT, "x", 1);
	umask(old);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0640);
}

static void the_size_option_is_the_size_of_a_new_segment(void **state)
{
	file_write(PATH, O_CREAT, "hi", 2);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 65536);
}

static void the_size_option_need_not_be_whole_pages(void **state)
{
	file_write(PATH, O_CREAT, "hi", 2);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 100);
}

static void exclusive_creation_meets_a_native_segment(void **state)
{
	int id = segment_with("mine");
	must_fail(EEXIST, open(PATH, O_CREAT | O_EXCL | O_WRONLY, 0600));
	must_fail(EEXIST, open(MNT "/0xc4c", O_CREAT | O_EXCL | O_WRONLY, 0600));
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_has(id, 0, "mine", 5));
}

static void creation_without_excl_opens_what_is_there(void **state)
{
	int id = segment_with("old text");
	file_write(PATH, O_CREAT, "new", 3);
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_has(id, 0, "new text", 9));
}

static int gate[2]; /* a pipe; end of file is the starting shot */

static int create_at_signal(int number)
{
	char byte;
	close(gate[1]);
	child_must(read(gate[0], &byte, 1) == 0);
	int fd = open(PATH, O_CREAT | O_EXCL | O_WRONLY, 0600);
	child_must(fd != -1 || errno == EEXIST);
	return fd == -1;
}

static void one_of_many_exclusive_creators_wins(void **state)
{
	enum { RUNNERS = 8 };
	for (int round = 0; round < 10; round++) {
		pid_t children[RUNNERS];
		must(pipe(gate));
		for (int i = 0; i < RUNNERS; i++)
			children[i] = child_start(create_at_signal, i);
		close(gate[0]);
		close(gate[1]);
		assert_int_equal(children_join(children, RUNNERS), RUNNERS - 1);
		must(unlink(PATH));
	}
}

static void a_missing_segment_is_not_made_by_opening(void **state)
{
	must_fail(ENOENT, open(PATH, O_RDONLY));
	must_fail(ENOENT, open(PATH, O_WRONLY | O_TRUNC));
	assert_int_equal(segments_count(), 0);
}

static void reads_what_was_attached_and_stored(void **state)
{
	char bytes[10000];
	pattern_fill(bytes, sizeof(bytes), 1);
	int id = segment_create(KEY, sizeof(bytes), 0600);
	segment_put(id, 0, bytes, sizeof(bytes));
	assert_true(file_has(PATH, 0, bytes, sizeof(bytes)));
	assert_true(file_has(PATH, 4095, bytes + 4095, 3));
}

static void writes_are_seen_by_the_attached(void **state)
{
	int id = segment_with("");
	const char *memory = segment_attach(id);
	int fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, "store", 5, 1000), 5);
	assert_memory_equal(memory + 1000, "store", 6);
	assert_int_equal(pwrite(fd, "end", 3, PAGE - 3), 3);
	assert_memory_equal(memory + PAGE - 3, "end", 3);
	close(fd);
	segment_detach(memory);
}

static void reads_are_short_at_the_end(void **state)
{
	char buffer[100];
	int id = segment_create(KEY, 50, 0600);
	segment_put(id, 47, "end", 3);
	int fd = must(open(PATH, O_RDONLY));
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 0), 50);
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 47), 3);
	assert_memory_equal(buffer, "end", 3);
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 50), 0);
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 1 << 20), 0);
	close(fd);
}

static void the_open_mode_is_kept_to(void **state)
{
	char byte;
	segment_with("x");
	int fd = must(open(PATH, O_RDONLY));
	must_fail(EBADF, write(fd, "y", 1));
	close(fd);
	fd = must(open(PATH, O_WRONLY));
	must_fail(EBADF, read(fd, &byte, 1));
	close(fd);
	fd = must(open(PATH, O_RDWR));
	assert_int_equal(write(fd, "z", 1), 1);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'z');
	close(fd);
}

static void handles_see_each_others_bytes_at_once(void **state)
{
	segment_with("");
	int writer = must(open(PATH, O_WRONLY));
	int both = must(open(PATH, O_RDWR));
	int reader = must(open(PATH, O_RDONLY));
	for (char i = 1; i < 100; i++) {
		char seen = 0;
		assert_int_equal(pwrite(i % 2 ? writer : both, &i, 1, i), 1);
		assert_int_equal(pread(reader, &seen, 1, i), 1);
		assert_int_equal(seen, i);
		assert_int_equal(pread(both, &seen, 1, i), 1);
		assert_int_equal(seen, i);
	}
	close(writer);
	close(both);
	close(reader);
}

static void handles_of_all_kinds_are_opened_in_any_order(void **state)
{
	static const int kinds[] = { O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC,
				     O_RDWR | O_TRUNC };
	enum { KINDS = array_size(kinds) };
	segment_with("");
	for (int order = 0; order < KINDS * KINDS * KINDS; order++) {
		int flags[] = { kinds[order % KINDS], kinds[order / KINDS % KINDS],
				kinds[order / KINDS / KINDS] };
		int fds[array_size(flags)];
		for (size_t i = 0; i < array_size(flags); i++)
			fds[i] = must(open(PATH, flags[i]));
		for (size_t i = 0; i < array_size(flags); i++) {
			char byte = (char)order;
			if ((flags[i] & O_ACCMODE) != O_RDONLY)
				assert_int_equal(pwrite(fds[i], &byte, 1, (off_t)i), 1);
			assert_true((flags[i] & O_ACCMODE) == O_WRONLY ||
				    pread(fds[i], &byte, 1, (off_t)i) == 1);
		}
		for (size_t i = 0; i < array_size(flags); i++)
			close(fds[i]);
	}
}

static void a_truncating_open_clears_and_keeps_the_segment(void **state)
{
	int id = segment_with("a long old text");
	const char *memory = segment_attach(id);
	int fd = must(open(PATH, O_WRONLY | O_TRUNC));
	assert_string_equal(memory, "");
	assert_true(segment_is_zero(id, 0, PAGE));
	close(fd);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_segsz, PAGE);
	assert_int_equal(segment_stat(id).shm_nattch, 1);
	segment_detach(memory);
}

static void unlinking_removes_the_segment(void **state)
{
	int id = segment_with("x");
	must(unlink(PATH));
	assert_int_equal(segment_find(KEY), -1);
	assert_int_equal(segments_count(), 0);
	struct shmid_ds data;
	must_fail(EINVAL, shmctl(id, IPC_STAT, &data));
	must_fail(ENOENT, unlink(PATH));
}

static void unlinking_an_attached_segment_takes_its_name(void **state)
{
	int id = segment_with("still here");
	char *memory = segment_attach(id);
	must(unlink(PATH));
	assert_false(file_exists(PATH));
	assert_int_equal(segment_find(KEY), -1);
	assert_string_equal(memory, "still here");
	assert_int_equal(segment_stat(id).shm_perm.mode & SHM_DEST, SHM_DEST);
	segment_detach(memory);
	assert_int_equal(segments_count(), 0);
}

static void an_open_handle_outlives_the_name(void **state)
{
	segment_with("the old one");
	int fd = must(open(PATH, O_RDWR));
	must(unlink(PATH));
	segment_with("the new one");
	char text[12];
	assert_int_equal(pread(fd, text, sizeof(text), 0), sizeof(text));
	assert_string_equal(text, "the old one");
	assert_int_equal(pwrite(fd, "THE", 3, 0), 3);
	assert_true(segment_has(segment_find(KEY), 0, "the new one", 12));
	assert_true(file_has(PATH, 0, "the new one", 12));
	close(fd);
}

static void appending_grows_from_the_end(void **state)
{
	file_write(PATH, O_CREAT, "hi", 2);
	assert_int_equal(shell(NULL, 0, "printf more >> " PATH), 0);
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, PAGE + 4);
	assert_true(segment_has(id, 0, "hi", 2));
	assert_true(segment_has(id, PAGE, "more", 4));
}

static void appending_to_an_attached_segment_has_no_room(void **state)
{
	int id = segment_with("x");
	const char *memory = segment_attach(id);
	int fd = must(open(PATH, O_WRONLY | O_APPEND));
	must_fail(ENOSPC, write(fd, "more", 4));
	close(fd);
	assert_int_equal(segment_stat(id).shm_segsz, PAGE);
	segment_detach(memory);
}

static void a_hole_gives_pages_back(void **state)
{
	enum { SIZE = 64 * PAGE };
	static char bytes[SIZE];
	pattern_fill(bytes, SIZE, 2);
	int id = segment_create(KEY, SIZE, 0600);
	segment_put(id, 0, bytes, SIZE);
	assert_true(eventually(file_stat(PATH).st_blocks == SIZE / 512));
	int fd = must(open(PATH, O_RDWR));
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, SIZE / 2));
	close(fd);
	/* Before the witness looks: reading a hole through shmat() fills it. */
	assert_true(eventually(file_stat(PATH).st_blocks <= (SIZE / 2 + PAGE) / 512));
	assert_true(segment_has(id, 0, bytes, 10));
	assert_true(segment_is_zero(id, 10, SIZE / 2));
	assert_true(segment_has(id, 10 + SIZE / 2, bytes + 10 + SIZE / 2, SIZE / 2 - 10));
	assert_int_equal(segment_stat(id).shm_segsz, SIZE);
}

static void shared_mappings_are_coherent_or_refused(void **state)
{
	int id = segment_with("before");
	char *memory = segment_attach(id);
	int fd = must(open(PATH, O_RDWR));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		assert_int_equal(errno, ENODEV);
	} else {
		assert_string_equal(map, "before");
		strcpy(map, "through the file");
		assert_string_equal(memory, "through the file");
		strcpy(memory, "through shmat");
		assert_string_equal(map, "through shmat");
		munmap(map, PAGE);
	}
	close(fd);
	segment_detach(memory);
}

/* They are files of two filesystems, which the kernel does not copy between. */
static void objects_and_segments_are_copied_to_each_other(void **state)
{
	char seen[PAGE];
	int id = segment_with("of a segment");
	object_create("frames", 0);
	int segment = must(open(PATH, O_RDWR));
	int object = must(open(MNT "/frames", O_RDWR));
	assert_int_equal(copy_file_range(segment, NULL, object, NULL, PAGE, 0), PAGE);
	assert_int_equal(pread(object, seen, PAGE, 0), PAGE);
	assert_string_equal(seen, "of a segment");
	object_put("frames", 0, "of an object", 13);
	assert_int_equal(lseek(object, 0, SEEK_SET), 0);
	assert_int_equal(lseek(segment, 0, SEEK_SET), 0);
	assert_int_equal(copy_file_range(object, NULL, segment, NULL, PAGE, 0), PAGE);
	assert_true(segment_has(id, 0, "of an object", 13));
	close(object);
	close(segment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(creating_makes_a_segment_of_one_page),
		mounted(creating_obeys_the_umask),
		mounted_with(the_size_option_is_the_size_of_a_new_segment, "min_size=64K"),
		mounted_with(the_size_option_need_not_be_whole_pages, "min_size=100"),
		mounted(exclusive_creation_meets_a_native_segment),
		mounted(creation_without_excl_opens_what_is_there),
		mounted(one_of_many_exclusive_creators_wins),
		mounted(a_missing_segment_is_not_made_by_opening),
		mounted(reads_what_was_attached_and_stored),
		mounted(writes_are_seen_by_the_attached),
		mounted(reads_are_short_at_the_end),
		mounted(the_open_mode_is_kept_to),
		mounted(handles_see_each_others_bytes_at_once),
		mounted(handles_of_all_kinds_are_opened_in_any_order),
		mounted(a_truncating_open_clears_and_keeps_the_segment),
		mounted(unlinking_removes_the_segment),
		mounted(unlinking_an_attached_segment_takes_its_name),
		mounted(an_open_handle_outlives_the_name),
		mounted(appending_grows_from_the_end),
		mounted(appending_to_an_attached_segment_has_no_room),
		mounted(a_hole_gives_pages_back),
		mounted(objects_and_segments_are_copied_to_each_other),
		mounted(shared_mappings_are_coherent_or_refused),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

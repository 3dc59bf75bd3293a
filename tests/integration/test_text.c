/* SPDX-License-Identifier: MIT */
/*
 * The directory .text: each file is the C string at the beginning of its segment
 * or object.  What the memory really holds is asked of shmat(2) and shm_open(3).
 */
#include "harness.h"

#include <sys/mman.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, CHILDREN = 4, LINES = 50 };

#define TEXT MNT "/.text"
#define PATH TEXT "/3148"
#define OBJECT TEXT "/frames"
#define RAW MNT
#define CLASSIC BIN "/classic"

static char bytes[3 * PAGE];

static void assert_prints(const char *expected, const char *command)
{
	char output[8192];
	int status = shell(output, sizeof(output), "%s", command);
	if (status != 0)
		fail_msg("%s: status %d: %s", command, status, output);
	assert_string_equal(output, expected);
}

/* --- what is shown --- */

static void a_file_ends_where_the_text_does(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, "hi\n\0remains", 12);
	object_create("frames", 0);
	object_put("frames", 0, "frame 1\n", 8);
	assert_prints("hi\n", "cat " PATH);
	assert_int_equal(file_stat(PATH).st_size, 3);
	assert_prints("frame 1\n", "cat " OBJECT);
	assert_int_equal(file_stat(OBJECT).st_size, 8);
	/* To look changes nothing. */
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	assert_true(segment_has(id, 0, "hi\n\0remains", 12));
	assert_int_equal(object_stat("frames").st_size, 8);
}

static void a_full_segment_is_shown_whole(void **state)
{
	memset(bytes, 'x', PAGE);
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, bytes, PAGE);
	assert_int_equal(file_stat(PATH).st_size, PAGE);
	assert_true(file_has(PATH, 0, bytes, PAGE));
	const void *memory = segment_attach(id);
	int fd = must(open(PATH, O_WRONLY | O_APPEND));
	must_fail(ENOSPC, write(fd, "y", 1));
	close(fd);
	fd = must(open(PATH, O_WRONLY));
	assert_int_equal(pwrite(fd, "yy", 2, PAGE - 1), 1);
	close(fd);
	assert_true(segment_has(id, PAGE - 1, "y", 1));
	segment_detach(memory);
}

/* The processor time that the daemon has had, in seconds. */
static time_t daemon_worked(const struct fixture *fixture)
{
	struct timespec worked;
	clockid_t clock;
	assert_int_equal(clock_getcpuclockid(fixture->daemon, &clock), 0);
	must(clock_gettime(clock, &worked));
	return worked.tv_sec;
}

/* In pieces, and with work that is no square of it: that would be a minute. */
static void a_very_long_text_is_read_and_appended_to(void **state)
{
	enum { SIZE = 192 << 20 };
	int id = segment_create(KEY, SIZE, 0600);
	char *memory = segment_attach(id);
	memset(memory, 'x', SIZE);
	segment_detach(memory);
	time_t before = daemon_worked(*state);
	assert_prints("201326592\n", "cat " PATH " | wc -c");
	assert_prints("201326595\n", "echo hi >> " PATH "; wc -c < " PATH);
	assert_prints("201326601\n", "for i in 1 2 3; do echo $i >> " PATH "; done; wc -c < " PATH);
	assert_prints("12582912\n",
		      "head -c 12582912 /dev/zero | tr '\\0' y | tee " TEXT "/1 | wc -c");
	assert_true(daemon_worked(*state) - before < 15);
	assert_int_equal(segment_stat(segment_find(1)).shm_segsz, 12582912 + 1);
}

static void who_may_not_read_sees_the_segments_size(void **state)
{
	int id = segment_create(KEY, PAGE, 0620);
	segment_put(id, 0, "secret", 7);
	segment_chown(id, ALICE.uid, ALICE.group);
	segment_put(segment_create(1, PAGE, 0604), 0, "public", 7);
	become(&ALICE);
	assert_int_equal(file_stat(PATH).st_size, 6);
	become(&BOB);
	assert_int_equal(file_stat(PATH).st_size, PAGE);
	assert_int_equal(file_stat(TEXT "/1").st_size, 6);
	must_fail(EACCES, open(PATH, O_RDONLY));
	become(&ROOT);
	assert_int_equal(file_stat(PATH).st_size, 6);
	/* To write a text is to look for its end, in objects as in segments. */
	segment_chmod(id, 0622);
	object_create("frames", 1);
	must(chmod(NATIVE "/frames", 0622));
	become(&BOB);
	must_fail(EACCES, open(PATH, O_WRONLY | O_APPEND));
	must_fail(EACCES, open(OBJECT, O_WRONLY | O_APPEND));
	must_fail(EACCES, truncate(OBJECT, 0));
	become(&ROOT);
	assert_true(segment_has(id, 0, "secret", 7));
}

static void a_file_without_a_name_has_its_length(void **state)
{
	segment_put(segment_create(KEY, PAGE, 0600), 0, "hello", 6);
	object_create("frames", 0);
	object_put("frames", 0, "frame", 5);
	int fds[] = { must(open(PATH, O_RDWR)), must(open(OBJECT, O_RDWR)) };
	must(unlink(PATH));
	must(unlink(OBJECT));
	for (size_t i = 0; i < array_size(fds); i++) {
		assert_int_equal(lseek(fds[i], 0, SEEK_END), 5);
		assert_int_equal(pwrite(fds[i], "!", 1, 5), 1);
		assert_int_equal(lseek(fds[i], 0, SEEK_END), 6);
		close(fds[i]);
	}
}

/* The kernel would map memory, not text. */
static void a_text_is_not_mapped(void **state)
{
	segment_put(segment_create(KEY, PAGE, 0600), 0, "hello", 6);
	int fd = must(open(PATH, O_RDWR));
	if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED)
		fail_msg("it was mapped");
	assert_int_equal(errno, ENODEV);
	close(fd);
}

/* --- what is written --- */

static void a_write_keeps_the_nul_and_what_it_does_not_touch(void **state)
{
	file_write(PATH, O_CREAT, "hello", 5);
	int id = segment_find(KEY);
	char *memory = segment_attach(id);
	memset(memory + 6, 'z', PAGE - 6);
	int fd = must(open(PATH, O_RDWR));
	assert_int_equal(pwrite(fd, "J", 1, 0), 1);
	assert_string_equal(memory, "Jello");
	assert_int_equal(pwrite(fd, "p!!", 3, 3), 3);
	assert_string_equal(memory, "Jelp!!");
	must_fail(EINVAL, pwrite(fd, "x", 1, 7));
	must_fail(EILSEQ, pwrite(fd, "a\0b", 3, 0));
	must_fail(EILSEQ, pwrite(fd, "a\0", 2, 0));
	must_fail(EINVAL, ftruncate(fd, 7));
	assert_string_equal(memory, "Jelp!!");
	must(ftruncate(fd, 2));
	close(fd);
	assert_string_equal(memory, "Je");
	assert_true(segment_is_zero(id, 2, PAGE - 2));
	assert_int_equal(segment_find(KEY), id);
	segment_detach(memory);
}

static void an_attached_segment_takes_what_fits(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, "hello", 6);
	const char *memory = segment_attach(id);
	memset(bytes, 'y', sizeof(bytes));
	int fd = must(open(PATH, O_WRONLY | O_APPEND));
	assert_int_equal(write(fd, bytes, sizeof(bytes)), PAGE - 1 - 5);
	must_fail(ENOSPC, write(fd, bytes, 1));
	close(fd);
	assert_int_equal(strlen(memory), PAGE - 1);
	assert_int_equal(file_stat(PATH).st_size, PAGE - 1);
	assert_int_equal(segment_find(KEY), id);
	segment_detach(memory);
}

static void a_segment_is_cut_to_its_text_and_a_nul(void **state)
{
	memset(bytes, 'y', sizeof(bytes));
	file_write(PATH, O_CREAT, bytes, sizeof(bytes));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, sizeof(bytes) + 1);
	file_write(PATH, O_APPEND, bytes, 10);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, sizeof(bytes) + 11);
	/* Never below what it had, nor below a page. */
	file_write(PATH, O_TRUNC, bytes, 10);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, sizeof(bytes) + 11);
	file_write(TEXT "/1", O_CREAT, bytes, PAGE - 1);
	assert_int_equal(segment_stat(segment_find(1)).shm_segsz, PAGE);
	file_write(TEXT "/2", O_CREAT, bytes, PAGE);
	assert_int_equal(segment_stat(segment_find(2)).shm_segsz, PAGE + 1);
	assert_true(file_has(TEXT "/2", 0, bytes, PAGE));
}

/* Unlike memory, a text that is open elsewhere can grow. */
static void a_text_grows_while_others_read_it(void **state)
{
	memset(bytes, 'y', sizeof(bytes));
	file_write(PATH, O_CREAT, "hello", 5);
	int reader = must(open(PATH, O_RDONLY));
	int writers[] = { must(open(PATH, O_WRONLY | O_APPEND)), must(open(PATH, O_RDWR)) };
	assert_int_equal(write(writers[0], bytes, PAGE), PAGE);
	assert_int_equal(pwrite(writers[1], bytes, PAGE, PAGE + 5), PAGE);
	assert_int_equal(write(writers[0], "end", 3), 3);
	assert_int_equal(lseek(reader, 0, SEEK_END), 2 * PAGE + 8);
	close(writers[0]);
	close(writers[1]);
	char seen[3];
	assert_int_equal(pread(reader, seen, 3, 2 * PAGE + 5), 3);
	assert_memory_equal(seen, "end", 3);
	close(reader);
	assert_true(eventually(segment_is_complete(KEY, 2 * PAGE + 9)));
}

static void an_object_keeps_its_size_and_a_nul(void **state)
{
	object_create("frames", 0);
	object_put("frames", 0, "frame 1\n", 8);
	file_write(OBJECT, O_APPEND, "frame 2\n", 8);
	assert_int_equal(object_stat("frames").st_size, 17);
	assert_true(object_has("frames", 0, "frame 1\nframe 2\n", 17));
	/* Who has it mapped must not find its end. */
	file_write(OBJECT, O_TRUNC, "x", 1);
	assert_int_equal(object_stat("frames").st_size, 17);
	assert_true(object_has("frames", 0, "x\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17));
}

/* --- those who are attached --- */

struct spin {
	const char *memory;
	size_t size;
};

/*
 * It must be a string at every moment, else exit 1, and one of whole lines
 * while lines are appended, else exit 2.
 */
static pid_t spin_begin(const struct spin *spin, bool lines)
{
	fflush(NULL);
	pid_t child = must(fork());
	if (child)
		return child;
	for (;;) {
		size_t len = strnlen(spin->memory, spin->size);
		if (len == spin->size)
			_exit(1);
		if (lines && len > 0 && spin->memory[len - 1] != '\n')
			_exit(2);
	}
}

static void spin_end(pid_t child)
{
	int status;
	must(kill(child, SIGKILL));
	must(waitpid(child, &status, 0));
	assert_int_equal(exit_status(status), 128 + SIGKILL);
}

static const char *map_object(const char *path, size_t size)
{
	int fd = must(open(path, O_RDWR));
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	close(fd);
	return memory;
}

/* Lines are appended, each seen whole, over memory that is full of something else. */
static void append_over_junk(const char *path, const struct spin *spin)
{
	for (int round = 0; round < 100; round++) {
		memset((char *)spin->memory, 'z', spin->size - 1);
		((char *)spin->memory)[0] = '\0';
		pid_t child = spin_begin(spin, true);
		for (int i = 0; i < 50; i++)
			file_write(path, O_APPEND, "Line of text, all of it\n", 24);
		spin_end(child);
	}
}

/* Other texts of all lengths, over the whole and in parts. */
static void overwrite(const char *path, const struct spin *spin)
{
	pid_t child = spin_begin(spin, false);
	unsigned seed = 7;
	memset(bytes, 'x', sizeof(bytes));
	for (int round = 0; round < 300; round++) {
		int fd = must(open(path, O_RDWR | (round % 3 == 0 ? O_TRUNC : 0)));
		off_t end = must(lseek(fd, 0, SEEK_END));
		off_t from = end ? rand_r(&seed) % end : 0;
		size_t room = spin->size - 1 - (size_t)from;
		size_t len = 1 + (size_t)rand_r(&seed) % room;
		assert_int_equal(pwrite(fd, bytes, len, from), len);
		if (round % 4 == 0)
			must(ftruncate(fd, rand_r(&seed) % 10));
		close(fd);
	}
	spin_end(child);
}

static void it_is_a_string_at_every_moment(void **state)
{
	int id = segment_create(KEY, 2 * PAGE, 0600);
	const struct spin segment = { segment_attach(id), 2 * PAGE };
	append_over_junk(PATH, &segment);
	overwrite(PATH, &segment);
	segment_detach(segment.memory);

	object_create("frames", 2 * PAGE);
	const struct spin object = { map_object(NATIVE "/frames", 2 * PAGE), 2 * PAGE };
	append_over_junk(OBJECT, &object);
	overwrite(OBJECT, &object);
	munmap((void *)object.memory, 2 * PAGE);
}

static int append_lines(int number)
{
	char line[32];
	for (int i = 0; i < LINES; i++) {
		int len = snprintf(line, sizeof(line), "%d says %d\n", number, i);
		int fd = open(PATH, O_WRONLY | O_CREAT | O_APPEND, 0600);
		child_must(fd != -1);
		child_must(write(fd, line, (size_t)len) == len);
		child_must(close(fd) == 0);
	}
	return 0;
}

/* Past a page, so that it grows under them. */
static void appenders_lose_no_line(void **state)
{
	pid_t children[CHILDREN];
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < CHILDREN; i++)
			children[i] = child_start(append_lines, i);
		assert_int_equal(children_join(children, CHILDREN), 0);
	}
	assert_prints("200 200\n", "sort " PATH " | uniq -c | awk '$1 == 5 && $3 == \"says\" "
				   "{ n++ } END { print n, NR }'");
}

/* --- side by side --- */

static void a_classic_program_and_text_files_agree(void **state)
{
	assert_prints("", CLASSIC " -p 'hello from shmat'");
	assert_prints("hello from shmat", "cat " PATH);
	assert_prints("16\n", "wc -c < " PATH);
	assert_prints("hello from shmat, and more\n\n",
		      "echo ', and more' >> " PATH "; " CLASSIC " -g");
	assert_prints("short\n", "printf short > " PATH "; " CLASSIC " -g");
	assert_prints("", CLASSIC " -p 'the other way'");
	assert_prints("the other way!\n", "echo ! >> " PATH "; cat " PATH);
	assert_prints("attached\nnew\n\n", "{ " CLASSIC " -w & } | { read word; echo $word; "
					   "echo new > " PATH "; cat; }");
	assert_int_equal(segments_count(), 1);
}

static void both_views_see_each_other(void **state)
{
	char text[64];
	int raw = must(open(RAW "/3148", O_RDWR | O_CREAT, 0600));
	int fd = must(open(PATH, O_RDWR));
	for (int i = 0; i < 200; i++) {
		int len = snprintf(text, sizeof(text), "%0*d\n", 1 + i % 40, i);
		char seen[sizeof(text)] = "";
		assert_int_equal(pwrite(raw, text, (size_t)len + 1, 0), len + 1);
		assert_int_equal(pread(fd, seen, sizeof(seen), 0), len);
		assert_string_equal(seen, text);
		assert_int_equal(file_stat(PATH).st_size, len);
		assert_int_equal(pwrite(fd, "more\n", 5, len), 5);
		assert_int_equal(pread(raw, seen, 6, len), 6);
		assert_memory_equal(seen, "more\n", 6);
	}
	close(fd);
	close(raw);
	assert_prints("4096 9\n",
		      "echo new text > " PATH "; stat -c %s " RAW "/3148 " PATH " | xargs");
	assert_prints("4096 0\n", ": > " RAW "/3148; stat -c %s " RAW "/3148 " PATH " | xargs");
	must(unlink(RAW "/3148"));
	assert_false(file_exists(PATH));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_file_ends_where_the_text_does),
		mounted(a_full_segment_is_shown_whole),
		mounted(a_very_long_text_is_read_and_appended_to),
		mounted(who_may_not_read_sees_the_segments_size),
		mounted(a_file_without_a_name_has_its_length),
		mounted(a_text_is_not_mapped),
		mounted(a_write_keeps_the_nul_and_what_it_does_not_touch),
		mounted(an_attached_segment_takes_what_fits),
		mounted(a_segment_is_cut_to_its_text_and_a_nul),
		mounted(a_text_grows_while_others_read_it),
		mounted(an_object_keeps_its_size_and_a_nul),
		mounted(it_is_a_string_at_every_moment),
		mounted(appenders_lose_no_line),
		mounted(a_classic_program_and_text_files_agree),
		mounted(both_views_see_each_other),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

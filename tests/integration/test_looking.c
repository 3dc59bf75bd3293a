/* SPDX-License-Identifier: MIT */
/* Looking changes nothing: every field that the kernel shows stays as it was. */
#include "harness.h"

#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096 };

#define PATH MNT "/3148"
#define TABLE_SIZE 8192

static void read_table(char table[TABLE_SIZE])
{
	int fd = must(open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC));
	ssize_t count, used = 0;
	while ((count = read(fd, table + used, (size_t)(TABLE_SIZE - 1 - used))) > 0)
		used += count;
	table[used] = '\0';
	close(fd);
}

/* Segments of all kinds, one of them in use. */
static void make_segments(void)
{
	int id = segment_create(KEY, 10 * PAGE, 0600);
	segment_put(id, 0, "resident", 8);
	segment_create(5000, PAGE, 0644);
	must(shmget(IPC_PRIVATE, PAGE, 0600));
	void *memory = segment_attach(segment_create(5001, PAGE, 0600));
	/* A child would attach it once more; the tear-down detaches it. */
	must(madvise(memory, PAGE, MADV_DONTFORK));
	object_create("frames", PAGE);
}

/* Run `command`, which only looks, a second after the last change. */
static void assert_leaves_no_trace(const char *command)
{
	char before[TABLE_SIZE], after[TABLE_SIZE], output[8192];
	make_segments();
	usleep(1100000); /* a change would show in the times too */
	read_table(before);
	assert_int_equal(shell(output, sizeof(output), "%s", command), 0);
	read_table(after);
	assert_string_equal(after, before);
	assert_non_null(strstr(output, "3148"));
}

static void ls_leaves_no_trace(void **state)
{
	assert_leaves_no_trace("cd " MNT " && ls -lai . .by-id .by-name && ls -lu && ls -ls");
}

static void stat_and_test_leave_no_trace(void **state)
{
	assert_leaves_no_trace("cd " MNT " && stat 3148 0xc4c 5000 5001 .by-id/* && test -r 3148"
			       " && test -w 5000 && test ! -x 5001");
}

static void find_and_du_leave_no_trace(void **state)
{
	assert_leaves_no_trace("cd " MNT " && find . .by-id -size +0 -newermt 2000-01-01 -perm -u=r"
			       " && du -a . && df . && df -i .");
}

static void listing_attributes_leaves_no_trace(void **state)
{
	char before[TABLE_SIZE], after[TABLE_SIZE], list[1024];
	make_segments();
	usleep(1100000);
	read_table(before);
	listxattr(MNT "/3148", list, sizeof(list));
	getxattr(MNT "/3148", "user.shm.nattch", list, sizeof(list));
	getxattr(MNT "/5001", "security.capability", list, sizeof(list));
	read_table(after);
	assert_string_equal(after, before);
}

static void opening_and_reading_leaves_no_attachment(void **state)
{
	char bytes[100];
	int id = segment_create(KEY, PAGE, 0600);
	for (int i = 0; i < 50; i++) {
		int fd = must(open(MNT "/3148", O_RDWR));
		assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 100), sizeof(bytes));
		close(fd);
	}
	assert_true(eventually(segment_stat(id).shm_nattch == 0));
}

static void set_forced(const char *value)
{
	file_write("/proc/sys/kernel/shm_rmid_forced", 0, value, 1);
}

/* A segment would go with its last attachment, and that would be ours. */
static void nothing_is_opened_that_would_go_with_it(void **state)
{
	struct fixture *fixture = *state;
	char path[64];
	set_forced("1");
	daemon_start(fixture, NULL);
	int id = segment_create(KEY, PAGE, 0600);
	must_fail(EPERM, open(PATH, O_RDONLY));
	must_fail(EPERM, truncate(PATH, 0));
	must_fail(EPERM, open(MNT "/3149", O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	must_fail(EPERM, open(path, O_WRONLY));
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(file_stat(PATH).st_size, PAGE);
	const void *memory = segment_attach(id);
	close(must(open(PATH, O_RDWR)));
	assert_int_equal(segment_find(KEY), id);
	assert_true(daemon_said("kernel.shm_rmid_forced is set"));
	daemon_stop(fixture);
	set_forced("0");
	segment_detach(memory);
}

/* Set while it is mounted, it counts for the next that is opened. */
static void nothing_goes_when_that_is_set_later(void **state)
{
	int id = segment_create(KEY, PAGE, 0666);
	segment_put(id, 0, "kept", 4);
	set_forced("1"); /* the segments of a process that lives are left alone */
	must_fail(EPERM, open(PATH, O_RDONLY));
	must_fail(EPERM, truncate(PATH, 2L * PAGE));
	must_fail(EPERM, truncate(PATH, 0));
	must(setxattr(PATH, "user.note", "text", 4, 0));
	assert_int_equal(segment_find(KEY), id);
	set_forced("0");
	close(must(open(PATH, O_RDONLY)));
	assert_int_equal(segment_find(KEY), id);
}

/* --- what it costs --- */

/* The shortest of some looks, each after a pause. */
static double time_to_look(void)
{
	double shortest = 1;
	for (int i = 0; i < 20; i++) {
		struct timespec begin, end;
		struct stat data;
		usleep(50000);
		clock_gettime(CLOCK_MONOTONIC, &begin);
		must(stat(PATH, &data));
		clock_gettime(CLOCK_MONOTONIC, &end);
		double took = (double)(end.tv_sec - begin.tv_sec) +
			      (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
		shortest = took < shortest ? took : shortest;
	}
	return shortest;
}

/* To read the kernel's table of so many takes 20 ms and more. */
static void a_look_costs_the_same_however_many_there_are(void **state)
{
	enum { MANY = 8000, PAGES = 20 };
	limit_set("shmmni", MANY + 10);
	segment_put(segment_create(KEY, PAGES * PAGE, 0600), 0, "x", 1);
	double few = time_to_look();
	for (int i = 0; i < MANY; i++)
		must(shmget(IPC_PRIVATE, PAGE, 0600));
	file_stat(PATH); /* the first may wait for the table */
	double many = time_to_look();
	print_message("%.0f us, among many %.0f us\n", few * 1e6, many * 1e6);
	assert_true(many < 3 * few + 0.002);
	/* The next answer is of the table as it is now. */
	assert_true(eventually(file_stat(PATH).st_blocks == PAGE / 512));
	char *memory = segment_attach(segment_find(KEY));
	for (int page = 1; page < PAGES; page++) {
		char resident[32] = "", expected[32];
		memory[page * PAGE] = 'x';
		must(getxattr(PATH, "user.shm.resident", resident, sizeof(resident) - 1));
		snprintf(expected, sizeof(expected), "%d", (page + 1) * PAGE);
		assert_string_equal(resident, expected);
	}
	segment_detach(memory);
	segments_remove_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(ls_leaves_no_trace),
		mounted(stat_and_test_leave_no_trace),
		mounted(find_and_du_leave_no_trace),
		mounted(listing_attributes_leaves_no_trace),
		mounted(opening_and_reading_leaves_no_attachment),
		bare(nothing_is_opened_that_would_go_with_it),
		mounted(nothing_goes_when_that_is_set_later),
		mounted(a_look_costs_the_same_however_many_there_are),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

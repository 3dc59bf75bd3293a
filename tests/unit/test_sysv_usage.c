/* SPDX-License-Identifier: MIT */
/* Resident memory, from a table of the test's own and from this kernel's. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sysv/internal.h"

#define HEADING \
	"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  " \
	"cgid      atime      dtime      ctime                   rss                  swap\n"
/* As ipc/shm.c writes them, sorted by nothing. */
#define ROW_NEGATIVE \
	"-559038737 2147483647 13777  18446744073709551615 4194304 4194303  4294967296 " \
	"4294967295 " \
	"4294967294 65534 65535          0          0 9999999999  18446744073709551615     4096"
#define ROW_3148 \
	"      3148      65538   666                  4096  1201  1202      3  1000  1001  1002  " \
	"1003 1790000001 1790000002 1790000003                  8192                 12288"
#define ROW_LARGE \
	"      3147      65537   666            4294971392  1201  1202      3  1000  1001  1002  " \
	"1003 1790000001 1790000002 1790000003                  8192                 12288\n"
#define ROW_CUT "      3149      65539   666                  4096  1201  1202      3  1000"

static char proc[] = "/tmp/test_sysv_usage.XXXXXX";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char table[sizeof(proc) + sizeof("/sysvipc/shm")];

static void write_table(const char *text)
{
	FILE *file = fopen(table, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void start(struct sysv_usage *usage, const char *text)
{
	write_table(text);
	assert_int_equal(sysv_usage_init(usage, proc, &lock), 0);
}

static void rows_are_found_by_id(void **state)
{
	struct sysv_usage usage;
	struct sysv_usage_row row;

	start(&usage, HEADING ROW_NEGATIVE "\n" ROW_3148 "\n");
	assert_int_equal(sysv_usage_find(&usage, 65538, &row), 0);
	assert_int_equal(row.resident, 8192);
	assert_int_equal(row.swapped, 12288);
	assert_int_equal(sysv_usage_of(&usage, 65538, time(NULL)), 8192 + 12288);
	assert_int_equal(sysv_usage_find(&usage, INT32_MAX, &row), 0);
	assert_true(row.resident == UINT64_MAX);
	assert_int_equal(row.swapped, 4096);
	assert_int_equal(sysv_usage_find(&usage, 65539, &row), -ENODATA);
	assert_int_equal(sysv_usage_of(&usage, 65539, time(NULL)), 0);
	sysv_usage_destroy(&usage);
}

static void a_size_is_known_by_its_lower_half(void **state)
{
	struct sysv_usage usage;

	start(&usage, HEADING ROW_3148 "\n");
	assert_int_equal(sysv_usage_size(&usage, 65538, 4096), 4096);
	/* What the last table lacks, or has otherwise, is read. */
	write_table(HEADING ROW_LARGE);
	assert_int_equal(sysv_usage_size(&usage, 65537, 4096), 4294971392);
	assert_int_equal(sysv_usage_size(&usage, 65538, 8192), 8192);
	assert_int_equal(sysv_usage_size(&usage, 65537, 8192), 8192);
	assert_int_equal(remove(table), 0);
	assert_int_equal(sysv_usage_size(&usage, 65537, 4096), 4294971392);
	assert_int_equal(sysv_usage_size(&usage, 65538, 4096), 4096);
	sysv_usage_destroy(&usage);
}

static void what_is_no_row_is_left_out(void **state)
{
	static const char *const texts[] = { "", HEADING, HEADING ROW_CUT "\n",
					     "\n\n" HEADING "key\n" };
	struct sysv_usage usage;
	struct sysv_usage_row row;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		start(&usage, texts[i]);
		assert_int_equal(sysv_usage_find(&usage, 65539, &row), -ENODATA);
		sysv_usage_destroy(&usage);
	}
	/* Newer kernels may add columns. */
	start(&usage, HEADING ROW_CUT "\n" ROW_3148 " 1 2 3\n");
	assert_int_equal(sysv_usage_find(&usage, 65538, &row), 0);
	assert_int_equal(row.swapped, 12288);
	sysv_usage_destroy(&usage);
}

static void a_table_that_cannot_be_read_is_an_error(void **state)
{
	struct sysv_usage usage;
	struct sysv_usage_row row;

	start(&usage, ROW_3148);
	assert_int_equal(sysv_usage_find(&usage, 65538, &row), -EIO);
	sysv_usage_destroy(&usage);
	assert_int_equal(remove(table), 0);
	assert_int_equal(sysv_usage_init(&usage, proc, &lock), -ENOENT);
	assert_int_equal(mkdir(table, 0700), 0);
	assert_int_equal(sysv_usage_init(&usage, proc, &lock), 0);
	assert_int_equal(sysv_usage_find(&usage, 65538, &row), -EISDIR);
	assert_int_equal(sysv_usage_of(&usage, 65538, time(NULL)), 0);
	sysv_usage_destroy(&usage);
	assert_int_equal(rmdir(table), 0);
}

enum { SEGMENTS = 100, PAGES = 10 };

static int make_segment(size_t size)
{
	int id = shmget(IPC_PRIVATE, size, 0600);

	assert_true(id >= 0);
	return id;
}

static void touch(int id, size_t offset)
{
	char *memory = shmat(id, NULL, 0);

	assert_true(memory != (void *)-1);
	memory[offset] = 1;
	assert_int_equal(shmdt(memory), 0);
}

/* More than one page of text, so that the kernel needs several reads. */
static void pages_count_as_soon_as_they_are_touched(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int ids[SEGMENTS];
	struct sysv_usage usage;
	struct sysv_usage_row row;

	if (unshare(CLONE_NEWIPC) != 0)
		skip();
	for (size_t i = 0; i < SEGMENTS; i++)
		ids[i] = make_segment(PAGES * page);
	assert_int_equal(sysv_usage_init(&usage, "/proc", &lock), 0);
	for (size_t i = 0; i < SEGMENTS; i++) {
		for (size_t touched = 0; touched < PAGES; touched += 3) {
			assert_int_equal(sysv_usage_find(&usage, ids[i], &row), 0);
			assert_int_equal(row.resident + row.swapped, (touched + 2) / 3 * page);
			touch(ids[i], touched * page);
		}
	}
	/* A segment that takes another's place has the same totals. */
	for (size_t i = 0; i < SEGMENTS; i++) {
		int id = make_segment(PAGES * page);

		assert_int_equal(shmctl(ids[i], IPC_RMID, NULL), 0);
		for (size_t touched = 0; touched < PAGES; touched += 3)
			touch(id, touched * page);
		assert_int_equal(sysv_usage_find(&usage, id, &row), 0);
		assert_int_equal(row.resident + row.swapped, 4 * page);
		assert_int_equal(sysv_usage_find(&usage, ids[i], &row), -ENODATA);
	}
	sysv_usage_destroy(&usage);
}

static void write_row(int id, uint64_t resident)
{
	char text[256];

	snprintf(text, sizeof(text), "         0 %10d   600 4096 1 1 0 0 0 0 0 0 0 0 %llu 0\n", id,
		 (unsigned long long)resident);
	write_table(text);
}

/* A short table is not read again while nobody can have changed a segment. */
static void blocks_are_of_the_last_table_until_there_is_a_change(void **state)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct sysv_usage usage;
	int id;

	if (unshare(CLONE_NEWIPC) != 0)
		skip();
	id = make_segment((size_t)page);
	touch(id, 0);
	write_row(id, page);
	assert_int_equal(sysv_usage_init(&usage, proc, &lock), 0);
	assert_int_equal(sysv_usage_of(&usage, id, 0), page);
	write_row(id, 2 * page);
	usleep(2000);
	assert_int_equal(sysv_usage_of(&usage, id, 0), page);
	assert_int_equal(sysv_usage_of(&usage, id, time(NULL)), 2 * page);
	write_row(id, page);
	usleep(2000);
	assert_int_equal(sysv_usage_of(&usage, id, time(NULL)), page);
	/* There are more segments than in the table. */
	make_segment((size_t)page);
	write_row(id, 2 * page);
	usleep(2000);
	assert_int_equal(sysv_usage_of(&usage, id, 0), 2 * page);
	sysv_usage_destroy(&usage);
}

struct asker {
	struct sysv_usage *usage;
	const int *ids;
	bool right;
};

static void *ask(void *arg)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct asker *asker = arg;
	struct sysv_usage_row row;

	asker->right = true;
	for (size_t i = 0; i < 20 * SEGMENTS; i++) {
		int id = asker->ids[i % SEGMENTS];

		if (sysv_usage_of(asker->usage, id, time(NULL)) != page ||
		    sysv_usage_find(asker->usage, id, &row) != 0 ||
		    row.resident + row.swapped != page)
			asker->right = false;
	}
	return NULL;
}

static void threads_that_ask_at_once_are_told_the_same(void **state)
{
	enum { ASKERS = 4 };
	struct sysv_usage usage;
	int ids[SEGMENTS];
	struct asker askers[ASKERS];
	pthread_t threads[ASKERS];

	if (unshare(CLONE_NEWIPC) != 0)
		skip();
	for (size_t i = 0; i < SEGMENTS; i++) {
		ids[i] = make_segment(PAGES * (size_t)sysconf(_SC_PAGESIZE));
		touch(ids[i], 0);
	}
	assert_int_equal(sysv_usage_init(&usage, "/proc", &lock), 0);
	for (size_t i = 0; i < ASKERS; i++) {
		askers[i] = (struct asker){ .usage = &usage, .ids = ids };
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
	}
	for (size_t i = 0; i < ASKERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (size_t i = 0; i < ASKERS; i++)
		assert_true(askers[i].right);
	sysv_usage_destroy(&usage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_found_by_id),
		cmocka_unit_test(a_size_is_known_by_its_lower_half),
		cmocka_unit_test(what_is_no_row_is_left_out),
		cmocka_unit_test(a_table_that_cannot_be_read_is_an_error),
		cmocka_unit_test(pages_count_as_soon_as_they_are_touched),
		cmocka_unit_test(blocks_are_of_the_last_table_until_there_is_a_change),
		cmocka_unit_test(threads_that_ask_at_once_are_told_the_same),
	};
	char directory[sizeof(proc) + sizeof("/sysvipc")];
	int failed;

	if (!mkdtemp(proc))
		return 1;
	snprintf(directory, sizeof(directory), "%s/sysvipc", proc);
	snprintf(table, sizeof(table), "%s/shm", directory);
	if (mkdir(directory, 0700) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	rmdir(proc);
	return failed;
}

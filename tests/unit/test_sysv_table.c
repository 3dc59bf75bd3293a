/* SPDX-License-Identifier: MIT */
/*
 * The reader of the kernel's table of segments, first on single rows, then on
 * tables that come in pieces, last on what this kernel really writes.
 *
 * A pipe with O_DIRECT keeps what each write(2) gave apart, as a packet that
 * one read(2) gets: so a test decides where the reader sees a line cut.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shmfs/sysv_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define HEADING \
	"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  " \
	"cgid      atime      dtime      ctime                   rss                  swap\n"

/* As ipc/shm.c writes them. */
#define ROW_3148 \
	"      3148      65538   666                  4096  1201  1202      3  1000  1001  1002  " \
	"1003 1790000001 1790000002 1790000003                  8192                 12288\n"
#define ROW_NEGATIVE \
	"-559038737 2147483647 13777  18446744073709551615 4194304 4194303  4294967296 " \
	"4294967295 " \
	"4294967294 65534 65535          0          0 9999999999  18446744073709551615     4096\n"
#define ROW_DEST \
	"         0          0  1600                     1     0     0      0     0     0     0  " \
	"   0          0          0          1                     0                     0\n"

static const char heading[] = HEADING;

#define TABLE HEADING ROW_3148 ROW_NEGATIVE ROW_DEST

static const struct shmfs_sysv_row row_3148 = {
	.key = 3148,
	.id = 65538,
	.mode = 0666,
	.size = 4096,
	.cpid = 1201,
	.lpid = 1202,
	.nattch = 3,
	.uid = 1000,
	.gid = 1001,
	.cuid = 1002,
	.cgid = 1003,
	.atime = 1790000001,
	.dtime = 1790000002,
	.ctime = 1790000003,
	.resident = 8192,
	.swapped = 12288,
};

static const struct shmfs_sysv_row row_negative = {
	.key = 0xdeadbeefU,
	.id = INT32_MAX,
	.mode = 013777,
	.size = UINT64_MAX,
	.cpid = 4194304,
	.lpid = 4194303,
	.nattch = UINT64_C(4294967296),
	.uid = UINT32_MAX,
	.gid = UINT32_MAX - 1,
	.cuid = 65534,
	.cgid = 65535,
	.ctime = 9999999999,
	.resident = UINT64_MAX,
	.swapped = 4096,
};

static const struct shmfs_sysv_row row_dest = {
	.mode = SHM_DEST | 0600,
	.size = 1,
	.ctime = 1,
};

static void assert_row_equal(const struct shmfs_sysv_row *row,
			     const struct shmfs_sysv_row *expected)
{
	assert_int_equal(row->key, expected->key);
	assert_int_equal(row->id, expected->id);
	assert_int_equal(row->mode, expected->mode);
	assert_int_equal(row->size, expected->size);
	assert_int_equal(row->cpid, expected->cpid);
	assert_int_equal(row->lpid, expected->lpid);
	assert_int_equal(row->nattch, expected->nattch);
	assert_int_equal(row->uid, expected->uid);
	assert_int_equal(row->gid, expected->gid);
	assert_int_equal(row->cuid, expected->cuid);
	assert_int_equal(row->cgid, expected->cgid);
	assert_int_equal(row->atime, expected->atime);
	assert_int_equal(row->dtime, expected->dtime);
	assert_int_equal(row->ctime, expected->ctime);
	assert_int_equal(row->resident, expected->resident);
	assert_int_equal(row->swapped, expected->swapped);
}

/* ------------------------------------------------------------- single rows */

/* Parse from an exact allocation, so that a sanitizer sees one byte too many. */
static int parse(const char *line, size_t len, struct shmfs_sysv_row *row)
{
	char *copy = malloc(len > 0 ? len : 1);
	int err;

	assert_non_null(copy);
	memcpy(copy, line, len);
	err = shmfs_sysv_row_parse(copy, len, row);
	free(copy);
	return err;
}

static void expect_row(const char *line, const struct shmfs_sysv_row *expected)
{
	struct shmfs_sysv_row row;

	memset(&row, 0x5a, sizeof(row));
	if (parse(line, strcspn(line, "\n"), &row) != 0)
		fail_msg("refused: %s", line);
	assert_row_equal(&row, expected);
}

static void expect_no_row(const char *line, size_t len)
{
	struct shmfs_sysv_row row;
	struct shmfs_sysv_row before;

	memset(&row, 0x5a, sizeof(row));
	memcpy(&before, &row, sizeof(row));
	if (parse(line, len, &row) != -EINVAL)
		fail_msg("taken for a row: %.*s", (int)len, line);
	assert_memory_equal(&row, &before, sizeof(row));
}

static void rows_of_the_kernel(void **state)
{
	(void)state;
	expect_row(ROW_3148, &row_3148);
	expect_row(ROW_NEGATIVE, &row_negative);
	expect_row(ROW_DEST, &row_dest);
}

static void padding_does_not_matter(void **state)
{
	(void)state;
	expect_row("3148 65538 666 4096 1201 1202 3 1000 1001 1002 1003 1790000001 1790000002 "
		   "1790000003 8192 12288",
		   &row_3148);
	expect_row("3148 65538 666 4096 1201 1202 3 1000 1001 1002 1003 1790000001 1790000002 "
		   "1790000003 8192 12288   ",
		   &row_3148);
}

static void columns_of_newer_kernels_are_ignored(void **state)
{
	(void)state;
	expect_row("3148 65538 666 4096 1201 1202 3 1000 1001 1002 1003 1790000001 1790000002 "
		   "1790000003 8192 12288 77 -1 text 99999999999999999999999",
		   &row_3148);
}

static void what_is_no_row(void **state)
{
	static const char *const lines[] = {
		"",
		" ",
		"                                                                ",
		heading,
		"3148",
		"-",
		"key",
		/* 14 columns, as before Linux 2.6.34, and 15 */
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10",
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11",
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11    ",
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12x",
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 x",
		"3148\t1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12\r",
		"0xc4c 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"+3148 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"--1 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"- 1 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"1- 1 666 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"1 1 668 4096 1 2 3 4 5 6 7 8 9 10 11 12",
		"1 1 666 4:96 1 2 3 4 5 6 7 8 9 10 11 12",
		"1 1 666 4/96 1 2 3 4 5 6 7 8 9 10 11 12",
		"1 1 666 4\xff 1 2 3 4 5 6 7 8 9 10 11 12",
	};
	static const char with_nul[] = "1 1 666 4096\0 1 2 3 4 5 6 7 8 9 10 11 12";

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		expect_no_row(lines[i], strcspn(lines[i], "\n"));
	expect_no_row(with_nul, sizeof(with_nul) - 1);
}

/* However short a row is cut off, it is no row until its last column begins. */
static void every_beginning_of_a_row(void **state)
{
	static const char line[] = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";

	(void)state;
	for (size_t len = 0; len < sizeof(line) - 2; len++)
		expect_no_row(line, len);
}

/* A line of which column `column` reads `number` and the others 1. */
static size_t line_with(char buf[512], size_t column, const char *number)
{
	size_t len = 0;

	for (size_t i = 0; i < 16; i++)
		len += (size_t)snprintf(buf + len, 512 - len, " %s", i == column ? number : "1");
	return len;
}

static uint64_t field(const struct shmfs_sysv_row *row, size_t column)
{
	const uint64_t fields[] = {
		row->key,
		(uint64_t)row->id,
		row->mode,
		row->size,
		(uint64_t)row->cpid,
		(uint64_t)row->lpid,
		row->nattch,
		row->uid,
		row->gid,
		row->cuid,
		row->cgid,
		(uint64_t)row->atime,
		(uint64_t)row->dtime,
		(uint64_t)row->ctime,
		row->resident,
		row->swapped,
	};

	assert_in_range(column, 0, COUNT(fields) - 1);
	return fields[column];
}

/* Each column takes the whole range of its field and nothing more. */
static void ranges_of_all_columns(void **state)
{
#define U32 "4294967295", UINT32_MAX, "4294967296"
#define I32 "2147483647", INT32_MAX, "2147483648"
#define U64 "18446744073709551615", UINT64_MAX, "18446744073709551616"
#define I64 "9223372036854775807", INT64_MAX, "9223372036854775808"
	static const struct {
		const char *most;
		uint64_t value;
		const char *too_much;
	} ranges[] = {
		{ I32 }, { I32 }, { "37777777777", UINT32_MAX, "40000000000" },
		{ U64 }, { I32 }, { I32 },
		{ U64 }, { U32 }, { U32 },
		{ U32 }, { U32 }, { I64 },
		{ I64 }, { I64 }, { U64 },
		{ U64 },
	};
	static const char *const far_too_much[] = {
		"18446744073709551617",
		"36893488147419103233",
		"99999999999999999999",
		"340282366920938463463374607431768211457",
	};
	char line[512];

	(void)state;
	assert_int_equal(COUNT(ranges), 16);
	for (size_t i = 0; i < COUNT(ranges); i++) {
		struct shmfs_sysv_row row;

		assert_int_equal(parse(line, line_with(line, i, ranges[i].most), &row), 0);
		assert_int_equal(field(&row, i), ranges[i].value);
		assert_int_equal(parse(line, line_with(line, i, "0"), &row), 0);
		assert_int_equal(field(&row, i), 0);
		assert_int_equal(parse(line, line_with(line, i, "7"), &row), 0);
		for (size_t k = 0; k < 16; k++)
			assert_int_equal(field(&row, k), k == i ? 7 : 1);

		expect_no_row(line, line_with(line, i, ranges[i].too_much));
		for (size_t k = 0; k < COUNT(far_too_much); k++)
			expect_no_row(line, line_with(line, i, far_too_much[k]));
		if (i > 0)
			expect_no_row(line, line_with(line, i, "-1"));
	}
	/* 2^64 + 1 in octal, digits that an octal number may have */
	expect_no_row(line, line_with(line, 2, "2000000000000000000001"));
}

static void keys_are_signed_in_the_text(void **state)
{
	static const struct {
		const char *text;
		uint32_t key;
	} keys[] = {
		{ "-1", 0xffffffffU },
		{ "-2", 0xfffffffeU },
		{ "-559038737", 0xdeadbeefU },
		{ "-2147483647", 0x80000001U },
		{ "-2147483648", 0x80000000U },
		{ "2147483647", 0x7fffffffU },
		{ "3148", 3148 },
		{ "1", 1 },
	};
	static const char *const no_keys[] = {
		"-2147483649", "-4294967296",		"2147483648",
		"4294967295",  "-18446744073709551615", "-18446744073709551617"
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++) {
		struct shmfs_sysv_row row;

		assert_int_equal(parse(line, line_with(line, 0, keys[i].text), &row), 0);
		assert_int_equal(row.key, keys[i].key);
	}
	for (size_t i = 0; i < COUNT(no_keys); i++)
		expect_no_row(line, line_with(line, 0, no_keys[i]));
}

/* ------------------------------------------------------------ whole tables */

struct rows {
	size_t count;
	size_t stop_at; /* 0: never */
	int stop_with;
	struct shmfs_sysv_row row[8];
};

static int collect(const struct shmfs_sysv_row *row, void *arg)
{
	struct rows *rows = arg;

	assert_in_range(rows->count, 0, COUNT(rows->row) - 1);
	rows->row[rows->count++] = *row;
	return rows->count == rows->stop_at ? rows->stop_with : 0;
}

static int count_only(const struct shmfs_sysv_row *row, void *arg)
{
	size_t *count = arg;

	/* The tables of many rows number them in column shmid. */
	assert_int_equal(row->id, *count);
	(*count)++;
	return 0;
}

static void write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		assert_true(n > 0);
		bytes += n;
		len -= (size_t)n;
	}
}

static int file_with(const char *bytes, size_t len)
{
	int fd = memfd_create("table", MFD_CLOEXEC);

	assert_true(fd >= 0);
	write_all(fd, bytes, len);
	return fd;
}

static int read_text(const char *text, struct rows *rows)
{
	int fd = file_with(text, strlen(text));
	int err = shmfs_sysv_table_read(fd, collect, rows);

	close(fd);
	return err;
}

static void assert_whole_table(const struct rows *rows)
{
	assert_int_equal(rows->count, 3);
	assert_row_equal(&rows->row[0], &row_3148);
	assert_row_equal(&rows->row[1], &row_negative);
	assert_row_equal(&rows->row[2], &row_dest);
}

static void a_table_in_one_piece(void **state)
{
	struct rows rows = { 0 };

	(void)state;
	assert_int_equal(read_text(TABLE, &rows), 0);
	assert_whole_table(&rows);
}

static void the_offset_of_the_descriptor_does_not_matter(void **state)
{
	int fd = file_with(TABLE, strlen(TABLE));

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct rows rows = { 0 };

		/* At the end at first, and again after each pass; then in the middle. */
		if (i == 2)
			assert_int_equal(lseek(fd, 200, SEEK_SET), 200);
		assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), 0);
		assert_whole_table(&rows);
	}
	close(fd);
}

static void the_last_newline_may_be_missing(void **state)
{
	static const char text[] = TABLE;
	struct rows rows = { 0 };
	int fd = file_with(text, sizeof(text) - 2);

	(void)state;
	assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), 0);
	assert_whole_table(&rows);
	close(fd);
}

static void tables_without_rows(void **state)
{
	static const char *const texts[] = { "", "\n", heading, "key shmid", "key" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct rows rows = { 0 };

		assert_int_equal(read_text(texts[i], &rows), 0);
		assert_int_equal(rows.count, 0);
	}
}

static void a_bad_line_ends_the_pass(void **state)
{
	static const struct {
		const char *text;
		size_t rows;
	} cases[] = {
		{ HEADING "\n", 0 },
		{ HEADING HEADING, 0 },
		{ HEADING "3148 1", 0 },
		{ HEADING ROW_3148 "\n" ROW_DEST, 1 },
		{ HEADING ROW_3148 "nonsense\n" ROW_DEST, 1 },
		{ HEADING ROW_3148 ROW_NEGATIVE "3148 1 666", 2 },
		{ HEADING ROW_3148 ROW_NEGATIVE " ", 2 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rows rows = { 0 };

		assert_int_equal(read_text(cases[i].text, &rows), -EINVAL);
		assert_int_equal(rows.count, cases[i].rows);
	}
}

static void the_callback_stops_the_pass(void **state)
{
	static const int results[] = { 1, -1, -ENOMEM, -EINTR, INT32_MAX, INT32_MIN };
	static const char no_newline[] = TABLE;

	(void)state;
	for (size_t i = 0; i < COUNT(results); i++) {
		for (size_t at = 1; at <= 3; at++) {
			struct rows rows = { .stop_at = at, .stop_with = results[i] };

			assert_int_equal(read_text(TABLE, &rows), results[i]);
			assert_int_equal(rows.count, at);
		}

		/* In the row that has no newline */
		struct rows rows = { .stop_at = 3, .stop_with = results[i] };
		int fd = file_with(no_newline, sizeof(no_newline) - 2);

		assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), results[i]);
		close(fd);
	}
}

/* A pipe that hands out the table in two pieces, then ends. */
static int pipe_with_cut(const char *text, size_t len, size_t cut)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_DIRECT), 0);
	write_all(ends[1], text, cut);
	write_all(ends[1], text + cut, len - cut);
	close(ends[1]);
	return ends[0];
}

static void a_table_cut_anywhere(void **state)
{
	static const char text[] = TABLE;

	(void)state;
	for (size_t len = sizeof(text) - 2; len <= sizeof(text) - 1; len++) {
		for (size_t cut = 0; cut <= len; cut++) {
			struct rows rows = { 0 };
			int fd = pipe_with_cut(text, len, cut);

			assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), 0);
			assert_whole_table(&rows);
			close(fd);
		}
	}
}

/* In the child: write the table byte by byte, with signals to the parent around it. */
static void write_slowly(int fd, const char *text, pid_t reader, int sig)
{
	for (size_t i = 0; text[i] != '\0'; i++) {
		if (sig != 0 && i % 100 == 0)
			for (int k = 0; k < 5; k++) {
				usleep(1000);
				kill(reader, sig);
			}
		if (write(fd, &text[i], 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void read_slowly(struct rows *rows, int sig)
{
	pid_t reader = getpid();
	pid_t child;
	int ends[2];
	int status;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_DIRECT), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		write_slowly(ends[1], TABLE, reader, sig);
	close(ends[1]);

	assert_int_equal(shmfs_sysv_table_read(ends[0], collect, rows), 0);
	close(ends[0]);
	while (waitpid(child, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(status, 0);
}

static void a_table_byte_by_byte(void **state)
{
	struct rows rows = { 0 };

	(void)state;
	read_slowly(&rows, 0);
	assert_whole_table(&rows);
}

static volatile sig_atomic_t interrupts;

static void on_signal(int sig)
{
	(void)sig;
	interrupts++;
}

static void signals_do_not_end_the_pass(void **state)
{
	struct sigaction action = { .sa_handler = on_signal }; /* without SA_RESTART */
	struct sigaction old;
	struct rows rows = { 0 };

	(void)state;
	interrupts = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	read_slowly(&rows, SIGUSR1);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	assert_whole_table(&rows);
	assert_true(interrupts > 0);
}

#define MANY_ROWS 200

/*
 * A regular file fills the buffer to its last byte each time, so the end of the
 * buffer cuts a line; with a longer heading it cuts another place.
 */
static void lines_cut_by_the_end_of_the_buffer(void **state)
{
	enum { LONGEST_HEADING = 256, SIZE = LONGEST_HEADING + MANY_ROWS * 256 };
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	for (size_t first = 1; first <= LONGEST_HEADING; first++) {
		size_t len = first;
		size_t count = 0;

		memset(text, 'k', first - 1);
		text[first - 1] = '\n';
		for (int i = 0; i < MANY_ROWS; i++)
			len += (size_t)snprintf(
				text + len, SIZE - len,
				"%10d %10d   600                  4096 %5d     0      "
				"0     0     0     0     0          0          0 "
				"1790000003                     0                     "
				"0\n",
				-i, i, i);

		int fd = file_with(text, len);

		assert_int_equal(shmfs_sysv_table_read(fd, count_only, &count), 0);
		assert_int_equal(count, MANY_ROWS);
		close(fd);
	}
	free(text);
}

static void lines_without_end_are_refused(void **state)
{
	static const char beginnings[][sizeof(HEADING)] = { "", "k", HEADING };
	char blanks[4096];

	(void)state;
	memset(blanks, ' ', sizeof(blanks));
	for (size_t i = 0; i < COUNT(beginnings); i++) {
		struct rows rows = { 0 };
		int fd = file_with(beginnings[i], strlen(beginnings[i]));

		for (int k = 0; k < 64; k++)
			write_all(fd, blanks, sizeof(blanks));
		assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), -EINVAL);
		assert_int_equal(rows.count, 0);
		close(fd);
	}

	/* This one never ends at all. */
	struct rows rows = { 0 };
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), -EINVAL);
	close(fd);
}

static void errors_of_read_are_handed_on(void **state)
{
	struct rows rows = { 0 };
	int ends[2];
	int fd;

	(void)state;
	assert_int_equal(shmfs_sysv_table_read(-1, collect, &rows), -EBADF);

	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(shmfs_sysv_table_read(fd, collect, &rows), -EISDIR);
	close(fd);

	/* An error after two rows: the pass ends, and does not pass for complete. */
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	write_all(ends[1], HEADING ROW_3148 ROW_NEGATIVE, strlen(HEADING ROW_3148 ROW_NEGATIVE));
	assert_int_equal(shmfs_sysv_table_read(ends[0], collect, &rows), -EAGAIN);
	assert_int_equal(rows.count, 2);
	close(ends[0]);
	close(ends[1]);
}

/* --------------------------------------------------- the table of this kernel */

/* More than one page of text, so that the kernel needs several reads. */
#define SEGMENTS 100
#define TOUCHED 8192U

struct witness {
	size_t count;
	bool seen[SEGMENTS];
	int ids[SEGMENTS];
};

/* Every field of a row, against what shmctl(2) says of the same segment. */
static int compare_with_shmctl(const struct shmfs_sysv_row *row, void *arg)
{
	struct witness *witness = arg;
	struct shmid_ds ds;
	size_t i = 0;

	while (i < SEGMENTS && witness->ids[i] != row->id)
		i++;
	assert_in_range(i, 0, SEGMENTS - 1);
	assert_false(witness->seen[i]);
	witness->seen[i] = true;
	witness->count++;

	assert_int_equal(shmctl(row->id, IPC_STAT, &ds), 0);
	assert_int_equal(row->key, (uint32_t)ds.shm_perm.__key);
	assert_int_equal(row->mode, ds.shm_perm.mode);
	assert_int_equal(row->size, ds.shm_segsz);
	assert_int_equal(row->cpid, ds.shm_cpid);
	assert_int_equal(row->lpid, ds.shm_lpid);
	assert_int_equal(row->nattch, ds.shm_nattch);
	assert_int_equal(row->uid, ds.shm_perm.uid);
	assert_int_equal(row->gid, ds.shm_perm.gid);
	assert_int_equal(row->cuid, ds.shm_perm.cuid);
	assert_int_equal(row->cgid, ds.shm_perm.cgid);
	assert_int_equal(row->atime, ds.shm_atime);
	assert_int_equal(row->dtime, ds.shm_dtime);
	assert_int_equal(row->ctime, ds.shm_ctime);
	if (ds.shm_nattch > 0)
		assert_true(row->resident + row->swapped >= TOUCHED);
	else
		assert_int_equal(row->resident + row->swapped, 0);
	return 0;
}

/*
 * Segments that differ in all that the table shows: i, by remainders, has
 * another key, size, mode, owner, attachments; one is marked for destruction.
 */
static void make_segments(struct witness *witness)
{
	static const key_t keys[] = { 3148, (key_t)0xdeadbeefU, (key_t)0x80000000U, 0x7fffffff,
				      -1 };

	for (size_t i = 0; i < SEGMENTS; i++) {
		key_t key = i < COUNT(keys) ? keys[i] : IPC_PRIVATE;
		int mode = i % 3 == 0 ? 0600 : 0640;
		int id = shmget(key, TOUCHED + i, IPC_CREAT | IPC_EXCL | mode);

		assert_true(id >= 0);
		witness->ids[i] = id;
		if (i % 4 == 0) {
			char *at = shmat(id, NULL, 0);

			assert_ptr_not_equal(at, (void *)-1);
			memset(at, 'x', TOUCHED);
		}
		if (i % 7 == 0) {
			struct shmid_ds ds;

			assert_int_equal(shmctl(id, IPC_STAT, &ds), 0);
			ds.shm_perm.uid = 4000000000U;
			ds.shm_perm.gid = (gid_t)(i + 1);
			assert_int_equal(shmctl(id, IPC_SET, &ds), 0);
		}
		if (i % 5 == 0)
			assert_int_equal(shmctl(id, SHM_LOCK, NULL), 0);
	}
	/* Attached above, so it stays, without a key. */
	assert_int_equal(shmctl(witness->ids[0], IPC_RMID, NULL), 0);
}

/*
 * In an IPC namespace of its own, so the segments of the machine are neither
 * seen nor touched, and ours go away with this process.
 */
static void the_real_table(void **state)
{
	struct witness witness = { 0 };
	int fd;

	(void)state;
	if (unshare(CLONE_NEWIPC) != 0) {
		print_message("skipped: unshare(CLONE_NEWIPC): %s\n", strerror(errno));
		skip();
	}

	fd = open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);

	/* A namespace just made: no more than the heading. */
	assert_int_equal(shmfs_sysv_table_read(fd, compare_with_shmctl, &witness), 0);
	assert_int_equal(witness.count, 0);

	make_segments(&witness);
	assert_int_equal(shmfs_sysv_table_read(fd, compare_with_shmctl, &witness), 0);
	assert_int_equal(witness.count, SEGMENTS);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_the_kernel),
		cmocka_unit_test(padding_does_not_matter),
		cmocka_unit_test(columns_of_newer_kernels_are_ignored),
		cmocka_unit_test(what_is_no_row),
		cmocka_unit_test(every_beginning_of_a_row),
		cmocka_unit_test(ranges_of_all_columns),
		cmocka_unit_test(keys_are_signed_in_the_text),
		cmocka_unit_test(a_table_in_one_piece),
		cmocka_unit_test(the_offset_of_the_descriptor_does_not_matter),
		cmocka_unit_test(the_last_newline_may_be_missing),
		cmocka_unit_test(tables_without_rows),
		cmocka_unit_test(a_bad_line_ends_the_pass),
		cmocka_unit_test(the_callback_stops_the_pass),
		cmocka_unit_test(a_table_cut_anywhere),
		cmocka_unit_test(a_table_byte_by_byte),
		cmocka_unit_test(signals_do_not_end_the_pass),
		cmocka_unit_test(lines_cut_by_the_end_of_the_buffer),
		cmocka_unit_test(lines_without_end_are_refused),
		cmocka_unit_test(errors_of_read_are_handed_on),
		cmocka_unit_test(the_real_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The reader of the kernel's table of segments on tables that come in pieces.
 *
 * A pipe with O_DIRECT keeps what each write(2) gave apart, as a packet that
 * one read(2) gets: so a test decides where the reader sees a line cut.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sysv_rows.h"

static const char heading[] = HEADING;

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

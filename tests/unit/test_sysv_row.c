/* SPDX-License-Identifier: MIT */
/* Single rows of the kernel's table of segments. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sysv_rows.h"

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
		HEADING,
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Which object a name means.  Each row of the tables below is a promise to
 * whoever types that name; the neighbours of every boundary are there too.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shmfs/name.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef int parse_fn(const char *text, struct shmfs_name *out);

static parse_fn *const parsers[] = {
	shmfs_name_parse_root,
	shmfs_name_parse_posix,
	shmfs_name_parse_shmid,
};

/* Parse into a struct with known contents, and see all of it. */
static void expect(parse_fn *parse, const char *text, enum shmfs_space space, uint32_t number)
{
	struct shmfs_name name = { .space = (enum shmfs_space)77, .number = 77, .text = "77" };
	int err = parse(text, &name);

	if (err != 0 || name.space != space || name.number != number || name.text != text)
		fail_msg("\"%s\": returned %d, space %d, number %" PRIu32 ", text \"%s\"", text,
			 err, (int)name.space, name.number, name.text);
}

static void expect_error(parse_fn *parse, const char *text, int expected)
{
	static const char before[] = "before";
	struct shmfs_name name = { .space = SHMFS_SPACE_SHMID, .number = 77, .text = before };
	int err = parse(text, &name);

	if (err != expected)
		fail_msg("\"%s\": returned %d and not %d", text, err, expected);
	if (name.space != SHMFS_SPACE_SHMID || name.number != 77 || name.text != before)
		fail_msg("\"%s\" was refused, but the output has changed", text);
}

struct key_case {
	const char *text;
	uint32_t key;
};

static const struct key_case key_cases[] = {
	{ "1", 1 },
	{ "9", 9 },
	{ "10", 10 },
	{ "3148", 3148 },
	{ "2147483647", 2147483647U },
	{ "2147483648", 2147483648U },
	{ "4294967294", 4294967294U },
	{ "4294967295", 4294967295U },
	{ "-1", 4294967295U },
	{ "-10", 4294967286U },
	{ "-559038737", 0xdeadbeefU },
	{ "-2147483647", 2147483649U },
	{ "-2147483648", 2147483648U },
	{ "0x1", 1 },
	{ "0x01", 1 },
	{ "0x00000001", 1 },
	{ "0xc4c", 3148 },
	{ "0xC4c", 3148 },
	{ "0x00000c4c", 3148 },
	{ "0x00000C4C", 3148 },
	{ "0xdeadbeef", 0xdeadbeefU },
	{ "0xDEADBEEF", 0xdeadbeefU },
	{ "0xDeAdBeEf", 0xdeadbeefU },
	{ "0xffffffff", 4294967295U },
	{ "0x80000000", 2147483648U },
	{ "0x7fffffff", 2147483647U },
	{ "0x9a", 0x9aU },
	{ "0xF", 15 },
};

/* Almost keys: POSIX names in the root directory as well. */
static const char *const posix_names[] = {
	"frames",
	"a",
	"F",
	"00",
	"01",
	"03148",
	"-0",
	"-00",
	"-01",
	"-03148",
	"-",
	"--1",
	"-+1",
	"-2147483649",
	"-2147483650",
	"-4294967295",
	"-4294967296",
	"-18446744073709551615",
	"4294967296",
	"4294967297",
	"42949672950",
	"4294967305",
	"18446744073709551616",
	"18446744073709551617",
	"99999999999999999999",
	"340282366920938463463374607431768211457",
	"+1",
	"+0",
	" 1",
	"1 ",
	"\t1",
	"1\n",
	"1.",
	"1.0",
	"1e3",
	"1,000",
	"1_000",
	"1k",
	"12a",
	"a12",
	"1-",
	"1-2",
	"3148x",
	"0x",
	"0x ",
	"0x-1",
	"0x+1",
	"0xg",
	"0x1g",
	"0x`",
	"0x@",
	"0xG",
	"0x:",
	"0x1 ",
	" 0x1",
	"0x0x1",
	"0x000000000",
	"0x000000001",
	"0x100000000",
	"0xfffffffff",
	"0X1",
	"0XC4C",
	"0X0",
	"-0x1",
	"-0x0",
	"x1",
	"c4c",
	"00x1",
	"0b1",
	"0o7",
	"1:",
	":1",
	"...",
	"..a",
	".a",
	"a.",
	".by-id",
	".by-name",
	".hidden",
	"sem",
	"Sem.x",
	"SEM.x",
	"semx",
	"sem-x",
	"xsem.x",
	".sem.x",
	" sem.x",
	"with blank",
	"back\\slash",
	"new\nline",
	"\x01",
	"\xff",
	"1\xff",
	"\xc3\xa4\xc3\xb6",
	"\xd9\xa3", /* a digit, but not of ASCII */
	"\xef\xbc\x91",
};

static const char *const zero_spellings[] = {
	"0", "0x0", "0x00", "0x000", "0x0000", "0x00000", "0x000000", "0x0000000", "0x00000000",
};

static void root_reads_keys(void **state)
{
	for (size_t i = 0; i < COUNT(key_cases); i++)
		expect(shmfs_name_parse_root, key_cases[i].text, SHMFS_SPACE_KEY, key_cases[i].key);
}

static void root_takes_the_rest_as_posix_names(void **state)
{
	for (size_t i = 0; i < COUNT(posix_names); i++)
		expect(shmfs_name_parse_root, posix_names[i], SHMFS_SPACE_POSIX, 0);
}

static void root_refuses_key_zero(void **state)
{
	for (size_t i = 0; i < COUNT(zero_spellings); i++)
		expect_error(shmfs_name_parse_root, zero_spellings[i], -EINVAL);
}

static void by_name_takes_keys_as_posix_names(void **state)
{
	for (size_t i = 0; i < COUNT(key_cases); i++)
		expect(shmfs_name_parse_posix, key_cases[i].text, SHMFS_SPACE_POSIX, 0);
	for (size_t i = 0; i < COUNT(zero_spellings); i++)
		expect(shmfs_name_parse_posix, zero_spellings[i], SHMFS_SPACE_POSIX, 0);
	for (size_t i = 0; i < COUNT(posix_names); i++)
		expect(shmfs_name_parse_posix, posix_names[i], SHMFS_SPACE_POSIX, 0);
}

static void semaphores_are_refused(void **state)
{
	static const char *const texts[] = { "sem.", "sem.x", "sem.3148", "sem..", "sem.sem.x" };

	for (size_t i = 0; i < COUNT(texts); i++) {
		expect_error(shmfs_name_parse_root, texts[i], -EPERM);
		expect_error(shmfs_name_parse_posix, texts[i], -EPERM);
		expect_error(shmfs_name_parse_shmid, texts[i], -ENOENT);
	}
}

static void no_names_at_all(void **state)
{
	static const char *const texts[] = { "",    ".",	 "..",	  "/",	    "/a", "a/",
					     "a/b", "//",	 "./a",	  "../a",   "1/", "/1",
					     "0/",  "3148/3148", "sem./", "sem.x/y" };

	for (size_t i = 0; i < COUNT(texts); i++)
		for (size_t p = 0; p < COUNT(parsers); p++)
			expect_error(parsers[p], texts[i], -ENOENT);
}

/* `len` bytes of `start` and then of `fill`. */
static const char *long_name(char buf[600], const char *start, char fill, size_t len)
{
	memset(buf, fill, len);
	memcpy(buf, start, strlen(start));
	buf[len] = '\0';
	return buf;
}

static void names_have_up_to_255_bytes(void **state)
{
	char buf[600];

	for (size_t p = 0; p < 2; p++) {
		expect(parsers[p], long_name(buf, "", 'x', 254), SHMFS_SPACE_POSIX, 0);
		expect(parsers[p], long_name(buf, "", 'x', 255), SHMFS_SPACE_POSIX, 0);
		expect(parsers[p], long_name(buf, "", '1', 255), SHMFS_SPACE_POSIX, 0);
		expect(parsers[p], long_name(buf, "0x", '0', 255), SHMFS_SPACE_POSIX, 0);
		expect_error(parsers[p], long_name(buf, "", 'x', 256), -ENAMETOOLONG);
		expect_error(parsers[p], long_name(buf, "", '1', 256), -ENAMETOOLONG);
		expect_error(parsers[p], long_name(buf, "", '0', 256), -ENAMETOOLONG);
		expect_error(parsers[p], long_name(buf, "", 'x', 599), -ENAMETOOLONG);
		expect_error(parsers[p], long_name(buf, "sem.", 'x', 255), -EPERM);
		expect_error(parsers[p], long_name(buf, "sem.", 'x', 256), -ENAMETOOLONG);
		expect_error(parsers[p], long_name(buf, "/", 'x', 256), -ENOENT);
	}
	expect_error(shmfs_name_parse_shmid, long_name(buf, "", '1', 256), -ENOENT);
}

static void by_id_reads_shmids(void **state)
{
	static const struct key_case ids[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "9", 9 },
		{ "10", 10 },
		{ "65538", 65538 },
		{ "2147483646", 2147483646U },
		{ "2147483647", INT32_MAX },
	};

	for (size_t i = 0; i < COUNT(ids); i++)
		expect(shmfs_name_parse_shmid, ids[i].text, SHMFS_SPACE_SHMID, ids[i].key);
}

static void by_id_has_nothing_else(void **state)
{
	static const char *const texts[] = {
		"00",
		"01",
		"-0",
		"-1",
		"+1",
		" 1",
		"1 ",
		"1\n",
		"2147483648",
		"2147483649",
		"4294967295",
		"4294967296",
		"18446744073709551617",
		"99999999999999999999",
		"0x0",
		"0x1",
		"0xc4c",
		"1a",
		"a",
		"1.0",
		"frames",
		".by-id",
		"-",
		"1-",
		"1\xff",
		":",
		"1:",
		"x",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		expect_error(shmfs_name_parse_shmid, texts[i], -ENOENT);
	for (size_t i = 1; i < COUNT(zero_spellings); i++)
		expect_error(shmfs_name_parse_shmid, zero_spellings[i], -ENOENT);
}

static void format_key(uint32_t key, enum shmfs_key_format format, char buf[NAME_MAX + 1])
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_KEY, .number = key };

	shmfs_name_format(&name, format, buf);
}

static void expect_format(uint32_t key, enum shmfs_key_format format, const char *text)
{
	/* An exact allocation, so that a sanitizer sees one byte too many. */
	char *buf = test_malloc(NAME_MAX + 1);

	memset(buf, '#', NAME_MAX + 1);
	format_key(key, format, buf);
	assert_string_equal(buf, text);
	test_free(buf);
}

static void keys_are_written_in_both_formats(void **state)
{
	expect_format(1, SHMFS_KEYS_DEC, "1");
	expect_format(1, SHMFS_KEYS_HEX, "0x00000001");
	expect_format(3148, SHMFS_KEYS_DEC, "3148");
	expect_format(3148, SHMFS_KEYS_HEX, "0x00000c4c");
	expect_format(0x7fffffffU, SHMFS_KEYS_DEC, "2147483647");
	expect_format(0x80000000U, SHMFS_KEYS_DEC, "2147483648");
	expect_format(0x80000000U, SHMFS_KEYS_HEX, "0x80000000");
	expect_format(0xdeadbeefU, SHMFS_KEYS_DEC, "3735928559");
	expect_format(0xdeadbeefU, SHMFS_KEYS_HEX, "0xdeadbeef");
	expect_format(0xffffffffU, SHMFS_KEYS_DEC, "4294967295");
	expect_format(0xffffffffU, SHMFS_KEYS_HEX, "0xffffffff");
}

static void expect_key(const char *text, uint32_t key)
{
	struct shmfs_name name;

	if (shmfs_name_parse_root(text, &name) != 0 || name.space != SHMFS_SPACE_KEY ||
	    name.number != key)
		fail_msg("\"%s\" is not key %" PRIu32, text, key);
}

/* Whatever the key, each way to write it leads back to it. */
static void all_spellings_lead_back(void **state)
{
	/* A stride that is coprime to 2^32 and meets all magnitudes. */
	uint32_t key = 1;

	for (int i = 0; i < 100000; i++, key += 1640531527U) {
		char text[NAME_MAX + 1];

		if (key == 0)
			continue;
		format_key(key, SHMFS_KEYS_DEC, text);
		expect_key(text, key);
		format_key(key, SHMFS_KEYS_HEX, text);
		expect_key(text, key);
		snprintf(text, sizeof(text), "0x%" PRIX32, key);
		expect_key(text, key);
		snprintf(text, sizeof(text), "%" PRId32, (int32_t)key);
		expect_key(text, key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_reads_keys),
		cmocka_unit_test(root_takes_the_rest_as_posix_names),
		cmocka_unit_test(root_refuses_key_zero),
		cmocka_unit_test(by_name_takes_keys_as_posix_names),
		cmocka_unit_test(semaphores_are_refused),
		cmocka_unit_test(no_names_at_all),
		cmocka_unit_test(names_have_up_to_255_bytes),
		cmocka_unit_test(by_id_reads_shmids),
		cmocka_unit_test(by_id_has_nothing_else),
		cmocka_unit_test(keys_are_written_in_both_formats),
		cmocka_unit_test(all_spellings_lead_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

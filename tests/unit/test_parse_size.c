/* SPDX-License-Identifier: MIT */
/*
 * Sizes in options.  Most of what matters here is what must be refused: a
 * mistyped size that passes as another number makes segments of that size.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint64_t untouched = UINT64_C(0x5ca1ab1e5ca1ab1e);

struct size_case {
	const char *text;
	uint64_t bytes;
};

/* Parse, and see both results; after an error *bytes is to be as before. */
static void expect(const char *text, int expected, uint64_t expected_bytes)
{
	uint64_t bytes = untouched;
	int err = shmfs_parse_size(text, &bytes);

	if (err != expected || bytes != expected_bytes)
		fail_msg("\"%s\": returned %d, %" PRIu64 " bytes, and not %d, %" PRIu64, text, err,
			 bytes, expected, expected_bytes);
}

static void refuse_all(const char *const *texts, size_t count, int err)
{
	for (size_t i = 0; i < count; i++)
		expect(texts[i], err, untouched);
}

static void accepts_numbers_and_suffixes(void **state)
{
	static const struct size_case cases[] = {
		{ "1", 1 },
		{ "9", 9 },
		{ "10", 10 },
		{ "4096", 4096 },
		{ "0100", 100 }, /* decimal, not octal */
		{ "00000000000000000000000000001", 1 },
		{ "1K", UINT64_C(1) << 10 },
		{ "1k", UINT64_C(1) << 10 },
		{ "64K", UINT64_C(65536) },
		{ "1M", UINT64_C(1) << 20 },
		{ "2m", UINT64_C(2) << 20 },
		{ "1G", UINT64_C(1) << 30 },
		{ "3g", UINT64_C(3) << 30 },
		{ "4294967295", UINT32_MAX },
		{ "4294967296", UINT64_C(4294967296) },
		{ "9223372036854775807", INT64_MAX },
		{ "9007199254740991K", INT64_MAX - 1023 },
		{ "8796093022207M", INT64_MAX - ((INT64_C(1) << 20) - 1) },
		{ "8589934591G", INT64_MAX - ((INT64_C(1) << 30) - 1) },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		expect(cases[i].text, 0, cases[i].bytes);
}

static void refuses_what_is_no_size(void **state)
{
	static const char *const texts[] = {
		"",	 "K",	 "M",	"G",	"k",	" ",	    "0",     "00",   "0K",
		"0G",	 "-1",	 "-1K", "+5",	" 5",	"5 ",	    "5 K",   "5K ",  "\t5",
		"5\n",	 "12Q",	 "5KK", "5KM",	"5KB",	"5KiB",	    "5B",    "5b",   "5T",
		"5E",	 "K5",	 "5K5", "0x10", "1e3",	"1.5K",	    "1,000", "1_0",  "1/0",
		"1:0",	 "five", "--5", "5-",	"5K\n", "\xd9\xa5", "5\xff", "\xff", "auto",
		"1\x7f", "/",	 ":",	"5H",	"5L",	"5J",	    "5N",    "5F",   "5\x0b",
	};

	refuse_all(texts, COUNT(texts), -EINVAL);
}

/* The least that is too much for each suffix, and values that wrap to small ones. */
static void refuses_what_is_out_of_range(void **state)
{
	static const char *const texts[] = {
		"9223372036854775808",
		"9007199254740992K",
		"8796093022208M",
		"8589934592G",
		"18446744073709551615",
		"18446744073709551616",
		"18446744073709551617",
		"18014398509481985K",
		"17592186044417M",
		"17179869185G",
		"99999999999999999999",
		"99999999999999999999G",
		"36893488147419103233",
		"184467440737095516160",
		"1844674407370955161600001",
		"100000000000000000000000000000000000000000000000000000000000000000000000000000",
	};

	refuse_all(texts, COUNT(texts), -ERANGE);
}

/* However large the number: with an unknown letter behind it, it is no number. */
static void no_size_comes_before_out_of_range(void **state)
{
	static const char *const texts[] = {
		"99999999999999999999Q",
		"99999999999999999999KK",
		"9223372036854775808 ",
		"18446744073709551616-",
	};

	refuse_all(texts, COUNT(texts), -EINVAL);
}

static void every_single_character(void **state)
{
	for (int c = 1; c < 256; c++) {
		char text[] = { (char)c, '\0' };

		if (c >= '1' && c <= '9')
			expect(text, 0, (uint64_t)(c - '0'));
		else
			expect(text, -EINVAL, untouched);
	}
}

/* What "7" and then `c` is in bytes, or `untouched`. */
static uint64_t seven_and(int c)
{
	switch (c) {
	case 'K':
	case 'k':
		return UINT64_C(7) << 10;
	case 'M':
	case 'm':
		return UINT64_C(7) << 20;
	case 'G':
	case 'g':
		return UINT64_C(7) << 30;
	default:
		return c >= '0' && c <= '9' ? 70 + (uint64_t)(c - '0') : untouched;
	}
}

static void every_character_as_suffix(void **state)
{
	for (int c = 1; c < 256; c++) {
		char text[] = { '7', (char)c, '\0' };
		uint64_t bytes = seven_and(c);

		expect(text, bytes == untouched ? -EINVAL : 0, bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_numbers_and_suffixes),
		cmocka_unit_test(refuses_what_is_no_size),
		cmocka_unit_test(refuses_what_is_out_of_range),
		cmocka_unit_test(no_size_comes_before_out_of_range),
		cmocka_unit_test(every_single_character),
		cmocka_unit_test(every_character_as_suffix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

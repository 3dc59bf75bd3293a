/* SPDX-License-Identifier: MIT */
/* Sizes, compared with a second way of reading them. */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>

#include "daemon/internal.h"

/* Digit by digit in floating point, which is too rough only where both are far over. */
static int read_again(const char *text, long double *bytes)
{
	static const char suffixes[] = "kmg";
	size_t digits = strspn(text, "0123456789");
	const char *suffix = text + digits;
	long double value = 0;

	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (text[i] - '0');
	if (*suffix) {
		const char *found = strchr(suffixes, tolower((unsigned char)*suffix));

		if (!found || suffix[1])
			return -EINVAL;
		for (const char *s = suffixes; s <= found; s++)
			value *= 1024;
	}
	*bytes = value;
	if (value == 0)
		return -EINVAL;
	return value > (long double)INT64_MAX ? -ERANGE : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	long double expected = 0;
	uint64_t bytes = 42;
	int err = shmfs_parse_size(text, &bytes);

	/* A long double of 53 bits, as of ARM, does not hold every size. */
	if (LDBL_MANT_DIG < 64 && read_again(text, &expected) != -EINVAL && expected > 1e15L)
		expected = 0;
	else
		check(err == read_again(text, &expected));
	if (err) {
		check(bytes == 42);
	} else {
		char again[32];
		uint64_t same;

		check(expected == 0 || (long double)bytes == expected);
		snprintf(again, sizeof(again), "%llu", (unsigned long long)bytes);
		check(shmfs_parse_size(again, &same) == 0 && same == bytes);
	}
	free(text);
	return 0;
}

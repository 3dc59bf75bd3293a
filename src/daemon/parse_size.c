/* SPDX-License-Identifier: MIT */
/*
 * Sizes as people write them in options.
 *
 * strtoull(3) is the wrong tool here: it skips blanks, takes a sign (and turns
 * "-1" into a very large size), and needs errno and an end pointer before it
 * tells "12Q" from "12".  A size is digits and at most one letter, so the few
 * lines below read exactly that.
 *
 * The number is read to its end even once it is known to be too large:
 * "99999999999999999999" is a size out of range, but "99999999999999999999x"
 * is no size at all, and whoever mistyped it should be told so.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/parse_size.h"

/* The factor of a suffix as a power of two, or -1 for what is no suffix. */
static int suffix_shift(const char *suffix)
{
	if (suffix[0] == '\0')
		return 0;
	if (suffix[1] != '\0')
		return -1;

	switch (suffix[0]) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	default:
		return -1;
	}
}

int shmfs_parse_size(const char *text, uint64_t *bytes)
{
	const char *end = text;
	uint64_t value = 0;
	bool too_large = false;

	for (; *end >= '0' && *end <= '9'; end++) {
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (unsigned)(*end - '0'), &value))
			too_large = true;
	}

	int shift = suffix_shift(end);

	if (shift < 0)
		return -EINVAL;
	if (too_large || value > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	/* Zero, or no digit at all. */
	if (value == 0)
		return -EINVAL;

	*bytes = value << shift;
	return 0;
}

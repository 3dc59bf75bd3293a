/* SPDX-License-Identifier: MIT */
#include "daemon/parse_size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int shmfs_parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KkMmGg";
	/* strtoull(3) alone would also take blanks and a sign. */
	const char *suffix = text + strspn(text, "0123456789");
	const char *found = *suffix ? strchr(suffixes, *suffix) : NULL;
	unsigned shift = 0;
	unsigned long long value;

	if (suffix == text || (*suffix && (!found || suffix[1])))
		return -EINVAL;
	if (found)
		shift = 10 * ((unsigned)(found - suffixes) / 2 + 1);
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno == ERANGE || value > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	if (value == 0)
		return -EINVAL;
	*bytes = value << shift;
	return 0;
}

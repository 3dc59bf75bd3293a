/* SPDX-License-Identifier: MIT */
/*
 * In the root directory a text that reads as a key is a key.  So 3148 and 0x00000c4c, as ipcs(1)
 * prints it, mean one segment.  Each such text hides the POSIX object of that name, so few are
 * taken: no blanks, no "+", no "0X", and no leading zeros in a decimal, which some read as octal.
 * Digits are compared as ASCII, because a file name has no locale.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmfs/name.h"

/* "0", or digits without a leading zero and perhaps a minus, from `min` to `max`. */
static bool read_decimal(const char *text, int64_t min, int64_t max, uint32_t *value)
{
	const char first = text[text[0] == '-'];
	char *end;
	/* Out of range, strtoll(3) gives the largest or smallest number. */
	const long long number = strtoll(text, &end, 10);

	if (strcmp(text, "0") != 0 && (first < '1' || first > '9'))
		return false;
	if (*end != '\0' || number < min || number > max)
		return false;
	*value = (uint32_t)number;
	return true;
}

/* One to eight hex digits and nothing after them; leading zeros are welcome. */
static bool read_hex(const char *text, uint32_t *value)
{
	const size_t len = strspn(text, "0123456789abcdefABCDEF");

	if (len == 0 || len > 8 || text[len] != '\0')
		return false;
	*value = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

/* Does the text spell a key, or the 0 that would be one? */
static bool read_key(const char *text, uint32_t *key)
{
	if (text[0] == '0' && text[1] == 'x')
		return read_hex(text + 2, key);
	return read_decimal(text, INT32_MIN, UINT32_MAX, key);
}

int shmfs_name_parse_posix(const char *text, struct shmfs_name *out)
{
	if (text[0] == '\0' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ||
	    strchr(text, '/'))
		return -ENOENT;
	if (strlen(text) > NAME_MAX)
		return -ENAMETOOLONG;
	/* glibc keeps the named semaphore /x as /dev/shm/sem.x, sem_overview(7). */
	if (strncmp(text, "sem.", strlen("sem.")) == 0)
		return -EPERM;
	*out = (struct shmfs_name){ .space = SHMFS_SPACE_POSIX, .text = text };
	return 0;
}

int shmfs_name_parse_root(const char *text, struct shmfs_name *out)
{
	uint32_t key;

	if (!read_key(text, &key))
		return shmfs_name_parse_posix(text, out);
	if (key == 0)
		return -EINVAL;
	*out = (struct shmfs_name){ .space = SHMFS_SPACE_KEY, .number = key, .text = text };
	return 0;
}

int shmfs_name_parse_shmid(const char *text, struct shmfs_name *out)
{
	uint32_t id;

	if (!read_decimal(text, 0, INT32_MAX, &id))
		return -ENOENT;

	*out = (struct shmfs_name){ .space = SHMFS_SPACE_SHMID, .number = id, .text = text };
	return 0;
}

void shmfs_name_format(const struct shmfs_name *name, enum shmfs_key_format keys,
		       char buf[NAME_MAX + 1])
{
	const bool hex = name->space == SHMFS_SPACE_KEY && keys == SHMFS_KEYS_HEX;

	if (name->space == SHMFS_SPACE_POSIX)
		snprintf(buf, NAME_MAX + 1, "%s", name->text);
	else
		snprintf(buf, NAME_MAX + 1, hex ? "0x%08" PRIx32 : "%" PRIu32, name->number);
}

/* SPDX-License-Identifier: MIT */
/* File names: what reads as a key is one key in all its spellings. */
#include "fuzz.h"

#include <errno.h>

#include "shmfs/name.h"

/* The listing's spellings of a key lead back to it. */
static void check_key(uint32_t key)
{
	static const enum shmfs_key_format formats[] = { SHMFS_KEYS_DEC, SHMFS_KEYS_HEX };

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		char text[NAME_MAX + 1];
		char again[NAME_MAX + 1];
		struct shmfs_name name = { .space = SHMFS_SPACE_KEY, .number = key };

		shmfs_name_format(&name, formats[i], text);
		check(shmfs_name_parse_root(text, &name) == 0);
		check(name.space == SHMFS_SPACE_KEY && name.number == key && name.text == text);
		shmfs_name_format(&name, formats[i], again);
		check(strcmp(text, again) == 0);
	}
}

/* A reading of numbers that shares nothing with the one that is tested. */
static bool reads_as_key(const char *text)
{
	char spelled[32];
	char *end;
	long long value;

	if (strlen(text) > 11)
		return false;
	if (strncmp(text, "0x", 2) == 0)
		return strlen(text) > 2 && strlen(text) <= 10 &&
		       strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text) - 2;
	value = strtoll(text, &end, 10);
	snprintf(spelled, sizeof(spelled), "%lld", value);
	return *end == '\0' && strcmp(spelled, text) == 0 && value >= INT32_MIN &&
	       value <= UINT32_MAX;
}

static void check_root(const char *text, int posix_err)
{
	struct shmfs_name name = { .number = 1 };
	int err = shmfs_name_parse_root(text, &name);

	if (posix_err) {
		check(err == posix_err);
		return;
	}
	check(reads_as_key(text) == (err == -EINVAL || name.space == SHMFS_SPACE_KEY));
	if (err) {
		check(err == -EINVAL && strspn(text, "0x") == strlen(text));
		return;
	}
	check(name.text == text);
	if (name.space == SHMFS_SPACE_KEY) {
		check(name.number != 0);
		check(name.number == (uint32_t)strtoll(text, NULL, 0));
		check_key(name.number);
	} else {
		check(name.space == SHMFS_SPACE_POSIX && name.number == 0);
	}
}

static void check_shmid(const char *text)
{
	struct shmfs_name name;
	char again[NAME_MAX + 1];

	if (shmfs_name_parse_shmid(text, &name) != 0)
		return;
	check(name.space == SHMFS_SPACE_SHMID && name.number <= INT32_MAX);
	shmfs_name_format(&name, SHMFS_KEYS_DEC, again);
	check(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct shmfs_name name;
	int err = shmfs_name_parse_posix(text, &name);

	check(err == 0 || err == -ENOENT || err == -ENAMETOOLONG || err == -EPERM);
	if (!err)
		check(name.space == SHMFS_SPACE_POSIX && name.text == text);
	check_root(text, err);
	check_shmid(text);
	free(text);
	return 0;
}

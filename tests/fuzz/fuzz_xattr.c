/* SPDX-License-Identifier: MIT */
/* Values of extended attributes, and lists of names. */
#include "fuzz.h"

#include <errno.h>

#include "shmfs/xattr.h"

static void check_switch(const char *value, size_t size)
{
	bool on = false;
	int err = shmfs_xattr_parse_switch(value, size, &on);
	bool has_newline = size == 2 && value[1] == '\n';
	bool valid = (size == 1 || has_newline) && (value[0] == '0' || value[0] == '1');

	check(err == (valid ? 0 : -EINVAL));
	check(on == (valid && value[0] == '1'));
}

/* As the kernel gives it, each name ends with a NUL. */
static void check_list(const char *names, size_t len)
{
	char room[256];
	struct shmfs_xattr_list counted = { 0 };
	struct shmfs_xattr_list list = { .names = room, .size = sizeof(room) };
	ssize_t wanted;

	shmfs_xattr_list_others(&counted, names, len);
	shmfs_xattr_list_others(&list, names, len);
	wanted = shmfs_xattr_list_end(&counted);
	check(wanted >= 0 && (size_t)wanted <= len);
	if ((size_t)wanted > sizeof(room)) {
		check(shmfs_xattr_list_end(&list) == -ERANGE);
		return;
	}
	check(shmfs_xattr_list_end(&list) == wanted);
	for (ssize_t pos = 0; pos < wanted; pos += (ssize_t)strlen(room + pos) + 1)
		check(!shmfs_xattr_is_own(room + pos));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);

	check_switch(text, size);
	check_list(text, size + 1);
	free(text);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "input.h"

#include <string.h>

bool fuzz_is_over(const struct fuzz_input *input)
{
	return input->next == input->end;
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
	return fuzz_is_over(input) ? 0 : *input->next++;
}

unsigned fuzz_below(struct fuzz_input *input, unsigned limit)
{
	return fuzz_byte(input) % limit;
}

uint32_t fuzz_u32(struct fuzz_input *input)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value = value << 8 | fuzz_byte(input);
	return value;
}

int64_t fuzz_offset(struct fuzz_input *input)
{
	uint8_t kind = fuzz_byte(input);
	uint64_t high;

	switch (kind % 4) {
	case 0:
		return kind / 4;
	case 1:
		return (int64_t)4096 * (kind / 4) + (int64_t)fuzz_below(input, 3) - (kind >= 4);
	case 2: /* the end of the largest file of the memory backend */
		return ((int64_t)1 << 20) + (int64_t)fuzz_byte(input) - 128;
	default:
		high = fuzz_u32(input);
		return (int64_t)((high << 32 | fuzz_u32(input)) & INT64_MAX);
	}
}

void fuzz_name(struct fuzz_input *input, char name[static 32])
{
	static const char *const names[] = {
		"1",	  "3148",  "0xc4c",  "4294967295", "-1", "0",	  "a",
		"frames", "sem.x", ".by-id", ".by-name",   "00", "65538", "..",
	};
	const unsigned known = sizeof(names) / sizeof(*names);
	uint8_t kind = fuzz_byte(input);
	const uint8_t *bytes;
	size_t len;

	if (kind < 128) {
		strcpy(name, names[kind % known]);
		return;
	}
	len = fuzz_bytes(input, kind % 32, &bytes);
	memcpy(name, bytes, len);
	name[len] = '\0';
	/* A path has been taken apart when the kernel asks. */
	for (char *c = name; *c; c++)
		*c = *c == '/' ? '_' : *c;
}

size_t fuzz_bytes(struct fuzz_input *input, size_t len, const uint8_t **bytes)
{
	size_t left = (size_t)(input->end - input->next);

	if (len > left)
		len = left;
	*bytes = input->next;
	input->next += len;
	return len;
}

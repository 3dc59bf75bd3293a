/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target is one file that defines LLVMFuzzerTestOneInput(): it takes
 * any bytes and checks what must hold whatever they are.  Where the option
 * SHMFS_FUZZ is on, libFuzzer looks for bytes for which it does not; else
 * replay.c hands it the corpus, as a test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has to hold.  Not assert(), which a release build leaves out. */
#define check(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/*
 * The bytes as a string that ends with its memory, so that a sanitizer sees
 * who reads on.  To be freed.
 */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

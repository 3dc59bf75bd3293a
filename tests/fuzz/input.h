/* SPDX-License-Identifier: MIT */
/* Bytes taken as numbers and names, one after the other; when they are used up, zeros. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_input {
	const uint8_t *next;
	const uint8_t *end;
};

bool fuzz_is_over(const struct fuzz_input *);
uint8_t fuzz_byte(struct fuzz_input *);
/* 0..limit-1 */
unsigned fuzz_below(struct fuzz_input *, unsigned limit);
uint32_t fuzz_u32(struct fuzz_input *);
/*
 * An offset or a length, 0..INT64_MAX: often near a boundary of pages or of
 * what a file can be, seldom anywhere.
 */
int64_t fuzz_offset(struct fuzz_input *);
/* One of a few names, so that requests meet, or up to 31 bytes of the input. */
void fuzz_name(struct fuzz_input *, char name[static 32]);
/* `len` bytes, or what is left of them; returns how many. */
size_t fuzz_bytes(struct fuzz_input *, size_t len, const uint8_t **bytes);

/* SPDX-License-Identifier: MIT */
/* Sizes as people write them in options: 4096, 64K, 2M, 1G. */
#pragma once

#include <stdint.h>

/*
 * Parse a positive number of bytes: decimal digits and one optional suffix K, M or G, in either
 * case, for powers of 1024.
 *
 * Returns 0 and *bytes, -EINVAL if the text is no such number, or -ERANGE if the number exceeds
 * INT64_MAX, the largest size of a file.
 */
int shmfs_parse_size(const char *text, uint64_t *bytes);

/* SPDX-License-Identifier: MIT */
/* Sizes as people write them in options: 4096, 64K, 2M, 1G. */
#ifndef SHMFS_PARSE_SIZE_H
#define SHMFS_PARSE_SIZE_H

#include <stdint.h>

/*
 * Parse a positive number of bytes: decimal digits and one optional suffix
 * K, M or G (either case; powers of 1024).
 *
 * Returns 0 and fills *bytes, -EINVAL when it is no such number or is 0, or
 * -ERANGE when it is over INT64_MAX, the largest file size there can be.
 */
int shmfs_parse_size(const char *text, uint64_t *bytes);

#endif

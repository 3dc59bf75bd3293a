/* SPDX-License-Identifier: MIT */
#ifndef SHMFS_MINMAX_H
#define SHMFS_MINMAX_H

#include <stdint.h>

static inline uint64_t shmfs_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t shmfs_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif

/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

static inline uint64_t shmfs_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t shmfs_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

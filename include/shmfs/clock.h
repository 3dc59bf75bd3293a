/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>
#include <time.h>

/* The time of a clock of clock_gettime(2), in nanoseconds. */
static inline uint64_t shmfs_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t shmfs_now_ns(void)
{
	return shmfs_clock_ns(CLOCK_MONOTONIC);
}

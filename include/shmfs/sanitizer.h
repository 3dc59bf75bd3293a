/* SPDX-License-Identifier: MIT */
/* Which sanitizers this build has, and whether it counts the lines that run. */
#pragma once

#ifdef __has_feature /* clang */
#define SHMFS_HAS_FEATURE(feature) __has_feature(feature)
#else
#define SHMFS_HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SHMFS_HAS_FEATURE(address_sanitizer)
#define SHMFS_ASAN 1
#else
#define SHMFS_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || SHMFS_HAS_FEATURE(thread_sanitizer)
#define SHMFS_TSAN 1
#else
#define SHMFS_TSAN 0
#endif

/* gcov writes its counts in exit(3).  A process that ends otherwise calls this before. */
#ifdef SHMFS_COVERAGE
void __gcov_dump(void);
#define SHMFS_WRITE_COUNTS() __gcov_dump()
#else
#define SHMFS_WRITE_COUNTS() ((void)0)
#endif

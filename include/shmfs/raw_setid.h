/* SPDX-License-Identifier: MIT */
/*
 * System calls that change the ids of one thread, or of one process that
 * shares our memory; libc's functions change those of all threads.
 */
#ifndef SHMFS_RAW_SETID_H
#define SHMFS_RAW_SETID_H

#include <sys/syscall.h>

/* The plain calls of 32-bit architectures that are old enough take 16-bit ids. */
#ifdef SYS_setresuid32
#define SET_UID SYS_setresuid32
#define SET_GID SYS_setresgid32
#define SET_GROUPS SYS_setgroups32
#else
#define SET_UID SYS_setresuid
#define SET_GID SYS_setresgid
#define SET_GROUPS SYS_setgroups
#endif

#endif

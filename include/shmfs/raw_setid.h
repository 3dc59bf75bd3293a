/* SPDX-License-Identifier: MIT */
/* Numbers of the system calls that change the ids of one thread: see caller.h. */
#pragma once

#include <sys/syscall.h>

/* On older 32-bit architectures the calls without "32" take 16-bit ids. */
#ifdef SYS_setresuid32
#define SET_UID SYS_setresuid32
#define SET_GID SYS_setresgid32
#define SET_GROUPS SYS_setgroups32
#else
#define SET_UID SYS_setresuid
#define SET_GID SYS_setresgid
#define SET_GROUPS SYS_setgroups
#endif

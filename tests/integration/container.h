/* SPDX-License-Identifier: MIT */
/* A process with IPC, mount and PID namespaces of its own, as in a container: one in a case. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "command.h"
#include "daemon.h"

/* The size of the tmpfs on its /dev/shm, in bytes. */
#define CONTAINER_SHM (8 << 20)

/*
 * Start one that has a tmpfs of its own on /dev/shm and no segments, and wait
 * until it is there.  With `root`, it is chrooted to that directory.  With
 * `owner` it has a user namespace as well, that user's own, in which he is
 * user 0.  Either may be NULL.
 */
void container_start(const char *root, const struct user *owner);

/* Leave it.  The process ends, and all that nobody else holds.  Twice does no harm. */
void container_stop(void);
/* The same at the end of a case, and fixture_end(). */
int container_end(void **state);

/* Its process 1, as seen from here. */
pid_t container_pid(void);

/* Mount with it as the target. */
void container_mount(struct fixture *);

/*
 * What the case does from here on it does inside, with the rights of root
 * outside: files and segments are the container's.  Leaving twice does no harm.
 */
void container_enter(void);
void container_leave(void);

#define inside(statement) \
	do { \
		container_enter(); \
		statement; \
		container_leave(); \
	} while (0)

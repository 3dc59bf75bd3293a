/* SPDX-License-Identifier: MIT */
/* A process with IPC, mount and PID namespaces of its own, as in a container. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "command.h"
#include "daemon.h"

struct container {
	pid_t init; /* its process 1, as seen from here; 0: none runs */
	int ipc;    /* descriptors of its namespaces and of ours; see container_enter() */
	int mounts;
	int own_ipc;
	int own_mounts;
};

/* The size of the tmpfs on its /dev/shm, in bytes. */
#define CONTAINER_SHM (8 << 20)

/*
 * Start one that has a tmpfs of its own on /dev/shm and no segments, and wait
 * until it is there.  With `root`, it is chrooted to that directory.  With
 * `owner` it has a user namespace as well, that user's own, in which he is
 * user 0.  Either may be NULL.
 */
void container_start(struct container *, const char *root, const struct user *owner);

/* Leave it.  The process ends, and all that nobody else holds.  Twice does no harm. */
void container_stop(struct container *);

/* Mount with it as the target. */
void container_mount(const struct container *, struct fixture *);

/*
 * What the case does from here on it does inside, with the rights of root
 * outside: files and segments are the container's.  Leaving twice does no harm.
 */
void container_enter(const struct container *);
void container_leave(const struct container *);

#define inside(container, statement) \
	do { \
		container_enter(container); \
		statement; \
		container_leave(container); \
	} while (0)

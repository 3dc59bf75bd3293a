/* SPDX-License-Identifier: MIT */
/* The daemon under test: start, end, and what it holds meanwhile. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "command.h"

enum { LIMITS = 3 };

/* What a case has: the cmocka state of every registered case. */
struct fixture {
	pid_t daemon;		  /* 0: none runs */
	const struct user *owner; /* who started it */
	int first_fd;		  /* from here on descriptors are the case's own */
	unsigned held;		  /* descriptors of the idle daemon */
	char limits[LIMITS][32];  /* SHMMAX, SHMALL, SHMMNI before the case */
};

/* Set-up and tear-down; see the macros in harness.h. */
int fixture_begin(void **state);
int fixture_mount(void **state);
int fixture_mount_as_nobody(void **state);
int fixture_end(void **state);

/* Mount on MNT and wait until it is there.  `options` may be NULL. */
void daemon_start(struct fixture *fixture, const char *options);

/*
 * What it holds now it may hold at the end of the case: for a case that starts
 * a daemon and leaves it to the tear-down.
 */
void daemon_is_idle(struct fixture *fixture);

/* Wait for its end: its exit status, or 128 and the signal that ended it. */
int daemon_wait(struct fixture *fixture);

/* Unmount, and require a clean end. */
void daemon_stop(struct fixture *fixture);

/* Whether a FUSE filesystem is on MNT. */
bool daemon_is_mounted(void);

/* Whether the daemon wrote `text` to its standard error. */
bool daemon_said(const char *text);

/*
 * How many descriptors and attachments of shared-memory objects it has.
 * The kernel tells it of a last close only after close(2) has returned, so
 * compare with eventually().
 */
unsigned daemon_holds_objects(const struct fixture *fixture);

/* A field of /proc/PID/status in its unit, e.g. "VmRSS:" in KiB. */
long daemon_status(const struct fixture *fixture, const char *field);

/* The limits of the IPC namespace: "shmmax", "shmall", "shmmni". */
void limit_set(const char *name, unsigned long long value);

/* Give the tmpfs on /dev/shm another size, such as "1M". */
void native_resize(const char *size);

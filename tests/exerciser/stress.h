/* SPDX-License-Identifier: MIT */
/*
 * The stress test: many processes at the same few names, through the mount and
 * past it, all at a time.
 *
 *   stress.c   the command line, the processes, the watchdog, what is left
 *   chaos.c    names that all create, write, resize, rename and remove
 *   lasting.c  objects that stay, whose bytes must never be lost
 *
 * How readers know a wrong byte from one that another process has just
 * written: each object has a number, drawn by who makes it, that goes with it
 * through renames and resizes: its group.  A byte is either 0 or what stamp()
 * says of that number and its offset, whoever wrote it, and however two writes
 * fall over each other.  Bytes of another object, of the one that had the name
 * before, or from another offset do not fit.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	KEYS = 4, /* of each kind */
	LASTING = 2,
	WORKERS = 16,
	SLICE = 4096,
	/* Lasting objects are never shorter: each worker has a slice of each. */
	BASE = WORKERS * SLICE,
	MOST = 4 * BASE,
};

enum { POSIX, SYSV };

struct worker {
	atomic_ulong done;
	char doing[96];
	uint32_t written[2][LASTING]; /* what its slices are stamped with */
};

struct stress {
	const char *mount;
	bool passthrough;
	struct worker *workers; /* shared by all processes */
	struct worker *self;
	int number;
	uint64_t random;
};

extern struct stress stress;

uint32_t random_below(uint32_t limit);
/* Says what differs, with what was being done, and ends the process. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Note what is being done. */
void doing(const char *format, ...) __attribute__((format(printf, 1, 2)));
/*
 * Was the call a success?  If not, errno must be one of `codes`, which ends
 * with 0: what other processes can make of it.
 */
bool succeeds(int64_t result, const int *codes);
#define may_fail(result, ...) succeeds((result), (const int[]){ __VA_ARGS__, 0 })

/* `count` bytes of object `number` from `offset` on, or at `bytes`, are those? */
void stamp(char *bytes, uint32_t number, uint64_t offset, size_t count);
bool is_stamped(const char *bytes, uint32_t number, uint64_t offset, size_t count, bool or_zero);

/* A path in the mount; names from KEYS on are those of the lasting objects. */
const char *path_of(int kind, int name);
const char *object_name(int name);
key_t key_of(int name);

/* What is made from here on gets this number. */
void take_number(uint32_t number);

/* Run read(arg) of mapped memory; false: it was not there any more. */
bool survives(void (*touch)(void *), void *arg);

/* One step of each kind. */
void chaos(void);
void lasting(void);

void lasting_create(void);
/* From the outside, when all is over: every slice as it was written last. */
void lasting_check(void);

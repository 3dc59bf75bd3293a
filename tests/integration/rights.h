/* SPDX-License-Identifier: MIT */
/*
 * One user, one file or segment, one operation, done twice: by the calls that
 * every program without the filesystem has, and on the mount.  Who does it is
 * a process with that user's credentials for good (the actor), in the same
 * namespaces; who prepares it and puts it back is the test.
 */
#pragma once

#include <stdbool.h>
#include <sys/ipc.h>
#include <sys/types.h>

#include "command.h"

/* What an operation is about. */
struct target {
	bool is_segment;
	key_t key;
	int id;		     /* of the segment; -1 in a target reached by its key */
	char path[64];	     /* on the mount */
	char native[64];     /* in /dev/shm; of an object */
	char unused[64];     /* a name beside `path` that nothing has */
	char unused_too[64]; /* and one beside `native` */
	const struct user *actor;
};

/* What becomes of the target when the operation succeeds. */
enum effect {
	LEAVES,	  /* nothing */
	CHANGES,  /* the same natively as on the mount */
	REPLACES, /* something that is only much the same */
};

struct operation {
	const char *name;
	/* Do it to a file; `unused` is free.  Returns 0 or an errno. */
	int (*to_file)(const char *path, const char *unused, const struct user *actor, int arg);
	/* What a program does instead to a segment; NULL: there is no such call. */
	int (*to_segment)(const struct target *, int segment_arg);
	int arg, segment_arg;
	enum effect effect;
	enum { ANYWHERE, NOT_BY_ID, OF_SEGMENTS } where;
};

extern const struct operation rights_operations[];
extern const size_t rights_operation_count;

/* --- the actor --- */

struct actor {
	pid_t pid;
	int to, from; /* pipes */
};

/* Start a process that is `user`; `powerless`: without any capability. */
struct actor actor_start(const struct user *user, bool powerless);
void actor_stop(const struct actor *);
/* Have it do the operation.  Returns 0 or an errno. */
int actor_do(const struct actor *, const struct operation *, const struct target *, bool mounted);

/* SPDX-License-Identifier: MIT */
/*
 * One user, all modes, all operations of rights.h, and all that the user can
 * be to a segment or an object: what is allowed on the mount against what is
 * allowed without it.
 */
#pragma once

#include <stdbool.h>

#include "command.h"

/* What the user is to the target, and nothing else. */
enum relation {
	OWNER,
	NEW_OWNER, /* whom the creator gave it to */
	CREATOR,   /* who gave it away */
	CREATORS_GROUP,
	CREATORS_SUPPLEMENTARY, /* the same, but a supplementary group of the user */
	GROUP,
	SUPPLEMENTARY,
	OTHER,
	RELATIONS
};

#define ONLY(relation) (1U << (relation))
#define CREATORS_GROUPS (ONLY(CREATORS_GROUP) | ONLY(CREATORS_SUPPLEMENTARY))
#define ALL_RELATIONS (ONLY(RELATIONS) - 1)

/*
 * Cells that are known to differ, and why.  Each of the operations has to
 * differ like this in some mode for each of the relations, and any cell may.
 */
struct difference {
	const char *why; /* NULL ends a list */
	unsigned relations;
	int native, mounted; /* errno, or 0 where it is allowed */
	const char *operations[16];
	bool (*holds)(void); /* on this host; NULL: everywhere */
};

/* Whose rights, and what is known of them. */
struct rights_case {
	const struct user *user;
	bool powerless; /* without capabilities */
	unsigned relations;
	const struct difference *known;
};

/* Fail with a line for each cell that differs and is not known, and the other way round. */
void rights_try_segments(const struct rights_case *);
void rights_try_objects(const struct rights_case *);

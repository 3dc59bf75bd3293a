/* SPDX-License-Identifier: MIT */
/*
 * How fast is a file of the mount, compared with the memory itself?
 *
 * A task (a row of the table) is done in every place (a column).  Each round
 * does it for a moment directly and then for a moment in the other place, so
 * that whatever slows the machine down for a while slows both.  What is
 * printed comes from the rounds' medians.
 *
 *   bench.c      the rows, the rounds, the order of it all
 *   objects.c    the shared memory that is measured on
 *   transfers.c  tasks: bytes to and from it
 *   calls.c      tasks: stat, open, create
 *   commands.c   tasks: ls, cp
 *   callers.c    single calls of one process, of many, and among many segments
 *   least.c      the limit: a filesystem that does nothing but answer
 *   table.c      medians, and the table
 *   machine.c    what may have spoilt the figures
 *
 * The program takes the namespaces and mounts that run.sh makes for granted
 * and leaves it to run.sh to clean up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum {
	PATH_SIZE = 256,
	BIG_SIZE = 64 << 20,   /* bytes of the object that transfers go to and from */
	SMALL_OBJECTS = 16,    /* that calls go to in turn */
	SMALL_SIZE = 4096,     /* bytes of one of them */
	LISTED_OBJECTS = 4000, /* that are listed */
	NEW_OBJECT = 9999,     /* the number of what tasks make and remove themselves */
	MAX_ROUNDS = 7,
	MAX_ROWS = 32,
};

/* --- places --- */

enum kind { POSIX_OBJECT, SYSV_SEGMENT, KINDS };

/* The columns.  The first two are direct access, one for each kind. */
enum {
	TMPFS,
	SHMAT,
	BOUND_POSIX,
	BOUND_SYSV,
	SERVED_POSIX,
	SERVED_SYSV,
	BINDFS_COLD,
	BINDFS,
	LEAST, /* least.c: the limit */
	PLACES
};

struct place {
	const char *title;
	const char *dir; /* borrowed; NULL: no files, but shmget(2) and shmat(2) */
	enum kind kind;
	bool left_out;
	bool cold; /* what the kernel has cached of it is dropped before each round */
};

/* --- tasks --- */

struct session;

enum unit {
	GIB_PER_S, /* these two: ratios to direct access */
	NANOSECONDS,
	MICROSECONDS, /* these two: times */
	MILLISECONDS,
};

struct task {
	const char *label;
	const char *program; /* direct access to a list, or NULL */
	enum unit unit;
	unsigned rounds;
	unsigned slice_ms; /* of one round in one place; 0: one step */
	unsigned per_step; /* operations in a step */
	unsigned pause_ms; /* before each round */
	unsigned kinds;	   /* 1 << kind, or 0 for both */
	unsigned left_out; /* 1 << place */
	size_t block;	   /* bytes of an operation */
	int open_flags;
	bool random;	   /* blocks in random order */
	bool beside_tmpfs; /* SysV places too are compared with TMPFS, not SHMAT */

	/* What the task is done with; all return 0 or a negative errno. */
	int (*prepare)(const struct task *task);
	void (*clean)(const struct task *task);
	/* One place of it.  If begin() fails there is nothing to end. */
	int (*begin)(struct session *session);
	void (*before)(struct session *session); /* a round, untimed; may be NULL */
	int (*step)(struct session *session);
	void (*end)(struct session *session); /* may be NULL */
};

/* A task under way in a place. */
struct session {
	const struct task *task;
	const struct place *place;
	bool begun;
	int fd;	   /* owned, or -1 */
	char *mem; /* owned; the object itself, or NULL */
	char *buf; /* owned, or NULL; where bytes come from and go to */
	size_t at;
	uint64_t random;
	unsigned next;
	char path[SMALL_OBJECTS][PATH_SIZE];
};

extern const struct task transfer_tasks[], call_tasks[], command_tasks[];
extern const unsigned transfer_task_count, call_task_count, command_task_count;

uint64_t now_ns(void);
/* What a task in a place is compared with. */
unsigned direct_place(const struct task *task, const struct place *place);

/* --- objects.c: numbered objects, made and removed without any filesystem --- */

key_t object_key(int number);
void object_path(char path[PATH_SIZE], const struct place *place, int number);
int object_make(enum kind kind, int number, size_t size);
int objects_make(enum kind kind, int count, size_t size);
/* Those that are there. */
void objects_remove(enum kind kind, int count);
void object_remove(enum kind kind, int number);
/* Its memory, every page present; NULL and errno. */
char *object_map(enum kind kind, int number, size_t size);
void object_unmap(enum kind kind, char *mem, size_t size);

/* --- callers.c --- */

void callers_measure(const struct place places[PLACES]);
void growth_measure(const struct place *place);

/* --- table.c --- */

/* What the rounds of one task found in one place: nanoseconds an operation. */
struct figures {
	int error, direct_error; /* 0 or a negative errno */
	unsigned rounds;
	double here[MAX_ROUNDS], direct[MAX_ROUNDS];
};

struct table;

struct table *table_new(const struct place places[PLACES]);
void table_add(struct table *table, const struct task *task, const struct figures figures[PLACES]);
void table_print(const struct table *table, FILE *out);
/* How much direct access varied, as a part of itself: the median over the rows. */
double table_unrest(const struct table *table);
void table_free(struct table *table);

/* --- machine.c --- */

struct machine {
	double load;		    /* runnable processes of the last minute */
	uint64_t all, busy, stolen; /* ticks of all CPUs since the start */
	uint64_t own;		    /* busy ones of this benchmark */
	uint64_t swapped;	    /* pages */
};

void machine_look(struct machine *machine);
/* A list of what may have spoilt the figures. */
void machine_report(const struct machine *before, double unrest, FILE *out);
uint64_t machine_available(void); /* bytes of memory */

/* SPDX-License-Identifier: MIT */
/*
 * Between the files that make snapshots, from the bottom up:
 *
 *   users_reading.c   what reading a process is made of
 *   users_process.c   reads one process
 *   users_scan.c      goes through all, in a process of its own
 *   users_mounts.c    finds other mounts of shmfs
 *   users.c           keeps and shares snapshots
 *   users_answers.c   what they say
 */
#ifndef SHMFS_USERS_INTERNAL_H
#define SHMFS_USERS_INTERNAL_H

#include <stdatomic.h>

#include "shmfs/users.h"

/* Huge pages have sizes from 64 KiB to 16 GiB, and a filesystem for each. */
#define HUGE_SHIFT_MIN 16
#define HUGE_SHIFT_MAX 34
#define SEGMENT_DEVICES (2 + HUGE_SHIFT_MAX - HUGE_SHIFT_MIN)

/* Bounds of one snapshot.  A process that does not fit counts as not seen. */
#define USES_MAX ((size_t)1 << 19)
#define PROCESSES_MAX ((size_t)1 << 16)
#define NAMES_MAX ((size_t)8 << 20)

/* Room for the longest line of /proc/PID/maps: a path of PATH_MAX, each byte as "\ooo". */
#define USERS_BUFFER ((size_t)20 << 10)
#define USERS_NAMESPACE 32
#define USERS_SLOTS 1024
#define USERS_MOUNTS 16

/* What is looked for, and where. */
struct users_scope {
	const char *proc_dir; /* borrowed */
	dev_t objects;
	dev_t mount;		    /* ours; 0: not known yet */
	dev_t mounts[USERS_MOUNTS]; /* of shmfs that show the same memory, ours included */
	size_t nmounts;
	unsigned segment_number;
	unsigned object_number;
	dev_t segments[SEGMENT_DEVICES];
	size_t nsegments;
	const pid_t *pids; /* borrowed; sorted */
	size_t npids;
	pid_t self; /* the daemon, as `proc_dir` counts processes */
};

/* The snapshot while it is made: memory that both processes share. */
struct users_sheet {
	atomic_size_t at;  /* index in `pids` of the process that is being read */
	atomic_uint ticks; /* moves as long as the reading goes on */
	int error;	   /* what users_scan() returned */
	/* Of the processes before `at`. */
	size_t nuses;
	size_t nprocesses;
	size_t names_used;
	size_t nunread; /* processes that could not be read, or not to their end */
	struct shmfs_use uses[USES_MAX];
	struct shmfs_process processes[PROCESSES_MAX];
	char names[NAMES_MAX];
};

/* Find the mounts for a scope that has ours. */
void users_find_mounts(struct users_scope *);

/*
 * Read the processes from sheet->at on.  Allocates nothing: it runs in the
 * child of a process with threads.  Returns 0, or a negative errno that says
 * nothing of a process: -EMFILE, -ENFILE, -ENOMEM, or what opening `proc_dir`
 * failed with.
 */
int users_scan(const struct users_scope *, struct users_sheet *);

/* The order of the uses of a snapshot. */
static inline int users_compare_files(const struct shmfs_file_id *a, const struct shmfs_file_id *b)
{
	if (a->dev != b->dev)
		return a->dev > b->dev ? 1 : -1;
	return (a->ino > b->ino) - (a->ino < b->ino);
}

/* --- for one process: users_reading.c --- */

/* One pass. */
struct users_pass {
	const struct users_scope *scope;
	struct users_sheet *sheet;
	int proc;		   /* owned */
	uint64_t budget;	   /* processor time that is left, ns */
	char ipc[USERS_NAMESPACE]; /* our namespace, as /proc names it */
	char buffer[USERS_BUFFER];
};

/* A process that is being read. */
struct users_reading {
	struct users_pass *pass;
	int dir; /* owned; /proc/PID, or a thread's directory below it */
	pid_t pid;
	uint64_t started; /* processor time */
	enum { IPC_UNKNOWN, IPC_OURS, IPC_OTHER } ipc;
	bool has_thread;   /* one was read instead of the process */
	bool cut;	   /* there is no room, or no time, for more of it */
	size_t nuses;	   /* in the sheet, this process's included */
	size_t names_used; /* likewise */
	/* By hash of a file: the index of a use, plus 1. */
	unsigned slots[USERS_SLOTS];
};

/* What a process may take without being charged for it, of processor time. */
#define USERS_USUAL_NS 1000000u
uint64_t users_cpu_time(void);
/* The reading goes on: tell the daemon, and set `cut` if it takes too long. */
void users_tick(struct users_reading *);
/* Keep a copy of a name; its offset, or 0, where an empty name is. */
uint32_t users_keep_name(struct users_reading *, const char *name, size_t len);
/* The IPC namespace of a process; "" where the kernel has none or does not say. */
void users_read_namespace(int process, char name[static USERS_NAMESPACE]);
typedef void users_entry_fn(struct users_reading *, int dir, const char *name);
/* Call `fn` for every number in a directory of the process. */
int users_each_number(struct users_reading *, const char *name, users_entry_fn *fn);

/* --- users_process.c --- */

/*
 * Keep what `dir` shows as mapped and open.  -ESRCH when there are no mappings
 * at all: no process of a user, or a thread that has ended.
 */
int users_read_files(struct users_reading *);

#endif

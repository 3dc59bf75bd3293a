/* SPDX-License-Identifier: MIT */
/* What the threads of the request loop share. */
#pragma once

#include <sched.h>
#include <semaphore.h>

#include "fuse/internal.h"

/* --- aside.c: requests that wait until their user has a thread again; loop.lock guards them --- */

/* The user of requests that the kernel makes by itself, as when a file was closed. */
#define SHMFS_NOBODY UINT32_MAX

struct shmfs_aside {
	struct shmfs_aside *next; /* owned */
	uint64_t request[];	  /* its header comes first */
};

/* Whose share of the threads a request takes. */
uint32_t shmfs_aside_user(const struct fuse_in_header *);

/* Add a copy of a request.  Returns 0, -ENOMEM, or -EBUSY: its user has too many here. */
int shmfs_aside_put(struct shmfs_aside **list, const struct fuse_in_header *);

/* Take the first whose user `may` be served, to be freed; or NULL. */
struct shmfs_aside *shmfs_aside_take(struct shmfs_aside **list,
				     bool (*may)(const void *arg, uint32_t uid), const void *arg);

/* --- loop.c, worker.c --- */

/* With a page for its header (fs/fuse/dev.c, fuse_dev_do_read()). */
#define SHMFS_MAX_REQUEST (MAX_TRANSFER + 4096)
/* Requests that are served at once. */
#define SHMFS_MAX_THREADS 32
/* How often the main thread looks after the reader while requests come. */
#define SHMFS_TICK_NS 2000000

struct worker {
	struct loop *loop; /* borrowed */
	bool has_turn;	   /* its own: it need not wait to read */
	bool waits;	   /* its own: for the RELEASE of its node */
	bool is_serving;
	uint32_t uid;			/* whom it serves */
	uint64_t releasing;		/* the node of the RELEASE that it serves, or 0 */
	struct fuse_in_header *request; /* owned; of SHMFS_MAX_REQUEST bytes */
	pthread_t id;
	pid_t tid; /* 0: not known yet */
};

struct loop {
	struct shmfs_fs *fs; /* borrowed */
	int fd;		     /* borrowed; /dev/fuse */
	int timer_fd;	     /* owned; wakes the main thread */
	int max_threads;

	sem_t turn; /* of reading: 1 while `reader` is NULL */

	pthread_mutex_t lock;	 /* guards all below */
	pthread_cond_t released; /* a RELEASE has been served */
	bool stopped;		 /* no more requests are read */
	int error;
	struct worker
		*reader; /* reads the next request, is about to, or serves and keeps its turn */
	int waiting;	 /* threads that wait for their turn */
	int releases;	 /* that are being served */
	int nthreads;	 /* that were made; none ends before the loop */
	struct worker workers[SHMFS_MAX_THREADS];
	struct shmfs_aside *aside; /* owned; in the order in which they came */

	/* See follow.c. */
	bool is_watched;   /* the main thread looks every few ms */
	unsigned nread;	   /* requests that were read */
	unsigned nlooked;  /* of them, at the last look */
	pid_t caller;	   /* of the last request */
	uint64_t asked_at; /* when that came; CLOCK_MONOTONIC, ns */
	int in_a_row;	   /* requests of that caller; not above 0: several ask at once */
};

/* Make a thread that serves until the loop is stopped.  loop->lock is held. */
int shmfs_worker_add(struct loop *);
/* Let another thread read: `turn` is to be posted.  loop->lock is held. */
void shmfs_worker_pass_turn(struct loop *);
/* Have the main thread look after so many nanoseconds. */
void shmfs_worker_set_timer(struct loop *, long ns);
/* Read no more.  What is being served, and what waits for that, is finished. */
void shmfs_worker_stop_all(struct loop *, int error);
/* A request came.  Returns whether its caller alone asks.  loop->lock is held. */
bool shmfs_worker_note(struct loop *, pid_t caller, uint64_t now);

/* --- follow.c --- */

/* What the main thread knows. */
struct shmfs_follow {
	bool useful;	       /* threads can be put beside callers and back */
	cpu_set_t allowed;     /* the processors that the daemon was given */
	struct worker *placed; /* beside a caller, on `cpu` */
	int cpu;
	uint64_t not_placed_until; /* CLOCK_MONOTONIC, ns */
};

void shmfs_follow_init(struct shmfs_follow *);

/* Look after the reader, and again after SHMFS_TICK_NS if requests come. */
void shmfs_follow_tick(struct shmfs_follow *, struct loop *);

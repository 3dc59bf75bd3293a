/* SPDX-License-Identifier: MIT */
/*
 * The threads of the request loop, and which of them read: all, or one alone.
 * loop->lock is held by whoever calls the functions, but for shmfs_threads_stop().
 */
#ifndef SHMFS_FUSE_THREADS_H
#define SHMFS_FUSE_THREADS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/aside.h"
#include "fuse/follow.h"
#include "fuse/internal.h"

/* With a page for its header (fs/fuse/dev.c, fuse_dev_do_read()). */
#define SHMFS_MAX_REQUEST (MAX_TRANSFER + 4096)
/* Requests that are served at once. */
#define SHMFS_MAX_THREADS 32
/* Makes read(2) on the device return; elsewhere it is ignored. */
#define SHMFS_WAKE_SIGNAL SIGURG

enum worker_state {
	FREE, /* no thread */
	IDLE, /* reads or is about to */
	SERVING,
	ENDED, /* to be joined */
};

struct worker {
	struct loop *loop; /* borrowed */
	enum worker_state state;
	uint32_t uid;	    /* whom it serves */
	uint64_t releasing; /* the node of the RELEASE that it serves, or 0 */
	atomic_bool beside; /* it is beside a caller: follow.h */
	bool fast;	    /* its last request came soon after the one before; its own */
	char *buffer;	    /* owned; of SHMFS_MAX_REQUEST bytes */
	pthread_t id;
	pid_t tid;
};

struct loop {
	struct fuse_session *session; /* borrowed */
	int fd;			      /* borrowed; /dev/fuse */
	int event_fd;		      /* owned; wakes the main thread */
	int max_threads;
	void *(*work)(void *); /* what a thread does; its argument is its worker */
	atomic_bool quiet;     /* processors sleep */

	pthread_mutex_t read_lock; /* held while a request is read and entered, before `lock` */
	pthread_mutex_t lock;	   /* guards all below */
	pthread_cond_t changed;	   /* `single` or `stopped` */
	pthread_cond_t released;   /* a RELEASE has been served */
	bool stopped;		   /* no more requests are read */
	int error;
	bool single;		/* workers[0] alone reads */
	uint64_t break_until;	/* until then it is not beside a caller; CLOCK_MONOTONIC, ns */
	uint64_t break_ns;	/* how long the next break is */
	uint64_t busy_at;	/* when processors were last seen at work; CLOCK_MONOTONIC, ns */
	unsigned served;	/* by workers[0] */
	int releases;		/* that are being served */
	int readers;		/* idle threads without workers[0] */
	uint64_t all_needed_at; /* when there were none; CLOCK_MONOTONIC, ns */
	struct worker workers[1 + SHMFS_MAX_THREADS];
	struct shmfs_aside *aside; /* owned; in the order in which they came */
	struct shmfs_follow follow;
};

static inline bool is_single(const struct worker *worker)
{
	return worker == worker->loop->workers;
}

/* Make workers[0], which reads when it reads alone.  Without it all read always. */
void shmfs_threads_add_single(struct loop *);
/* Make one of the others.  Where that fails those that are there go on alone. */
void shmfs_threads_add(struct loop *);

/* Make idle threads return from read(2).  One on its way there can miss it.  False: none is idle. */
bool shmfs_threads_wake_all(struct loop *);

void shmfs_threads_begin_single(struct loop *);
void shmfs_threads_end_single(struct loop *);
/* workers[0] is no longer beside a caller. */
void shmfs_threads_leave(struct loop *);
/* It does not get a processor there.  The more often that was so, the longer it stays away. */
void shmfs_threads_take_break(struct loop *);

/* Read no more.  What is being served, and what waits for that, is finished. */
void shmfs_threads_stop(struct loop *, int error);

#endif

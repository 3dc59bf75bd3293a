/* SPDX-License-Identifier: MIT */
/* A session that runs in threads, and requests of it that wait at a gate. */
#pragma once

#include <semaphore.h>

#include "fuse/loop.h"
#include "kernel.h"

#define ROOT SHMFS_DIR_ROOT
#define LOOP_TEST(function) cmocka_unit_test_setup_teardown(function, loop_setup, loop_teardown)

/* Longer than anything takes that is not stuck, in ms. */
#define LONG_TIME 10000
/* Long enough for an answer that is not to come, in ms. */
#define A_WHILE 50

struct fixture {
	struct kernel *k;
	struct kernel_file file;
	int signal_fd; /* owned */
	bool single_thread;
	pthread_t thread;
	int result;

	enum memory_slot slot; /* whose calls wait */
	sem_t arrived;	       /* one has come */
	sem_t gate;	       /* one may go on */
	sem_t stuck;	       /* and one that asks for attributes of the file */
};

int loop_setup(void **state);
int loop_teardown(void **state);
/* Run the loop.  Calls of this slot wait. */
void loop_start(struct fixture *, enum memory_slot);
void loop_await_end(struct fixture *, int result);
/* End it by a signal. */
void loop_stop(struct fixture *);

/* Requests.  Each returns its number, several the sum of theirs. */
uint64_t post(struct fixture *, uint32_t opcode, uint64_t node, const void *in, size_t len);
uint64_t post_getattr(struct fixture *);
uint64_t post_fallocate(struct fixture *);
uint64_t post_fallocates(struct fixture *, int count);

/* The number of the request that is answered next; 0: none is for that long. */
uint64_t answered(const struct fixture *, int timeout_ms);
/* The sum of the numbers of the next `count` answers. */
uint64_t sum_answered(const struct fixture *, int count);

/* At the gate. */
void await_arrivals(struct fixture *, int count);
void let_through(struct fixture *, int count);

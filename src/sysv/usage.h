/* SPDX-License-Identifier: MIT */
/* How much memory segments take. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct sysv_segment;

/* Bytes of one segment. */
struct sysv_usage_row {
	int id;
	uint64_t size;
	uint64_t resident;
	uint64_t swapped;
};

struct sysv_usage_table {
	uint64_t read_at;	     /* CLOCK_MONOTONIC, nanoseconds; 0: too old for any answer */
	time_t second;		     /* in which reading began */
	uint64_t cost;		     /* nanoseconds of processor time that reading took */
	uint64_t resident, swapped;  /* of all rows, as read */
	bool was_touched;	     /* the two numbers of a row are not exact any more */
	struct sysv_usage_row *rows; /* owned; sorted by id */
	size_t count, capacity;
};

struct sysv_usage {
	int fd;		       /* owned: /proc/sysvipc/shm */
	pthread_mutex_t *lock; /* borrowed; guards all below; not held while the table is read */
	struct sysv_usage_table table;
	pthread_t reader; /* reads the next table, or has read it */
	bool has_reader;
	bool is_reading;	 /* a thread has begun to read the table */
	pthread_cond_t was_read; /* and has ended */
};

int sysv_usage_init(struct sysv_usage *, const char *proc_dir, pthread_mutex_t *lock);
void sysv_usage_destroy(struct sysv_usage *);
/*
 * Resident and swapped bytes of segment `id`, perhaps of a moment ago.  0: it is unknown.
 * `changed`: nobody has changed it since.
 */
uint64_t sysv_usage_of(struct sysv_usage *, int id, time_t changed);
/* Both numbers as they are now.  -ENODATA: there is no such segment. */
int sysv_usage_find(struct sysv_usage *, int id, struct sysv_usage_row *);
/* The size whose lower half is `low_bits`, or that half if the table does not have the segment. */
uint64_t sysv_usage_size(struct sysv_usage *, int id, uint32_t low_bits);
/* Resident bytes of a segment that is open, as they are now. */
uint64_t sysv_segment_resident(struct sysv_segment *);
/* The segment's memory was just changed through us. */
void sysv_usage_touched(struct sysv_segment *);

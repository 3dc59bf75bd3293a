/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of segments.
 *
 * shmctl(2) tells everything about one segment but how much of it is in memory.
 * Only the table of all segments in /proc/sysvipc/shm does, at some
 * microseconds a row.  A stat(2) must not cost more the more segments there are.
 * So the table is kept, and read again when it is older than ten times what
 * reading it took: at most a tenth of the time goes into it.  Where reading is
 * slow a stat(2) does not wait for it: the answer is of the last table, and a
 * thread reads the next one.
 *
 * An open segment's memory is what its descriptor says, exactly.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmfs/cleanup.h"
#include "shmfs/clock.h"

/* How old the table may be, in times of what reading it took. */
#define BLOCKS_AGE 10
#define BYTES_AGE 1
/* From here on reading is slow: some 200 segments. */
#define SLOW_NS 200000

/* One pass over the table. */
struct pass {
	struct sysv_usage_table table;
	shmfs_sysv_row_fn *fn; /* is shown the rows as well; NULL: nobody is */
	void *arg;
};

static int add_row(struct sysv_usage_table *table, const struct shmfs_sysv_row *row)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 64;
		struct sysv_usage_row *rows = reallocarray(table->rows, capacity, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		table->rows = rows;
		table->capacity = capacity;
	}
	table->rows[table->count++] = (struct sysv_usage_row){ .id = row->id,
							       .resident = row->resident,
							       .swapped = row->swapped };
	return 0;
}

static int take_row(const struct shmfs_sysv_row *row, void *arg)
{
	struct pass *pass = arg;
	int err = add_row(&pass->table, row);

	return err || !pass->fn ? err : pass->fn(row, pass->arg);
}

static int compare_rows(const void *a, const void *b)
{
	int x = ((const struct sysv_usage_row *)a)->id;
	int y = ((const struct sysv_usage_row *)b)->id;

	return (x > y) - (x < y);
}

/* Of this thread, in nanoseconds: what it waits for others does not count. */
static uint64_t cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Read the table as it is now, and keep it if it is whole. */
static int read_table(struct sysv_usage *usage, shmfs_sysv_row_fn *fn, void *arg)
{
	struct pass pass = { .fn = fn, .arg = arg };
	SHMFS_AUTO_FD int fd = open(usage->path, O_RDONLY | O_CLOEXEC);
	uint64_t start = cpu_time();
	int err = fd < 0 ? -errno : shmfs_sysv_table_read(fd, take_row, &pass);

	if (!err) {
		struct sysv_usage_table before;

		if (pass.table.count > 0)
			qsort(pass.table.rows, pass.table.count, sizeof(*pass.table.rows),
			      compare_rows);
		pass.table.read_at = shmfs_now_ns();
		pass.table.cost = cpu_time() - start;
		SHMFS_LOCKED(&usage->lock);
		before = usage->table;
		usage->table = pass.table;
		pass.table = before;
	}
	free(pass.table.rows);
	return err;
}

static void *read_beside(void *arg)
{
	struct sysv_usage *usage = arg;

	read_table(usage, NULL, NULL);
	SHMFS_LOCKED(&usage->lock);
	usage->is_reading = false;
	return NULL;
}

/* Let a thread read the table.  The lock is held. */
static void read_later(struct sysv_usage *usage)
{
	if (usage->is_reading)
		return;
	if (usage->has_reader)
		pthread_join(usage->reader, NULL);
	usage->is_reading = pthread_create(&usage->reader, NULL, read_beside, usage) == 0;
	usage->has_reader = usage->is_reading;
}

/* Is the table to be read before it answers?  It may be as old as `age` times its cost. */
static bool is_too_old(struct sysv_usage *usage, unsigned age)
{
	const struct sysv_usage_table *table = &usage->table;
	SHMFS_LOCKED(&usage->lock);
	bool is_slow = table->cost > SLOW_NS;

	if (table->read_at && shmfs_now_ns() - table->read_at < age * table->cost)
		return age == BYTES_AGE && !is_slow;
	if (age == BYTES_AGE || !is_slow)
		return true;
	read_later(usage);
	return false;
}

static struct sysv_usage_row *find_row(struct sysv_usage *usage, int id)
{
	const struct sysv_usage_row wanted = { .id = id };

	return usage->table.count == 0 ? NULL :
					 bsearch(&wanted, usage->table.rows, usage->table.count,
						 sizeof(wanted), compare_rows);
}

static int find(struct sysv_usage *usage, int id, unsigned age, struct sysv_usage_row *out)
{
	const struct sysv_usage_row *row;
	int err = is_too_old(usage, age) ? read_table(usage, NULL, NULL) : 0;

	if (err)
		return err;
	SHMFS_LOCKED(&usage->lock);
	row = find_row(usage, id);
	if (row)
		*out = *row;
	return row ? 0 : -ENODATA;
}

int sysv_usage_init(struct sysv_usage *usage, const char *proc_dir)
{
	*usage = (struct sysv_usage){ 0 };
	snprintf(usage->path, sizeof(usage->path), "%s/sysvipc/shm", proc_dir);
	if (access(usage->path, R_OK) != 0)
		return -errno;
	pthread_mutex_init(&usage->lock, NULL);
	return 0;
}

void sysv_usage_destroy(struct sysv_usage *usage)
{
	if (usage->has_reader)
		pthread_join(usage->reader, NULL);
	free(usage->table.rows);
	pthread_mutex_destroy(&usage->lock);
}

int sysv_usage_find(struct sysv_usage *usage, int id, struct sysv_usage_row *row)
{
	return find(usage, id, BYTES_AGE, row);
}

uint64_t sysv_usage_of(struct sysv_usage *usage, int id)
{
	struct sysv_usage_row row;

	return find(usage, id, BLOCKS_AGE, &row) == 0 ? row.resident + row.swapped : 0;
}

uint64_t sysv_segment_resident(struct sysv_segment *segment)
{
	struct sysv_usage_row row;
	struct stat st;

	if (segment->fd >= 0)
		return fstat(segment->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	sysv_usage_touched(segment);
	return sysv_usage_find(&segment->backend->usage, segment->id, &row) ?
		       0 :
		       row.resident + row.swapped;
}

void sysv_usage_touched(struct sysv_segment *segment)
{
	struct sysv_usage *usage = &segment->backend->usage;
	struct sysv_usage_row *row;
	struct stat st;
	bool is_open = segment->fd >= 0 && fstat(segment->fd, &st) == 0;

	SHMFS_LOCKED(&usage->lock);
	row = is_open ? find_row(usage, segment->id) : NULL;
	if (row)
		*row = (struct sysv_usage_row){ segment->id, (uint64_t)st.st_blocks * 512, 0 };
	else
		usage->table.read_at = 0;
}

int sysv_usage_each(struct sysv_usage *usage, shmfs_sysv_row_fn *fn, void *arg)
{
	return read_table(usage, fn, arg);
}

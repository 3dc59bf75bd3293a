/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of a segment.
 *
 * shmctl(2) tells everything about one segment but how much of it is in
 * memory; only the table of all segments in /proc/sysvipc/shm does, at about
 * a microsecond a row.  A stat(2) must not cost more the more segments there
 * are, so the table is read again only when the last reading is older than
 * ten times what it took: at most a tenth of the time goes into it, and
 * st_blocks is that little behind (0.4 ms with 50 segments).  An open file's
 * blocks come from its descriptor and are exact.  Who asks for nothing but this
 * has it read anew, or where that takes long, no older than it takes.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmfs/clock.h"

/* How old what was read may be, in times of what reading it took. */
#define BLOCKS_AGE 10
#define BYTES_AGE 1
/* From here on reading takes long: some 200 segments. */
#define SLOW_NS 200000

int sysv_usage_init(struct sysv_usage *usage, const char *proc_dir)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sysvipc/shm", proc_dir);
	*usage = (struct sysv_usage){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
	if (usage->fd < 0)
		return -errno;
	pthread_mutex_init(&usage->lock, NULL);
	return 0;
}

void sysv_usage_destroy(struct sysv_usage *usage)
{
	close(usage->fd);
	free(usage->rows);
	pthread_mutex_destroy(&usage->lock);
}

static int add_row(struct sysv_usage *usage, const struct shmfs_sysv_row *row)
{
	if (usage->count == usage->capacity) {
		size_t capacity = usage->capacity ? 2 * usage->capacity : 64;
		struct sysv_usage_row *rows = reallocarray(usage->rows, capacity, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		usage->rows = rows;
		usage->capacity = capacity;
	}
	usage->rows[usage->count++] = (struct sysv_usage_row){ .id = row->id,
							       .resident = row->resident,
							       .swapped = row->swapped };
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	int x = ((const struct sysv_usage_row *)a)->id;
	int y = ((const struct sysv_usage_row *)b)->id;

	return (x > y) - (x < y);
}

/* Who else is to see the rows; nobody where `fn` is NULL. */
struct pass {
	struct sysv_usage *usage;
	shmfs_sysv_row_fn *fn;
	void *arg;
};

static int take_row(const struct shmfs_sysv_row *row, void *arg)
{
	const struct pass *pass = arg;
	int err = add_row(pass->usage, row);

	return err || !pass->fn ? err : pass->fn(row, pass->arg);
}

/* Of this thread, in nanoseconds: what it waits for others does not count. */
static uint64_t cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* All of the table, or nothing of it is kept. */
static int read_table(struct sysv_usage *usage, shmfs_sysv_row_fn *fn, void *arg)
{
	struct pass pass = { .usage = usage, .fn = fn, .arg = arg };
	uint64_t start = cpu_time();
	int err;

	usage->count = 0;
	usage->read_at = 0;
	err = shmfs_sysv_table_read(usage->fd, take_row, &pass);
	if (err) {
		usage->count = 0;
		return err;
	}
	if (usage->count > 0)
		qsort(usage->rows, usage->count, sizeof(*usage->rows), compare_rows);
	usage->read_at = shmfs_now_ns();
	usage->cost = cpu_time() - start;
	return 0;
}

static bool is_fresh(const struct sysv_usage *usage, unsigned age)
{
	return usage->read_at && shmfs_now_ns() - usage->read_at < age * usage->cost;
}

static int find(struct sysv_usage *usage, int id, unsigned age, struct sysv_usage_row *out)
{
	const struct sysv_usage_row wanted = { .id = id };
	const struct sysv_usage_row *row = NULL;
	int err = 0;

	pthread_mutex_lock(&usage->lock);
	if (!is_fresh(usage, age))
		err = read_table(usage, NULL, NULL);
	if (usage->count > 0)
		row = bsearch(&wanted, usage->rows, usage->count, sizeof(wanted), compare_rows);
	if (row)
		*out = *row;
	else if (!err)
		err = -ENODATA;
	pthread_mutex_unlock(&usage->lock);
	return err;
}

bool sysv_usage_is_slow(struct sysv_usage *usage)
{
	bool slow;

	pthread_mutex_lock(&usage->lock);
	slow = usage->cost > SLOW_NS;
	pthread_mutex_unlock(&usage->lock);
	return slow;
}

int sysv_usage_find(struct sysv_usage *usage, int id, struct sysv_usage_row *row)
{
	return find(usage, id, sysv_usage_is_slow(usage) ? BYTES_AGE : 0, row);
}

uint64_t sysv_usage_of(struct sysv_usage *usage, int id)
{
	struct sysv_usage_row row;

	return find(usage, id, BLOCKS_AGE, &row) == 0 ? row.resident + row.swapped : 0;
}

uint64_t sysv_segment_resident(struct sysv_segment *segment)
{
	struct sysv_usage *usage = &segment->backend->usage;
	struct stat st;

	if (segment->fd >= 0)
		return fstat(segment->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	sysv_usage_stale(usage);
	return sysv_usage_of(usage, segment->id);
}

void sysv_usage_stale(struct sysv_usage *usage)
{
	pthread_mutex_lock(&usage->lock);
	usage->read_at = 0;
	pthread_mutex_unlock(&usage->lock);
}

int sysv_usage_each(struct sysv_usage *usage, shmfs_sysv_row_fn *fn, void *arg)
{
	int err;

	pthread_mutex_lock(&usage->lock);
	err = read_table(usage, fn, arg);
	pthread_mutex_unlock(&usage->lock);
	return err;
}

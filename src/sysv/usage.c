/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of segments.
 *
 * The descriptor of an open segment tells how much of it is in memory.  Of the others only
 * /proc/sysvipc/shm does, a text with a line for each segment, which the kernel writes from the
 * beginning for every reader (fs/seq_file.c, traverse()).  A stat(2) must not cost more the more
 * segments there are.  So the table is kept, and read again when it is older than ten times what
 * reading it took, unless nobody can have changed the segment since.  Where reading takes long a
 * stat(2) does not wait for it: the answer comes from the last table, and a thread reads the next
 * one.
 *
 * An attribute tells of this moment.  shmctl(SHM_INFO) counts the pages of all segments in a
 * twentieth of the time.  While they are as many as in the table, the table is true.
 */
#include "sysv/internal.h"

#include <sched.h>

/* How old the table may be, in times of what reading it took; a stat(2) takes 10 us and more. */
#define AGE 10
#define LEAST_COST_NS 10000
/* From here on reading takes long: some 50 segments. */
#define SLOW_NS 200000
/* After so few bytes the kernel had room for one more line (fs/seq_file.c, seq_read_iter()). */
#define WITH_ROOM 2048

/*
 * The columns that count: key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime
 * rss swap (ipc/shm.c, sysvipc_shm_proc_show(), Linux 2.6.34 and newer).
 */
enum { SHMID = 1, SIZE = 3, RSS = 14, SWAP = 15, COLUMNS };

static bool parse_row(const char *line, struct sysv_usage_row *row)
{
	unsigned long long columns[COLUMNS];

	for (int i = 0; i < COLUMNS; i++) {
		char *end;

		columns[i] = strtoull(line, &end, 10);
		if (end == line)
			return false;
		line = end;
	}
	*row = (struct sysv_usage_row){ (int)columns[SHMID], columns[SIZE], columns[RSS],
					columns[SWAP] };
	return true;
}

static int compare_rows(const void *a, const void *b)
{
	int x = ((const struct sysv_usage_row *)a)->id;
	int y = ((const struct sysv_usage_row *)b)->id;

	return (x > y) - (x < y);
}

static int add_row(struct sysv_usage_table *table, const char *line)
{
	struct sysv_usage_row row;

	/* The heading is no row. */
	if (!parse_row(line, &row))
		return 0;
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 64;
		struct sysv_usage_row *rows = reallocarray(table->rows, capacity, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		table->rows = rows;
		table->capacity = capacity;
	}
	table->rows[table->count++] = row;
	table->resident += row.resident;
	table->swapped += row.swapped;
	return 0;
}

/*
 * The kernel gives out whole lines, a page of them at a time.  A read that goes on where the last
 * one ended is cheap.  Two threads that read by turns would have it write the text from the
 * beginning for each of them.  `start` is set to the processor time before the second read, if
 * there is one.
 */
static int read_rows(int fd, struct sysv_usage_table *table, uint64_t *start)
{
	char text[8192];
	off_t pos = 0;
	ssize_t n;

	while ((n = pread(fd, text, sizeof(text) - 1, pos)) > 0) {
		char *line = text;
		char *end;

		text[n] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0'; /* or a cut row would take numbers from the next one */
			if (add_row(table, line) != 0)
				return -ENOMEM;
		}
		if (line == text)
			return -EIO;
		if (n < WITH_ROOM)
			return 0;
		pos += line - text;
		if (*start == 0)
			*start = shmfs_clock_ns(
				CLOCK_THREAD_CPUTIME_ID); /* waiting does not count */
	}
	return n < 0 ? -errno : 0;
}

/* One thread at a time reads.  The others wait, and use what it has read if that is still true. */
static void begin_reading(struct sysv_usage *usage)
{
	SHMFS_LOCKED(usage->lock);

	while (usage->is_reading)
		pthread_cond_wait(&usage->was_read, usage->lock);
	usage->is_reading = true;
}

static void end_reading(struct sysv_usage *usage)
{
	SHMFS_LOCKED(usage->lock);

	usage->is_reading = false;
	pthread_cond_broadcast(&usage->was_read);
}

/* Read the table as it is now, and keep it if it is whole.  Reading has begun. */
static int read_table(struct sysv_usage *usage)
{
	struct sysv_usage_table table = { .second = time(NULL) };
	uint64_t start = 0;
	int err = read_rows(usage->fd, &table, &start);

	if (!err) {
		struct sysv_usage_table before;

		if (table.count > 0)
			qsort(table.rows, table.count, sizeof(*table.rows), compare_rows);
		table.read_at = shmfs_now_ns();
		table.cost = start ? shmfs_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start : 0;
		table.cost = shmfs_max(table.cost, LEAST_COST_NS);
		SHMFS_LOCKED(usage->lock);
		before = usage->table;
		usage->table = table;
		table = before;
	}
	free(table.rows);
	return err;
}

static void *read_beside(void *arg)
{
	struct sysv_usage *usage = arg;

	/* A thread beside its caller gives way to every process.  Others wait for this one. */
	sched_setscheduler(0, SCHED_OTHER, &(const struct sched_param){ 0 });
	read_table(usage);
	end_reading(usage);
	return NULL;
}

/* Let a thread read the table: it ends what is begun here.  The lock is held. */
static void read_later(struct sysv_usage *usage)
{
	if (usage->is_reading)
		return;
	if (usage->has_reader)
		pthread_join(usage->reader, NULL);
	usage->is_reading = pthread_create(&usage->reader, NULL, read_beside, usage) == 0;
	usage->has_reader = usage->is_reading;
}

static bool is_recent(const struct sysv_usage_table *table)
{
	return table->read_at && shmfs_now_ns() - table->read_at < AGE * table->cost;
}

/* Are there as many segments and pages as in the table? */
static bool has_totals_of_now(const struct sysv_usage_table *table)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct shm_info now;

	return !table->was_touched && shmctl(0, SHM_INFO, (struct shmid_ds *)&now) >= 0 &&
	       (size_t)now.used_ids == table->count && now.shm_rss * page == table->resident &&
	       now.shm_swp * page == table->swapped;
}

/* The lock is held. */
static struct sysv_usage_row *find_row(struct sysv_usage *usage, int id)
{
	const struct sysv_usage_row wanted = { .id = id };

	return usage->table.count == 0 ? NULL :
					 bsearch(&wanted, usage->table.rows, usage->table.count,
						 sizeof(wanted), compare_rows);
}

static int copy_row(struct sysv_usage *usage, int id, struct sysv_usage_row *out)
{
	SHMFS_LOCKED(usage->lock);
	const struct sysv_usage_row *row = find_row(usage, id);

	if (row)
		*out = *row;
	return row ? 0 : -ENODATA;
}

/*
 * Can the last table tell of segment `id`, as it is now, or with `changed` its st_blocks?  The
 * segment was changed last at that time.
 */
static bool is_told(struct sysv_usage *usage, int id, const time_t *changed)
{
	struct sysv_usage_table table;
	bool has_row;

	{
		SHMFS_LOCKED(usage->lock);
		table = usage->table;
		/* One segment that replaced another has the same totals. */
		has_row = find_row(usage, id);
		if (changed && table.cost > SLOW_NS && !is_recent(&table))
			read_later(usage);
	}
	if (!changed && (!has_row || !is_recent(&table)))
		return false;
	if (changed && (table.cost > SLOW_NS || is_recent(&table)))
		return true;
	return (!changed || *changed < table.second) && has_totals_of_now(&table);
}

static int find(struct sysv_usage *usage, int id, const time_t *changed, struct sysv_usage_row *row)
{
	int err = 0;

	if (!is_told(usage, id, changed)) {
		begin_reading(usage);
		/* Another thread may have read it meanwhile. */
		if (!is_told(usage, id, changed))
			err = read_table(usage);
		end_reading(usage);
	}
	return err ? err : copy_row(usage, id, row);
}

int sysv_usage_find(struct sysv_usage *usage, int id, struct sysv_usage_row *row)
{
	return find(usage, id, NULL, row);
}

uint64_t sysv_usage_of(struct sysv_usage *usage, int id, time_t changed)
{
	struct sysv_usage_row row;

	return find(usage, id, &changed, &row) == 0 ? row.resident + row.swapped : 0;
}

uint64_t sysv_usage_size(struct sysv_usage *usage, int id, uint32_t low_bits)
{
	struct sysv_usage_row row = { 0 };

	/* A segment keeps its size: any table that has it will do. */
	if (copy_row(usage, id, &row) != 0 || (uint32_t)row.size != low_bits)
		sysv_usage_find(usage, id, &row);
	return (uint32_t)row.size == low_bits ? row.size : low_bits;
}

uint64_t sysv_segment_resident(struct sysv_segment *segment)
{
	struct sysv_usage_row row;
	struct stat st;

	if (segment->fd >= 0)
		return fstat(segment->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	return sysv_usage_find(&segment->backend->usage, segment->id, &row) ?
		       0 :
		       row.resident + row.swapped;
}

void sysv_usage_touched(struct sysv_segment *segment)
{
	struct sysv_usage *usage = &segment->backend->usage;
	struct stat st;
	bool is_open = segment->fd >= 0 && fstat(segment->fd, &st) == 0;
	SHMFS_LOCKED(usage->lock);
	struct sysv_usage_row *row = is_open ? find_row(usage, segment->id) : NULL;

	/* From here on only the sum of both numbers is exact. */
	usage->table.was_touched = true;
	if (row)
		*row = (struct sysv_usage_row){ segment->id, row->size,
						(uint64_t)st.st_blocks * 512, 0 };
	else
		usage->table.read_at = 0;
}

int sysv_usage_init(struct sysv_usage *usage, const char *proc_dir, pthread_mutex_t *lock)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sysvipc/shm", proc_dir);
	*usage = (struct sysv_usage){ .lock = lock, .fd = open(path, O_RDONLY | O_CLOEXEC) };
	pthread_cond_init(&usage->was_read, NULL);
	return usage->fd < 0 ? -errno : 0;
}

void sysv_usage_destroy(struct sysv_usage *usage)
{
	if (usage->has_reader)
		pthread_join(usage->reader, NULL);
	close(usage->fd);
	pthread_cond_destroy(&usage->was_read);
	free(usage->table.rows);
}

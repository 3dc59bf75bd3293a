/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of segments.
 *
 * The descriptor of an open segment tells how much of it is in memory.  Of others only
 * /proc/sysvipc/shm does, a text with a line for each segment, which the kernel writes
 * from the beginning for every reader (fs/seq_file.c, traverse()).  A stat(2) must not
 * cost more the more segments there are.  So the table is kept, and read again when it
 * is older than ten times what reading it took.  Where reading takes long a stat(2) does
 * not wait for it: the answer is of the last table, and a thread reads the next one.
 *
 * An attribute is of this moment.  shmctl(SHM_INFO) counts the pages of all segments in
 * a twentieth of the time.  While their number stays the same the table is true.
 */
#include "sysv/internal.h"

#include "shmfs/clock.h"

/* How old the table may be, in times of what reading it took. */
#define AGE 10
/* From here on reading takes long: some 50 segments. */
#define SLOW_NS 200000

/*
 * The columns that count: key shmid perms size cpid lpid nattch uid gid cuid cgid atime
 * dtime ctime rss swap (ipc/shm.c, sysvipc_shm_proc_show(), Linux 2.6.34 and newer).
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

static int read_rows(FILE *file, struct sysv_usage_table *table)
{
	char line[512]; /* a row is under 400 bytes */
	size_t capacity = 0;

	while (fgets(line, sizeof(line), file)) {
		struct sysv_usage_row *rows = table->rows;

		if (table->count == capacity) {
			capacity = capacity ? 2 * capacity : 64;
			rows = reallocarray(rows, capacity, sizeof(*rows));
			if (!rows)
				return -ENOMEM;
			table->rows = rows;
		}
		/* The heading is no row. */
		if (parse_row(line, &rows[table->count]))
			table->count++;
	}
	return ferror(file) ? -EIO : 0;
}

static bool get_totals(struct shm_info *totals)
{
	return shmctl(0, SHM_INFO, (struct shmid_ds *)totals) >= 0;
}

/* Read the table as it is now, and keep it if it is whole. */
static int read_table(struct sysv_usage *usage)
{
	struct sysv_usage_table table = { 0 };
	char buffer[8192]; /* the kernel gives out a page at a time */
	uint64_t start = shmfs_clock_ns(CLOCK_THREAD_CPUTIME_ID); /* waiting does not count */
	FILE *file = fopen(usage->path, "re");
	int err = file && get_totals(&table.totals) ? 0 : -errno;

	if (!err) {
		setvbuf(file, buffer, _IOFBF, sizeof(buffer));
		err = read_rows(file, &table);
	}
	if (file)
		fclose(file);
	if (!err) {
		struct sysv_usage_table before;

		if (table.count > 0)
			qsort(table.rows, table.count, sizeof(*table.rows), compare_rows);
		table.read_at = shmfs_now_ns();
		table.cost = shmfs_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
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

	read_table(usage);
	SHMFS_LOCKED(usage->lock);
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

static bool is_recent(const struct sysv_usage_table *table)
{
	return table->read_at && shmfs_now_ns() - table->read_at < AGE * table->cost;
}

/* Can the last table tell st_blocks? */
static bool tells_blocks(struct sysv_usage *usage)
{
	SHMFS_LOCKED(usage->lock);

	if (is_recent(&usage->table))
		return true;
	if (usage->table.cost <= SLOW_NS)
		return false;
	read_later(usage);
	return true;
}

/* Does the last table tell what there is now? */
static bool is_true(struct sysv_usage *usage)
{
	struct sysv_usage_table table;
	struct shm_info now;

	pthread_mutex_lock(usage->lock);
	table = usage->table;
	pthread_mutex_unlock(usage->lock);
	return is_recent(&table) && get_totals(&now) && now.used_ids == table.totals.used_ids &&
	       now.shm_rss == table.totals.shm_rss && now.shm_swp == table.totals.shm_swp;
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

int sysv_usage_find(struct sysv_usage *usage, int id, struct sysv_usage_row *row)
{
	int err = is_true(usage) ? copy_row(usage, id, row) : -ENODATA;

	/* One segment that replaced another has the same totals. */
	if (err)
		err = read_table(usage);
	return err ? err : copy_row(usage, id, row);
}

uint64_t sysv_usage_of(struct sysv_usage *usage, int id)
{
	struct sysv_usage_row row;

	if ((!tells_blocks(usage) && read_table(usage) != 0) || copy_row(usage, id, &row) != 0)
		return 0;
	return row.resident + row.swapped;
}

uint64_t sysv_usage_size(struct sysv_usage *usage, int id, uint32_t low_bits)
{
	struct sysv_usage_row row;

	/* A segment keeps its size: any table that has it will do. */
	for (int tries = 0; tries < 2; tries++) {
		if (copy_row(usage, id, &row) == 0 && (uint32_t)row.size == low_bits)
			return row.size;
		if (tries == 0 && read_table(usage) != 0)
			break;
	}
	return low_bits;
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

	/* Their sum is exact from here on.  Each of them is not. */
	usage->table.totals.used_ids = -1;
	if (row)
		*row = (struct sysv_usage_row){ segment->id, row->size,
						(uint64_t)st.st_blocks * 512, 0 };
	else
		usage->table.read_at = 0;
}

int sysv_usage_init(struct sysv_usage *usage, const char *proc_dir, pthread_mutex_t *lock)
{
	*usage = (struct sysv_usage){ .lock = lock };
	snprintf(usage->path, sizeof(usage->path), "%s/sysvipc/shm", proc_dir);
	return access(usage->path, R_OK) == 0 ? 0 : -errno;
}

void sysv_usage_destroy(struct sysv_usage *usage)
{
	if (usage->has_reader)
		pthread_join(usage->reader, NULL);
	free(usage->table.rows);
}

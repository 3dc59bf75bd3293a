/* SPDX-License-Identifier: MIT */
/*
 * /proc/sysvipc/shm.  The last byte says how much a read(2) brings at most,
 * for where the lines are cut must not matter.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sysv/table.h"

/* No line of the table is that long, see BUFFER_SIZE in sysv_table.c. */
#define TOO_LONG 8192

static int table = -1;
static size_t piece;

ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	return __real_read(fd, buf, fd == table && len > piece ? piece : len);
}

static bool is_same(const struct shmfs_sysv_row *a, const struct shmfs_sysv_row *b)
{
	return a->key == b->key && a->id == b->id && a->mode == b->mode && a->size == b->size &&
	       a->cpid == b->cpid && a->lpid == b->lpid && a->nattch == b->nattch &&
	       a->uid == b->uid && a->gid == b->gid && a->cuid == b->cuid && a->cgid == b->cgid &&
	       a->atime == b->atime && a->dtime == b->dtime && a->ctime == b->ctime &&
	       a->resident == b->resident && a->swapped == b->swapped;
}

/* As the kernel writes it (ipc/shm.c, sysvipc_shm_proc_show()). */
static void check_written_again(const struct shmfs_sysv_row *row)
{
	struct shmfs_sysv_row again;
	char line[512];
	int len = snprintf(line, sizeof(line),
			   "%10d %10d  %4o %21llu %5d %5d  "
			   "%5llu %5u %5u %5u %5u %10lld %10lld %10lld %21llu %21llu",
			   (int)row->key, row->id, row->mode, (unsigned long long)row->size,
			   row->cpid, row->lpid, (unsigned long long)row->nattch, row->uid,
			   row->gid, row->cuid, row->cgid, (long long)row->atime,
			   (long long)row->dtime, (long long)row->ctime,
			   (unsigned long long)row->resident, (unsigned long long)row->swapped);

	check(shmfs_sysv_row_parse(line, (size_t)len, &again) == 0);
	check(is_same(row, &again));
}

/* What the table has to give, found line by line. */
struct expected {
	const char *next;
	const char *end;
	bool past_heading;
	unsigned rows;
};

/* The next row; 1 when there is one, 0 at the end, or the error. */
static int next_row(struct expected *e, struct shmfs_sysv_row *row)
{
	while (e->next < e->end) {
		const char *line = e->next;
		const char *newline = memchr(line, '\n', (size_t)(e->end - line));
		size_t len = (size_t)((newline ? newline : e->end) - line);
		char *copy;
		int err;

		e->next = newline ? newline + 1 : e->end;
		if (len >= TOO_LONG)
			return -EINVAL;
		if (!e->past_heading) {
			e->past_heading = true;
			continue;
		}
		/* With nothing behind it that could be read. */
		copy = malloc(len ? len : 1);
		check(copy);
		memcpy(copy, line, len);
		err = shmfs_sysv_row_parse(copy, len, row);
		free(copy);
		return err ? err : 1;
	}
	return 0;
}

static int take_row(const struct shmfs_sysv_row *row, void *arg)
{
	struct shmfs_sysv_row expected;

	check(next_row(arg, &expected) == 1);
	check(is_same(row, &expected));
	check_written_again(row);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct expected expected = { .next = (const char *)data };
	struct shmfs_sysv_row row;
	int err;

	if (size == 0)
		return 0;
	size--;
	piece = 1 + (size_t)data[size] * 37;
	expected.end = (const char *)data + size;
	if (table < 0)
		table = memfd_create("table", MFD_CLOEXEC);
	check(table >= 0 && ftruncate(table, 0) == 0);
	check(pwrite(table, data, size, 0) == (ssize_t)size);
	err = shmfs_sysv_table_read(table, take_row, &expected);
	check(err == next_row(&expected, &row));
	return 0;
}

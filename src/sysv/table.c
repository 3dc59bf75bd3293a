/* SPDX-License-Identifier: MIT */
/*
 * Reading the kernel's table of segments.
 *
 * There are two ways to learn which segments exist.  shmctl(SHM_STAT) asks for
 * one at a time, leaves out those that the caller may not read, and never tells
 * how much of a segment is in memory.  /proc/sysvipc/shm shows all of them to
 * everybody, in one file, with resident and swapped bytes.  It is read for
 * every listing and every look at attributes, and a machine can have 4096
 * segments or more, so the rows are scanned by hand: sscanf(3) takes five times
 * as long, and says nothing when a number does not fit.
 *
 * The file has no length and no fixed chunks.  What read(2) brings is added to
 * a buffer, complete lines are taken off its front, and what is left of a line
 * moves to the front and waits for its rest.  Three ends are possible: end of
 * file, where a last line may lack its newline; an error; and a line too long
 * for the buffer, which no row is.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "sysv/table.h"

/*
 * seq_file(9) gives whole lines out of a buffer of one page.  Two pages are
 * room for that and for the beginning of a line; a row is under 400 bytes.
 */
#define BUFFER_SIZE 8192

enum column {
	COL_KEY,
	COL_SHMID,
	COL_PERMS,
	COL_SIZE,
	COL_CPID,
	COL_LPID,
	COL_NATTCH,
	COL_UID,
	COL_GID,
	COL_CUID,
	COL_CGID,
	COL_ATIME,
	COL_DTIME,
	COL_CTIME,
	COL_RSS,
	COL_SWAP,
	COLUMNS
};

/* How a column is written, and the range of the field it goes to. */
struct column_format {
	unsigned base;
	uint64_t max;
	uint64_t negative_max; /* how far below 0 it may be */
};

static const struct column_format column_formats[COLUMNS] = {
	[COL_KEY] = { 10, INT32_MAX, (uint64_t)INT32_MAX + 1 },
	[COL_SHMID] = { 10, INT_MAX, 0 },
	[COL_PERMS] = { 8, UINT_MAX, 0 },
	[COL_SIZE] = { 10, UINT64_MAX, 0 },
	[COL_CPID] = { 10, INT_MAX, 0 },
	[COL_LPID] = { 10, INT_MAX, 0 },
	[COL_NATTCH] = { 10, UINT64_MAX, 0 },
	[COL_UID] = { 10, UINT32_MAX, 0 },
	[COL_GID] = { 10, UINT32_MAX, 0 },
	[COL_CUID] = { 10, UINT32_MAX, 0 },
	[COL_CGID] = { 10, UINT32_MAX, 0 },
	[COL_ATIME] = { 10, INT64_MAX, 0 },
	[COL_DTIME] = { 10, INT64_MAX, 0 },
	[COL_CTIME] = { 10, INT64_MAX, 0 },
	[COL_RSS] = { 10, UINT64_MAX, 0 },
	[COL_SWAP] = { 10, UINT64_MAX, 0 },
};

/*
 * Scan one column from `p` on: blanks, a number, and a blank or `end`.
 * Fills *value, a negative number in two's complement.  Returns where the
 * number ends, or NULL if there is none that fits.
 */
static const char *scan_column(const char *p, const char *end, const struct column_format *format,
			       uint64_t *value)
{
	uint64_t max = format->max;
	uint64_t sum = 0;
	bool negative = false;

	while (p < end && *p == ' ')
		p++;
	if (p < end && *p == '-' && format->negative_max > 0) {
		negative = true;
		max = format->negative_max;
		p++;
	}

	const char *digits = p;

	for (; p < end && *p != ' '; p++) {
		/* What is below '0' wraps around, so one comparison finds all. */
		unsigned digit = (unsigned)*p - '0';

		if (digit >= format->base || __builtin_mul_overflow(sum, format->base, &sum) ||
		    __builtin_add_overflow(sum, digit, &sum))
			return NULL;
	}
	if (p == digits || sum > max)
		return NULL;

	*value = negative ? 0 - sum : sum;
	return p;
}

int shmfs_sysv_row_parse(const char *line, size_t len, struct shmfs_sysv_row *row)
{
	const char *end = line + len;
	const char *p = line;
	uint64_t values[COLUMNS];

	for (size_t i = 0; i < COLUMNS; i++) {
		p = scan_column(p, end, &column_formats[i], &values[i]);
		if (!p)
			return -EINVAL;
	}

	*row = (struct shmfs_sysv_row){
		.key = (uint32_t)values[COL_KEY],
		.id = (int)values[COL_SHMID],
		.mode = (unsigned)values[COL_PERMS],
		.size = values[COL_SIZE],
		.cpid = (pid_t)values[COL_CPID],
		.lpid = (pid_t)values[COL_LPID],
		.nattch = values[COL_NATTCH],
		.uid = (uid_t)values[COL_UID],
		.gid = (gid_t)values[COL_GID],
		.cuid = (uid_t)values[COL_CUID],
		.cgid = (gid_t)values[COL_CGID],
		.atime = (int64_t)values[COL_ATIME],
		.dtime = (int64_t)values[COL_DTIME],
		.ctime = (int64_t)values[COL_CTIME],
		.resident = values[COL_RSS],
		.swapped = values[COL_SWAP],
	};
	return 0;
}

/* One pass over the table. */
struct reader {
	shmfs_sysv_row_fn *fn;
	void *arg;
	bool past_heading;
	size_t len; /* bytes of `buf` that wait for the rest of their line */
	char buf[BUFFER_SIZE];
};

static int take_line(struct reader *reader, const char *line, size_t len)
{
	struct shmfs_sysv_row row;
	int err;

	if (!reader->past_heading) {
		reader->past_heading = true;
		return 0;
	}

	err = shmfs_sysv_row_parse(line, len, &row);
	if (err)
		return err;
	return reader->fn(&row, reader->arg);
}

/* Take the complete lines off the buffer and move what is left to its front. */
static int take_lines(struct reader *reader)
{
	const char *line = reader->buf;
	const char *end = reader->buf + reader->len;
	const char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		int err = take_line(reader, line, (size_t)(newline - line));

		if (err)
			return err;
		line = newline + 1;
	}

	reader->len = (size_t)(end - line);
	memmove(reader->buf, line, reader->len);
	return 0;
}

int shmfs_sysv_table_read(int fd, shmfs_sysv_row_fn *fn, void *arg)
{
	/* Not by initialiser, which would clear the buffer as well. */
	struct reader reader;

	reader.fn = fn;
	reader.arg = arg;
	reader.past_heading = false;
	reader.len = 0;

	/* A pipe has no beginning to go back to, and needs none. */
	if (lseek(fd, 0, SEEK_SET) < 0 && errno != ESPIPE)
		return -errno;

	while (reader.len < sizeof(reader.buf)) {
		ssize_t n = read(fd, reader.buf + reader.len, sizeof(reader.buf) - reader.len);
		int err;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return reader.len > 0 ? take_line(&reader, reader.buf, reader.len) : 0;

		reader.len += (size_t)n;
		err = take_lines(&reader);
		if (err)
			return err;
	}
	/* No row is as long as the buffer. */
	return -EINVAL;
}

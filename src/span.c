/* SPDX-License-Identifier: MIT */
#include "shmfs/span.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/guard.h"
#include "shmfs/window.h"

/* What lies between `start` and `end` in the span. */
static ssize_t write_part(const struct shmfs_span *span, const char *from, size_t start, size_t end)
{
	const struct iovec part = { .iov_base = (char *)from + start, .iov_len = end - start };
	ssize_t n = pwritev2(span->fd, &part, 1, span->pos + (off_t)start,
			     span->append ? RWF_APPEND : 0);

	return n < 0 ? -errno : n;
}

/*
 * All but the last page goes to where a window shows the span.  The last page is
 * written, for that sets times and the length, and it is so first: if the file
 * is made shorter meanwhile, there is no memory to store in, and then all is
 * written, as if it had been made shorter before.
 */
static ssize_t store_at(char *mem, const struct shmfs_span *span, const char *from)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t last = ((size_t)span->pos + span->len - 1) % page + 1;
	size_t first = span->len - last;

	if (write_part(span, from, first, span->len) == (ssize_t)last &&
	    shmfs_guard_store(mem, from, first) == 0)
		return (ssize_t)span->len;
	return write_part(span, from, 0, span->len);
}

static ssize_t write_span(const struct shmfs_span *span, const char *from)
{
	char *mem = NULL;

	if (span->window && !span->append)
		mem = shmfs_window_find(span->window, span->fd, span->pos, span->len);
	return mem ? store_at(mem, span, from) : write_part(span, from, 0, span->len);
}

ssize_t shmfs_span_store(const struct shmfs_span *span, const char *from)
{
	int err;

	if (span->fd >= 0)
		return write_span(span, from);
	err = shmfs_guard_store(span->mem, from, span->len);
	return err ? -ENOMEM : (ssize_t)span->len;
}

ssize_t shmfs_span_load(const struct shmfs_span *span, char *to)
{
	ssize_t n;
	int err;

	if (span->fd >= 0) {
		n = pread(span->fd, to, span->len, span->pos);
		return n < 0 ? -errno : n;
	}
	err = shmfs_guard_copy(to, span->mem, span->len);
	return err ? -ENOMEM : (ssize_t)span->len;
}

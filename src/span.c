/* SPDX-License-Identifier: MIT */
#include "shmfs/span.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/guard.h"
#include "shmfs/window.h"

static ssize_t write_span(const struct shmfs_span *span, const char *from)
{
	size_t done = 0;
	struct iovec rest;
	ssize_t n;

	if (span->window && !span->append)
		done = shmfs_window_store(span->window, span->fd, span->pos, from, span->len);
	rest = (struct iovec){ .iov_base = (char *)from + done, .iov_len = span->len - done };
	n = pwritev2(span->fd, &rest, 1, span->pos + (off_t)done, span->append ? RWF_APPEND : 0);
	if (n < 0)
		return done ? (ssize_t)done : -errno;
	return (ssize_t)done + n;
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

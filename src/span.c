/* SPDX-License-Identifier: MIT */
#include "shmfs/span.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/guard.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* From here on a fault for each page costs more than a call for all of them. */
#define MANY_PAGES ((size_t)64 << 10)

/* What cannot be had is met again where it is touched. */
static void bring_in(char *mem, size_t len)
{
	size_t before = (uintptr_t)mem % (size_t)sysconf(_SC_PAGESIZE);

	madvise(mem - before, before + len, MADV_POPULATE_WRITE);
}

ssize_t shmfs_span_store(const struct shmfs_span *span, const char *from)
{
	struct iovec iov = { .iov_base = (char *)from, .iov_len = span->len };
	ssize_t n;
	int err;

	if (span->fd >= 0) {
		n = pwritev2(span->fd, &iov, 1, span->pos, span->append ? RWF_APPEND : 0);
		return n < 0 ? -errno : n;
	}
	if (span->len >= MANY_PAGES)
		bring_in(span->mem, span->len);
	err = shmfs_guard_copy(span->mem, from, span->len);
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

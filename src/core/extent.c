/* SPDX-License-Identifier: MIT */
/* Moving bytes between an extent and a buffer. */
#include "shmfs/backend.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/sigbus.h"

ssize_t shmfs_extent_store(const struct shmfs_extent *extent, const char *from)
{
	const struct iovec part = { .iov_base = (char *)from, .iov_len = extent->len };
	ssize_t n;

	if (extent->fd < 0)
		return shmfs_copy_nofault(extent->mem, from, extent->len) ? -ENOMEM :
									    (ssize_t)extent->len;
	n = pwritev2(extent->fd, &part, 1, extent->pos, extent->append ? RWF_APPEND : 0);
	return n < 0 ? -errno : n;
}

ssize_t shmfs_extent_load(const struct shmfs_extent *extent, char *to)
{
	ssize_t n;

	if (extent->fd < 0)
		return shmfs_copy_nofault(to, extent->mem, extent->len) ? -ENOMEM :
									  (ssize_t)extent->len;
	n = pread(extent->fd, to, extent->len, extent->pos);
	return n < 0 ? -errno : n;
}

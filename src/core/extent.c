/* SPDX-License-Identifier: MIT */
#include "shmfs/extent.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/sigbus.h"
#include "shmfs/write_mapping.h"

/* What lies between `start` and `end` in the extent. */
static ssize_t write_part(const struct shmfs_extent *extent, const char *from, size_t start,
			  size_t end)
{
	const struct iovec part = { .iov_base = (char *)from + start, .iov_len = end - start };
	ssize_t n = pwritev2(extent->fd, &part, 1, extent->pos + (off_t)start,
			     extent->append ? RWF_APPEND : 0);

	return n < 0 ? -errno : n;
}

/*
 * All but the last page goes to where a window shows the extent.  The last page is
 * written, for that sets times and the length, and it is so first: if the file
 * is made shorter meanwhile, there is no memory to store in, and then all is
 * written, as if it had been made shorter before.
 */
static ssize_t store_at(char *mem, const struct shmfs_extent *extent, const char *from)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t last = ((size_t)extent->pos + extent->len - 1) % page + 1;
	size_t first = extent->len - last;

	if (write_part(extent, from, first, extent->len) == (ssize_t)last &&
	    shmfs_store_nofault(mem, from, first) == 0)
		return (ssize_t)extent->len;
	return write_part(extent, from, 0, extent->len);
}

static ssize_t write_extent(const struct shmfs_extent *extent, const char *from)
{
	char *mem = NULL;

	if (extent->mapping && !extent->append)
		mem = shmfs_write_mapping_find(extent->mapping, extent->fd, extent->pos,
					       extent->len);
	return mem ? store_at(mem, extent, from) : write_part(extent, from, 0, extent->len);
}

ssize_t shmfs_extent_store(const struct shmfs_extent *extent, const char *from)
{
	int err;

	if (extent->fd >= 0)
		return write_extent(extent, from);
	err = shmfs_store_nofault(extent->mem, from, extent->len);
	return err ? -ENOMEM : (ssize_t)extent->len;
}

ssize_t shmfs_extent_load(const struct shmfs_extent *extent, char *to)
{
	ssize_t n;
	int err;

	if (extent->fd >= 0) {
		n = pread(extent->fd, to, extent->len, extent->pos);
		return n < 0 ? -errno : n;
	}
	err = shmfs_copy_nofault(to, extent->mem, extent->len);
	return err ? -ENOMEM : (ssize_t)extent->len;
}

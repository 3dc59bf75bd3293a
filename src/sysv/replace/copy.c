/* SPDX-License-Identifier: MIT */
/* Copying one segment to another. */
#include "sysv/replace/internal.h"

#include "shmfs/sigbus.h"

/* A step of a copy through mappings; it is on the stack of the copier. */
#define MAPPING_STEP ((size_t)16 << 10)
/* A step of a copy by the kernel. */
#define KERNEL_STEP (4 << 20)

/* Give back what the source needs no more, as memory for the next step. */
static void leave(int from, off_t start, off_t end, struct sysv_copy *copy)
{
	atomic_store(&copy->moved, (uint64_t)end);
	fallocate(from, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, end - start);
}

static int copy_data(int to, int from, off_t pos, off_t end, struct sysv_copy *copy,
		     struct sysv_reserve *reserve)
{
	while (pos < end) {
		off_t start = pos;
		off_t out = pos;
		size_t step = end - pos < KERNEL_STEP ? (size_t)(end - pos) : KERNEL_STEP;
		ssize_t n;

		sysv_reserve_yield(reserve, step);
		n = copy_file_range(from, &pos, to, &out, step, 0);
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		if (copy->moves)
			leave(from, start, pos, copy);
	}
	return 0;
}

/* The kernel copies page by page in itself: no faults, holes stay holes. */
static int copy_descriptors(int to, int from, off_t len, struct sysv_copy *copy,
			    struct sysv_reserve *reserve)
{
	off_t hole = 0;
	int err = 0;

	while (!err && hole < len) {
		off_t data = lseek(from, hole, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if (hole > len)
			hole = len;
		err = copy_data(to, from, data, hole, copy, reserve);
	}
	return err;
}

static bool is_zero(const char *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Zeros are not written: holes stay holes. */
static int copy_mappings(char *to, const char *from, uint64_t len, struct sysv_reserve *reserve)
{
	char buffer[MAPPING_STEP];
	int err = 0;

	for (uint64_t pos = 0; !err && pos < len;) {
		size_t step = len - pos < MAPPING_STEP ? (size_t)(len - pos) : MAPPING_STEP;

		err = shmfs_copy_nofault(buffer, from + pos, step);
		if (!err && !is_zero(buffer, step)) {
			sysv_reserve_yield(reserve, step);
			err = shmfs_copy_nofault(to + pos, buffer, step);
		}
		pos += step;
	}
	return err == -EFAULT ? -ENOMEM : err;
}

int sysv_segment_copy(struct sysv_segment *to, struct sysv_segment *from, uint64_t len,
		      struct sysv_copy *copy, struct sysv_reserve *reserve)
{
	if (to->map && from->map)
		return copy_mappings(to->map, from->map, len, reserve);
	return copy_descriptors(to->fd, from->fd, (off_t)len, copy, reserve);
}

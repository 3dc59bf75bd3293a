/* SPDX-License-Identifier: MIT */
/*
 * Memory kept ready for a copy.
 *
 * Replacing a segment takes its memory once more, or at least lets it count for
 * us and not for those who filled it, at a time when its content belongs to no
 * key.  Where that is more than there is, the kernel ends who asks for it: the
 * daemon, and whatever shares its memory.  So as much is asked for while nothing
 * has been touched, and given back piece by piece just before the copy takes it.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Given back at once: as much as a huge page may have. */
#define PIECE ((size_t)2 << 20)

/* What copying a segment takes; a huge page is kept for it by the kernel. */
static uint64_t bytes_of(struct sysv_segment *segment)
{
	struct stat st;

	if (segment->huge)
		return 0;
	if (segment->fd >= 0)
		return fstat(segment->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
	sysv_usage_stale(&segment->backend->usage);
	return sysv_usage_of(&segment->backend->usage, segment->id);
}

int sysv_reserve_take(struct sysv_reserve *reserve, struct sysv_segment *segment, uint64_t most)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t bytes = bytes_of(segment);
	size_t size;
	char *mem;

	if (bytes > most)
		bytes = most;
	if (bytes == 0)
		return 0;
	size = ((size_t)bytes + page - 1) / page * page;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;
	madvise(mem, size, MADV_HUGEPAGE); /* a tenth of the time, where there are any */
	if (madvise(mem, size, MADV_POPULATE_WRITE) != 0) {
		if (errno != EINVAL) {
			munmap(mem, size);
			return -ENOMEM;
		}
		memset(mem, 1, size); /* an older kernel */
	}
	reserve->mem = mem;
	reserve->size = size;
	return 0;
}

void sysv_reserve_yield(struct sysv_reserve *reserve, uint64_t bytes)
{
	size_t end;

	if (bytes > reserve->size - reserve->used)
		bytes = reserve->size - reserve->used;
	reserve->used += bytes;
	if (reserve->used <= reserve->yielded)
		return;
	end = (reserve->used + PIECE - 1) / PIECE * PIECE;
	if (end > reserve->size)
		end = reserve->size;
	madvise(reserve->mem + reserve->yielded, end - reserve->yielded, MADV_DONTNEED);
	reserve->yielded = end;
}

void sysv_reserve_free(struct sysv_reserve *reserve)
{
	if (reserve->mem)
		munmap(reserve->mem, reserve->size);
}

/* SPDX-License-Identifier: MIT */
/*
 * Reading an attachment without filling its holes.
 *
 * A fault on a hole of shared memory allocates the page, even to read it (mm/shmem.c,
 * shmem_fault(), Linux 6.18).  mincore(2) tells which pages are in memory; the others are holes or
 * swapped.  shmctl(SHM_INFO) tells how many pages of all segments are swapped.
 *
 * A page counts as a hole if it was not in memory, then no page was swapped, and then it still was
 * not in memory.  A byte that was stored before the read began is in memory or swapped at each of
 * these three moments.
 */
#include "sysv/internal.h"

#include <sys/mman.h>

#include "shmfs/sigbus.h"

/* One byte for each page of the longest read. */
#define MOST_PAGES (SYSV_LONGEST_COPY / 4096 + 1)

static bool nothing_is_swapped(void)
{
	struct shm_info info;

	return shmctl(0, SHM_INFO, (struct shmid_ds *)&info) >= 0 && info.shm_swp == 0;
}

/* Add to `present` the pages that are in memory.  Are all, or is it not known? */
static bool find_present(char *map, size_t len, size_t pages, unsigned char *present)
{
	unsigned char now[MOST_PAGES];
	bool all = true;

	if (mincore(map, len, now) != 0)
		return true;
	for (size_t i = 0; i < pages; i++) {
		present[i] |= now[i] & 1;
		all = all && present[i];
	}
	return all;
}

static bool has_bytes(const char *map, size_t len)
{
	static const char zeros[4096];
	char bytes[sizeof(zeros)];

	for (size_t pos = 0; pos < len; pos += sizeof(bytes)) {
		size_t step = shmfs_min(sizeof(bytes), len - pos);

		if (shmfs_copy_nofault(bytes, map + pos, step) == 0 &&
		    memcmp(bytes, zeros, step) != 0)
			return true;
	}
	return false;
}

bool sysv_has_bytes_behind(const struct sysv_segment *segment, uint64_t end)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (uint64_t pos = end / page * page; pos < segment->size; pos += SYSV_LONGEST_COPY) {
		size_t len = (size_t)shmfs_min(SYSV_LONGEST_COPY, segment->size - pos);
		unsigned char present[MOST_PAGES] = { 0 };

		if (mincore(segment->map + pos, len, present) != 0)
			return false;
		for (uint64_t at = pos; at < pos + len; at += page) {
			uint64_t from = shmfs_max(at, end);
			uint64_t to = shmfs_min(at + page, segment->size);

			if ((present[(at - pos) / page] & 1) && from < to &&
			    has_bytes(segment->map + from, (size_t)(to - from)))
				return true;
		}
	}
	return false;
}

char *sysv_copy_around_holes(const struct sysv_segment *segment, uint64_t off, size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char present[MOST_PAGES] = { 0 };
	size_t before = (size_t)off % page;
	char *map = segment->map + off - before;
	size_t pages = (before + len + page - 1) / page;
	char *copy;

	if (!segment->tells_holes || len == 0 || find_present(map, before + len, pages, present) ||
	    !nothing_is_swapped() || find_present(map, before + len, pages, present))
		return NULL;
	copy = calloc(1, len);
	for (size_t i = 0; copy && i < pages; i++) {
		size_t start = i == 0 ? before : i * page;
		size_t end = i + 1 == pages ? before + len : (i + 1) * page;

		if (present[i] &&
		    shmfs_copy_nofault(copy + start - before, map + start, end - start) != 0) {
			free(copy);
			return NULL;
		}
	}
	return copy;
}

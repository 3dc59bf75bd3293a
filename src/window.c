/* SPDX-License-Identifier: MIT */
#include "shmfs/window.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmfs/guard.h"

/* Less is not worth the looking. */
#define LEAST_STORE ((size_t)64 << 10)
/*
 * As much of a file is seen at most, 16 GiB: page tables take a 512th of that.
 * Where pointers have 32 bits there is no address space for it, and no window.
 */
#define MAX_PANE (SIZE_MAX >> 30)
/* Pages that mincore(2) is asked for at once. */
#define PAGES_AT_ONCE 256

/* What a window shows, for as long as there is the window. */
struct shmfs_pane {
	char *mem; /* owned; NULL: the file cannot be mapped */
	size_t size;
};

static void *map(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* Who only writes cannot map, but perhaps open it once more. */
static void *map_again(int fd, size_t size)
{
	char path[32];
	void *mem;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return MAP_FAILED;
	mem = map(fd, size);
	close(fd);
	return mem;
}

static void free_pane(struct shmfs_pane *pane)
{
	if (pane->mem)
		munmap(pane->mem, pane->size);
	free(pane);
}

static struct shmfs_pane *new_pane(int fd, off_t file_size)
{
	struct shmfs_pane *pane = calloc(1, sizeof(*pane));
	void *mem;

	if (!pane)
		return NULL;
	pane->size = (uint64_t)file_size < MAX_PANE ? (size_t)file_size : MAX_PANE;
	mem = map(fd, pane->size);
	if (mem == MAP_FAILED)
		mem = map_again(fd, pane->size);
	pane->mem = mem == MAP_FAILED ? NULL : mem;
	return pane;
}

/*
 * What the window shows of the file, up to `end` at least: before the file is
 * as long as that it is too early to look.  Of two threads that come first at
 * once, one gives way.
 */
static const struct shmfs_pane *pane_of(struct shmfs_window *window, int fd, uint64_t end)
{
	struct shmfs_pane *pane = atomic_load(&window->pane);
	struct shmfs_pane *made;
	struct stat st;

	if (!pane && fstat(fd, &st) == 0 && end <= (uint64_t)st.st_size) {
		made = new_pane(fd, st.st_size);
		if (!made || atomic_compare_exchange_strong(&window->pane, &pane, made))
			pane = made;
		else
			free_pane(made);
	}
	return pane && pane->mem && end <= pane->size ? pane : NULL;
}

/* Whole pages from `mem` on. */
static bool is_resident(char *mem, size_t len, size_t page)
{
	unsigned char pages[PAGES_AT_ONCE];

	while (len > 0) {
		size_t part = len < PAGES_AT_ONCE * page ? len : PAGES_AT_ONCE * page;

		if (mincore(mem, part, pages) != 0)
			return false;
		for (size_t i = 0; i < part / page; i++)
			if (!(pages[i] & 1))
				return false;
		mem += part;
		len -= part;
	}
	return true;
}

size_t shmfs_window_store(struct shmfs_window *window, int fd, off_t pos, const char *from,
			  size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t before = (size_t)pos % page;
	const struct shmfs_pane *pane;
	char *mem;

	if (len < LEAST_STORE)
		return 0;
	pane = pane_of(window, fd, (uint64_t)pos + len);
	if (!pane)
		return 0;
	/* The last page, or the part of it that there is. */
	len -= (before + len - 1) % page + 1;
	mem = pane->mem + pos;
	if (!is_resident(mem - before, before + len, page))
		return 0;
	return shmfs_guard_store(mem, from, len) == 0 ? len : 0;
}

void shmfs_window_close(struct shmfs_window *window)
{
	struct shmfs_pane *pane = atomic_exchange(&window->pane, NULL);

	if (pane)
		free_pane(pane);
}

/* SPDX-License-Identifier: MIT */
#include "shmfs/write_mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Less is not worth the looking. */
#define LEAST_STORE ((size_t)64 << 10)
/* As much is seen of a file, from its beginning on. */
#define MAX_PANE ((size_t)64 << 20)
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

static bool take_room(atomic_size_t *budget, size_t size)
{
	size_t left = atomic_load(budget);

	while (left >= size)
		if (atomic_compare_exchange_weak(budget, &left, left - size))
			return true;
	return false;
}

static void free_pane(const struct shmfs_write_mapping *window, struct shmfs_pane *pane)
{
	if (pane->mem)
		munmap(pane->mem, pane->size);
	atomic_fetch_add(window->budget, pane->size);
	free(pane);
}

/* NULL: there is no room for it now. */
static struct shmfs_pane *new_pane(const struct shmfs_write_mapping *window, int fd,
				   off_t file_size)
{
	size_t size = (uint64_t)file_size < MAX_PANE ? (size_t)file_size : MAX_PANE;
	struct shmfs_pane *pane;
	void *mem;

	if (!take_room(window->budget, size))
		return NULL;
	pane = calloc(1, sizeof(*pane));
	if (!pane) {
		atomic_fetch_add(window->budget, size);
		return NULL;
	}
	mem = map(fd, size);
	if (mem == MAP_FAILED && errno == EACCES)
		mem = map_again(fd, size);
	pane->mem = mem == MAP_FAILED ? NULL : mem;
	pane->size = size;
	return pane;
}

/*
 * What the window shows of the file, up to `end` at least: before the file is
 * as long as that it is too early to look.  Of two threads that come first at
 * once, one gives way.
 */
static const struct shmfs_pane *pane_of(struct shmfs_write_mapping *window, int fd, uint64_t end)
{
	struct shmfs_pane *pane = atomic_load(&window->pane);
	struct shmfs_pane *made;
	struct stat st;

	if (!pane && end <= MAX_PANE && fstat(fd, &st) == 0 && end <= (uint64_t)st.st_size) {
		made = new_pane(window, fd, st.st_size);
		if (!made || atomic_compare_exchange_strong(&window->pane, &pane, made))
			pane = made;
		else
			free_pane(window, made);
	}
	return pane && pane->mem && end <= pane->size ? pane : NULL;
}

/* The pages from `mem` on. */
static bool is_resident(char *mem, size_t len, size_t page)
{
	unsigned char pages[PAGES_AT_ONCE];

	while (len > 0) {
		size_t part = len < PAGES_AT_ONCE * page ? len : PAGES_AT_ONCE * page;

		if (mincore(mem, part, pages) != 0)
			return false;
		for (size_t i = 0; i < (part + page - 1) / page; i++)
			if (!(pages[i] & 1))
				return false;
		mem += part;
		len -= part;
	}
	return true;
}

char *shmfs_write_mapping_find(struct shmfs_write_mapping *window, int fd, off_t pos, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t before = (size_t)pos % page;
	const struct shmfs_pane *pane;
	char *mem;

	if (len < LEAST_STORE)
		return NULL;
	pane = pane_of(window, fd, (uint64_t)pos + len);
	if (!pane)
		return NULL;
	mem = pane->mem + pos;
	return is_resident(mem - before, before + len, page) ? mem : NULL;
}

void shmfs_write_mapping_close(struct shmfs_write_mapping *window)
{
	struct shmfs_pane *pane = atomic_exchange(&window->pane, NULL);

	if (pane)
		free_pane(window, pane);
}

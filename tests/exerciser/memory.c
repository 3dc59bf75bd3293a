/* SPDX-License-Identifier: MIT */
/* Mappings of the mount's files and of others; loads and stores. */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>

static struct mapping *any_mapping(void)
{
	int first = (int)random_below(MAPPINGS);

	for (int i = 0; i < MAPPINGS; i++) {
		struct mapping *m = &now.mappings[(first + i) % MAPPINGS];

		if (m->object)
			return m;
	}
	return NULL;
}

static int number_of(const struct mapping *m)
{
	return (int)(m - now.mappings);
}

static int map_error(const struct handle *h, bool writable)
{
	int mode = h->flags & O_ACCMODE;

	if (mode == O_WRONLY || (writable && mode != O_RDWR))
		return EACCES;
	return h->bound ? 0 : ENODEV;
}

bool do_map(void)
{
	struct handle *h = any_handle();
	struct mapping *m = now.mappings;

	while (m < now.mappings + MAPPINGS && m->object)
		m++;
	if (!h || m == now.mappings + MAPPINGS)
		return false;
	bool writable = once_in(2);
	int code = map_error(h, writable);
	trace("map handle %d%s -> mapping %d", (int)(h - now.handles), writable ? " to write" : "",
	      number_of(m));
	char *memory =
		mmap(NULL, MOST, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, h->fd, 0);
	/* A segment that is still to be cut is served, as is one that a writer was about to open. */
	if (now.kind == SYSV && memory == MAP_FAILED && errno == ENODEV)
		return true;
	expect("mmap", memory == MAP_FAILED ? -1 : 0, code ? -1 : 0, code);
	if (code)
		return true;
	*m = (struct mapping){
		.object = h->object,
		.memory = memory,
		.length = MOST,
		.writable = writable,
	};
	h->object->mapped++;
	return true;
}

bool do_unmap_one(struct mapping *m)
{
	struct object *obj = m->object;

	trace("unmap mapping %d", number_of(m));
	if (m->attached) {
		expect("shmdt", shmdt(m->memory), 0, 0);
		obj->attached--;
	} else {
		expect("munmap", munmap(m->memory, m->length), 0, 0);
		obj->mapped--;
	}
	m->object = NULL;
	object_put(obj);
	return true;
}

bool do_unmap(void)
{
	struct mapping *m = any_mapping();

	return m && do_unmap_one(m);
}

/* What of the mapping is there to be touched. */
static size_t reach(const struct mapping *m)
{
	return m->object->size < m->length ? (size_t)m->object->size : m->length;
}

bool do_load(void)
{
	const struct mapping *m = any_mapping();

	if (!m || reach(m) == 0)
		return false;
	size_t offset = (size_t)random_below(reach(m));
	size_t length = 1 + (size_t)random_below(reach(m) - offset);
	trace("load %zu bytes at %zu from mapping %d", length, offset, number_of(m));
	expect_bytes(m->object, offset, m->memory + offset, length);
	return true;
}

bool do_store(void)
{
	struct mapping *m = any_mapping();
	static char bytes[PAGE];

	if (!m || reach(m) == 0 || !m->writable)
		return false;
	size_t offset = (size_t)random_below(reach(m)), most = reach(m) - offset;
	size_t length = any_bytes(bytes, most < PAGE ? most : PAGE);
	trace("store %zu bytes at %zu to mapping %d", length, offset, number_of(m));
	for (size_t i = 0; i < length; i++)
		m->memory[offset + i] = bytes[i];
	object_store(m->object, offset, bytes, length);
	return true;
}

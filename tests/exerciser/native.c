/* SPDX-License-Identifier: MIT */
/* What other programs do: the calls of the standards, past the mount. */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

/* Out of the way of what others are likely to have. */
#define FIRST_KEY 0x65780000

static char buffer[MOST + PAGE];

static key_t key_of(int name)
{
	return FIRST_KEY + name;
}

static const char *object_name(int name)
{
	static char text[32];

	snprintf(text, sizeof(text), "/exerciser.%d", name);
	return text;
}

const char *path_of(int name)
{
	static char path[256];

	if (now.kind == SYSV)
		snprintf(path, sizeof(path), "%s/%d", now.mount, key_of(name));
	else
		snprintf(path, sizeof(path), "%s%s", now.mount, object_name(name));
	return path;
}

static int open_object(int name, int flags)
{
	int fd = shm_open(object_name(name), flags, 0640);

	if (fd < 0)
		differs("shm_open: %s", strerror(errno));
	return fd;
}

static int find_segment(int name)
{
	int id = shmget(key_of(name), 0, 0);

	if (id < 0)
		differs("shmget: %s", strerror(errno));
	return id;
}

static char *attach(int id, int flags)
{
	char *memory = shmat(id, NULL, flags);

	if (memory == (void *)-1)
		differs("shmat: %s", strerror(errno));
	return memory;
}

long native_id(int name)
{
	struct stat st;

	if (now.kind == SYSV)
		return find_segment(name);
	int fd = open_object(name, O_RDONLY);
	fstat(fd, &st);
	close(fd);
	return (long)st.st_ino;
}

bool native_clean(void)
{
	bool clean = true;

	for (int i = 0; i < NAMES; i++) {
		if (now.kind == POSIX) {
			clean &= shm_unlink(object_name(i)) != 0;
		} else {
			int id = shmget(key_of(i), 0, 0);

			clean &= id < 0 || shmctl(id, IPC_RMID, NULL) != 0;
		}
	}
	return clean;
}

static void check_segment(const struct object *obj)
{
	struct shmid_ds ds;
	bool exact = !obj->fresh && !obj->growing && object_may_resize(obj);
	int id, tries = 500;

	/* One that could not be cut when it was closed is as soon as it can be. */
	do {
		id = find_segment(obj->name);
		if (shmctl(id, IPC_STAT, &ds) != 0)
			differs("IPC_STAT: %s", strerror(errno));
	} while (exact && ds.shm_segsz > obj->size && tries-- > 0 && usleep(10000) == 0);
	if ((exact ? ds.shm_segsz != obj->size : ds.shm_segsz < obj->size) ||
	    (ds.shm_perm.mode & 0777) != obj->mode || ds.shm_perm.uid != obj->uid ||
	    ds.shm_nattch != (shmatt_t)obj->attached)
		differs("segment: size %zu mode 0%o uid %u nattch %lu; "
			"expected %llu 0%o %u %d",
			ds.shm_segsz, ds.shm_perm.mode, ds.shm_perm.uid,
			(unsigned long)ds.shm_nattch, (unsigned long long)obj->size, obj->mode,
			obj->uid, obj->attached);
	char *memory = attach(id, SHM_RDONLY);
	expect_bytes(obj, 0, memory,
		     obj->size < sizeof(buffer) ? (size_t)obj->size : sizeof(buffer));
	shmdt(memory);
}

static void check_object(const struct object *obj)
{
	struct stat st, seen;
	int fd = open_object(obj->name, O_RDONLY);

	if (fstat(fd, &st) != 0 || stat(path_of(obj->name), &seen) != 0)
		differs("fstat: %s", strerror(errno));
	if ((uint64_t)st.st_size != obj->size || st.st_size != seen.st_size)
		differs("object: size %lld, and %lld by the mount; expected %llu",
			(long long)st.st_size, (long long)seen.st_size,
			(unsigned long long)obj->size);
	expect("native read", pread(fd, buffer, sizeof(buffer), 0), (int64_t)obj->size, 0);
	expect_bytes(obj, 0, buffer, (size_t)obj->size);
	close(fd);
}

void native_check(const struct object *obj)
{
	if (now.kind == SYSV)
		check_segment(obj);
	else
		check_object(obj);
}

bool do_native_verify(void)
{
	int name = (int)random_below(NAMES);

	if (!now.names[name])
		return false;
	trace("verify %d natively", name);
	native_check(now.names[name]);
	return true;
}

bool do_native_write(void)
{
	int name = (int)random_below(NAMES);
	struct object *obj = now.names[name];

	if (!obj || obj->size == 0)
		return false;
	uint64_t most = obj->size < MOST ? obj->size : MOST;
	uint64_t offset = random_below(most);
	size_t length = any_bytes(buffer, most - offset);
	trace("write %zu bytes at %llu of %d natively", length, (unsigned long long)offset, name);
	if (now.kind == SYSV) {
		char *memory = attach(find_segment(name), 0);

		memcpy(memory + offset, buffer, length);
		shmdt(memory);
	} else {
		int fd = open_object(name, O_RDWR);

		expect("native write", pwrite(fd, buffer, length, (off_t)offset), (int64_t)length,
		       0);
		close(fd);
	}
	object_store(obj, offset, buffer, length);
	return true;
}

bool do_native_create(void)
{
	int name = (int)random_below(NAMES);

	if (now.names[name])
		return false;
	uint64_t size = 1 + random_below(MOST);
	trace("create %d with %llu bytes natively", name, (unsigned long long)size);
	if (now.kind == SYSV) {
		int id = shmget(key_of(name), (size_t)size, IPC_CREAT | IPC_EXCL | 0640);

		expect("shmget", id < 0 ? -1 : 0, 0, 0);
	} else {
		int fd = open_object(name, O_RDWR | O_CREAT | O_EXCL);

		expect("ftruncate", ftruncate(fd, (off_t)size), 0, 0);
		close(fd);
	}
	object_new(name, size, 0640);
	return true;
}

bool do_native_remove(void)
{
	int name = (int)random_below(NAMES);

	if (!now.names[name])
		return false;
	trace("remove %d natively", name);
	if (now.kind == SYSV)
		expect("IPC_RMID", shmctl(find_segment(name), IPC_RMID, NULL), 0, 0);
	else
		expect("shm_unlink", shm_unlink(object_name(name)), 0, 0);
	object_unname(name);
	return true;
}

/* No program can resize a segment; it can remove it and make another. */
bool do_native_resize(void)
{
	int name = (int)random_below(NAMES);

	if (!now.names[name] || now.kind == SYSV)
		return false;
	uint64_t size = any_offset(now.names[name]);
	trace("resize %d to %llu natively", name, (unsigned long long)size);
	int fd = open_object(name, O_RDWR);
	expect("ftruncate", ftruncate(fd, (off_t)size), 0, 0);
	close(fd);
	object_resize(now.names[name], size);
	return true;
}

bool do_native_map(void)
{
	int name = (int)random_below(NAMES);
	struct object *obj = now.names[name];
	struct mapping *m = now.mappings;

	while (m < now.mappings + MAPPINGS && m->object)
		m++;
	if (!obj || m == now.mappings + MAPPINGS)
		return false;
	trace("map %d natively -> mapping %d", name, (int)(m - now.mappings));
	*m = (struct mapping){ .object = obj, .length = MOST, .writable = true };
	if (now.kind == SYSV) {
		m->memory = attach(find_segment(name), 0);
		m->attached = true;
		obj->attached++;
		return true;
	}
	int fd = open_object(name, O_RDWR);
	m->memory = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m->memory == MAP_FAILED)
		differs("native mmap: %s", strerror(errno));
	close(fd);
	obj->mapped++;
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define FIRST_KEY 1650000000

key_t object_key(int number)
{
	return FIRST_KEY + number;
}

static void object_name(char name[PATH_SIZE], int number)
{
	snprintf(name, PATH_SIZE, "/bench.%d", number);
}

void object_path(char path[PATH_SIZE], const struct place *place, int number)
{
	path[0] = '\0';
	if (!place->dir)
		return;
	if (place->kind == SYSV_SEGMENT)
		snprintf(path, PATH_SIZE, "%s/%d", place->dir, object_key(number));
	else
		snprintf(path, PATH_SIZE, "%s/bench.%d", place->dir, number);
}

static char *segment_map(int number)
{
	int id = shmget(object_key(number), 0, 0);
	char *mem = id < 0 ? (char *)-1 : shmat(id, NULL, 0);

	return mem == (char *)-1 ? NULL : mem;
}

static char *posix_map(int number, size_t size)
{
	char name[PATH_SIZE];
	char *mem;
	int fd;

	object_name(name, number);
	fd = shm_open(name, O_RDWR, 0);
	if (fd < 0)
		return NULL;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

char *object_map(enum kind kind, int number, size_t size)
{
	char *mem = kind == SYSV_SEGMENT ? segment_map(number) : posix_map(number, size);

	for (size_t at = 0; mem && at < size; at += 4096)
		(void)*(volatile char *)(mem + at);
	return mem;
}

void object_unmap(enum kind kind, char *mem, size_t size)
{
	if (kind == SYSV_SEGMENT)
		shmdt(mem);
	else
		munmap(mem, size);
}

static int make_empty(enum kind kind, int number, size_t size)
{
	char name[PATH_SIZE];
	int err = 0;
	int fd;

	if (kind == SYSV_SEGMENT)
		return shmget(object_key(number), size, IPC_CREAT | IPC_EXCL | 0600) < 0 ? -errno :
											   0;
	object_name(name, number);
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) != 0)
		err = -errno;
	close(fd);
	return err;
}

int object_make(enum kind kind, int number, size_t size)
{
	int err = make_empty(kind, number, size);
	char *mem;

	if (err)
		return err;
	mem = object_map(kind, number, size);
	if (!mem)
		return -errno;
	memset(mem, 'a' + number % 26, size);
	object_unmap(kind, mem, size);
	return 0;
}

void object_remove(enum kind kind, int number)
{
	char name[PATH_SIZE];

	if (kind == SYSV_SEGMENT) {
		shmctl(shmget(object_key(number), 0, 0), IPC_RMID, NULL);
	} else {
		object_name(name, number);
		shm_unlink(name);
	}
}

int objects_make(enum kind kind, int count, size_t size)
{
	int err = 0;

	for (int i = 0; i < count && !err; i++)
		err = object_make(kind, i, size);
	return err;
}

void objects_remove(enum kind kind, int count)
{
	for (int i = 0; i < count; i++)
		object_remove(kind, i);
}

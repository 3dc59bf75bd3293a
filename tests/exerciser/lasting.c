/* SPDX-License-Identifier: MIT */
/*
 * Objects that stay.  All resize them, exchange their names and write to them,
 * each to a slice of its own, and finds there what it wrote last: a write that
 * was acknowledged is never lost to what others do at that moment.
 */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_NUMBER 50000u

static char slice[SLICE], seen[SLICE];

/* Which of them this file is: names are exchanged. */
static int which(int kind, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		wrong("fstat: %s", strerror(errno));
	if (st.st_gid < FIRST_NUMBER || st.st_gid >= FIRST_NUMBER + LASTING || st.st_size < BASE)
		wrong("kind %d: group %u, size %lld", kind, st.st_gid, (long long)st.st_size);
	return (int)(st.st_gid - FIRST_NUMBER);
}

static uint32_t *written_at(int kind, int object)
{
	return &stress.self->written[kind][object];
}

static off_t own_offset(void)
{
	return (off_t)stress.number * SLICE;
}

static void check_slice(int kind, int object)
{
	uint32_t number = *written_at(kind, object);

	/* Nothing was written yet: zeros. */
	if (number == 0)
		memset(slice, 0, SLICE);
	else
		stamp(slice, number, (uint64_t)own_offset(), SLICE);
	if (memcmp(slice, seen, SLICE) != 0)
		wrong("object %d has lost write %u", object, number);
}

static int open_lasting(int kind, int name, int flags)
{
	int fd = open(path_of(kind, KEYS + name), flags | O_CLOEXEC);

	if (fd < 0)
		wrong("open: %s", strerror(errno));
	return fd;
}

static void write_slice(int kind, int name)
{
	doing("write own slice of %s", path_of(kind, KEYS + name));
	int fd = open_lasting(kind, name, random_below(2) ? O_WRONLY : O_RDWR);
	int object = which(kind, fd);
	uint32_t number = *written_at(kind, object) + 1;

	stamp(slice, number, (uint64_t)own_offset(), SLICE);
	if (pwrite(fd, slice, SLICE, own_offset()) != SLICE)
		wrong("pwrite: %s", strerror(errno));
	*written_at(kind, object) = number;
	may_fail(close(fd), EBUSY);
}

static void read_slice(int kind, int name)
{
	doing("read own slice of %s", path_of(kind, KEYS + name));
	int fd = open_lasting(kind, name, random_below(2) ? O_RDONLY : O_RDWR);
	int object = which(kind, fd);
	ssize_t n = pread(fd, seen, SLICE, own_offset());

	if (n != SLICE)
		wrong("pread gave %zd: %s", n, strerror(errno));
	check_slice(kind, object);
	may_fail(close(fd), EBUSY);
}

/* By mapping the mount's file; what the kernel does not serve has none. */
static void store_slice(int kind, int name)
{
	doing("map own slice of %s", path_of(kind, KEYS + name));
	int fd = open_lasting(kind, name, O_RDWR);
	int object = which(kind, fd);
	char *memory = mmap(NULL, SLICE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, own_offset());

	if (may_fail(memory == MAP_FAILED ? -1 : 0, ENODEV)) {
		memcpy(seen, memory, SLICE);
		check_slice(kind, object);
		stamp(memory, ++*written_at(kind, object), (uint64_t)own_offset(), SLICE);
		munmap(memory, SLICE);
	}
	may_fail(close(fd), EBUSY);
}

static void native_slice(int name)
{
	struct shmid_ds ds;
	int id = shmget(key_of(KEYS + name), 0, 0);

	doing("attach own slice of %d", key_of(KEYS + name));
	/* Between two segments there is none, or one that nobody may attach. */
	if (!may_fail(id, ENOENT))
		return;
	char *memory = shmat(id, NULL, 0);
	if (!may_fail(memory == (char *)-1 ? -1 : 0, EINVAL, EIDRM, EACCES))
		return;
	if (may_fail(shmctl(id, SHM_STAT_ANY, &ds), EINVAL, EIDRM)) {
		int object = (int)(ds.shm_perm.gid - FIRST_NUMBER);

		memcpy(seen, memory + own_offset(), SLICE);
		check_slice(SYSV, object);
		stamp(memory + own_offset(), ++*written_at(SYSV, object), (uint64_t)own_offset(),
		      SLICE);
	}
	shmdt(memory);
}

static void resize(int kind, int name)
{
	doing("resize %s", path_of(kind, KEYS + name));
	may_fail(truncate(path_of(kind, KEYS + name), BASE + random_below(MOST - BASE)),
		 kind == POSIX ? 0 : EBUSY);
}

static void exchange(void)
{
	char other[256];

	snprintf(other, sizeof(other), "%s", path_of(POSIX, KEYS));
	doing("exchange %s", other);
	if (renameat2(AT_FDCWD, path_of(POSIX, KEYS + 1), AT_FDCWD, other, 2) != 0)
		wrong("renameat2: %s", strerror(errno));
}

void lasting(void)
{
	int kind = (int)random_below(2), name = (int)random_below(LASTING);

	switch (random_below(8)) {
	case 0:
	case 1:
		write_slice(kind, name);
		break;
	case 2:
		store_slice(kind, name);
		break;
	case 3:
		if (kind == SYSV)
			native_slice(name);
		else
			exchange();
		break;
	case 4:
	case 5:
		resize(kind, name);
		break;
	default:
		read_slice(kind, name);
	}
}

void lasting_create(void)
{
	for (int i = 0; i < LASTING; i++) {
		for (int kind = POSIX; kind <= SYSV; kind++) {
			take_number(FIRST_NUMBER + (uint32_t)i);
			int fd = open(path_of(kind, KEYS + i), O_CREAT | O_EXCL | O_WRONLY, 0600);
			if (fd < 0 || ftruncate(fd, BASE) != 0 || close(fd) != 0)
				wrong("%s: %s", path_of(kind, KEYS + i), strerror(errno));
		}
	}
}

void lasting_check(void)
{
	for (int i = 0; i < LASTING * WORKERS * 2; i++) {
		stress.number = i / 4;
		stress.self = &stress.workers[stress.number];
		read_slice(i % 2, i / 2 % 2);
	}
}

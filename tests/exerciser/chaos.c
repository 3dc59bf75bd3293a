/* SPDX-License-Identifier: MIT */
/* Names that come and go: whatever is read of them is theirs. */
#include "stress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static char buffer[MOST];

/* Groups are numbers below 50000; those from there on are of lasting objects. */
static void take_any_number(void)
{
	take_number(1 + random_below(49999));
}

/* An open file and the number of the object that it reached. */
static int open_any(int kind, int name, int flags, uint32_t *number)
{
	struct stat st;
	int fd = open(path_of(kind, name), flags | O_CLOEXEC, 0600);

	if (!may_fail(fd, ENOENT, EEXIST))
		return -1;
	if (fstat(fd, &st) != 0)
		wrong("fstat: %s", strerror(errno));
	*number = st.st_gid;
	return fd;
}

static void close_any(int fd)
{
	/* EBUSY: a writer could not have its segment cut to what it wrote. */
	may_fail(close(fd), EBUSY, EEXIST);
}

static void write_any(int kind, int name)
{
	static const int flags[] = { 0, O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, O_TRUNC };
	uint64_t offset = random_below(MOST / 2);
	size_t count = 1 + random_below(random_below(4) ? 5000 : MOST / 2);
	uint32_t number;

	doing("write %s, %zu at %lu", path_of(kind, name), count, (unsigned long)offset);
	take_any_number();
	int fd = open_any(kind, name, O_RDWR | flags[random_below(5)], &number);
	if (fd < 0)
		return;
	stamp(buffer, number, offset, count);
	ssize_t n = pwrite(fd, buffer, count, (off_t)offset);
	if (may_fail(n, ENOSPC) && kind == POSIX && n != (ssize_t)count)
		wrong("wrote %zd of %zu bytes", n, count);
	if (random_below(4) == 0)
		may_fail(ftruncate(fd, random_below(MOST)), EBUSY, ESTALE, EIDRM, EEXIST);
	if (random_below(4) == 0)
		may_fail(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   random_below(MOST), 1 + random_below(MOST)),
			 ESTALE);
	close_any(fd);
}

static void read_any(int kind, int name)
{
	uint64_t offset = random_below(MOST / 2);
	uint32_t number;

	doing("read %s at %lu", path_of(kind, name), (unsigned long)offset);
	int fd = open_any(kind, name, random_below(2) ? O_RDONLY : O_RDWR, &number);
	if (fd < 0)
		return;
	ssize_t n = pread(fd, buffer, 1 + random_below(MOST - 1), (off_t)offset);
	if (n < 0)
		wrong("pread: %s", strerror(errno));
	if (!is_stamped(buffer, number, offset, (size_t)n, true))
		wrong("foreign bytes were read");
	close_any(fd);
}

struct view {
	char *memory;
	size_t count;
	uint32_t number;
	bool write;
};

static void touch_view(void *arg)
{
	const struct view *view = arg;
	size_t offset = random_below((uint32_t)view->count);
	size_t count = 1 + random_below((uint32_t)(view->count - offset));

	if (view->write)
		stamp(view->memory + offset, view->number, offset, count < 100 ? count : 100);
	memcpy(buffer, view->memory + offset, count);
	if (!is_stamped(buffer, view->number, offset, count, true))
		wrong("foreign bytes were mapped");
}

static void map_any(int kind, int name)
{
	struct view view = { .write = true };
	struct stat st;

	doing("map %s", path_of(kind, name));
	int fd = open_any(kind, name, O_RDWR, &view.number);
	if (fd < 0)
		return;
	view.memory = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (may_fail(view.memory == MAP_FAILED ? -1 : 0, ENODEV)) {
		if (fstat(fd, &st) != 0)
			wrong("fstat: %s", strerror(errno));
		view.count = st.st_size < MOST ? (size_t)st.st_size : MOST;
		/* What shrinks meanwhile is the reader's risk, with every file. */
		if (view.count > 0)
			survives(touch_view, &view);
		munmap(view.memory, MOST);
	}
	close_any(fd);
}

static void change_name(int kind, int name)
{
	char target[256];

	snprintf(target, sizeof(target), "%s", path_of(kind, (int)random_below(KEYS)));
	doing("change %s (%s)", path_of(kind, name), target);
	switch (random_below(4)) {
	case 0:
		may_fail(unlink(path_of(kind, name)), ENOENT);
		break;
	case 1:
		may_fail(renameat2(AT_FDCWD, path_of(kind, name), AT_FDCWD, target,
				   random_below(2) ? 1 : 0),
			 ENOENT, EEXIST, EXDEV);
		break;
	default:
		may_fail(truncate(path_of(kind, name), random_below(MOST)), ENOENT, EBUSY, EEXIST);
	}
}

static void list(void)
{
	char path[512];
	struct stat st;
	DIR *dir = opendir(stress.mount);

	doing("list");
	if (!dir)
		wrong("opendir: %s", strerror(errno));
	for (const struct dirent *entry; (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", stress.mount, entry->d_name);
		may_fail(stat(path, &st), ENOENT);
	}
	closedir(dir);
}

/* --- past the mount --- */

static void native_object(int name)
{
	struct view view = { .write = true };
	struct stat st;

	doing("native %s", object_name(name));
	take_any_number();
	if (random_below(4) == 0)
		may_fail(shm_unlink(object_name(name)), ENOENT);
	int fd = shm_open(object_name(name), O_RDWR | (random_below(2) ? O_CREAT : 0), 0600);
	if (!may_fail(fd, ENOENT))
		return;
	if (random_below(2) && ftruncate(fd, random_below(MOST)) != 0)
		wrong("ftruncate: %s", strerror(errno));
	if (fstat(fd, &st) != 0)
		wrong("fstat: %s", strerror(errno));
	view.number = st.st_gid;
	view.count = st.st_size < MOST ? (size_t)st.st_size : MOST;
	view.memory = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (view.count > 0)
		survives(touch_view, &view);
	munmap(view.memory, MOST);
	close(fd);
}

static void native_segment(int name)
{
	struct view view = { .write = true };
	struct shmid_ds ds;

	doing("native %d", key_of(name));
	take_any_number();
	int id = random_below(4) ? shmget(key_of(name), 0, 0) :
				   shmget(key_of(name), 1 + random_below(MOST), IPC_CREAT | 0600);
	/* EACCES: its mode is 0 while it is made anew. */
	if (!may_fail(id, ENOENT, EINVAL, EACCES))
		return;
	if (random_below(4) == 0) {
		may_fail(shmctl(id, IPC_RMID, NULL), EINVAL, EIDRM);
		return;
	}
	view.memory = shmat(id, NULL, 0);
	if (!may_fail(view.memory == (char *)-1 ? -1 : 0, EINVAL, EIDRM, EACCES))
		return;
	if (may_fail(shmctl(id, IPC_STAT, &ds), EACCES)) {
		view.number = ds.shm_perm.gid;
		view.count = ds.shm_segsz < MOST ? ds.shm_segsz : MOST;
		touch_view(&view);
	}
	shmdt(view.memory);
}

void chaos(void)
{
	int kind = (int)random_below(2), name = (int)random_below(KEYS);

	switch (random_below(8)) {
	case 0:
	case 1:
		write_any(kind, name);
		break;
	case 2:
	case 3:
		read_any(kind, name);
		break;
	case 4:
		map_any(kind, name);
		break;
	case 5:
		change_name(kind, name);
		break;
	case 6:
		if (kind == POSIX)
			native_object(name);
		else
			native_segment(name);
		break;
	default:
		list();
	}
}

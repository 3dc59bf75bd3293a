/* SPDX-License-Identifier: MIT */
/* Tasks: calls on names.  Directly to a segment they are those of shmget(2)'s family. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static void clean(const struct task *task)
{
	objects_remove(POSIX_OBJECT, SMALL_OBJECTS);
	objects_remove(SYSV_SEGMENT, SMALL_OBJECTS);
	object_remove(POSIX_OBJECT, NEW_OBJECT);
	object_remove(SYSV_SEGMENT, NEW_OBJECT);
}

static int prepare(const struct task *task)
{
	int err = objects_make(POSIX_OBJECT, SMALL_OBJECTS, SMALL_SIZE);

	if (!err)
		err = objects_make(SYSV_SEGMENT, SMALL_OBJECTS, SMALL_SIZE);
	if (err)
		clean(task);
	return err;
}

static int begin(struct session *session)
{
	for (int i = 0; i < SMALL_OBJECTS; i++)
		object_path(session->path[i], session->place, i);
	return 0;
}

static int begin_new(struct session *session)
{
	object_path(session->path[0], session->place, NEW_OBJECT);
	return 0;
}

/* One object after the other, as a program that looks at many does. */
static unsigned next_object(struct session *session)
{
	return session->next++ % SMALL_OBJECTS;
}

static int stat_step(struct session *session)
{
	unsigned number = next_object(session);
	struct shmid_ds segment;
	struct stat st;
	int failed;

	if (session->place->dir)
		failed = stat(session->path[number], &st);
	else
		failed = shmctl(shmget(object_key((int)number), 0, 0), IPC_STAT, &segment);
	return failed ? -errno : 0;
}

static int attach(unsigned number, char *buf, size_t size)
{
	char *mem = shmat(shmget(object_key((int)number), 0, 0), NULL, SHM_RDONLY);

	if (mem == (char *)-1)
		return -errno;
	memcpy(buf, mem, size);
	return shmdt(mem) == 0 ? 0 : -errno;
}

static int open_and_read(struct session *session, size_t size)
{
	unsigned number = next_object(session);
	static char buf[SMALL_SIZE];
	int err = 0;
	int fd;

	if (!session->place->dir)
		return attach(number, buf, size);
	fd = open(session->path[number], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (size > 0 && read(fd, buf, size) != (ssize_t)size)
		err = errno ? -errno : -EIO;
	return close(fd) == 0 ? err : -errno;
}

static int open_step(struct session *session)
{
	return open_and_read(session, 0);
}

static int open_read_step(struct session *session)
{
	return open_and_read(session, SMALL_SIZE);
}

static int create_segment(void)
{
	int id = shmget(object_key(NEW_OBJECT), SMALL_SIZE, IPC_CREAT | IPC_EXCL | 0600);

	return id >= 0 && shmctl(id, IPC_RMID, NULL) == 0 ? 0 : -errno;
}

static int create_step(struct session *session)
{
	int fd;

	if (!session->place->dir)
		return create_segment();
	fd = open(session->path[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (close(fd) != 0)
		return -errno;
	return unlink(session->path[0]) == 0 ? 0 : -errno;
}

/* The first object stays open from begin() to end(). */
static int begin_open(struct session *session)
{
	begin(session);
	if (!session->place->dir)
		return -EOPNOTSUPP;
	session->fd = open(session->path[0], O_RDWR | O_CLOEXEC);
	return session->fd < 0 ? -errno : 0;
}

static void end_open(struct session *session)
{
	close(session->fd);
}

static int read_step(struct session *session)
{
	char buf[SMALL_SIZE];

	return pread(session->fd, buf, sizeof(buf), 0) == (ssize_t)sizeof(buf) ? 0 : -EIO;
}

static int write_step(struct session *session)
{
	static const char buf[SMALL_SIZE];

	return pwrite(session->fd, buf, sizeof(buf), 0) == (ssize_t)sizeof(buf) ? 0 : -EIO;
}

/* As a person's command comes. */
#define ISOLATED \
	.unit = MICROSECONDS, .rounds = MAX_ROUNDS, .pause_ms = 100, .per_step = 1, \
	.prepare = prepare, .clean = clean
#define OPENED .begin = begin_open, .end = end_open, .beside_tmpfs = true
#define CALL \
	.unit = MICROSECONDS, .rounds = MAX_ROUNDS, .slice_ms = 25, .per_step = 1, \
	.prepare = prepare, .clean = clean

const struct task call_tasks[] = {
	{ CALL, .label = "stat by path", .begin = begin, .step = stat_step },
	{ CALL, .label = "open, close", .begin = begin, .step = open_step },
	{ CALL, .label = "open, read 4 KiB, close", .begin = begin, .step = open_read_step },
	{ CALL, .label = "create, close, unlink", .begin = begin_new, .step = create_step,
	  .left_out = 1u << LEAST },
	{ CALL, OPENED, .label = "read 4 KiB", .step = read_step },
	{ CALL, OPENED, .label = "write 4 KiB", .step = write_step },
	{ ISOLATED, .label = "stat by path, after 100 ms", .begin = begin, .step = stat_step },
	{ ISOLATED, .label = "open, close, after 100 ms", .begin = begin, .step = open_step },
	{ ISOLATED, OPENED, .label = "read 4 KiB, after 100 ms", .step = read_step },
	{ ISOLATED, OPENED, .label = "write 4 KiB, after 100 ms", .step = write_step },
};
const unsigned call_task_count = sizeof(call_tasks) / sizeof(call_tasks[0]);

/* SPDX-License-Identifier: MIT */
/* Tasks: bytes to and from one big object. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void clean(const struct task *task)
{
	object_remove(POSIX_OBJECT, 0);
	object_remove(SYSV_SEGMENT, 0);
}

static int prepare(const struct task *task)
{
	int err = object_make(POSIX_OBJECT, 0, BIG_SIZE);

	if (!err)
		err = object_make(SYSV_SEGMENT, 0, BIG_SIZE);
	if (err)
		clean(task);
	return err;
}

static void end(struct session *session)
{
	if (session->fd >= 0)
		close(session->fd);
	if (session->mem && session->place->dir)
		munmap(session->mem, BIG_SIZE);
	else if (session->mem)
		object_unmap(session->place->kind, session->mem, BIG_SIZE);
	free(session->buf);
}

static int fail(struct session *session)
{
	int err = -errno;

	end(session);
	return err;
}

static int begin(struct session *session)
{
	const struct task *task = session->task;

	session->buf = malloc(task->block);
	if (!session->buf)
		return -ENOMEM;
	memset(session->buf, 'x', task->block);
	if (!session->place->dir) {
		session->mem = object_map(session->place->kind, 0, BIG_SIZE);
		return session->mem ? 0 : fail(session);
	}
	object_path(session->path[0], session->place, 0);
	session->fd = open(session->path[0], task->open_flags | O_CLOEXEC);
	return session->fd >= 0 ? 0 : fail(session);
}

static int begin_mapped(struct session *session)
{
	int err = begin(session);
	char *mem;

	if (err || session->mem)
		return err;
	mem = mmap(NULL, BIG_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, session->fd, 0);
	if (mem == MAP_FAILED)
		return fail(session);
	session->mem = mem;
	return 0;
}

static size_t next_block(struct session *session)
{
	size_t block = session->task->block;

	if (session->task->random) { /* xorshift64 */
		session->random ^= session->random << 13;
		session->random ^= session->random >> 7;
		session->random ^= session->random << 17;
		return (size_t)(session->random % (BIG_SIZE / block)) * block;
	}
	session->at = (session->at + block) % BIG_SIZE;
	return session->at;
}

static int read_step(struct session *session)
{
	const struct task *task = session->task;

	for (unsigned i = 0; i < task->per_step; i++) {
		size_t at = next_block(session);

		if (session->mem)
			memcpy(session->buf, session->mem + at, task->block);
		else if (pread(session->fd, session->buf, task->block, (off_t)at) !=
			 (ssize_t)task->block)
			return errno ? -errno : -EIO;
	}
	return 0;
}

static int write_step(struct session *session)
{
	const struct task *task = session->task;

	for (unsigned i = 0; i < task->per_step; i++) {
		size_t at = next_block(session);

		if (session->mem)
			memcpy(session->mem + at, session->buf, task->block);
		else if (pwrite(session->fd, session->buf, task->block, (off_t)at) !=
			 (ssize_t)task->block)
			return errno ? -errno : -EIO;
	}
	return 0;
}

/* For tmpfs that is no advice: there is no other place for its pages. */
static void drop_pages(struct session *session)
{
	if (session->place->cold)
		posix_fadvise(session->fd, 0, 0, POSIX_FADV_DONTNEED);
}

#define ROW .rounds = MAX_ROUNDS, .slice_ms = 30, .prepare = prepare, .clean = clean, .end = end
#define READ \
	.open_flags = O_RDONLY, .begin = begin, .before = drop_pages, .step = read_step, \
	.unit = GIB_PER_S
#define WRITE .open_flags = O_WRONLY, .begin = begin, .step = write_step, .unit = GIB_PER_S
#define IN_ORDER .block = 1 << 20, .per_step = 1
#define RANDOM .block = 4096, .per_step = 32, .random = true
/* The same call on both sides; memcpy(3) has rows of its own. */
#define BY_CALL .beside_tmpfs = true
#define NO_MMAP .left_out = 1u << LEAST
#define BY_MEMCPY .kinds = 1u << SYSV_SEGMENT

const struct task transfer_tasks[] = {
	{ ROW, READ, IN_ORDER, BY_CALL, .label = "read 1 MiB, in order" },
	{ ROW, WRITE, IN_ORDER, BY_CALL, .label = "write 1 MiB, in order" },
	{ ROW, READ, RANDOM, BY_CALL, .label = "read 4 KiB, random" },
	{ ROW, WRITE, RANDOM, BY_CALL, .label = "write 4 KiB, random" },
	{ ROW, NO_MMAP, .begin = begin_mapped, .step = read_step, .open_flags = O_RDONLY,
	  .block = 8, .per_step = 4096, .random = true, .unit = NANOSECONDS,
	  .label = "mapped, read 8 bytes, random" },
	{ ROW, READ, IN_ORDER, BY_MEMCPY, .label = "read 1 MiB, beside memcpy()" },
	{ ROW, WRITE, IN_ORDER, BY_MEMCPY, .label = "write 1 MiB, beside memcpy()" },
	{ ROW, READ, RANDOM, BY_MEMCPY, .label = "read 4 KiB, beside memcpy()" },
	{ ROW, WRITE, RANDOM, BY_MEMCPY, .label = "write 4 KiB, beside memcpy()" },
};
const unsigned transfer_task_count = sizeof(transfer_tasks) / sizeof(transfer_tasks[0]);

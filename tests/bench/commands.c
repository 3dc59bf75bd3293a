/* SPDX-License-Identifier: MIT */
/* Tasks: what is done with commands, from their start to their end. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Run a command with its output going nowhere.  Returns 0 if it succeeded. */
static int run(const char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int status = 0;
	pid_t pid;
	int err;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return status == 0 ? 0 : -EIO;
}

/* --- ls, lsipc, ipcs --- */

static enum kind listed_kind(const struct task *task)
{
	return task->kinds == 1u << SYSV_SEGMENT ? SYSV_SEGMENT : POSIX_OBJECT;
}

static void list_clean(const struct task *task)
{
	objects_remove(listed_kind(task), LISTED_OBJECTS);
}

static int list_prepare(const struct task *task)
{
	int err = objects_make(listed_kind(task), LISTED_OBJECTS, SMALL_SIZE);

	if (err)
		list_clean(task);
	return err;
}

static int list_begin(struct session *session)
{
	return 0;
}

static int list_step(struct session *session)
{
	const char *ls[] = { "ls", "-l", session->place->dir, NULL };
	const char *peer[] = { session->task->program, "-m", NULL };

	return run(session->place->dir ? ls : peer);
}

/* --- cp --- */

/* In the working directory, which is run.sh's own tmpfs. */
#define SOURCE "bench.source"
#define COPY_SIZE ((size_t)1 << 30)

static void copy_clean(const struct task *task)
{
	unlink(SOURCE);
	object_remove(POSIX_OBJECT, NEW_OBJECT);
	object_remove(SYSV_SEGMENT, NEW_OBJECT);
}

static int write_source(int fd)
{
	size_t block = 1 << 20;
	char *buf = malloc(block);
	int err = buf ? 0 : -ENOMEM;

	if (buf)
		memset(buf, 'c', block);
	for (size_t done = 0; done < COPY_SIZE && !err; done += block)
		if (write(fd, buf, block) != (ssize_t)block)
			err = errno ? -errno : -EIO;
	free(buf);
	return err;
}

static int copy_prepare(const struct task *task)
{
	int err, fd;

	/* The source, the copy, and what a segment that grows takes for a moment. */
	if (machine_available() < 5 * (uint64_t)COPY_SIZE)
		return -ENOMEM;
	fd = open(SOURCE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_source(fd);
	close(fd);
	if (err)
		copy_clean(task);
	return err;
}

static int copy_begin(struct session *session)
{
	object_path(session->path[0], session->place, NEW_OBJECT);
	return 0;
}

static void copy_remove(struct session *session)
{
	object_remove(session->place->kind, NEW_OBJECT);
}

static int copy_step(struct session *session)
{
	const char *cp[] = { "cp", SOURCE, session->path[0], NULL };

	return run(cp);
}

enum {
	LIST_ROUNDS = 5,
	COPY_ROUNDS = 5,
};

/* Of the two bindfs one will do where names and attributes do not matter. */
#define SLOW_PEER (1u << BINDFS_COLD | 1u << LEAST)

#define LIST \
	.unit = MILLISECONDS, .rounds = LIST_ROUNDS, .per_step = 1, .prepare = list_prepare, \
	.clean = list_clean, .begin = list_begin, .step = list_step, .left_out = 1u << LEAST

const struct task command_tasks[] = {
	{ LIST, .label = "`ls -l` of 4,000", .kinds = 1u << POSIX_OBJECT },
	{ LIST, .label = "`ls -l` of 4,000, beside `lsipc -m`", .program = "lsipc",
	  .kinds = 1u << SYSV_SEGMENT },
	{ LIST, .label = "`ls -l` of 4,000, beside `ipcs -m`", .program = "ipcs",
	  .kinds = 1u << SYSV_SEGMENT },
	{ .label = "`cp` of 1 GiB to a new name",
	  .unit = GIB_PER_S,
	  .block = COPY_SIZE,
	  .left_out = SLOW_PEER,
	  .rounds = COPY_ROUNDS,
	  .per_step = 1,
	  .beside_tmpfs = true,
	  .prepare = copy_prepare,
	  .clean = copy_clean,
	  .begin = copy_begin,
	  .before = copy_remove,
	  .step = copy_step,
	  .end = copy_remove },
};
const unsigned command_task_count = sizeof(command_tasks) / sizeof(command_tasks[0]);

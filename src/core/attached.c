/* SPDX-License-Identifier: MIT */
/*
 * Going through /proc for who has something mapped or open; attached_process.c
 * looks at each process.
 *
 * Processes come and go meanwhile.  What cannot be read is left out, but for
 * reasons that are ours, which would show an empty list as the truth.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/attached_internal.h"

#define COMMAND_SIZE 64 /* kernel threads have longer ones than TASK_COMM_LEN */
#define MORE "...\n"

struct scan {
	struct attached_search search;
	int proc; /* owned */
	pid_t self;
	FILE *out;
	size_t written;
	bool full;
};

static int open_process(const struct scan *scan, const char *name)
{
	int fd = openat(scan->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void put_line(struct scan *scan, pid_t pid, const char *command)
{
	char line[COMMAND_SIZE + 16];
	size_t len = (size_t)snprintf(line, sizeof(line), "%d %s\n", (int)pid, command);

	if (scan->written + len > XATTR_SIZE_MAX - strlen(MORE)) {
		fputs(MORE, scan->out);
		scan->full = true;
		return;
	}
	fputs(line, scan->out);
	scan->written += len;
}

static int report(struct scan *scan, int process, pid_t pid)
{
	char command[COMMAND_SIZE];
	ssize_t len = attached_read(process, "comm", command, sizeof(command));

	if (len < 0)
		return (int)len;
	if (len > 0 && command[len - 1] == '\n')
		command[len - 1] = '\0';
	for (char *c = command; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	put_line(scan, pid, command);
	return 0;
}

static int visit(struct scan *scan, pid_t pid)
{
	char name[16];
	int process;
	int found;

	snprintf(name, sizeof(name), "%d", (int)pid);
	process = open_process(scan, name);
	if (process < 0)
		return process;
	found = attached_search(&scan->search, process);
	if (found > 0)
		found = report(scan, process, pid);
	close(process);
	return found;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a;
	pid_t y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

struct pids {
	pid_t *list; /* owned */
	size_t count;
	size_t capacity;
};

static int add_pid(struct pids *pids, const char *name)
{
	pid_t *list;
	char *end;
	long pid = isdigit((unsigned char)name[0]) ? strtol(name, &end, 10) : 0;

	if (pid <= 0 || pid > INT_MAX || *end)
		return 0;
	if (pids->count == pids->capacity) {
		size_t capacity = pids->capacity ? 2 * pids->capacity : 256;

		list = reallocarray(pids->list, capacity, sizeof(*list));
		if (!list)
			return -ENOMEM;
		pids->list = list;
		pids->capacity = capacity;
	}
	pids->list[pids->count++] = (pid_t)pid;
	return 0;
}

/* All at once, so that the order is that of the numbers and nothing comes twice. */
static int list_processes(const struct scan *scan, struct pids *pids)
{
	DIR *dir = attached_open_dir(scan->proc, ".");
	const struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir)) != NULL)
		err = add_pid(pids, entry->d_name);
	closedir(dir);
	if (pids->count > 0)
		qsort(pids->list, pids->count, sizeof(*pids->list), compare_pids);
	return err;
}

static int visit_all(struct scan *scan)
{
	struct pids pids = { 0 };
	int err = list_processes(scan, &pids);

	for (size_t i = 0; !err && !scan->full && i < pids.count; i++) {
		if (pids.list[i] == scan->self)
			continue;
		err = visit(scan, pids.list[i]);
		if (!attached_is_shortage(err))
			err = 0;
	}
	free(pids.list);
	return err;
}

/* Who we are in this /proc, which may count processes otherwise than getpid(2). */
static int find_self(struct scan *scan, const struct shmfs_attached_query *query)
{
	char name[16];
	ssize_t len = readlinkat(scan->proc, "self", name, sizeof(name) - 1);
	int process;
	int err;

	if (len < 0)
		return -errno;
	process = open_process(scan, "self");
	if (process < 0)
		return process;
	name[len] = '\0';
	scan->self = (pid_t)strtol(name, NULL, 10);
	err = attached_search_init(&scan->search, query, process);
	close(process);
	return err;
}

static int scan_as(struct scan *scan, const struct shmfs_caller *caller)
{
	int err = shmfs_caller_assume(caller);

	if (err)
		return err;
	err = visit_all(scan);
	shmfs_caller_drop();
	return err;
}

int shmfs_attached_write(const struct shmfs_attached_query *query,
			 const struct shmfs_caller *caller, FILE *out)
{
	struct scan scan = { .out = out };
	int err;

	scan.proc = open(query->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (scan.proc < 0)
		return -errno;
	err = find_self(&scan, query);
	if (!err) {
		err = scan_as(&scan, caller);
		attached_search_clear(&scan.search);
	}
	close(scan.proc);
	return err;
}

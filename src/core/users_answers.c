/* SPDX-License-Identifier: MIT */
/* Questions to a snapshot, and the values of attributes that answer them. */
#include "core/users_internal.h"

#include <ctype.h>
#include <linux/limits.h>

#define FILES 2
#define MORE "...\n"

const struct shmfs_use *shmfs_users_of(const struct shmfs_users_snapshot *snapshot,
				       const struct shmfs_file_id *file, size_t *count)
{
	const struct shmfs_use *uses = snapshot->uses;
	size_t first = 0;
	size_t end = snapshot->nuses;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (users_compare_files(&uses[middle].file, file) < 0)
			first = middle + 1;
		else
			end = middle;
	}
	while (end < snapshot->nuses && users_compare_files(&uses[end].file, file) == 0)
		end++;
	*count = end - first;
	return *count ? &uses[first] : NULL;
}

static int compare_processes(const void *a, const void *b)
{
	pid_t x = ((const struct shmfs_process *)a)->pid;
	pid_t y = ((const struct shmfs_process *)b)->pid;

	return (x > y) - (x < y);
}

const struct shmfs_process *shmfs_users_process(const struct shmfs_users_snapshot *snapshot,
						pid_t pid)
{
	const struct shmfs_process key = { .pid = pid };

	return bsearch(&key, snapshot->processes, snapshot->nprocesses, sizeof(key),
		       compare_processes);
}

void shmfs_use_path(const struct shmfs_users_snapshot *snapshot, const struct shmfs_use *use,
		    char path[static SHMFS_USE_PATH])
{
	if (use->kind == SHMFS_USE_OPEN)
		snprintf(path, SHMFS_USE_PATH, "%s/%d/fd/%llu", snapshot->proc_dir, (int)use->pid,
			 (unsigned long long)use->begin);
	else
		snprintf(path, SHMFS_USE_PATH, "%s/%d/map_files/%llx-%llx", snapshot->proc_dir,
			 (int)use->pid, (unsigned long long)use->begin,
			 (unsigned long long)use->end);
}

/*
 * readlink(2) of a link in /proc/PID/ns checks that right, and takes no lock of the process
 * (fs/proc/namespaces.c, proc_ns_readlink()).
 */
bool shmfs_users_may_see(const struct shmfs_users_snapshot *snapshot, pid_t pid)
{
	char path[128];
	char link;

	snprintf(path, sizeof(path), "%s/%d/ns/pid", snapshot->proc_dir, (int)pid);
	return readlink(path, &link, 1) > 0;
}

/* --- the values of extended attributes --- */

struct lines {
	const struct shmfs_users_snapshot *snapshot;
	const struct shmfs_users_query *query;
	FILE *out;
	size_t written;
	pid_t pid; /* of the last use */
	bool seen; /* the caller may look into that process */
	bool full;
};

static void put_line(struct lines *lines, const struct shmfs_use *use,
		     const struct shmfs_process *process)
{
	static const char *const kinds[] = { "attached", "mapped", "open" };
	const char *command = lines->snapshot->names + process->command;
	char line[128];
	size_t len;

	if (lines->query->format == SHMFS_USERS_ATTACHED)
		len = (size_t)snprintf(line, sizeof(line), "%d %s", (int)use->pid, command);
	else
		len = (size_t)snprintf(line, sizeof(line), "%d %u %s %s %u %s", (int)use->pid,
				       (unsigned)process->uid, kinds[use->kind],
				       use->writable ? "rw" : "r", use->count, command);
	if (lines->written + len + 1 > XATTR_SIZE_MAX - strlen(MORE)) {
		fputs(MORE, lines->out);
		lines->full = true;
		return;
	}
	for (char *c = line; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	fprintf(lines->out, "%s\n", line);
	lines->written += len + 1;
}

static void take_use(struct lines *lines, const struct shmfs_use *use)
{
	const struct shmfs_process *process = shmfs_users_process(lines->snapshot, use->pid);
	bool is_next = use->pid != lines->pid;

	if (use->kind == SHMFS_USE_OPEN && !lines->query->open)
		return;
	if (!is_next && lines->query->format == SHMFS_USERS_ATTACHED)
		return;
	if (is_next)
		lines->seen = shmfs_users_may_see(lines->snapshot, use->pid);
	lines->pid = use->pid;
	if (lines->seen && process)
		put_line(lines, use, process);
}

/* Merge the uses of both files, in the order of PIDs. */
static void write_lines(struct lines *lines)
{
	const struct shmfs_use *uses[FILES];
	size_t left[FILES];

	for (int i = 0; i < FILES; i++)
		uses[i] = shmfs_users_of(lines->snapshot, &lines->query->files[i], &left[i]);
	while (!lines->full && (left[0] || left[1])) {
		int i = left[0] && (!left[1] || uses[0]->pid <= uses[1]->pid) ? 0 : 1;

		take_use(lines, uses[i]++);
		left[i]--;
	}
}

int shmfs_users_write(struct shmfs_users *users, const struct shmfs_users_query *query,
		      const struct shmfs_caller *caller, FILE *out)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	struct lines lines = { .query = query, .out = out };
	int err = shmfs_users_get(users, &snapshot);

	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);
	if (refused)
		return refused;
	lines.snapshot = snapshot;
	write_lines(&lines);
	return 0;
}

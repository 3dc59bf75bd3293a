/* SPDX-License-Identifier: MIT */
/* One pass over all processes; users_process.c reads each. */
#include "core/users_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

/*
 * Processor time for processes that take longer than others do: half of
 * what is left of it for each.  Somebody can have thousands of them.
 */
#define BUDGET_NS 250000000u

static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* A file of /proc that has `size - 1` bytes at most, as a string; its length. */
static ssize_t read_text(int dir, const char *path, char *text, size_t size)
{
	SHMFS_AUTO_FD int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	if (len < 0)
		return -errno;
	text[len] = '\0';
	return len;
}

/* --- processes --- */

/*
 * A process whose first thread has ended seems to have nothing (proc(5)): its
 * other threads tell what it has.  All say the same, so one is enough.
 */
static void read_thread(struct users_reading *reading, int dir, const char *name)
{
	int process = reading->dir;
	SHMFS_AUTO_FD int thread = -1;

	if (reading->has_thread)
		return;
	thread = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (thread < 0)
		return;
	reading->dir = thread;
	reading->has_thread = users_read_files(reading) == 0;
	reading->dir = process;
}

static bool has_threads(int process)
{
	struct stat st;

	/* Two links of its own, and one for each thread, ended or not. */
	return fstatat(process, "task", &st, 0) == 0 && st.st_nlink > 3;
}

/* The effective one, (uid_t)-1 where it is not told. */
static uid_t read_uid(struct users_reading *reading)
{
	char *text = reading->pass->buffer;
	unsigned uid;

	if (read_text(reading->dir, "status", text, USERS_BUFFER) < 0)
		return (uid_t)-1;
	text = strstr(text, "\nUid:");
	return text && sscanf(text, "\nUid: %*u %u", &uid) == 1 ? (uid_t)uid : (uid_t)-1;
}

/* Its number, user and command, for the uses that were found. */
static int describe(struct users_reading *reading)
{
	struct users_sheet *sheet = reading->pass->sheet;
	struct shmfs_process *process = &sheet->processes[sheet->nprocesses];
	char command[64]; /* kernel threads have longer ones than TASK_COMM_LEN */
	ssize_t len = read_text(reading->dir, "comm", command, sizeof(command));

	if (len < 0)
		return (int)len;
	if (len > 0 && command[len - 1] == '\n')
		len--;
	process->pid = reading->pid;
	process->command = users_keep_name(reading, command, (size_t)len);
	process->uid = read_uid(reading);
	return 0;
}

static int read_process(struct users_reading *reading)
{
	struct users_sheet *sheet = reading->pass->sheet;
	int err = users_read_files(reading);

	if (err == -ESRCH && has_threads(reading->dir))
		err = users_each_number(reading, "task", read_thread);
	if (err || reading->nuses == sheet->nuses)
		return err;
	if (sheet->nprocesses == PROCESSES_MAX)
		return -ENOSPC;
	err = describe(reading);
	if (err)
		return err;
	sheet->nprocesses++;
	sheet->nuses = reading->nuses;
	sheet->names_used = reading->names_used;
	return 0;
}

static void charge(struct users_reading *reading)
{
	uint64_t time = users_cpu_time() - reading->started;

	if (time > USERS_USUAL_NS)
		reading->pass->budget -=
			time < reading->pass->budget ? time : reading->pass->budget;
}

static int visit(struct users_pass *pass, pid_t pid)
{
	struct users_sheet *sheet = pass->sheet;
	struct users_reading reading = { .pass = pass,
					 .pid = pid,
					 .started = users_cpu_time(),
					 .nuses = sheet->nuses,
					 .names_used = sheet->names_used };
	char name[16];
	int err;

	snprintf(name, sizeof(name), "%d", (int)pid);
	reading.dir = openat(pass->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (reading.dir < 0)
		return is_shortage(-errno) ? -errno : 0;
	err = read_process(&reading);
	close(reading.dir);
	charge(&reading);
	/* A process that has gone meanwhile uses nothing. */
	if (reading.cut || (err && err != -ESRCH && err != -ENOENT))
		sheet->nunread++;
	return is_shortage(err) ? err : 0;
}

static int visit_all(struct users_pass *pass)
{
	const struct users_scope *scope = pass->scope;
	char self[16] = "";
	int err = readlinkat(pass->proc, "self", self, sizeof(self) - 1) < 0 ? -errno : 0;
	pid_t reader = (pid_t)strtol(self, NULL, 10);

	for (size_t i = atomic_load(&pass->sheet->at); !err && i < scope->npids; i++) {
		atomic_store(&pass->sheet->at, i);
		if (scope->pids[i] != reader || reader == scope->self)
			err = visit(pass, scope->pids[i]);
		atomic_fetch_add(&pass->sheet->ticks, 1);
	}
	return err;
}

int users_scan(const struct users_scope *scope, struct users_sheet *sheet)
{
	struct users_pass pass = { .scope = scope, .sheet = sheet, .budget = BUDGET_NS };
	SHMFS_AUTO_FD int proc = open(scope->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	SHMFS_AUTO_FD int self = -1;

	if (proc < 0)
		return -errno;
	self = openat(proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (self >= 0)
		users_read_namespace(self, pass.ipc);
	pass.proc = proc;
	return visit_all(&pass);
}

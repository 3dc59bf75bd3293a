/* SPDX-License-Identifier: MIT */
/*
 * What each process has attached, mapped and open, as /proc tells it.
 *
 * A line of /proc/PID/maps ends with device, inode number and path of what is
 * mapped.  Of a segment these are the device of the kernel's internal tmpfs
 * (or hugetlbfs), the shmid, and "/SYSV" with the key it was made with.  Of a
 * POSIX object they are what stat(2) says.  A file of a shmfs mount shows
 * itself, not what is behind it, though the kernel serves it from there
 * (file_user_inode(), Linux 6.9).
 *
 * Whoever owns a process can let its reader wait for ever.  /proc/PID/fdinfo
 * takes the mutex of an epoll instance (ep_show_fdinfo()), so descriptors are
 * told by readlink(2) and statx(2), which take no lock of the process.  statx(2)
 * fetches nothing: a file may be on a server that is gone, or on our own mount.
 * /proc/PID/maps takes exec_update_lock and mmap_lock, which a process can hold
 * while its own FUSE filesystem does not answer.  Both waits end with a
 * SIGKILL; users.c sends it.
 */
#include "core/users_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Room for the longest line of maps: a path of PATH_MAX, each byte as "\ooo". */
#define BUFFER_SIZE ((size_t)20 << 10)
#define NAMESPACE_SIZE 32
#define DELETED " (deleted)"
#define SLOTS 1024
/* Descriptors between two ticks. */
#define TICK_EVERY 256

struct scan {
	const struct users_scope *scope;
	struct users_sheet *sheet;
	int proc;		  /* owned */
	char ipc[NAMESPACE_SIZE]; /* our namespace, as /proc names it */
	char buffer[BUFFER_SIZE];
};

/* The process that is being read. */
struct reading {
	struct scan *scan;
	int dir; /* owned; /proc/PID, or a thread's directory below it */
	pid_t pid;
	enum { IPC_UNKNOWN, IPC_OURS, IPC_OTHER } ipc;
	bool overflow;
	size_t nuses;	       /* in the sheet, this process's included */
	size_t names_used;     /* likewise */
	unsigned slots[SLOTS]; /* by hash of the file: index of a use, plus 1 */
};

static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* A file of /proc that has `size - 1` bytes at most, as a string; its length. */
static ssize_t read_text(int dir, const char *path, char *text, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	if (len < 0)
		len = -errno;
	else
		text[len] = '\0';
	close(fd);
	return len;
}

/* --- what is written down --- */

/* Returns the offset of a copy, or 0, where an empty name is. */
static uint32_t keep_name(struct reading *reading, const char *name, size_t len)
{
	char *to = reading->scan->sheet->names + reading->names_used;

	if (len == 0 || len >= NAMES_MAX - reading->names_used)
		return 0;
	memcpy(to, name, len);
	to[len] = '\0';
	reading->names_used += len + 1;
	return (uint32_t)(to - reading->scan->sheet->names);
}

/* The last part of a path that /proc shows. */
static uint32_t keep_last_part(struct reading *reading, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t len = strlen(name);
	size_t mark = strlen(DELETED);

	if (len > mark && strcmp(name + len - mark, DELETED) == 0)
		len -= mark;
	return keep_name(reading, name, len);
}

static unsigned *slot_of(struct reading *reading, const struct shmfs_use *use)
{
	uint64_t hash = (use->file.ino ^ use->file.dev << 24 ^ use->kind) * 0x9e3779b97f4a7c15u;

	return &reading->slots[hash >> 32 & (SLOTS - 1)];
}

static bool is_same_use(const struct shmfs_use *a, const struct shmfs_use *b)
{
	return a->file.dev == b->file.dev && a->file.ino == b->file.ino && a->kind == b->kind;
}

/* Most of what a process uses many times is found by its slot; users.c joins the rest. */
static void keep_use(struct reading *reading, const struct shmfs_use *use, const char *path)
{
	struct users_sheet *sheet = reading->scan->sheet;
	unsigned *slot = slot_of(reading, use);
	struct shmfs_use *kept = *slot ? &sheet->uses[*slot - 1] : NULL;

	if (kept && is_same_use(kept, use)) {
		kept->count++;
		kept->writable |= use->writable;
		return;
	}
	if (reading->nuses == USES_MAX) {
		reading->overflow = true;
		return;
	}
	kept = &sheet->uses[reading->nuses++];
	*slot = (unsigned)reading->nuses;
	*kept = *use;
	kept->pid = reading->pid;
	kept->count = 1;
	kept->is_self = reading->pid == reading->scan->scope->self;
	if (use->file.dev == reading->scan->scope->objects)
		kept->name = keep_last_part(reading, path);
}

/* --- what is shared memory --- */

/* The IPC namespace of a process; "" where the kernel has none or does not say. */
static void read_namespace(int process, char name[static NAMESPACE_SIZE])
{
	ssize_t len = readlinkat(process, "ns/ipc", name, NAMESPACE_SIZE - 1);

	name[len < 0 ? 0 : len] = '\0';
}

/*
 * A shmid means something within an IPC namespace alone.  A process that
 * attached and then went to another one is missed, or taken for a user of the
 * segment that has this id here.
 */
static bool is_in_our_namespace(struct reading *reading)
{
	char theirs[NAMESPACE_SIZE];

	if (reading->ipc == IPC_UNKNOWN) {
		read_namespace(reading->dir, theirs);
		reading->ipc = strcmp(theirs, reading->scan->ipc) == 0 ? IPC_OURS : IPC_OTHER;
	}
	return reading->ipc == IPC_OURS;
}

static bool contains(const dev_t *devices, size_t count, dev_t dev)
{
	for (size_t i = 0; i < count; i++) {
		if (devices[i] == dev)
			return true;
	}
	return false;
}

/* Is the file shared memory of ours?  Then *use says which, and in which way it is mapped. */
static bool classify(struct reading *reading, struct shmfs_file_id file, const char *path,
		     struct shmfs_use *use)
{
	const struct users_scope *scope = reading->scan->scope;

	if (!file.dev)
		return false;
	use->file = file;
	use->kind = SHMFS_USE_MAPPED;
	if (file.dev == scope->objects || file.dev == scope->mount)
		return true;
	if (!contains(scope->segments, scope->nsegments, file.dev) ||
	    strncmp(path, "/SYSV", 5) != 0 || !is_in_our_namespace(reading))
		return false;
	use->file.dev = SHMFS_SEGMENTS;
	use->kind = SHMFS_USE_ATTACHED;
	return true;
}

/* --- mappings --- */

static const char *next_field(const char *p)
{
	p += strcspn(p, " ");
	return p + strspn(p, " ");
}

/* What does not read as expected says nothing. */
static void take_mapping(struct reading *reading, const char *line)
{
	struct shmfs_use use = { 0 };
	struct shmfs_file_id file;
	const char *perms;
	const char *device;
	unsigned long major;
	unsigned long minor;
	char *end;

	use.begin = strtoull(line, &end, 16);
	if (*end != '-')
		return;
	use.end = strtoull(end + 1, &end, 16);
	perms = next_field(end);
	device = next_field(next_field(perms));
	major = strtoul(device, &end, 16);
	if (*end != ':')
		return;
	minor = strtoul(end + 1, &end, 16);
	file.ino = (ino_t)strtoull(end, &end, 10);
	file.dev = makedev((unsigned)major, (unsigned)minor);
	/* A private mapping is written to as well, but not what it was made of. */
	use.writable = strncmp(perms, "-w", 2) == 0 || strncmp(perms, "rw", 2) == 0;
	use.writable = use.writable && memchr(perms, 's', strnlen(perms, 4));
	end += strspn(end, " ");
	if (classify(reading, file, end, &use))
		keep_use(reading, &use, end);
}

/* Take the complete lines off the buffer; what is left moves to its front. */
static void take_lines(struct reading *reading, size_t *len)
{
	char *line = reading->scan->buffer;
	char *end = line + *len;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		/* strtoul(3) takes a newline for a blank, and would read on behind it. */
		*newline = '\0';
		take_mapping(reading, line);
		line = newline + 1;
	}
	*len = (size_t)(end - line);
	memmove(reading->scan->buffer, line, *len);
}

/* -ESRCH when there are no mappings at all: no process of a user. */
static int read_mappings(struct reading *reading)
{
	int fd = openat(reading->dir, "maps", O_RDONLY | O_CLOEXEC);
	struct scan *scan = reading->scan;
	bool any = false;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (len < BUFFER_SIZE && (n = read(fd, scan->buffer + len, BUFFER_SIZE - len)) > 0) {
		any = true;
		len += (size_t)n;
		take_lines(reading, &len);
		atomic_fetch_add(&scan->sheet->ticks, 1);
	}
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0 && n != -ESRCH)
		return (int)n;
	return any ? 0 : -ESRCH;
}

/* --- descriptors --- */

/*
 * An O_PATH descriptor uses nothing: the link shows neither reading nor
 * writing then (fs/proc/fd.c, tid_fd_update_inode()).
 */
static void take_descriptor(struct reading *reading, int dir, const char *name)
{
	char *path = reading->scan->buffer;
	ssize_t len = readlinkat(dir, name, path, BUFFER_SIZE - 1);
	struct shmfs_use use = { 0 };
	struct stat link;
	struct statx stx;

	if (len <= 0 || path[0] != '/' ||
	    statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_TYPE, &stx) !=
		    0)
		return;
	path[len] = '\0';
	if (!S_ISREG(stx.stx_mode) ||
	    !classify(reading,
		      (struct shmfs_file_id){ makedev(stx.stx_dev_major, stx.stx_dev_minor),
					      (ino_t)stx.stx_ino },
		      path, &use) ||
	    fstatat(dir, name, &link, AT_SYMLINK_NOFOLLOW) != 0 || !(link.st_mode & 0600))
		return;
	use.kind = SHMFS_USE_OPEN;
	use.begin = strtoull(name, NULL, 10);
	use.writable = link.st_mode & 0200;
	keep_use(reading, &use, path);
}

typedef void entry_fn(struct reading *, int dir, const char *name);

/* Call `fn` for every number in a directory.  opendir(3) would allocate. */
static int each_number(struct reading *reading, const char *name, entry_fn *fn)
{
	int dir = openat(reading->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent) char entries[2048];
	unsigned count = 0;
	long n;

	if (dir < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0) {
		for (long pos = 0; pos < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(entries + pos);

			if (isdigit((unsigned char)entry->d_name[0]))
				fn(reading, dir, entry->d_name);
			if (++count % TICK_EVERY == 0)
				atomic_fetch_add(&reading->scan->sheet->ticks, 1);
			pos += entry->d_reclen;
		}
	}
	if (n < 0)
		n = -errno;
	close(dir);
	return (int)n;
}

/* --- processes --- */

static int read_files(struct reading *reading)
{
	int err = read_mappings(reading);

	return err ? err : each_number(reading, "fd", take_descriptor);
}

/*
 * A process whose first thread has ended seems to have nothing (proc(5)): its
 * other threads tell what it has.  The second of them finds it all once more.
 */
static void read_thread(struct reading *reading, int dir, const char *name)
{
	int process = reading->dir;
	int thread = reading->overflow ? -1 : openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (thread < 0)
		return;
	reading->dir = thread;
	if (reading->ipc != IPC_OURS)
		reading->ipc = IPC_UNKNOWN;
	read_files(reading);
	close(thread);
	reading->dir = process;
}

static bool has_threads(int process)
{
	struct stat st;

	/* Two links of its own, and one for each thread, ended or not. */
	return fstatat(process, "task", &st, 0) == 0 && st.st_nlink > 3;
}

static uid_t read_uid(struct reading *reading)
{
	char *text = reading->scan->buffer;
	const char *field;

	if (read_text(reading->dir, "status", text, BUFFER_SIZE) < 0)
		return (uid_t)-1;
	field = strstr(text, "\nUid:");
	if (!field)
		return (uid_t)-1;
	/* The real one first, then the effective one. */
	field += strcspn(field, "0123456789");
	field += strspn(field, "0123456789");
	return (uid_t)strtoul(field, NULL, 10);
}

/* Its number, user and command, for the uses that were found. */
static int describe(struct reading *reading)
{
	struct users_sheet *sheet = reading->scan->sheet;
	struct shmfs_process *process = &sheet->processes[sheet->nprocesses];
	char command[64]; /* kernel threads have longer ones than TASK_COMM_LEN */
	ssize_t len;

	if (sheet->nprocesses == PROCESSES_MAX)
		return -ENOSPC;
	len = read_text(reading->dir, "comm", command, sizeof(command));
	if (len < 0)
		return (int)len;
	if (len > 0 && command[len - 1] == '\n')
		len--;
	process->pid = reading->pid;
	process->command = keep_name(reading, command, (size_t)len);
	process->uid = read_uid(reading);
	sheet->nprocesses++;
	return 0;
}

static int read_process(struct reading *reading)
{
	size_t before = reading->nuses;
	int err = read_files(reading);

	if (err == -ESRCH && has_threads(reading->dir))
		err = each_number(reading, "task", read_thread);
	if (!err && reading->nuses > before)
		err = describe(reading);
	if (!err && reading->overflow)
		err = -ENOSPC;
	return err;
}

static int visit(struct scan *scan, pid_t pid)
{
	struct users_sheet *sheet = scan->sheet;
	struct reading reading = {
		.scan = scan, .pid = pid, .nuses = sheet->nuses, .names_used = sheet->names_used
	};
	char name[16];
	int err;

	snprintf(name, sizeof(name), "%d", (int)pid);
	reading.dir = openat(scan->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (reading.dir < 0)
		return -errno;
	err = read_process(&reading);
	close(reading.dir);
	if (is_shortage(err))
		return err;
	/* A process that went meanwhile uses nothing. */
	if (err && err != -ESRCH && err != -ENOENT)
		sheet->nunseen++;
	if (!err || err == -ENOSPC) {
		sheet->nuses = reading.nuses;
		sheet->names_used = reading.names_used;
	}
	return 0;
}

int users_scan(const struct users_scope *scope, struct users_sheet *sheet)
{
	struct scan scan = { .scope = scope, .sheet = sheet };
	char self[16] = "";
	int process;
	int err = 0;

	scan.proc = open(scope->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (scan.proc < 0)
		return -errno;
	process = openat(scan.proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process >= 0) {
		read_namespace(process, scan.ipc);
		close(process);
	}
	if (readlinkat(scan.proc, "self", self, sizeof(self) - 1) < 0)
		err = -errno;
	for (size_t i = atomic_load(&sheet->at); !err && i < scope->npids; i++) {
		atomic_store(&sheet->at, i);
		if (scope->pids[i] != (pid_t)strtol(self, NULL, 10) ||
		    scope->pids[i] == scope->self)
			err = visit(&scan, scope->pids[i]);
		atomic_fetch_add(&sheet->ticks, 1);
	}
	close(scan.proc);
	return err;
}

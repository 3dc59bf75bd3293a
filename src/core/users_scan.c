/* SPDX-License-Identifier: MIT */
/*
 * One pass over all processes: what each has attached, mapped and open.
 *
 * A line of /proc/PID/maps ends with device, inode number and path of the mapped file.  A segment
 * has the device of the kernel's internal tmpfs (or hugetlbfs), its shmid as inode number, and the
 * path "/SYSV" with its first key.  A POSIX object has the numbers that stat(2) gives.  A file of a
 * shmfs mount shows its own numbers, also where the kernel serves it from the memory behind it
 * (file_user_inode(), Linux 6.9).
 *
 * The owner of a process can let its reader wait for ever.  /proc/PID/fdinfo takes the mutex of an
 * epoll instance (ep_show_fdinfo()).  So descriptors are read by readlink(2) and statx(2), which
 * take no lock of the process.  AT_STATX_DONT_SYNC keeps statx(2) from asking a FUSE server, which
 * may be gone, or be this mount.  /proc/PID/maps takes exec_update_lock and mmap_lock.  A process
 * can hold both while its own FUSE filesystem does not answer.  Only SIGKILL ends these two waits;
 * users.c sends it.
 */
#include "core/users_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "shmfs/clock.h"
#include "shmfs/proc.h"

/* Up to this much processor time a process is free of charge. */
#define USUAL_NS 1000000u
/*
 * Processor time for all processes that take longer.  Each gets at most half of what is left, since
 * one user can have thousands of them.
 */
#define BUDGET_NS 250000000u
/* The longest line of /proc/PID/maps fits: a path of PATH_MAX, each byte as "\ooo". */
#define BUFFER ((size_t)20 << 10)
#define NAMESPACE 32

#define DELETED " (deleted)"
#define SEMAPHORE "sem."

/* One pass, and the process that is being read. */
struct reader {
	const struct users_scope *scope;
	struct users_sheet *sheet;
	int proc;	     /* owned */
	uint64_t budget;     /* processor time that is left, ns */
	char ipc[NAMESPACE]; /* our namespace, as /proc names it */

	int dir; /* owned; /proc/PID, or the directory of a thread below it */
	pid_t pid;
	uint64_t started; /* processor time */
	enum { IPC_UNKNOWN, IPC_OURS, IPC_OTHER } in_ipc;
	bool has_thread;   /* one was read instead of the process */
	bool cut;	   /* no room or time is left for more of the process */
	size_t nuses;	   /* in the sheet, those of this process included */
	size_t names_used; /* in the sheet, those of this process included */
	char buffer[BUFFER];
};

/* Tell the daemon that the reading goes on, and cut what takes too long. */
static void tick(struct reader *reader)
{
	uint64_t most = reader->budget / 2 > USUAL_NS ? reader->budget / 2 : USUAL_NS;

	atomic_fetch_add(&reader->sheet->ticks, 1);
	if (shmfs_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - reader->started > most)
		reader->cut = true;
}

typedef void entry_fn(struct reader *, int dir, const char *name);

/* Call `fn` for each number that names something in `name`.  opendir(3) would allocate. */
static int each_number(struct reader *reader, const char *name, entry_fn *fn)
{
	_Alignas(struct dirent64) char entries[2048];
	long n = 0;
	SHMFS_AUTO_FD int dir = openat(reader->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	while (!reader->cut && (n = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0) {
		for (long pos = 0; pos < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(entries + pos);

			if (isdigit((unsigned char)entry->d_name[0]))
				fn(reader, dir, entry->d_name);
			pos += entry->d_reclen;
		}
		tick(reader);
	}
	return n < 0 ? -errno : 0;
}

/* --- writing down --- */

/* The offset of a copy of the name, or 0, where an empty name is. */
static uint32_t keep_name(struct reader *reader, const char *name, size_t len)
{
	char *names = reader->sheet->names;
	size_t offset = reader->names_used;

	if (len == 0 || len >= NAMES_MAX - offset)
		return 0;
	memcpy(names + offset, name, len);
	names[offset + len] = '\0';
	reader->names_used += len + 1;
	return (uint32_t)offset;
}

/* The last part of a path that /proc shows. */
static const char *last_part(const char *path, size_t *len)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t mark = strlen(DELETED);

	*len = strlen(name);
	if (*len > mark && strcmp(name + *len - mark, DELETED) == 0)
		*len -= mark;
	return name;
}

/* Mappings of one file mostly come in a row, and are joined here.  users.c joins the others. */
static void keep_use(struct reader *reader, const struct shmfs_use *use, const char *path)
{
	struct users_sheet *sheet = reader->sheet;
	struct shmfs_use *kept = &sheet->uses[reader->nuses];
	const char *name;
	size_t len;

	if (reader->nuses > sheet->nuses && kept[-1].kind == use->kind &&
	    users_compare_files(&kept[-1].file, &use->file) == 0) {
		kept[-1].count++;
		kept[-1].writable |= use->writable;
		return;
	}
	if (reader->nuses == USES_MAX) {
		reader->cut = true;
		return;
	}
	*kept = *use;
	kept->pid = reader->pid;
	kept->count = 1;
	if (use->file.dev == SHMFS_OBJECTS) {
		name = last_part(path, &len);
		kept->name = keep_name(reader, name, len);
	}
	reader->nuses++;
}

/* --- shared memory --- */

/* "" where the kernel has no IPC namespaces or does not say. */
static void read_namespace(int dir, const char *path, char name[static NAMESPACE])
{
	ssize_t len = readlinkat(dir, path, name, NAMESPACE - 1);

	name[len < 0 ? 0 : len] = '\0';
}

/*
 * A shmid names a segment of one IPC namespace.  A process that attached and then went to another
 * namespace is missed, or taken for a user of the segment with the same shmid there.
 */
static bool is_in_our_namespace(struct reader *reader)
{
	char theirs[NAMESPACE];

	if (reader->in_ipc == IPC_UNKNOWN) {
		read_namespace(reader->dir, "ns/ipc", theirs);
		reader->in_ipc = strcmp(theirs, reader->ipc) == 0 ? IPC_OURS : IPC_OTHER;
	}
	return reader->in_ipc == IPC_OURS;
}

static bool contains(const dev_t *devices, size_t count, dev_t dev)
{
	for (size_t i = 0; i < count; i++) {
		if (devices[i] == dev)
			return true;
	}
	return false;
}

/* A file of a mount of shmfs has the number of its object (object.h). */
static bool take_number(struct shmfs_file_id *file)
{
	unsigned backend = (unsigned)(file->ino >> 29) & 7;

	file->ino = SHMFS_FILE_NUMBER(file->ino);
	file->dev = backend == SHMFS_SYSV_NUMBER ? SHMFS_SEGMENT_FILES : SHMFS_OBJECT_FILES;
	return backend == SHMFS_SYSV_NUMBER || backend == SHMFS_POSIX_NUMBER;
}

/* Named semaphores are files of the same directory. */
static bool is_semaphore(const char *path)
{
	size_t len;

	return strncmp(last_part(path, &len), SEMAPHORE, strlen(SEMAPHORE)) == 0;
}

/* Is the file shared memory that we show?  Set use->file, and use->kind as if it were mapped. */
static bool classify(struct reader *reader, const char *path, struct shmfs_use *use)
{
	const struct users_scope *scope = reader->scope;
	const dev_t dev = use->file.dev;

	use->kind = SHMFS_USE_MAPPED;
	if (contains(scope->mounts, scope->nmounts, dev))
		return take_number(&use->file);
	if (dev && dev == scope->objects) {
		use->file.dev = SHMFS_OBJECTS;
		return !is_semaphore(path);
	}
	if (!contains(scope->segments, scope->nsegments, dev) || strncmp(path, "/SYSV", 5) != 0 ||
	    !is_in_our_namespace(reader))
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

/* Skips a line that does not read as expected. */
static void take_mapping(struct reader *reader, const char *line)
{
	struct shmfs_use use = { 0 };
	const char *perms;
	unsigned long major;
	unsigned long minor;
	char *end;

	use.begin = strtoull(line, &end, 16);
	if (*end != '-')
		return;
	use.end = strtoull(end + 1, &end, 16);
	perms = next_field(end);
	major = strtoul(next_field(next_field(perms)), &end, 16);
	if (*end != ':')
		return;
	minor = strtoul(end + 1, &end, 16);
	use.file.dev = makedev((unsigned)major, (unsigned)minor);
	use.file.ino = (ino_t)strtoull(end, &end, 10);
	/* Writing to a private mapping does not change the file. */
	use.writable = strncmp(perms, "-w", 2) == 0 || strncmp(perms, "rw", 2) == 0;
	use.writable = use.writable && memchr(perms, 's', strnlen(perms, 4));
	end += strspn(end, " ");
	if (classify(reader, end, &use))
		keep_use(reader, &use, end);
}

/* Take the complete lines off the buffer, and move the rest to its front. */
static void take_lines(struct reader *reader, size_t *len)
{
	char *line = reader->buffer;
	char *end = line + *len;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		/* strtoul(3) takes a newline for a blank, and would read on behind it. */
		*newline = '\0';
		take_mapping(reader, line);
		line = newline + 1;
	}
	*len = (size_t)(end - line);
	memmove(reader->buffer, line, *len);
}

/* -ESRCH: there are none at all, as of a kernel thread and of a thread that has ended. */
static int read_mappings(struct reader *reader)
{
	SHMFS_AUTO_FD int fd = openat(reader->dir, "maps", O_RDONLY | O_CLOEXEC);
	bool any = false;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (!reader->cut && len < BUFFER &&
	       (n = read(fd, reader->buffer + len, BUFFER - len)) > 0) {
		any = true;
		len += (size_t)n;
		take_lines(reader, &len);
		tick(reader);
	}
	if (n < 0)
		return -errno;
	return any ? 0 : -ESRCH;
}

/* --- descriptors --- */

/*
 * An O_PATH descriptor does not count.  Its link shows neither reading nor writing (fs/proc/fd.c,
 * tid_fd_update_inode()).
 */
static void take_descriptor(struct reader *reader, int dir, const char *name)
{
	char *path = reader->buffer;
	struct shmfs_use use = { 0 };
	struct stat link;
	struct statx stx;
	ssize_t len;

	if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_TYPE, &stx) !=
		    0 ||
	    !S_ISREG(stx.stx_mode))
		return;
	len = readlinkat(dir, name, path, BUFFER - 1);
	if (len <= 0 || path[0] != '/')
		return;
	path[len] = '\0';
	use.file.dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	use.file.ino = (ino_t)stx.stx_ino;
	if (!classify(reader, path, &use) || fstatat(dir, name, &link, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !(link.st_mode & 0600))
		return;
	use.kind = SHMFS_USE_OPEN;
	use.begin = strtoull(name, NULL, 10);
	use.writable = link.st_mode & 0200;
	keep_use(reader, &use, path);
}

static int read_files(struct reader *reader)
{
	int err = read_mappings(reader);

	return err ? err : each_number(reader, "fd", take_descriptor);
}

/* --- processes --- */

/* Where the first thread has ended, the process shows nothing (proc(5)).  Any other thread does. */
static void read_thread(struct reader *reader, int dir, const char *name)
{
	int process = reader->dir;
	SHMFS_AUTO_FD int thread = -1;

	if (reader->has_thread)
		return;
	thread = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (thread < 0)
		return;
	reader->dir = thread;
	reader->has_thread = read_files(reader) == 0;
	reader->dir = process;
}

static bool has_threads(int process)
{
	struct stat st;

	/* Two links of its own, and one for each thread, ended or not. */
	return fstatat(process, "task", &st, 0) == 0 && st.st_nlink > 3;
}

/*
 * Write down the process that has the uses which were found.  The owner of its directory is its
 * effective uid, dumpable or not (fs/proc/base.c, task_dump_owner()).
 */
static int keep_process(struct reader *reader)
{
	struct users_sheet *sheet = reader->sheet;
	struct shmfs_process *process = &sheet->processes[sheet->nprocesses];
	char command[64]; /* kernel threads have longer ones than TASK_COMM_LEN */
	struct stat st;
	ssize_t len;

	if (sheet->nprocesses == PROCESSES_MAX)
		return -ENOSPC;
	if (fstat(reader->dir, &st) != 0)
		return -errno;
	len = shmfs_proc_read(reader->dir, command, sizeof(command), "comm");
	if (len < 0)
		return (int)len;
	if (len > 0 && command[len - 1] == '\n')
		len--;
	process->pid = reader->pid;
	process->command = keep_name(reader, command, (size_t)len);
	process->uid = st.st_uid;
	sheet->nprocesses++;
	sheet->nuses = reader->nuses;
	sheet->names_used = reader->names_used;
	return 0;
}

static int read_process(struct reader *reader)
{
	int err = read_files(reader);

	if (err == -ESRCH && has_threads(reader->dir))
		err = each_number(reader, "task", read_thread);
	return err || reader->nuses == reader->sheet->nuses ? err : keep_process(reader);
}

static void charge(struct reader *reader)
{
	uint64_t time = shmfs_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - reader->started;

	if (time > USUAL_NS)
		reader->budget -= time < reader->budget ? time : reader->budget;
}

static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

static int visit(struct reader *reader, const char *name)
{
	struct users_sheet *sheet = reader->sheet;
	int err;

	reader->dir = openat(reader->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (reader->dir < 0)
		return is_shortage(-errno) ? -errno : 0;
	reader->pid = (pid_t)strtol(name, NULL, 10);
	reader->started = shmfs_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	reader->in_ipc = IPC_UNKNOWN;
	reader->has_thread = false;
	reader->cut = false;
	reader->nuses = sheet->nuses;
	reader->names_used = sheet->names_used;
	err = read_process(reader);
	close(reader->dir);
	charge(reader);
	return is_shortage(err) ? err : 0;
}

int users_find_self(const char *proc_dir, char self[static USERS_SELF])
{
	char path[128];
	ssize_t len;

	snprintf(path, sizeof(path), "%s/self", proc_dir);
	len = readlink(path, self, USERS_SELF - 1);
	self[len < 0 ? 0 : len] = '\0';
	return len < 0 ? -errno : 0;
}

int users_scan(const struct users_scope *scope, struct users_sheet *sheet)
{
	struct reader reader = { .scope = scope, .sheet = sheet, .budget = BUDGET_NS };
	SHMFS_AUTO_FD int proc = open(scope->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char child[USERS_SELF];
	int err = proc < 0 ? -errno : users_find_self(scope->proc_dir, child);

	if (err)
		return err;
	reader.proc = proc;
	read_namespace(proc, "self/ns/ipc", reader.ipc);
	for (size_t i = atomic_load(&sheet->at); !err && i < scope->nprocesses; i++) {
		const char *name = scope->processes[i]->d_name;

		atomic_store(&sheet->at, i);
		if (strcmp(name, child) != 0 && strcmp(name, scope->self) != 0)
			err = visit(&reader, name);
		atomic_fetch_add(&sheet->ticks, 1);
	}
	return err;
}

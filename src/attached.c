/* SPDX-License-Identifier: MIT */
/*
 * Going through /proc for who has something mapped or open.
 *
 * A line of /proc/PID/maps ends with device, inode number and path of what is
 * mapped.  Of a segment these are the device of the kernel's internal tmpfs
 * (or hugetlbfs), the shmid, and "/SYSV" with the key it was made with, marked
 * or removed meanwhile or not.  Of a POSIX object they are what stat(2) says,
 * and of a file of our mount that the kernel serves, too: it shows what was
 * opened, not what is behind it (file_user_inode(), Linux 6.9).
 *
 * The text comes from the kernel's memory, whatever filesystems the files are
 * on.  Looking at a descriptor through /proc/PID/fd does not: a file on a
 * server that is gone lets stat(2) wait for ever.  So /proc/PID/fdinfo is asked
 * for the inode number first (Linux 5.14), and only what has that of the object
 * is looked at, with nothing fetched: our own mount could not answer while
 * the one thread of `-s` is here.
 *
 * Processes come and go meanwhile.  What cannot be read is left out, but for
 * reasons that are ours, which would show an empty list as the truth.
 */
#include "shmfs/attached.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Room for the longest line: a path of PATH_MAX, each byte as "\ooo". */
#define BUFFER_SIZE ((size_t)32 << 10)
#define COMMAND_SIZE 64 /* kernel threads have longer ones than TASK_COMM_LEN */
#define NAMESPACE_SIZE 32
#define MORE "...\n"

/* Huge pages have sizes from 64 KiB to 16 GiB, and a filesystem for each. */
#define HUGE_SHIFT_MIN 16
#define HUGE_SHIFT_MAX 34
#define SEGMENT_DEVICES (2 + HUGE_SHIFT_MAX - HUGE_SHIFT_MIN)

struct scan {
	const struct shmfs_attached_query *query;
	int proc;     /* owned */
	char *buffer; /* owned; BUFFER_SIZE, for one file after the other */
	pid_t self;
	char ipc[NAMESPACE_SIZE];	/* our namespace, as /proc names it */
	dev_t devices[SEGMENT_DEVICES]; /* where the kernel keeps segments */
	size_t ndevices;
	FILE *out;
	size_t written;
	bool full;
};

/* Does it say nothing of the process, but of us? */
static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* --- what is ours --- */

/* Files in memory come from the same internal mounts as segments. */
static int add_device(struct scan *scan, unsigned flags)
{
	int fd = memfd_create("", MFD_CLOEXEC | flags);
	struct stat st;

	if (fd < 0) /* there are no pages of this size, or */
		return is_shortage(-errno) ? -errno : 0;
	if (fstat(fd, &st) == 0)
		scan->devices[scan->ndevices++] = st.st_dev;
	close(fd);
	return 0;
}

static int find_devices(struct scan *scan)
{
	int err = add_device(scan, 0);

	for (unsigned shift = HUGE_SHIFT_MIN; !err && shift <= HUGE_SHIFT_MAX; shift++)
		err = add_device(scan, MFD_HUGETLB | shift << MAP_HUGE_SHIFT);
	return err;
}

/* The IPC namespace of a process; "" where the kernel has none or does not say. */
static void read_namespace(int process, char name[static NAMESPACE_SIZE])
{
	ssize_t len = readlinkat(process, "ns/ipc", name, NAMESPACE_SIZE - 1);

	name[len < 0 ? 0 : len] = '\0';
}

static int open_process(const struct scan *scan, const char *name)
{
	int fd = openat(scan->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Who we are in this /proc, which may count processes otherwise than getpid(2). */
static int find_self(struct scan *scan)
{
	char name[16];
	ssize_t len = readlinkat(scan->proc, "self", name, sizeof(name) - 1);
	int process;

	if (len < 0)
		return -errno;
	process = open_process(scan, "self");
	if (process < 0)
		return process;
	name[len] = '\0';
	scan->self = (pid_t)strtol(name, NULL, 10);
	read_namespace(process, scan->ipc);
	close(process);
	return 0;
}

/* --- mappings --- */

static bool is_file(const struct scan *scan, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < SHMFS_ATTACHED_FILES; i++) {
		const struct shmfs_file_id *file = &scan->query->files[i];

		if (file->dev && file->dev == dev && file->ino == ino)
			return true;
	}
	return false;
}

static bool is_segment(const struct scan *scan, dev_t dev, ino_t ino, const char *path)
{
	if (scan->query->segment < 0 || ino != (ino_t)scan->query->segment ||
	    strncmp(path, "/SYSV", 5) != 0)
		return false;
	for (size_t i = 0; i < scan->ndevices; i++) {
		if (scan->devices[i] == dev)
			return true;
	}
	return false;
}

static const char *next_field(const char *p)
{
	p += strcspn(p, " ");
	return p + strspn(p, " ");
}

/* What does not read as expected matches nothing. */
static bool line_matches(const struct scan *scan, int process, const char *line)
{
	const char *field = next_field(next_field(next_field(line)));
	char theirs[NAMESPACE_SIZE];
	unsigned long major;
	unsigned long minor;
	char *end;
	dev_t dev;
	ino_t ino;

	major = strtoul(field, &end, 16);
	if (*end != ':')
		return false;
	minor = strtoul(end + 1, &end, 16);
	ino = (ino_t)strtoull(end, &end, 10);
	dev = makedev((unsigned)major, (unsigned)minor);
	if (is_file(scan, dev, ino))
		return true;
	if (!is_segment(scan, dev, ino, end + strspn(end, " ")))
		return false;
	read_namespace(process, theirs);
	return strcmp(theirs, scan->ipc) == 0;
}

/* Take the complete lines off the buffer; what is left moves to its front. */
static bool take_lines(const struct scan *scan, int process, size_t *len)
{
	char *line = scan->buffer;
	char *end = scan->buffer + *len;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		/* strtoul(3) takes a newline for a blank, and would read on behind it. */
		*newline = '\0';
		if (line_matches(scan, process, line))
			return true;
		line = newline + 1;
	}
	*len = (size_t)(end - line);
	memmove(scan->buffer, line, *len);
	return false;
}

/* Is it mapped?  -ESRCH when there are no mappings at all: no process of a user. */
static int has_mapped(const struct scan *scan, int process)
{
	int fd = openat(process, "maps", O_RDONLY | O_CLOEXEC);
	bool found = false;
	bool any = false;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (!found && len < BUFFER_SIZE &&
	       (n = read(fd, scan->buffer + len, BUFFER_SIZE - len)) > 0) {
		any = true;
		len += (size_t)n;
		found = take_lines(scan, process, &len);
	}
	close(fd);
	return any ? found : -ESRCH;
}

/* --- descriptors --- */

static ssize_t read_small(int dir, const char *path, char *text, size_t size)
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

/* Could the descriptor be of one of the files, by its inode number? */
static int may_be_file(const struct scan *scan, int infos, const char *name)
{
	char text[256];
	ssize_t len = read_small(infos, name, text, sizeof(text));
	const char *field;
	ino_t ino;

	if (len < 0)
		return (int)len;
	field = strstr(text, "\nino:");
	if (!field)
		return true;
	ino = (ino_t)strtoull(field + strlen("\nino:"), NULL, 10);
	for (size_t i = 0; i < SHMFS_ATTACHED_FILES; i++) {
		if (scan->query->files[i].dev && scan->query->files[i].ino == ino)
			return true;
	}
	return false;
}

static bool descriptor_is_file(const struct scan *scan, int descriptors, const char *name)
{
	struct statx stx;

	return statx(descriptors, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) ==
		       0 &&
	       is_file(scan, makedev(stx.stx_dev_major, stx.stx_dev_minor), (ino_t)stx.stx_ino);
}

static int find_open(const struct scan *scan, int descriptors, DIR *infos)
{
	const struct dirent *entry;

	while ((entry = readdir(infos)) != NULL) {
		int found;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		found = may_be_file(scan, dirfd(infos), entry->d_name);
		if (is_shortage(found))
			return found;
		if (found > 0 && descriptor_is_file(scan, descriptors, entry->d_name))
			return true;
	}
	return false;
}

static DIR *open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int err = errno;

	if (!dir && fd >= 0)
		close(fd);
	errno = err;
	return dir;
}

static int has_open(const struct scan *scan, int process)
{
	int descriptors = openat(process, "fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	DIR *infos;
	int found;

	if (descriptors < 0)
		return -errno;
	infos = open_dir(process, "fdinfo");
	found = infos ? find_open(scan, descriptors, infos) : -errno;
	if (infos)
		closedir(infos);
	close(descriptors);
	return found;
}

/* --- processes --- */

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
	ssize_t len = read_small(process, "comm", command, sizeof(command));

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
	found = has_mapped(scan, process);
	if (found == 0 && scan->query->open)
		found = has_open(scan, process);
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
	DIR *dir = open_dir(scan->proc, ".");
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
		if (!is_shortage(err))
			err = 0;
	}
	free(pids.list);
	return err;
}

static int prepare(struct scan *scan)
{
	int err;

	scan->proc = open(scan->query->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (scan->proc < 0)
		return -errno;
	scan->buffer = malloc(BUFFER_SIZE);
	if (!scan->buffer)
		return -ENOMEM;
	err = find_self(scan);
	if (!err && scan->query->segment >= 0)
		err = find_devices(scan);
	return err;
}

int shmfs_attached_write(const struct shmfs_attached_query *query,
			 const struct shmfs_caller *caller, FILE *out)
{
	struct scan scan = { .query = query, .out = out };
	int err = prepare(&scan);

	if (!err)
		err = shmfs_caller_assume(caller);
	if (!err) {
		err = visit_all(&scan);
		shmfs_caller_drop();
	}
	free(scan.buffer);
	if (scan.proc >= 0)
		close(scan.proc);
	return err;
}

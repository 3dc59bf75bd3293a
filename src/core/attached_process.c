/* SPDX-License-Identifier: MIT */
/*
 * What one process has mapped or open, from its directory in /proc.
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
 */
#include "core/attached_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Room for the longest line: a path of PATH_MAX, each byte as "\ooo". */
#define BUFFER_SIZE ((size_t)32 << 10)

bool attached_is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

ssize_t attached_read(int dir, const char *path, char *text, size_t size)
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

DIR *attached_open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int err = errno;

	if (!dir && fd >= 0)
		close(fd);
	errno = err;
	return dir;
}

/* --- what is ours --- */

/* Files in memory come from the same internal mounts as segments. */
static int add_device(struct attached_search *search, unsigned flags)
{
	int fd = memfd_create("", MFD_CLOEXEC | flags);
	struct stat st;

	if (fd < 0) /* there are no pages of this size, or */
		return attached_is_shortage(-errno) ? -errno : 0;
	if (fstat(fd, &st) == 0)
		search->devices[search->ndevices++] = st.st_dev;
	close(fd);
	return 0;
}

static int find_devices(struct attached_search *search)
{
	int err = add_device(search, 0);

	for (unsigned shift = HUGE_SHIFT_MIN; !err && shift <= HUGE_SHIFT_MAX; shift++)
		err = add_device(search, MFD_HUGETLB | shift << MAP_HUGE_SHIFT);
	return err;
}

/* The IPC namespace of a process; "" where the kernel has none or does not say. */
static void read_namespace(int process, char name[static NAMESPACE_SIZE])
{
	ssize_t len = readlinkat(process, "ns/ipc", name, NAMESPACE_SIZE - 1);

	name[len < 0 ? 0 : len] = '\0';
}

int attached_search_init(struct attached_search *search, const struct shmfs_attached_query *query,
			 int self)
{
	int err;

	*search = (struct attached_search){ .query = query, .buffer = malloc(BUFFER_SIZE) };
	if (!search->buffer)
		return -ENOMEM;
	read_namespace(self, search->ipc);
	err = query->segment < 0 ? 0 : find_devices(search);
	if (err)
		attached_search_clear(search);
	return err;
}

void attached_search_clear(struct attached_search *search)
{
	free(search->buffer);
}

/* --- mappings --- */

static bool is_file(const struct attached_search *search, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < SHMFS_ATTACHED_FILES; i++) {
		const struct shmfs_file_id *file = &search->query->files[i];

		if (file->dev && file->dev == dev && file->ino == ino)
			return true;
	}
	return false;
}

static bool is_segment(const struct attached_search *search, dev_t dev, ino_t ino, const char *path)
{
	if (search->query->segment < 0 || ino != (ino_t)search->query->segment ||
	    strncmp(path, "/SYSV", 5) != 0)
		return false;
	for (size_t i = 0; i < search->ndevices; i++) {
		if (search->devices[i] == dev)
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
static bool line_matches(const struct attached_search *search, int process, const char *line)
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
	if (is_file(search, dev, ino))
		return true;
	if (!is_segment(search, dev, ino, end + strspn(end, " ")))
		return false;
	read_namespace(process, theirs);
	return strcmp(theirs, search->ipc) == 0;
}

/* Take the complete lines off the buffer; what is left moves to its front. */
static bool take_lines(const struct attached_search *search, int process, size_t *len)
{
	char *line = search->buffer;
	char *end = search->buffer + *len;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		/* strtoul(3) takes a newline for a blank, and would read on behind it. */
		*newline = '\0';
		if (line_matches(search, process, line))
			return true;
		line = newline + 1;
	}
	*len = (size_t)(end - line);
	memmove(search->buffer, line, *len);
	return false;
}

/* Is it mapped?  -ESRCH when there are no mappings at all: no process of a user. */
static int has_mapped(const struct attached_search *search, int process)
{
	int fd = openat(process, "maps", O_RDONLY | O_CLOEXEC);
	bool found = false;
	bool any = false;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (!found && len < BUFFER_SIZE &&
	       (n = read(fd, search->buffer + len, BUFFER_SIZE - len)) > 0) {
		any = true;
		len += (size_t)n;
		found = take_lines(search, process, &len);
	}
	close(fd);
	return any ? found : -ESRCH;
}

/* --- descriptors --- */

/* Could the descriptor be of one of the files, by its inode number? */
static int may_be_file(const struct attached_search *search, int infos, const char *name)
{
	char text[256];
	ssize_t len = attached_read(infos, name, text, sizeof(text));
	const char *field;
	ino_t ino;

	if (len < 0)
		return (int)len;
	field = strstr(text, "\nino:");
	if (!field)
		return true;
	ino = (ino_t)strtoull(field + strlen("\nino:"), NULL, 10);
	for (size_t i = 0; i < SHMFS_ATTACHED_FILES; i++) {
		if (search->query->files[i].dev && search->query->files[i].ino == ino)
			return true;
	}
	return false;
}

static bool descriptor_is_file(const struct attached_search *search, int descriptors,
			       const char *name)
{
	struct statx stx;

	return statx(descriptors, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) ==
		       0 &&
	       is_file(search, makedev(stx.stx_dev_major, stx.stx_dev_minor), (ino_t)stx.stx_ino);
}

static int find_open(const struct attached_search *search, int descriptors, DIR *infos)
{
	const struct dirent *entry;

	while ((entry = readdir(infos)) != NULL) {
		int found;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		found = may_be_file(search, dirfd(infos), entry->d_name);
		if (attached_is_shortage(found))
			return found;
		if (found > 0 && descriptor_is_file(search, descriptors, entry->d_name))
			return true;
	}
	return false;
}

static int has_open(const struct attached_search *search, int process)
{
	int descriptors = openat(process, "fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	DIR *infos;
	int found;

	if (descriptors < 0)
		return -errno;
	infos = attached_open_dir(process, "fdinfo");
	found = infos ? find_open(search, descriptors, infos) : -errno;
	if (infos)
		closedir(infos);
	close(descriptors);
	return found;
}

/* --- threads --- */

/* Has the process, or one thread of it, whose directory this is? */
static int has_it(const struct attached_search *search, int dir)
{
	int found = has_mapped(search, dir);

	return found == 0 && search->query->open ? has_open(search, dir) : found;
}

static bool has_threads(int process)
{
	struct stat st;

	/* Two links of its own, and one for each thread, ended or not. */
	return fstatat(process, "task", &st, 0) == 0 && st.st_nlink > 3;
}

static int thread_has_it(const struct attached_search *search, int threads, const char *name)
{
	int thread = openat(threads, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int found;

	if (thread < 0)
		return -errno;
	found = has_it(search, thread);
	close(thread);
	return found;
}

/*
 * A process whose first thread has ended seems to have nothing (proc(5)): its
 * other threads tell what it has.
 */
static int threads_have_it(const struct attached_search *search, int process)
{
	DIR *threads = attached_open_dir(process, "task");
	const struct dirent *entry;
	int found = -ESRCH;

	if (!threads)
		return -errno;
	while (found < 0 && !attached_is_shortage(found) && (entry = readdir(threads)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0]))
			found = thread_has_it(search, dirfd(threads), entry->d_name);
	}
	closedir(threads);
	return found;
}

int attached_search(const struct attached_search *search, int process)
{
	int found = has_it(search, process);

	if (found == -ESRCH && has_threads(process))
		found = threads_have_it(search, process);
	return found;
}

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

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

#define DELETED " (deleted)"

/* --- what is written down --- */

/* The last part of a path that /proc shows. */
static uint32_t keep_last_part(struct users_reading *reading, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t len = strlen(name);
	size_t mark = strlen(DELETED);

	if (len > mark && strcmp(name + len - mark, DELETED) == 0)
		len -= mark;
	return users_keep_name(reading, name, len);
}

static unsigned *slot_of(struct users_reading *reading, const struct shmfs_use *use)
{
	uint64_t hash = (use->file.ino ^ use->file.dev << 24 ^ use->kind) * 0x9e3779b97f4a7c15u;

	return &reading->slots[hash >> 32 & (USERS_SLOTS - 1)];
}

static bool is_same_use(const struct shmfs_use *a, const struct shmfs_use *b)
{
	return a->file.dev == b->file.dev && a->file.ino == b->file.ino && a->kind == b->kind;
}

/* Most of what a process uses many times is found by its slot; users.c joins the rest. */
static void keep_use(struct users_reading *reading, const struct shmfs_use *use, const char *path)
{
	struct users_sheet *sheet = reading->pass->sheet;
	unsigned *slot = slot_of(reading, use);
	struct shmfs_use *kept = &sheet->uses[*slot ? *slot - 1 : 0];

	if (*slot && is_same_use(kept, use)) {
		kept->count++;
		kept->writable |= use->writable;
		return;
	}
	if (reading->nuses == USES_MAX) {
		reading->cut = true;
		return;
	}
	kept = &sheet->uses[reading->nuses++];
	*slot = (unsigned)reading->nuses;
	*kept = *use;
	kept->pid = reading->pid;
	kept->count = 1;
	kept->is_self = reading->pid == reading->pass->scope->self;
	if (use->file.dev == SHMFS_OBJECTS)
		kept->name = keep_last_part(reading, path);
}

/* --- what is shared memory --- */

/*
 * A shmid means something within an IPC namespace alone.  A process that
 * attached and then went to another one is missed, or taken for a user of the
 * segment that has this id here.
 */
static bool is_in_our_namespace(struct users_reading *reading)
{
	char theirs[USERS_NAMESPACE];

	if (reading->ipc == IPC_UNKNOWN) {
		users_read_namespace(reading->dir, theirs);
		reading->ipc = strcmp(theirs, reading->pass->ipc) == 0 ? IPC_OURS : IPC_OTHER;
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

/* A file of a mount of shmfs, by its number (object.h). */
static bool take_number(const struct users_scope *scope, struct shmfs_file_id *file)
{
	unsigned backend = (unsigned)(file->ino >> 29) & 7;

	file->ino = SHMFS_FILE_NUMBER(file->ino);
	if (backend == scope->segment_number)
		file->dev = SHMFS_SEGMENT_FILES;
	else
		file->dev = SHMFS_OBJECT_FILES;
	return backend == scope->segment_number || backend == scope->object_number;
}

/* Is the file shared memory of ours?  Then *use says which, and in which way it is mapped. */
static bool classify(struct users_reading *reading, struct shmfs_file_id file, const char *path,
		     struct shmfs_use *use)
{
	const struct users_scope *scope = reading->pass->scope;

	use->file = file;
	use->kind = SHMFS_USE_MAPPED;
	if (contains(scope->mounts, scope->nmounts, file.dev))
		return take_number(scope, &use->file);
	if (file.dev && file.dev == scope->objects) {
		use->file.dev = SHMFS_OBJECTS;
		return true;
	}
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
static void take_mapping(struct users_reading *reading, const char *line)
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
static void take_lines(struct users_reading *reading, size_t *len)
{
	char *line = reading->pass->buffer;
	char *end = line + *len;
	char *newline;

	while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		/* strtoul(3) takes a newline for a blank, and would read on behind it. */
		*newline = '\0';
		take_mapping(reading, line);
		line = newline + 1;
	}
	*len = (size_t)(end - line);
	memmove(reading->pass->buffer, line, *len);
}

static int read_mappings(struct users_reading *reading)
{
	SHMFS_AUTO_FD int fd = openat(reading->dir, "maps", O_RDONLY | O_CLOEXEC);
	struct users_pass *pass = reading->pass;
	bool any = false;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (!reading->cut && len < USERS_BUFFER &&
	       (n = read(fd, pass->buffer + len, USERS_BUFFER - len)) > 0) {
		any = true;
		len += (size_t)n;
		take_lines(reading, &len);
		users_tick(reading);
	}
	if (n < 0)
		return -errno;
	return any ? 0 : -ESRCH;
}

/* --- descriptors --- */

/*
 * An O_PATH descriptor uses nothing: the link shows neither reading nor
 * writing then (fs/proc/fd.c, tid_fd_update_inode()).
 */
static void take_descriptor(struct users_reading *reading, int dir, const char *name)
{
	char *path = reading->pass->buffer;
	ssize_t len = readlinkat(dir, name, path, USERS_BUFFER - 1);
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

int users_read_files(struct users_reading *reading)
{
	int err = read_mappings(reading);

	return err ? err : users_each_number(reading, "fd", take_descriptor);
}

/* SPDX-License-Identifier: MIT */
#include "differential.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR_NAME "user.differential"

static char buffer[LONGEST];

void side_init(struct side *side, const char *dir)
{
	side->dir = dir;
	for (int i = 0; i < SLOTS; i++)
		side->fd[i] = -1;
}

static const char *path_of(const struct side *side, const char *name, char path[static 256])
{
	snprintf(path, 256, "%s/%s", side->dir, name);
	return path;
}

/* FNV-1a: which bytes they are, in one number. */
static int64_t hash(const void *bytes, size_t len)
{
	uint64_t sum = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
	return (int64_t)sum;
}

static int64_t result(int64_t ret)
{
	return ret < 0 ? -errno : ret;
}

static struct outcome bytes_read(ssize_t n)
{
	struct outcome outcome = { .ret = result(n) };

	if (n > 0)
		outcome.detail[0] = hash(buffer, (size_t)n);
	return outcome;
}

static struct outcome attributes(int ret, const struct stat *st)
{
	struct outcome outcome = { .ret = result(ret) };

	if (ret == 0) {
		outcome.detail[0] = st->st_mode;
		outcome.detail[1] = st->st_size;
		outcome.detail[2] = (int64_t)st->st_nlink;
		outcome.detail[3] = st->st_uid;
		outcome.detail[4] = st->st_gid;
		outcome.detail[5] = st->st_mtim.tv_sec < UNSET_TIME ? st->st_mtim.tv_sec : -1;
	}
	return outcome;
}

static int open_slot(struct side *side, unsigned slot, const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, mode);

	if (fd < 0)
		return -errno;
	side->fd[slot] = fd;
	return 0;
}

static int reopen(struct side *side, const struct step *step)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fd[step->slot]);
	return open_slot(side, step->other, path, step->flags, 0);
}

static int close_slot(struct side *side, unsigned slot)
{
	int ret = close(side->fd[slot]);

	side->fd[slot] = -1;
	return (int)result(ret);
}

static ssize_t write_slot(const struct side *side, const struct step *step)
{
	int fd = side->fd[step->slot];

	memset(buffer, step->fill, step->len);
	return step->kind == WRITE ? write(fd, buffer, step->len) :
				     pwrite(fd, buffer, step->len, step->off);
}

static struct outcome same_inode(const struct side *side, const struct step *step, const char *path)
{
	struct stat by_name;
	struct stat open_file;

	if (stat(path, &by_name) != 0 || fstat(side->fd[step->slot], &open_file) != 0)
		return (struct outcome){ .ret = -errno };
	return (struct outcome){ .ret = by_name.st_ino == open_file.st_ino };
}

bool has_xattrs(const char *directory)
{
	return getxattr(directory, XATTR_NAME, NULL, 0) >= 0 || errno != EOPNOTSUPP;
}

static struct outcome get_attribute(const char *path)
{
	return bytes_read(getxattr(path, XATTR_NAME, buffer, sizeof(buffer)));
}

static int set_times(const struct side *side, const struct step *step, const char *path)
{
	const struct timespec times[2] = { { .tv_sec = (time_t)step->off },
					   { .tv_sec = (time_t)step->off } };

	return path ? utimensat(AT_FDCWD, path, times, 0) : futimens(side->fd[step->slot], times);
}

static ssize_t copy_range(const struct side *side, const struct step *step)
{
	off_t from = step->off;
	off_t to = COPY_TO(step);

	return copy_file_range(side->fd[step->slot], &from, side->fd[step->other], &to, step->len,
			       0);
}

/* The names, in whatever order; the sum does not depend on it. */
static struct outcome list(const char *dir, const char *const names[NAMES])
{
	struct outcome outcome = { 0 };
	DIR *stream = opendir(dir);
	struct dirent *entry;

	if (!stream)
		return (struct outcome){ .ret = -errno };
	while ((entry = readdir(stream)) != NULL) {
		for (int i = 0; i < NAMES; i++)
			outcome.ret += strcmp(entry->d_name, names[i]) == 0 ? 1 << i : 0;
	}
	closedir(stream);
	return outcome;
}

struct outcome step_run(struct side *side, const struct step *step, const char *const names[NAMES])
{
	char path[256];
	char to[256];
	const char *name = path_of(side, names[step->name], path);
	int fd = side->fd[step->slot];
	struct stat st;

	switch (step->kind) {
	case OPEN:
		return (struct outcome){ open_slot(side, step->slot, name, step->flags, step->mode),
					 { 0 } };
	case REOPEN:
		return (struct outcome){ reopen(side, step), { 0 } };
	case CLOSE:
		return (struct outcome){ close_slot(side, step->slot), { 0 } };
	case READ:
		return bytes_read(read(fd, buffer, step->len));
	case PREAD:
		return bytes_read(pread(fd, buffer, step->len, step->off));
	case WRITE:
	case PWRITE:
		return (struct outcome){ result(write_slot(side, step)), { 0 } };
	case SEEK:
		return (struct outcome){ result(lseek(fd, step->off, step->flags)), { 0 } };
	case TRUNCATE:
		return (struct outcome){ result(truncate(name, step->off)), { 0 } };
	case FTRUNCATE:
		return (struct outcome){ result(ftruncate(fd, step->off)), { 0 } };
	case FALLOCATE:
		return (struct outcome){
			result(fallocate(fd, step->flags, step->off, (off_t)step->len)), { 0 }
		};
	case RENAME:
		path_of(side, names[step->to], to);
		return (struct outcome){ result(renameat2(AT_FDCWD, name, AT_FDCWD, to,
							  (unsigned)step->flags)),
					 { 0 } };
	case UNLINK:
		return (struct outcome){ result(unlink(name)), { 0 } };
	case STAT:
		return attributes(stat(name, &st), &st);
	case FSTAT:
		return attributes(fstat(fd, &st), &st);
	case SAME_INODE:
		return same_inode(side, step, name);
	case CHMOD:
		return (struct outcome){ result(chmod(name, step->mode)), { 0 } };
	case FCHMOD:
		return (struct outcome){ result(fchmod(fd, step->mode)), { 0 } };
	case CHOWN:
		return (struct outcome){ result(fchown(fd, step->mode, step->mode)), { 0 } };
	case SETXATTR:
		return (struct outcome){
			result(fsetxattr(fd, XATTR_NAME, &step->fill, 1, step->flags)), { 0 }
		};
	case GETXATTR:
		return get_attribute(name);
	case UTIMENS:
		return (struct outcome){ result(set_times(side, step, name)), { 0 } };
	case FUTIMENS:
		return (struct outcome){ result(set_times(side, step, NULL)), { 0 } };
	case COPY_RANGE:
		return (struct outcome){ result(copy_range(side, step)), { 0 } };
	case LOCK:
		return (struct outcome){ result(flock(fd, step->flags | LOCK_NB)), { 0 } };
	case LIST:
		return list(side->dir, names);
	case KINDS:
		break;
	}
	abort();
}

void step_print(const struct step *step, const char *const names[NAMES])
{
	static const char *const kinds[KINDS] = {
		[OPEN] = "open",	   [REOPEN] = "reopen",
		[CLOSE] = "close",	   [READ] = "read",
		[PREAD] = "pread",	   [WRITE] = "write",
		[PWRITE] = "pwrite",	   [SEEK] = "lseek",
		[TRUNCATE] = "truncate",   [FTRUNCATE] = "ftruncate",
		[FALLOCATE] = "fallocate", [RENAME] = "rename",
		[UNLINK] = "unlink",	   [STAT] = "stat",
		[FSTAT] = "fstat",	   [SAME_INODE] = "same inode",
		[CHMOD] = "chmod",	   [FCHMOD] = "fchmod",
		[CHOWN] = "fchown",	   [SETXATTR] = "fsetxattr",
		[GETXATTR] = "getxattr",   [UTIMENS] = "utimens",
		[FUTIMENS] = "futimens",   [COPY_RANGE] = "copy_file_range",
		[LOCK] = "flock",	   [LIST] = "list",
	};

	printf("process %u: %-15s name %s to %s slot %u other %u flags %#o mode %o off %lld "
	       "len %zu fill %u\n",
	       step->worker, kinds[step->kind], names[step->name], names[step->to], step->slot,
	       step->other, (unsigned)step->flags, (unsigned)step->mode, (long long)step->off,
	       step->len, step->fill);
}

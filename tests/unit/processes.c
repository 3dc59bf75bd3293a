/* SPDX-License-Identifier: MIT */
#include "processes.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/limits.h>

const char *proc_dir;
dev_t objects_dev;
dev_t mount_dev;

void write_file(const char *path, const char *format, ...)
{
	FILE *file = fopen(path, "w");
	va_list args;

	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
}

unsigned uid_of(int pid)
{
	return geteuid() == 0 ? 1000 + (unsigned)pid : geteuid();
}

void add_process(int pid, const char *command, const char *ipc)
{
	char path[64];

	snprintf(path, sizeof(path), "%d", pid);
	assert_int_equal(mkdir(path, 0700), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(path, uid_of(pid), (gid_t)-1), 0);
	for (const char *const *name = (const char *const[]){ "ns", "fd", "fdinfo", NULL }; *name;
	     name++) {
		snprintf(path, sizeof(path), "%d/%s", pid, *name);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%d/ns/ipc", pid);
	assert_int_equal(symlink(ipc, path), 0);
	snprintf(path, sizeof(path), "%d/ns/pid", pid);
	assert_int_equal(symlink("pid:[4026532001]", path), 0);
	snprintf(path, sizeof(path), "%d/comm", pid);
	write_file(path, "%s\n", command);
	snprintf(path, sizeof(path), "%d/maps", pid);
	write_file(path,
		   "55d8c0a00000-55d8c0a02000 r--p 00000000 fe:01 1573 %20s/usr/bin/cat\n"
		   "7ffd1c5b1000-7ffd1c5d2000 rw-p 00000000 00:00 0 %20s[stack]\n",
		   "", "");
}

void add_mapping(int pid, dev_t dev, unsigned long long ino, const char *path)
{
	char maps[64];
	FILE *file;

	snprintf(maps, sizeof(maps), "%d/maps", pid);
	file = fopen(maps, "a");
	assert_non_null(file);
	fprintf(file, "7f414b9e6000-7f414b9e8000 rw-s 00000000 %02x:%02x %llu %20s%s\n", major(dev),
		minor(dev), ino, "", path);
	assert_int_equal(fclose(file), 0);
}

void add_descriptor(int pid, int fd, const char *file)
{
	char target[PATH_MAX];
	char path[64];

	assert_non_null(getcwd(target, sizeof(target) - strlen(file) - 1));
	strcat(strcat(target, "/"), file);
	snprintf(path, sizeof(path), "%d/fd/%d", pid, fd);
	assert_int_equal(symlink(*file == '/' ? file : target, path), 0);
}

dev_t device_of_segments(void)
{
	int fd = memfd_create("device", MFD_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_dev;
}

int processes_begin(void **state)
{
	char directory[] = "/tmp/shmfs-attached-XXXXXX";

	assert_non_null(mkdtemp(directory));
	*state = strdup(directory);
	proc_dir = ".";
	objects_dev = 0;
	mount_dev = 0;
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(symlink("4", "self"), 0);
	add_process(4, "shmfs", OURS);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return remove(path);
}

int processes_end(void **state)
{
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(*state);
	return 0;
}

int within_budget(int count)
{
	const char *factor = getenv("SHMFS_TEST_PATIENCE");
	int slower = factor ? atoi(factor) : 1;

	return count > slower ? count / slower : 1;
}

/* --- questions --- */

int ask(const struct shmfs_users_query *query, char **text)
{
	const struct shmfs_caller root = { 0 };
	struct shmfs_users *users;
	size_t len;
	FILE *out = open_memstream(text, &len);
	int err;

	assert_non_null(out);
	err = shmfs_users_new(proc_dir, objects_dev, &users);
	if (!err) {
		shmfs_users_set_mount(users, mount_dev);
		err = shmfs_users_write(users, query, &root, out);
		shmfs_users_free(users);
	}
	assert_int_equal(fclose(out), 0);
	return err;
}

void assert_says(const struct shmfs_users_query *query, const char *expected)
{
	char *text;

	assert_int_equal(ask(query, &text), 0);
	assert_string_equal(text, expected);
	free(text);
}

int count_lines(const struct shmfs_users_query *query)
{
	char *text;
	int count = 0;

	assert_int_equal(ask(query, &text), 0);
	for (const char *c = text; *c; c++)
		count += *c == '\n';
	free(text);
	return count;
}

const struct shmfs_users_query of_segment = { .files = { { SHMFS_SEGMENTS, SHMID } } };

struct shmfs_users_query of_object(void)
{
	struct shmfs_users_query query = { .open = true };
	struct stat st;

	write_file("object", "bytes");
	assert_int_equal(stat("object", &st), 0);
	objects_dev = st.st_dev;
	query.files[0] = (struct shmfs_file_id){ SHMFS_OBJECTS, st.st_ino };
	return query;
}

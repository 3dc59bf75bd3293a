/* SPDX-License-Identifier: MIT */
/* /proc/self/mountinfo, in which other mounts of shmfs are found. */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/users_internal.h"

static char proc[] = P_tmpdir "/fuzz_mountinfo.XXXXXX";
static char self[sizeof(proc) + sizeof("/self")];
static char table[sizeof(self) + sizeof("/mountinfo")];

static void remove_proc(void)
{
	unlink(table);
	rmdir(self);
	rmdir(proc);
}

static int make_table(void)
{
	int fd;

	check(mkdtemp(proc) && atexit(remove_proc) == 0);
	snprintf(self, sizeof(self), "%s/self", proc);
	snprintf(table, sizeof(table), "%s/mountinfo", self);
	check(mkdir(self, 0700) == 0);
	fd = open(table, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	check(fd >= 0);
	return fd;
}

/* Ours is always there, and once; another one is in the table as a mount of shmfs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct users_scope scope = { .proc_dir = proc, .mount = makedev(0, 42) };

	if (fd < 0)
		fd = make_table();
	check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	users_find_mounts(&scope);
	check(scope.nmounts >= 1 && scope.nmounts <= USERS_MOUNTS &&
	      scope.mounts[0] == scope.mount);
	for (size_t i = 1; i < scope.nmounts; i++)
		check(scope.mounts[i] != scope.mount);
	check(scope.nmounts == 1 || memmem(data, size, " - fuse.shmfs ", 14));
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/maps and /proc/PID/comm of a process in a made-up /proc: the
 * command up to the first NUL of the input, and behind it the mappings.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/users_internal.h"

#define OBJECT_DEV makedev(0, 42)
#define SEGMENT_DEV makedev(0, 1)

static char proc[] = P_tmpdir "/fuzz_attached.XXXXXX";
static int comm;
static int maps;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_proc(void)
{
	nftw(proc, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Process 1 is us, process 42 has what the input says. */
static void make_proc(void)
{
	int dir;

	check(mkdtemp(proc) && atexit(remove_proc) == 0);
	dir = open(proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(dir >= 0);
	check(mkdirat(dir, "1", 0700) == 0 && mkdirat(dir, "42", 0700) == 0 &&
	      mkdirat(dir, "42/fd", 0700) == 0);
	check(symlinkat("1", dir, "self") == 0);
	comm = openat(dir, "42/comm", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	maps = openat(dir, "42/maps", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	check(comm >= 0 && maps >= 0);
	close(dir);
}

static void put(int fd, const uint8_t *bytes, size_t len)
{
	check(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
}

static bool contains(const uint8_t *bytes, size_t len, const char *text)
{
	return memmem(bytes, len, text, strlen(text));
}

/* Whatever is there, only what the input names can be used, and each once for each way. */
static void check_use(const struct shmfs_use *use, const uint8_t *mappings, size_t len)
{
	check(use->pid == 42 && use->count > 0 && use->kind != SHMFS_USE_OPEN);
	if (use->file.dev == SHMFS_SEGMENTS)
		check(contains(mappings, len, "/SYSV"));
	else
		check(use->file.dev == SHMFS_OBJECTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct users_sheet sheet;
	static struct dirent process = { .d_name = "42" };
	struct dirent *processes[] = { &process };
	struct users_scope scope = {
		.proc_dir = proc, .processes = processes, .nprocesses = 1, .self = "1"
	};
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	const uint8_t *mappings = nul ? nul + 1 : data;
	size_t len = (size_t)(data + size - mappings);

	if (maps == 0)
		make_proc();
	scope.objects = OBJECT_DEV;
	scope.segments[0] = SEGMENT_DEV;
	scope.nsegments = 1;
	atomic_store(&sheet.at, 0);
	sheet.nuses = 0;
	sheet.nprocesses = 0;
	sheet.names_used = 1;
	put(comm, data, (size_t)(mappings - data));
	put(maps, mappings, len);
	check(users_scan(&scope, &sheet) == 0);
	check(sheet.nprocesses == (sheet.nuses > 0));
	for (size_t i = 0; i < sheet.nuses; i++)
		check_use(&sheet.uses[i], mappings, len);
	return 0;
}

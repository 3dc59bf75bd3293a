/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/maps and /proc/PID/comm of a process in a made-up /proc: the
 * command up to the first NUL of the input, and behind it the mappings.
 */
#include "fuzz.h"

#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shmfs/attached.h"

#define SHMID 65538
#define OBJECT_DEV makedev(0, 42)
#define OBJECT_INO 3148

static char proc[] = P_tmpdir "/fuzz_attached.XXXXXX";
static int comm;
static int maps;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
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
	check(mkdirat(dir, "1", 0700) == 0 && mkdirat(dir, "42", 0700) == 0);
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

/* One line, of what can be printed, or none. */
static void check_output(const char *output, const uint8_t *mappings, size_t len)
{
	size_t length = strlen(output);

	if (length == 0)
		return;
	check(contains(mappings, len, "/SYSV") || contains(mappings, len, "3148"));
	check(strncmp(output, "42 ", 3) == 0 && output[length - 1] == '\n');
	for (size_t i = 0; i < length - 1; i++)
		check(!iscntrl((unsigned char)output[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shmfs_caller root = { 0 };
	const struct shmfs_attached_query query = {
		.proc_dir = proc,
		.files = { { OBJECT_DEV, OBJECT_INO } },
		.segment = SHMID,
	};
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	const uint8_t *mappings = nul ? nul + 1 : data;
	size_t len = (size_t)(data + size - mappings);
	char *output;
	size_t length;
	FILE *out = open_memstream(&output, &length);

	if (maps == 0)
		make_proc();
	check(out);
	put(comm, data, (size_t)(mappings - data));
	put(maps, mappings, len);
	check(shmfs_attached_write(&query, &root, out) == 0);
	check(fclose(out) == 0);
	check_output(output, mappings, len);
	free(output);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What reading one process is made of; users_process.c says what is read. */
#include "core/users_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

/* Entries of a directory between two ticks. */
#define TICK_EVERY 256

uint64_t users_cpu_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void users_tick(struct users_reading *reading)
{
	struct users_pass *pass = reading->pass;
	uint64_t most = pass->budget / 2 > USERS_USUAL_NS ? pass->budget / 2 : USERS_USUAL_NS;

	atomic_fetch_add(&pass->sheet->ticks, 1);
	if (users_cpu_time() - reading->started > most)
		reading->cut = true;
}

uint32_t users_keep_name(struct users_reading *reading, const char *name, size_t len)
{
	char *names = reading->pass->sheet->names;
	size_t offset = reading->names_used;

	if (len == 0 || len >= NAMES_MAX - offset)
		return 0;
	memcpy(names + offset, name, len);
	names[offset + len] = '\0';
	reading->names_used += len + 1;
	return (uint32_t)offset;
}

void users_read_namespace(int process, char name[static USERS_NAMESPACE])
{
	ssize_t len = readlinkat(process, "ns/ipc", name, USERS_NAMESPACE - 1);

	name[len < 0 ? 0 : len] = '\0';
}

/* opendir(3) would allocate. */
int users_each_number(struct users_reading *reading, const char *name, users_entry_fn *fn)
{
	_Alignas(struct dirent64) char entries[2048];
	unsigned count = 0;
	long n = 0;
	SHMFS_AUTO_FD int dir = openat(reading->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	while (!reading->cut && (n = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0) {
		for (long pos = 0; pos < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(entries + pos);

			if (isdigit((unsigned char)entry->d_name[0]))
				fn(reading, dir, entry->d_name);
			if (++count % TICK_EVERY == 0)
				users_tick(reading);
			pos += entry->d_reclen;
		}
	}
	return n < 0 ? -errno : 0;
}

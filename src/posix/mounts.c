/* SPDX-License-Identifier: MIT */
/*
 * Is anything mounted on a name in the directory?
 *
 * Asking each name costs as much again as listing them.  The kernel says when
 * its table of mounts has changed (proc_pid_mountinfo(5), POLLPRI), so the table
 * is read once, and again after a change.
 */
#include "posix/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

/* 0, which no mount has, before Linux 5.8. */
static uint64_t mount_of(int dir)
{
	struct statx stx;

	if (statx(dir, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) != 0 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

/*
 * The directory of another mount namespace (`-o target=PID`) is not in the
 * table at all; then each name is asked.
 */
static bool read_table(FILE *table, uint64_t dir_mount)
{
	SHMFS_AUTO_FREE char *line = NULL;
	bool is_listed = false;
	size_t size = 0;
	uint64_t mount;
	uint64_t parent;

	rewind(table);
	while (getline(&line, &size, table) > 0) {
		if (sscanf(line, "%" SCNu64 " %" SCNu64, &mount, &parent) != 2)
			continue;
		if (parent == dir_mount)
			return true;
		is_listed |= mount == dir_mount;
	}
	return !is_listed;
}

void posix_mounts_init(struct posix_mounts *mounts, const char *proc_dir, int dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/self/mountinfo", proc_dir);
	mounts->table = fopen(path, "re");
	mounts->dir_mount = mount_of(dir);
	mounts->may_be = true;
	mounts->is_new = true;
}

void posix_mounts_clear(struct posix_mounts *mounts)
{
	if (mounts->table)
		fclose(mounts->table);
}

bool posix_mounts_may_be(struct posix_backend *be)
{
	struct posix_mounts *mounts = &be->mounts;
	SHMFS_LOCKED(&be->base.lock);
	struct pollfd change = { .events = POLLPRI };

	if (!mounts->table)
		return true;
	change.fd = fileno(mounts->table);
	if (poll(&change, 1, 0) != 0 || mounts->is_new)
		mounts->may_be = read_table(mounts->table, mounts->dir_mount);
	mounts->is_new = false;
	return mounts->may_be;
}

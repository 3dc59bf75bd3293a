/* SPDX-License-Identifier: MIT */
/*
 * Segments that another mount is replacing.
 *
 * The replacer gives the old segment mode 0 before it removes it, and makes the new
 * one with mode 0 (replace/replacer.c).  To another mount of the namespace such a key
 * would be one that nobody may open.  A process of shmfs tells it from a file whose
 * owner has set that mode: the old segment was attached last by a daemon, and the
 * new one was made by a replacer, which ends when that is complete.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shmfs/cleanup.h"
#include "shmfs/clock.h"
#include "sysv/closed.h"

/* An owner waits as long as for a reader; others could be kept waiting by him. */
#define OWNER_WAITS_NS 1200000000u
#define OTHERS_WAIT_NS 50000000u
/* The old segment is attached, and removed, until the new one is complete. */
#define CLOSING_SECONDS 2
/* It is removed as soon as it is closed. */
#define CLOSING_NS 10000000u
#define PAUSE_NS 1000000

static bool is_named(const struct sysv_backend *be, pid_t pid, const char *name)
{
	char comm[32] = "";
	char path[128];
	SHMFS_AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "%s/%d/comm", be->config.proc_dir, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 &&
	       strncmp(comm, name, strlen(name)) == 0;
}

/* How long to wait for what has the id now; 0: it is not being replaced. */
static uint64_t patience(struct sysv_backend *be, int id, const struct shmfs_caller *caller)
{
	struct shmid_ds ds;

	if (sysv_segment_stat(be, id, &ds, NULL) != 0 || (ds.shm_perm.mode & 0777))
		return 0;
	if (!is_named(be, ds.shm_cpid, SYSV_REPLACER_NAME)) {
		if (ds.shm_nattch == 0 || time(NULL) - ds.shm_ctime > CLOSING_SECONDS ||
		    !is_named(be, ds.shm_lpid, "shmfs"))
			return 0;
		/* Perhaps its owner has set that mode. */
		if (!(ds.shm_perm.mode & SYSV_MODE_DEST))
			return CLOSING_NS;
	}
	return sysv_is_owner(&ds, caller) ? OWNER_WAITS_NS : OTHERS_WAIT_NS;
}

void sysv_wait_while_closed(struct sysv_backend *be, int id, const struct shmfs_caller *caller)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t start = shmfs_now_ns();

	while (caller && shmfs_now_ns() - start < patience(be, id, caller))
		nanosleep(&pause, NULL);
}

/* SPDX-License-Identifier: MIT */
/* What a struct shmid_ds tells of a segment: rights, identity, and whether it is closed. */
#include "sysv/internal.h"

/* A replacer that was killed leaves its segment closed. */
#define CLOSED_SECONDS 10

bool sysv_is_owner(const struct shmid_ds *ds, const struct shmfs_caller *caller)
{
	return caller->uid == 0 || caller->uid == ds->shm_perm.uid ||
	       caller->uid == ds->shm_perm.cuid;
}

bool sysv_may(const struct shmid_ds *ds, unsigned want, const struct shmfs_caller *caller)
{
	const struct shmfs_rights rights = {
		.owner = ds->shm_perm.uid,
		.creator = ds->shm_perm.cuid,
		.group = ds->shm_perm.gid,
		.creators_group = ds->shm_perm.cgid,
		.mode = ds->shm_perm.mode,
	};

	return shmfs_caller_may(caller, &rights, want);
}

int sysv_set_perm(int id, const struct shmid_ds *like, unsigned mode)
{
	struct shmid_ds ds = *like;

	ds.shm_perm.mode = (unsigned short)(mode & 0777);
	return shmctl(id, IPC_SET, &ds) == 0 ? 0 : -errno;
}

/* No call changes these, and time goes forward. */
bool sysv_is_same(const struct shmid_ds *a, const struct shmid_ds *b)
{
	return a->shm_atime >= b->shm_atime && a->shm_dtime >= b->shm_dtime &&
	       a->shm_ctime >= b->shm_ctime && a->shm_perm.cuid == b->shm_perm.cuid &&
	       a->shm_perm.cgid == b->shm_perm.cgid && a->shm_cpid == b->shm_cpid &&
	       a->shm_segsz == b->shm_segsz;
}

bool sysv_is_closed(const struct shmid_ds *ds)
{
	unsigned mode = ds->shm_perm.mode & 0777;

	return (mode == SYSV_MODE_CLOSED || mode == SYSV_MODE_CLOSING) &&
	       time(NULL) - ds->shm_ctime <= CLOSED_SECONDS;
}

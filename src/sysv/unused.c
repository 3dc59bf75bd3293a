/* SPDX-License-Identifier: MIT */
/*
 * Does anybody use a segment?  Attachments are counted by the kernel.  A mount
 * of shmfs, ours or another, may have its file open or mapped without one.
 */
#include "sysv/internal.h"

#include <errno.h>

#include "shmfs/cleanup.h"

static int check_attachments(int id, struct shmid_ds *ds)
{
	if (shmctl(id, SHM_STAT_ANY, ds) < 0)
		return sysv_error(SYSV_REMOVE, -errno);
	return ds->shm_nattch > 0 ? -EBUSY : 0;
}

int sysv_check_unused(const struct shmfs_view *view, const struct shmfs_name *name)
{
	struct shmid_ds ds;

	(void)view;
	return check_attachments((int)name->number, &ds);
}

/* Whoever cannot get at the file cannot tell: neither can an ordinary user have it open. */
static int check_file(struct sysv_backend *be, int id, const struct shmid_ds *seen)
{
	struct sysv_segment *segment;
	bool is_shared;

	if (!be->by_descriptor || sysv_segment_open(be, id, seen, false, NULL, &segment) != 0)
		return 0;
	is_shared = sysv_segment_is_shared(segment);
	sysv_segment_put(segment);
	return is_shared ? -EBUSY : 0;
}

int sysv_remove_unused(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	struct sysv_backend *be = (struct sysv_backend *)view->backend;
	int id = (int)name->number;
	struct shmid_ds ds;
	int err = check_attachments(id, &ds);

	if (!err)
		err = check_file(be, id, &ds);
	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);
	if (refused)
		return refused;
	/* Between these two somebody can attach: the kernel has no call for both. */
	err = check_attachments(id, &ds);
	if (!err && shmctl(id, IPC_RMID, NULL) != 0)
		err = sysv_error(SYSV_REMOVE, -errno);
	return err;
}

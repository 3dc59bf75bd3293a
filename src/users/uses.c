/* SPDX-License-Identifier: MIT */
#include "users/internal.h"

#include <errno.h>

static bool is_used(const struct shmfs_users_snapshot *snapshot, dev_t dev, ino_t ino, pid_t pid)
{
	const struct shmfs_file_id file = { dev, ino };
	size_t count;
	const struct shmfs_use *use = shmfs_users_of(snapshot, &file, &count);

	while (count > 0 && pid && use->pid != pid)
		count--, use++;
	return count > 0;
}

/*
 * The identity of a segment has the shmid in its low half; that of an object is the inode number in
 * /dev/shm.  Its low bits are the number of a file, unless the file got that with another identity.
 */
bool uses_include(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
		  uint64_t identity, pid_t pid)
{
	uint64_t id = view->dev == SHMFS_SEGMENTS ? (uint32_t)identity : identity;
	ino_t usual = id & (SHMFS_INO_VARIANT / 2 - 1);
	ino_t given = SHMFS_FILE_NUMBER(shmfs_identity_ino(view->files->backend, id, 0));

	return is_used(snapshot, view->dev, id, pid) ||
	       is_used(snapshot, view->file_dev, usual, pid) ||
	       (given != usual && is_used(snapshot, view->file_dev, given, pid));
}

int uses_look_up(const struct process_uses *uses, const struct shmfs_name *name, uint64_t identity,
		 struct shmfs_object **out, struct stat *st)
{
	const struct shmfs_view *files = uses->view->files;
	int err = files->ops->lookup(files, name, uses->caller, out, st);

	if (err || (*out)->identity == identity)
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

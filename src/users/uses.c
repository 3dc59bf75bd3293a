/* SPDX-License-Identifier: MIT */
/*
 * What the views show: .by-pid what one process uses, .orphans what none does.
 *
 * A snapshot rules out objects that a process was seen to use.  For .orphans the kernel is asked
 * about the rest, because it knows of hidden processes, and of uses that began after the snapshot.
 */
#include "users/internal.h"

int uses_begin(struct uses *uses, const struct shmfs_view *view, uint32_t pid,
	       const struct shmfs_caller *caller)
{
	*uses = (struct uses){ .view = view->context, .pid = (pid_t)pid, .caller = caller };
	return shmfs_users_get(uses->view->users, &uses->snapshot);
}

void uses_end(struct uses *uses)
{
	shmfs_users_put(&uses->snapshot);
}

static bool is_used(const struct uses *uses, dev_t dev, ino_t ino)
{
	const struct shmfs_file_id file = { dev, ino };
	size_t count;
	const struct shmfs_use *use = shmfs_users_of(uses->snapshot, &file, &count);

	while (count > 0 && uses->pid && use->pid != uses->pid)
		count--, use++;
	return count > 0;
}

/*
 * The identity of a segment has the shmid in its low half; that of an object is the inode number in
 * /dev/shm.  Its low bits are the number of a file, unless the file got that with another identity.
 */
static bool is_shown(const struct uses *uses, uint64_t identity)
{
	const struct shmfs_user_view *view = uses->view;
	const dev_t dev = view->segments ? SHMFS_SEGMENTS : SHMFS_OBJECTS;
	const dev_t file_dev = view->segments ? SHMFS_SEGMENT_FILES : SHMFS_OBJECT_FILES;
	uint64_t id = view->segments ? (uint32_t)identity : identity;
	ino_t usual = id & (SHMFS_INO_VARIANT / 2 - 1);
	ino_t given = SHMFS_FILE_NUMBER(shmfs_identity_ino(view->files->backend, id, 0));
	bool used = is_used(uses, dev, id) || is_used(uses, file_dev, usual) ||
		    (given != usual && is_used(uses, file_dev, given));

	return used == (uses->pid != 0);
}

int uses_look_up(const struct uses *uses, const struct shmfs_name *name, struct shmfs_object **out,
		 struct stat *st)
{
	const struct shmfs_view *files = uses->view->files;
	int err = files->ops->lookup(files, name, uses->caller, out, st);

	if (err || is_shown(uses, (*out)->identity))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

/* --- listings --- */

struct lister {
	const struct uses *uses;
	shmfs_list_fn *fn;
	void *arg;
};

static int list_shown(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	const struct lister *lister = arg;
	const struct uses *uses = lister->uses;
	const struct shmfs_view *files = uses->view->files;
	char text[NAME_MAX + 1];
	const struct shmfs_name segment = { .space = SHMFS_SPACE_POSIX, .text = text };

	if (!is_shown(uses, identity) || (!uses->pid && files->ops->check_unused(files, name) != 0))
		return 0;
	/* A segment in .by-pid: its shmid, and the mark that /proc gives it. */
	snprintf(text, sizeof(text), "%u%s", name->number, name->deleted ? DELETED : "");
	return lister->fn(uses->pid && uses->view->segments ? &segment : name, identity,
			  lister->arg);
}

int uses_list(const struct uses *uses, shmfs_list_fn *fn, void *arg)
{
	struct lister lister = { uses, fn, arg };
	const struct shmfs_view *files = uses->view->files;

	return files->ops->list(files, uses->view->segments ? SHMFS_SPACE_SHMID : SHMFS_SPACE_POSIX,
				0, uses->caller, list_shown, &lister);
}

/* SPDX-License-Identifier: MIT */
/*
 * Detaching at close(2).
 *
 * Where segments are not reached by descriptors, an open file is an attachment that
 * nattch counts.  RELEASE comes some time after the last close(2) has returned, and a
 * program that decides by nattch whether it is the last would be misled.  FLUSH comes
 * before close(2) returns, but at each close of a file that several descriptors share.
 * So the attachment goes when neither the opener nor a child of it has another
 * descriptor of the file.  Any other process that has one attaches again when it uses it.
 */
#include "sysv/internal.h"

#include <dirent.h>

#include "shmfs/proc.h"

/* With more files, or children, RELEASE will do. */
#define MOST_FILES 64
#define MOST_CHILDREN 16
#define MOST_PAUSES 5000

static void close_dir(DIR *const *dir)
{
	if (*dir)
		closedir(*dir);
}

/*
 * Is it a file with the inode number of the object, in whichever view?  To read
 * /proc/PID/fdinfo takes locks that the process can hold for ever (ep_show_fdinfo()).
 * This takes none, and asks no server.  ENOENT: it was closed meanwhile.
 */
static bool is_file_of(const struct sysv_object *obj, int dir, const char *name)
{
	const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
	struct statx stx;

	if (statx(dir, name, flags, STATX_INO, &stx) != 0)
		return errno != ENOENT;
	return (stx.stx_ino & ~SHMFS_INO_VARIANT) == shmfs_object_ino(&obj->base, 0);
}

/* Has the process the file open?  Also true where that is not known. */
static bool has_open(const struct sysv_object *obj, pid_t pid)
{
	const struct sysv_backend *be = (struct sysv_backend *)obj->base.backend;
	char path[128];
	__attribute__((cleanup(close_dir))) DIR *dir = NULL;
	const struct dirent *entry;

	snprintf(path, sizeof(path), "%s/%d/fd", be->config.proc_dir, (int)pid);
	dir = opendir(path);
	if (!dir)
		return true;
	for (int n = 0; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		if (n++ == MOST_FILES || is_file_of(obj, dirfd(dir), entry->d_name))
			return true;
	}
	return false;
}

/* The same of the children of a thread; false where the kernel does not list them. */
static bool child_has_open(const struct sysv_object *obj, pid_t thread)
{
	const struct sysv_backend *be = (struct sysv_backend *)obj->base.backend;
	char text[MOST_CHILDREN * 12];
	char *rest = text;
	ssize_t len = shmfs_proc_read(AT_FDCWD, text, sizeof(text), "%s/%d/task/%d/children",
				      be->config.proc_dir, (int)thread, (int)thread);

	if (len == sizeof(text) - 1)
		return true;
	for (pid_t child; (child = (pid_t)strtol(rest, &rest, 10)) > 0;)
		if (has_open(obj, child))
			return true;
	return false;
}

bool sysv_is_open_in(const struct sysv_object *obj, pid_t opener)
{
	return has_open(obj, opener) || child_has_open(obj, opener);
}

void sysv_let_go(struct sysv_object *obj, struct sysv_handle *h, pid_t opener)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	struct sysv_segment *segment = NULL;

	if (sysv_backend_of(obj)->by_descriptor || sysv_is_open_in(obj, opener))
		return;
	pthread_mutex_lock(&obj->base.lock);
	obj->nbusy -= h->busy ? 1 : 0;
	h->busy = false;
	/* One that was removed would go with the attachment. */
	if (obj->nbusy == 0 && sysv_object_stat(obj, NULL) == 0 &&
	    !(obj->last.shm_perm.mode & SYSV_MODE_DEST)) {
		segment = obj->segment;
		obj->segment = NULL;
	}
	pthread_mutex_unlock(&obj->base.lock);
	/* A thread whose reply has arrived may not have given back what it read from. */
	for (int i = 0; segment && atomic_load(&segment->refs) > 1 && i < MOST_PAUSES; i++)
		nanosleep(&pause, NULL);
	sysv_segment_put(segment);
}

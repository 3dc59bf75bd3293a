/* SPDX-License-Identifier: MIT */
/*
 * Hints: which segments carry labels (sysv_labels.c), and which.
 *
 * A file for each such segment, named by the inode number of its IPC namespace
 * and its shmid, in a directory that outlives the daemon and is root's alone.
 * In it stands what the segment was like when it was written (the stamp) and
 * a copy of its labels.  Both numbers are used again in the end, and files may
 * survive a reboot; the stamp, with the time of the last change, tells.
 *
 * Several daemons may serve one namespace: who changes labels holds a lock on
 * the directory, and a file is replaced, not written.
 */
#include "sysv/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files of segments that are gone are looked for once in so many new ones. */
#define SWEEP_EVERY 64
#define TEMPORARY "new"

struct stamp {
	int64_t ctime; /* -1: fits no segment */
	uint64_t size;
	uint32_t cuid;
	uint32_t cgid;
	int64_t cpid;
};

struct hint_name {
	char text[48];
};

static struct hint_name name_of(const struct sysv_backend *be, int id)
{
	struct hint_name name;

	snprintf(name.text, sizeof(name.text), "%llu-%d",
		 (unsigned long long)be->hints.namespace_ino, id);
	return name;
}

static struct stamp stamp_of(const struct shmid_ds *ds)
{
	return (struct stamp){
		.ctime = ds->shm_ctime,
		.size = ds->shm_segsz,
		.cuid = ds->shm_perm.cuid,
		.cgid = ds->shm_perm.cgid,
		.cpid = ds->shm_cpid,
	};
}

/* --- the directory --- */

/* Nobody but us may have put anything there. */
static int open_dir(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 022))
		return fd;
	close(fd);
	return -EPERM;
}

/*
 * The directory, or a negative errno.  It is made when it is needed first, by
 * us or by another daemon.
 */
static int find_dir(struct sysv_hints *hints)
{
	int none = -1;
	int dir = atomic_load(&hints->dir);
	int fd;

	if (dir >= 0 || !hints->path)
		return dir;
	fd = open_dir(hints->path);
	if (fd < 0 || atomic_compare_exchange_strong(&hints->dir, &none, fd))
		return fd;
	close(fd);
	return atomic_load(&hints->dir);
}

static int need_dir(struct sysv_hints *hints)
{
	if (find_dir(hints) >= 0)
		return 0;
	if (mkdir(hints->path, 0700) != 0 && errno != EEXIST)
		return -errno;
	return find_dir(hints) < 0 ? -EPERM : 0;
}

/* Remove what is left of segments that are gone.  Others' namespaces are theirs to see. */
static void sweep(struct sysv_backend *be, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!entries) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(entries)) != NULL) {
		unsigned long long ns;
		struct shmid_ds ds;
		int id;

		if (sscanf(entry->d_name, "%llu-%d", &ns, &id) == 2 &&
		    ns == be->hints.namespace_ino && shmctl(id, SHM_STAT_ANY, &ds) != id)
			unlinkat(dir, entry->d_name, 0);
	}
	closedir(entries);
}

void sysv_hints_init(struct sysv_backend *be)
{
	struct sysv_hints *hints = &be->hints;
	char path[128];
	struct stat st;

	pthread_mutex_init(&hints->lock, NULL);
	snprintf(path, sizeof(path), "%s/self/ns/ipc", be->config.proc_dir);
	if (be->by_descriptor && be->config.hint_dir && stat(path, &st) == 0) {
		hints->path = be->config.hint_dir;
		hints->namespace_ino = st.st_ino;
	}
	atomic_init(&hints->dir, -1);
	if (find_dir(hints) >= 0)
		sweep(be, atomic_load(&hints->dir));
}

void sysv_hints_destroy(struct sysv_backend *be)
{
	int dir = atomic_load(&be->hints.dir);

	if (dir >= 0) {
		sweep(be, dir);
		close(dir);
	}
	pthread_mutex_destroy(&be->hints.lock);
}

/* Other daemons have it for moments, unless they are stopped. */
static int lock_dir(const struct sysv_backend *be, int dir)
{
	int failed = flock(dir, LOCK_EX | LOCK_NB);

	if (failed && errno == EWOULDBLOCK) {
		sysv_release_lead(be);
		failed = flock(dir, LOCK_EX);
	}
	return failed ? -errno : 0;
}

int sysv_hints_lock(struct sysv_backend *be)
{
	struct sysv_hints *hints = &be->hints;
	int err;

	if (!hints->path)
		return -EOPNOTSUPP;
	if (pthread_mutex_trylock(&hints->lock) != 0) {
		sysv_release_lead(be);
		pthread_mutex_lock(&hints->lock);
	}
	err = need_dir(hints);
	if (!err)
		err = lock_dir(be, atomic_load(&hints->dir));
	if (err)
		pthread_mutex_unlock(&hints->lock);
	return err;
}

void sysv_hints_unlock(struct sysv_backend *be)
{
	flock(atomic_load(&be->hints.dir), LOCK_UN);
	pthread_mutex_unlock(&be->hints.lock);
}

/* --- one hint --- */

int sysv_hint_read(struct sysv_backend *be, int id, const struct shmid_ds *ds,
		   struct sysv_labels *labels)
{
	int dir = find_dir(&be->hints);
	const struct stamp now = stamp_of(ds);
	struct stamp stamp;
	ssize_t size;
	int fd = -1;

	labels->len = 0;
	if (dir >= 0)
		fd = openat(dir, name_of(be, id).text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, &stamp, sizeof(stamp)) == sizeof(stamp) &&
	    memcmp(&stamp, &now, sizeof(now)) == 0) {
		size = read(fd, labels->bytes, sizeof(labels->bytes));
		labels->len = size < 0 ? 0 : (size_t)size;
	}
	close(fd);
	return labels->len > 0 && sysv_labels_valid(labels) ? 0 : -ESTALE;
}

static int write_all(int fd, const void *bytes, size_t len)
{
	ssize_t n = write(fd, bytes, len);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}

/* In one step, for who reads meanwhile. */
static int replace_hint(struct sysv_backend *be, int id, const struct stamp *stamp,
			const struct sysv_labels *labels)
{
	int dir = atomic_load(&be->hints.dir);
	int fd =
		openat(dir, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, stamp, sizeof(*stamp));
	if (!err)
		err = write_all(fd, labels->bytes, labels->len);
	close(fd);
	if (!err && renameat(dir, TEMPORARY, dir, name_of(be, id).text) != 0)
		err = -errno;
	if (err)
		unlinkat(dir, TEMPORARY, 0);
	return err;
}

int sysv_hint_begin(struct sysv_backend *be, int id)
{
	static const struct stamp fits_none = { .ctime = -1 };
	static const struct sysv_labels no_labels;
	int dir = atomic_load(&be->hints.dir);
	bool is_new = faccessat(dir, name_of(be, id).text, F_OK, 0) != 0;

	if (is_new && ++be->hints.made % SWEEP_EVERY == 0)
		sweep(be, dir);
	return replace_hint(be, id, &fits_none, &no_labels);
}

void sysv_hint_end(struct sysv_backend *be, int id, const struct shmid_ds *ds,
		   const struct sysv_labels *labels)
{
	const struct stamp stamp = stamp_of(ds);

	if (labels->len > 0)
		replace_hint(be, id, &stamp, labels);
	else
		unlinkat(atomic_load(&be->hints.dir), name_of(be, id).text, 0);
}

void sysv_hint_refresh(struct sysv_backend *be, int id, const struct shmid_ds *before)
{
	struct sysv_labels labels;
	struct shmid_ds now;

	/* Most have none, and need no lock to know that. */
	if (sysv_hint_read(be, id, before, &labels) != 0 || labels.len == 0 ||
	    sysv_hints_lock(be) != 0)
		return;
	/* What was read may have been changed before the lock was ours. */
	if (sysv_hint_read(be, id, before, &labels) == 0 && labels.len > 0 &&
	    sysv_segment_stat(be, id, &now, NULL) == 0)
		sysv_hint_end(be, id, &now, &labels);
	sysv_hints_unlock(be);
}

void sysv_hint_inherit(struct sysv_backend *be, int id, int from)
{
	int dir = atomic_load(&be->hints.dir);

	/* It only matters to who takes over if we are killed before the labels are settled. */
	if (dir >= 0)
		(void)!linkat(dir, name_of(be, from).text, dir, name_of(be, id).text, 0);
}

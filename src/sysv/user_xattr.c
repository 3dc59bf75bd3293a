/* SPDX-License-Identifier: MIT */
/*
 * The extended attributes that users give a segment (user.note).
 *
 * Looking at them must leave no trace, and a segment's own inode is reached by
 * attaching alone.  So they are attributes of an empty file beside the segment,
 * in a directory that is root's and outlives the daemon.  Their names begin with
 * "trusted.": tmpfs has "user." from Linux 6.6 on.
 *
 * The file's name says whose it is.  A shmid is used again in the end, and so is
 * the inode number of an IPC namespace when a container starts again.  So the
 * name has what no call changes of a segment, and the start time of process 1.
 */
#include "sysv/internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/xattr.h>

#include "shmfs/log.h"

#define MOST 4096	/* bytes of names and values that one segment carries */
#define LIST_SIZE 16384 /* room for their names */
#define SWEEP_EVERY 64	/* new files */
#define PREFIX XATTR_TRUSTED_PREFIX
#define STORED_NAME_SIZE (XATTR_NAME_MAX + sizeof(PREFIX))

struct file_path {
	char text[200];
};

/* The segment's file.  A path that is cut is the path of no file. */
static struct file_path path_of(const struct sysv_backend *be, int id, const struct shmid_ds *ds)
{
	const struct sysv_user_xattrs *store = &be->user_xattrs;
	struct file_path path;

	snprintf(path.text, sizeof(path.text), "%s/%llu-%d-%llu-%d-%u-%u-%llu", store->dir,
		 store->namespace_ino, id, store->start, (int)ds->shm_cpid, ds->shm_perm.cuid,
		 ds->shm_perm.cgid, (unsigned long long)ds->shm_segsz);
	return path;
}

/* --- the directory --- */

/*
 * Looked at each time, for it may be removed and made again, and nothing else
 * has what was in it.  -ENODATA without it, -EPERM where others can write to it,
 * -EOPNOTSUPP where segments can have no attributes.
 */
static int check_dir(struct sysv_user_xattrs *store)
{
	struct stat st = { 0 };
	unsigned long long before;
	int failed;

	if (!store->dir)
		return -EOPNOTSUPP;
	failed = lstat(store->dir, &st);
	before = atomic_exchange(&store->dir_ino, st.st_ino);
	if (before && before != st.st_ino)
		shmfs_log(LOG_WARNING,
			  "%s was removed: the user.* attributes of segments in it are lost; "
			  "set them again with setfattr",
			  store->dir);
	if (failed)
		return -ENODATA;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) ? 0 : -EPERM;
}

/* Only of this namespace: the segments of others cannot be seen from here. */
void sysv_user_xattr_sweep(struct sysv_backend *be)
{
	struct sysv_user_xattrs *store = &be->user_xattrs;
	DIR *entries = check_dir(store) == 0 ? opendir(store->dir) : NULL;
	const struct dirent *entry;

	while (entries && (entry = readdir(entries)) != NULL) {
		unsigned long long ns;
		struct shmid_ds ds;
		int id;

		if (sscanf(entry->d_name, "%llu-%d", &ns, &id) == 2 && ns == store->namespace_ino &&
		    (shmctl(id, SHM_STAT_ANY, &ds) != id ||
		     strcmp(strrchr(path_of(be, id, &ds).text, '/') + 1, entry->d_name) != 0))
			unlinkat(dirfd(entries), entry->d_name, 0);
	}
	if (entries)
		closedir(entries);
}

/* When process 1 started, in clock ticks since boot: field 22 of its stat (proc(5)). */
static unsigned long long read_start(const char *proc_dir)
{
	unsigned long long start = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/1/stat", proc_dir);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %*c") == 0) {
		for (int field = 4; field <= 22; field++)
			(void)!fscanf(file, "%llu", &start);
	}
	fclose(file);
	return start;
}

void sysv_user_xattr_init(struct sysv_backend *be)
{
	struct sysv_user_xattrs *store = &be->user_xattrs;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/self/ns/ipc", be->config.proc_dir);
	if (geteuid() != 0 || !be->config.user_xattr_dir || stat(path, &st) != 0)
		return;
	store->dir = be->config.user_xattr_dir;
	store->namespace_ino = st.st_ino;
	store->start = read_start(be->config.proc_dir);
	sysv_user_xattr_sweep(be);
}

/* --- looking --- */

/* What a call on the file failed with.  A container's root may have no "trusted.": EPERM. */
static int error_of_file(void)
{
	if (errno == ENOENT)
		return -ENODATA;
	return errno == EPERM ? -EOPNOTSUPP : -errno;
}

ssize_t sysv_user_xattr_get(struct sysv_backend *be, int id, const struct shmid_ds *ds,
			    const char *name, void *value, size_t size)
{
	char stored[STORED_NAME_SIZE];
	int err = check_dir(&be->user_xattrs);
	ssize_t len;

	if (err)
		return err == -EPERM ? -ENODATA : err;
	snprintf(stored, sizeof(stored), PREFIX "%s", name);
	len = lgetxattr(path_of(be, id, ds).text, stored, value, size);
	return len < 0 ? error_of_file() : len;
}

ssize_t sysv_user_xattr_list(struct sysv_backend *be, int id, const struct shmid_ds *ds,
			     char *names, size_t size)
{
	static const char ours[] = PREFIX XATTR_USER_PREFIX;
	struct shmfs_xattr_list list = { .names = names, .size = size };
	char stored[LIST_SIZE];
	ssize_t len = 0;

	if (check_dir(&be->user_xattrs) == 0)
		len = llistxattr(path_of(be, id, ds).text, stored, sizeof(stored));
	for (const char *name = stored; name < stored + len; name += strlen(name) + 1) {
		if (strncmp(name, ours, sizeof(ours) - 1) == 0)
			shmfs_xattr_list_name(&list, name + strlen(PREFIX));
	}
	return shmfs_xattr_list_end(&list);
}

/* --- changing --- */

/*
 * The kernel sets no limit, and the memory is on nobody's account.  Callers at
 * the same moment may go over this one by a little.
 */
static bool has_room(const char *path, const char *changed, size_t size)
{
	size_t used = strlen(changed) + 1 + size;
	char names[LIST_SIZE];
	ssize_t len = llistxattr(path, names, sizeof(names));

	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t other = strcmp(name, changed) == 0 ? -1 : lgetxattr(path, name, NULL, 0);

		if (other >= 0)
			used += strlen(name) + 1 + (size_t)other;
	}
	return used <= MOST;
}

/* Make the file, and first its directory. */
static int make_file(struct sysv_backend *be, const char *path)
{
	int err = mkdir(be->user_xattrs.dir, 0700) == 0 || errno == EEXIST ? 0 : -errno;

	if (!err)
		err = check_dir(&be->user_xattrs);
	if (err)
		return err;
	if (atomic_fetch_add(&be->user_xattrs.made, 1) % SWEEP_EVERY == SWEEP_EVERY - 1)
		sysv_user_xattr_sweep(be);
	return mknod(path, S_IFREG | 0600, 0) == 0 || errno == EEXIST ? 0 : -errno;
}

int sysv_user_xattr_set(struct sysv_backend *be, int id, const struct shmid_ds *ds,
			const char *name, const void *value, size_t size, int flags)
{
	char stored[STORED_NAME_SIZE];
	struct file_path path;
	struct shmid_ds now;
	int err = check_dir(&be->user_xattrs);

	if (err == -EOPNOTSUPP)
		return err;
	snprintf(stored, sizeof(stored), PREFIX "%s", name);
	path = path_of(be, id, ds);
	if (value && !(flags & XATTR_REPLACE) && access(path.text, F_OK) != 0 && err != -EPERM)
		err = make_file(be, path.text);
	if (!err && value && !has_room(path.text, stored, size))
		err = -ENOSPC;
	if (!err && (value ? lsetxattr(path.text, stored, value, size, flags) :
			     lremovexattr(path.text, stored)) != 0)
		err = error_of_file();
	/* Another daemon may have replaced it, and carried over what there was before. */
	if (!err && !(ds->shm_perm.mode & SYSV_MODE_DEST) &&
	    (shmctl(id, SHM_STAT_ANY, &now) != id || (now.shm_perm.mode & SYSV_MODE_DEST)))
		err = -ESTALE;
	return err;
}

/* --- when a segment is replaced --- */

int sysv_user_xattr_carry(const struct sysv_backend *be, int from, const struct shmid_ds *from_ds,
			  int to, const struct shmid_ds *to_ds)
{
	const struct file_path old = path_of(be, from, from_ds);
	const struct file_path new = path_of(be, to, to_ds);

	/* Both have them until the old one goes.  A link takes an inode, a move takes nothing. */
	if (!be->user_xattrs.dir || link(old.text, new.text) == 0 || errno == ENOENT ||
	    rename(old.text, new.text) == 0)
		return 0;
	return -errno;
}

void sysv_user_xattr_drop(const struct sysv_backend *be, int id, const struct shmid_ds *ds)
{
	if (be->user_xattrs.dir)
		unlink(path_of(be, id, ds).text);
}

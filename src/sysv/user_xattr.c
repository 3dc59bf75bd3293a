/* SPDX-License-Identifier: MIT */
/*
 * The extended attributes that users give a segment (user.note).
 *
 * Only attaching leads to a segment's inode, and reading must leave no trace.  So an empty file
 * carries the attributes, in a directory of root that outlives the daemon, as "trusted.user.note":
 * tmpfs has "user." only since Linux 6.6.
 *
 * The kernel uses a shmid again, and a container that starts again can have the inode number of its
 * old IPC namespace.  So the file's name also has the fields of a segment that no call changes, and
 * the start time of process 1.
 */
#include "sysv/internal.h"

#include <dirent.h>
#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <sys/xattr.h>

#include "shmfs/log.h"
#include "shmfs/proc.h"

#define MOST 4096	/* bytes of names and values of one segment */
#define LIST_SIZE 16384 /* room for their names */
#define SWEEP_EVERY 64	/* new files */
#define PREFIX XATTR_TRUSTED_PREFIX

struct text {
	char text[XATTR_NAME_MAX + sizeof(PREFIX)];
};

/* The segment's file.  A path that is cut is the path of no file. */
static struct text path_of(const struct sysv_backend *be, int id, const struct shmid_ds *ds)
{
	const struct sysv_user_xattrs *store = &be->user_xattrs;
	struct text path;

	snprintf(path.text, sizeof(path.text), "%s/%llu-%d-%llu-%d-%u-%u-%llu", store->dir,
		 store->namespace_ino, id, store->start, (int)ds->shm_cpid, ds->shm_perm.cuid,
		 ds->shm_perm.cgid, (unsigned long long)ds->shm_segsz);
	return path;
}

static struct text stored_name(const char *name)
{
	struct text stored;

	snprintf(stored.text, sizeof(stored.text), PREFIX "%s", name);
	return stored;
}

/*
 * Somebody may remove the directory and make it again, so each call looks at it.  -ENODATA without
 * it, -EPERM where others can write to it, -EOPNOTSUPP where segments can have no attributes.
 */
static int check_dir(struct sysv_user_xattrs *store)
{
	struct stat st = { 0 };
	bool is_there = store->dir && lstat(store->dir, &st) == 0;
	unsigned long long before = atomic_exchange(&store->dir_ino, st.st_ino);

	if (!store->dir)
		return -EOPNOTSUPP;
	if (before && before != st.st_ino)
		shmfs_log(LOG_WARNING,
			  "%s was removed: the user.* attributes of segments in it are lost; "
			  "set them again with setfattr",
			  store->dir);
	if (!is_there)
		return -ENODATA;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) ? 0 : -EPERM;
}

/* Of this namespace alone: the segments of others cannot be seen from here. */
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
	store->start = shmfs_proc_stat(be->config.proc_dir, 1).start;
	sysv_user_xattr_sweep(be);
}

/* The errno of a call on the file.  A container's root may have no "trusted.": EPERM. */
static int error_of_file(void)
{
	if (errno == ENOENT)
		return -ENODATA;
	return errno == EPERM ? -EOPNOTSUPP : -errno;
}

/* Is it the name of a user's own attribute? */
static bool is_users(const char *name)
{
	return strncmp(name, XATTR_USER_PREFIX, XATTR_USER_PREFIX_LEN) == 0;
}

ssize_t sysv_getxattr(struct shmfs_object *base, const char *name, void *value, size_t size,
		      const struct shmfs_caller *caller)
{
	struct sysv_backend *be = (struct sysv_backend *)base->backend;
	SYSV_SNAPSHOT snapshot = { 0 };
	int err = is_users(name) ? sysv_snapshot_take(sysv_object(base), &snapshot) : -EOPNOTSUPP;
	ssize_t len;

	/* The kernel has checked a mode that may be old. */
	if (!err && !sysv_may(&snapshot.ds, 04, caller))
		err = -EACCES;
	if (!err)
		err = check_dir(&be->user_xattrs);
	if (err)
		return err == -EPERM ? -ENODATA : err;
	len = lgetxattr(path_of(be, snapshot.id, &snapshot.ds).text, stored_name(name).text, value,
			size);
	return len < 0 ? error_of_file() : len;
}

ssize_t sysv_listxattr(struct shmfs_object *base, char *names, size_t size,
		       const struct shmfs_caller *caller)
{
	struct sysv_backend *be = (struct sysv_backend *)base->backend;
	struct shmfs_xattr_list list = { .names = names, .size = size };
	SYSV_SNAPSHOT snapshot = { 0 };
	char stored[LIST_SIZE];
	ssize_t len = 0;
	int err = sysv_snapshot_take(sysv_object(base), &snapshot);

	if (err)
		return err;
	if (check_dir(&be->user_xattrs) == 0)
		len = llistxattr(path_of(be, snapshot.id, &snapshot.ds).text, stored, LIST_SIZE);
	for (const char *name = stored; name < stored + len; name += strlen(name) + 1) {
		if (strncmp(name, PREFIX XATTR_USER_PREFIX, strlen(PREFIX XATTR_USER_PREFIX)) == 0)
			shmfs_xattr_list_name(&list, name + strlen(PREFIX));
	}
	return shmfs_xattr_list_end(&list);
}

/* The kernel sets no limit, and the memory is on nobody's account. */
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

	err = err ? err : check_dir(&be->user_xattrs);
	if (err)
		return err;
	if (mknod(path, S_IFREG | 0600, 0) != 0)
		return errno == EEXIST ? 0 : -errno;
	if (atomic_fetch_add(&be->user_xattrs.made, 1) % SWEEP_EVERY == SWEEP_EVERY - 1)
		sysv_user_xattr_sweep(be);
	return 0;
}

/*
 * `value` NULL: remove it.  -EOPNOTSUPP in an ordinary user's daemon, -ENOSPC for too much on one
 * segment, -ESTALE if the segment was removed meanwhile.
 */
static int set(const struct sysv_snapshot *segment, const char *name, const void *value,
	       size_t size, int flags)
{
	struct sysv_backend *be = sysv_backend_of(segment->object);
	const struct text stored = stored_name(name);
	bool had_key = !segment->gone && segment->ds.shm_perm.__key != 0;
	int err = check_dir(&be->user_xattrs);
	struct shmid_ds now;
	struct text path;

	if (err == -EOPNOTSUPP)
		return err;
	path = path_of(be, segment->id, &segment->ds);
	if (value && !(flags & XATTR_REPLACE) && err != -EPERM)
		err = make_file(be, path.text);
	if (!err && value && !has_room(path.text, stored.text, size))
		err = -ENOSPC;
	if (err)
		return err;
	if ((value ? lsetxattr(path.text, stored.text, value, size, flags) :
		     lremovexattr(path.text, stored.text)) != 0)
		err = error_of_file();
	/* Another daemon may have replaced it, and carried over what there was before. */
	if (had_key &&
	    (shmctl(segment->id, SHM_STAT_ANY, &now) != segment->id || !now.shm_perm.__key))
		return -ESTALE;
	return err;
}

/* A resize in this daemon carries over all attributes or comes before the change. */
static int change(struct sysv_object *obj, const char *name, const void *value, size_t size,
		  int flags, const struct shmfs_caller *caller)
{
	unsigned tries = 0;
	int err;

	if (!is_users(name))
		return -EOPNOTSUPP;
	do {
		SHMFS_READ_LOCKED(&obj->io);
		SYSV_SNAPSHOT snapshot = { 0 };

		err = sysv_snapshot_now(obj, &snapshot);
		if (!err && !sysv_may(&snapshot.ds, 02, caller))
			err = -EACCES;
		if (!err)
			err = set(&snapshot, name, value, size, flags);
	} while (sysv_follows_key(obj, &tries, &err));
	return err;
}

/*
 * An ACL of three entries is another form of the mode, so setting it is chmod(2).  Any other ACL is
 * refused: the kernel does not follow it when it checks a segment's rights.
 */
static int set_acl(struct shmfs_object *base, const void *value, size_t size,
		   const struct shmfs_caller *caller)
{
	static const unsigned tags[] = { ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER };
	struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry entries[3];
	} acl;
	mode_t mode = 0;

	if (size != sizeof(acl))
		return -EOPNOTSUPP;
	memcpy(&acl, value, sizeof(acl));
	for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
		if (le16toh(acl.entries[i].e_tag) != tags[i])
			return -EOPNOTSUPP;
		mode = mode << 3 | (le16toh(acl.entries[i].e_perm) & 07);
	}
	return base->backend->ops->chmod(base, mode, caller);
}

int sysv_setxattr(struct shmfs_object *base, const char *name, const void *value, size_t size,
		  int flags, const struct shmfs_caller *caller)
{
	if (strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0)
		return set_acl(base, value, size, caller);
	return change(sysv_object(base), name, value ? value : "", size, flags, caller);
}

int sysv_removexattr(struct shmfs_object *base, const char *name, const struct shmfs_caller *caller)
{
	/* There is none besides the mode. */
	if (strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0 ||
	    strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0)
		return 0;
	return change(sysv_object(base), name, NULL, 0, 0, caller);
}

int sysv_user_xattr_carry(const struct sysv_backend *be, int from, const struct shmid_ds *from_ds,
			  int to, const struct shmid_ds *to_ds)
{
	const struct text old = path_of(be, from, from_ds);
	const struct text new = path_of(be, to, to_ds);

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

/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes of POSIX objects: those that tell its name and who uses it, and all that
 * the object itself has, with the caller's rights to them.
 */
#include "posix/internal.h"

#include <linux/xattr.h>
#include <sys/xattr.h>

/* --- ours; the subject is a struct posix_object --- */

/* As shm_open(3) takes it.  An object that is open may have lost it. */
static int get_name(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	struct posix_object *obj = context;
	struct stat st;
	SHMFS_LOCKED(&obj->base.lock);

	if (*obj->name == '/' || posix_dir_stat(posix_backend(obj), obj->name, &st) != 0 ||
	    st.st_ino != obj->base.identity)
		return -ENODATA;
	fprintf(out, "/%s", obj->name);
	return 0;
}

static uint64_t identity_of(struct posix_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);
	return obj->base.identity;
}

/* Mapped or open: by its own name, or as a file of the mount.  `field`: the format. */
static int get_users(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	struct posix_object *obj = context;
	const struct posix_backend *be = posix_backend(obj);
	const struct shmfs_users_query query = {
		.files = { { SHMFS_OBJECTS, identity_of(obj) },
			   { SHMFS_OBJECT_FILES,
			     SHMFS_FILE_NUMBER(shmfs_object_ino(&obj->base, 0)) } },
		.open = true,
		.format = (enum shmfs_users_format)field,
	};

	return shmfs_users_write(be->users, &query, caller, out);
}

const struct shmfs_xattr posix_xattrs[] = {
	{ SHMFS_XATTR_OBJECT "name", .get = get_name },
	{ SHMFS_XATTR_OBJECT "attached", .get = get_users, .field = SHMFS_USERS_ATTACHED,
	  .room = XATTR_SIZE_MAX },
	{ SHMFS_XATTR_OBJECT "users", .get = get_users, .field = SHMFS_USERS_FULL,
	  .room = XATTR_SIZE_MAX },
	{ 0 },
};

/* --- the object's own --- */

ssize_t posix_getxattr(struct shmfs_object *base, const char *name, void *value, size_t size,
		       const struct shmfs_caller *caller)
{
	/* The kernel asks for these itself before most requests, and every user may read them. */
	const bool is_public =
		strncmp(name, "system.", 7) == 0 || strncmp(name, "security.", 9) == 0;
	POSIX_PATH(path, posix_object(base), is_public ? NULL : caller);
	ssize_t len = path.err ? path.err : posix_result(getxattr(path.text, name, value, size));

	/* The kernel only asks where there is no SELinux.  ls(1) then asks of no other file. */
	return len == -ENODATA && strcmp(name, XATTR_NAME_SELINUX) == 0 ? -EOPNOTSUPP : len;
}

int posix_setxattr(struct shmfs_object *base, const char *name, const void *value, size_t size,
		   int flags, const struct shmfs_caller *caller)
{
	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err :
			  (int)posix_result(setxattr(path.text, name, value, size, flags));
}

ssize_t posix_listxattr(struct shmfs_object *base, char *names, size_t size,
			const struct shmfs_caller *caller)
{
	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err : posix_result(listxattr(path.text, names, size));
}

/*
 * The kernel removes file capabilities in the name of any user who writes, and otherwise requires
 * CAP_SETFCAP (security/commoncap.c, cap_inode_killpriv() and cap_inode_removexattr(), Linux 6.18).
 * So the daemon removes them.  Without CAP_SETFCAP, setting the owner that a file has removes them.
 */
int posix_removexattr(struct shmfs_object *base, const char *name,
		      const struct shmfs_caller *caller)
{
	const bool is_capability = strcmp(name, XATTR_NAME_CAPS) == 0;
	POSIX_PATH(path, posix_object(base), is_capability ? NULL : caller);
	int n;

	if (path.err)
		return path.err;
	n = removexattr(path.text, name);
	if (n != 0 && errno == EPERM && is_capability)
		n = chown(path.text, (uid_t)-1, (gid_t)-1);
	return (int)posix_result(n);
}

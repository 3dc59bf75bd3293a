/* SPDX-License-Identifier: MIT */
/*
 * Requests on extended attributes.  The attributes of shmfs are in tables: each backend has one for
 * its files and one for the root directory, and a further one for the root directory is here.  All
 * others are the object's own.
 *
 * The kernel has checked what it checks for every filesystem: user.* goes by the mode, trusted.*
 * and security.* by capabilities (fs/xattr.c, xattr_permission()).
 */
#include "fuse/internal.h"

#include <linux/limits.h>

#include "shmfs/version.h"

#define ACL_PREFIX "system.posix_acl_"
/* How long a program that copies takes from closing a file to its attributes. */
#define COPYING_NS 1000000000

/* --- the root directory --- */

enum field { VERSION, ENGINE, TARGET };

static int get_field(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	const struct shmfs_fs *fs = context;
	/* What moves the bytes of a file that is opened now. */
	const char *lack = field == ENGINE ? shmfs_passthrough_lack(fs) : NULL;

	if (field == VERSION)
		fputs(SHMFS_VERSION, out);
	else if (field == ENGINE)
		fprintf(out, "%s%s", lack ? "daemon: " : "passthrough", lack ? lack : "");
	else if (fs->target) /* nothing: the daemon's own shared memory */
		fprintf(out, "%d", (int)fs->target);
	return 0;
}

static const struct shmfs_xattr root_xattrs[] = {
	{ .name = SHMFS_XATTR_ROOT "version", .get = get_field, .field = VERSION },
	{ .name = SHMFS_XATTR_ROOT "engine", .get = get_field, .field = ENGINE },
	{ .name = SHMFS_XATTR_ROOT "target", .get = get_field, .field = TARGET },
	{ 0 },
};

/* --- tables --- */

/*
 * Table number `i` of a file or directory, from 0, and its context.  The root directory has its own
 * and those of the backends that it shows.  False: there are no more.
 */
static bool table_at(struct shmfs_fs *fs, fuse_ino_t ino, unsigned i,
		     const struct shmfs_xattr **table, void **context)
{
	const struct shmfs_view *view = NULL;

	if (!is_dir(ino)) {
		*table = ops_of(inode_of(ino))->xattrs;
		*context = inode_of(ino)->object;
		return i == 0;
	}
	if (i > 0)
		view = shmfs_tree_view(&fs->tree, SHMFS_DIR_ROOT, i - 1);
	*table = view ? view->ops->root_xattrs : root_xattrs;
	*context = view ? (void *)view->backend : fs;
	return ino == SHMFS_DIR_ROOT && (i == 0 || view);
}

/* The row of a name, and its context; NULL: there is none. */
static const struct shmfs_xattr *find_row(struct shmfs_fs *fs, fuse_ino_t ino, const char *name,
					  void **context)
{
	const struct shmfs_xattr *row = NULL;
	const struct shmfs_xattr *table;

	for (unsigned i = 0; !row && table_at(fs, ino, i, &table, context); i++)
		row = shmfs_xattr_find(table, name);
	return row;
}

/* Does the name have no other place than our tables?  Directories keep no others. */
static bool is_in_table(fuse_ino_t ino, const char *name)
{
	return is_dir(ino) || shmfs_xattr_is_own(name);
}

/* --- files --- */

static bool is_acl(const char *name)
{
	return strncmp(name, ACL_PREFIX, sizeof(ACL_PREFIX) - 1) == 0;
}

/*
 * Is the caller copying the file?  A copy must not get the attributes that describe the original.
 * cp(1), mv(1) and tar(1) list the attributes of a file that they have open.  Python's
 * shutil.copy2() lists those of a file that it has just closed.  getfattr(1) opens nothing.
 */
static bool is_copying(struct shmfs_fs *fs, const struct shmfs_inode *inode,
		       const struct shmfs_caller *caller)
{
	SHMFS_LOCKED(&fs->lock);

	if (caller->pid == 0)
		return false;
	for (const struct shmfs_file *file = inode->files; file; file = file->next) {
		if (file->opener == caller->pid)
			return true;
	}
	for (size_t i = 0; i < SHMFS_CLOSERS; i++) {
		const struct shmfs_closer *closer = &inode->closers[i];

		if (closer->thread == caller->pid && shmfs_now_ns() - closer->at < COPYING_NS)
			return true;
	}
	return false;
}

/* `others` is room for XATTR_LIST_MAX bytes. */
static ssize_t list_all(struct shmfs_fs *fs, fuse_ino_t ino, char *names, size_t size, char *others,
			const struct shmfs_caller *caller)
{
	const struct shmfs_inode *inode = is_dir(ino) ? NULL : inode_of(ino);
	struct shmfs_xattr_list list = { .names = names, .size = size };
	const struct shmfs_xattr *table;
	ssize_t len = 0;
	void *context;

	if (inode)
		len = ops_of(inode)->listxattr(inode->object, others, XATTR_LIST_MAX, caller);
	if (len == -EOPNOTSUPP)
		len = 0;
	if (len < 0)
		return len;
	if (!inode || !is_copying(fs, inode, caller))
		for (unsigned i = 0; table_at(fs, ino, i, &table, &context); i++)
			shmfs_xattr_list_table(&list, table);
	shmfs_xattr_list_others(&list, others, (size_t)len);
	return shmfs_xattr_list_end(&list);
}

/* --- requests --- */

/* The reply to getxattr(2) and listxattr(2): a length or bytes. */
static void reply_value(fuse_req_t req, const char *bytes, size_t size, ssize_t len)
{
	if (len < 0)
		reply_error(req, (int)len);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)len);
	else
		fuse_reply_buf(req, bytes, (size_t)len);
}

/*
 * The kernel keeps an ACL with the inode.  It forgets the ACL when it walks to the inode by a name
 * that it knows, but not when the name is new to it (Linux 6.18, fuse_dentry_revalidate(),
 * fuse_iget()).  A change by another process would then go unseen.  An inode that is invalidated
 * before the reply arrives does not keep the ACL of that reply (fs/posix_acl.c, __get_acl()).
 */
static void keep_from_caching(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!is_dir(ino) && ops_of(inode_of(ino))->has_acls && is_acl(name))
		fuse_lowlevel_notify_inval_inode(fs_of(req)->session, ino, -1, 0);
}

/* The kernel asks for 64 KiB at most (fs/xattr.c). */
void shmfs_fuse_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct request_caller who = caller_of(req);
	char *value = reply_scratch(size ? size : 1);
	struct shmfs_inode *inode = inode_of(ino); /* unless it is a directory's */
	const struct shmfs_xattr *row;
	ssize_t len = -ENOMEM;
	void *context;

	if (value && is_in_table(ino, name)) {
		row = find_row(fs_of(req), ino, name, &context);
		len = row ? shmfs_xattr_get(row, context, value, size, &who.caller) : -ENODATA;
	} else if (value) {
		len = ops_of(inode)->getxattr(inode->object, name, value, size, &who.caller);
		/* The kernel opens nothing of which it cannot be told the ACL (fs/posix_acl.c). */
		if (len == -EOPNOTSUPP && is_acl(name))
			len = -ENODATA;
	}
	keep_from_caching(req, ino, name);
	reply_value(req, value, size, len);
}

void shmfs_fuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			 size_t size, int flags)
{
	struct request_caller who = caller_of(req);
	struct shmfs_inode *inode = inode_of(ino); /* unless it is a directory's */
	const struct shmfs_xattr *row;
	int err = -EOPNOTSUPP;
	void *context = NULL;

	if (shmfs_xattr_is_own(name)) {
		row = find_row(fs_of(req), ino, name, &context);
		err = shmfs_xattr_set(row, context, value, size, flags, &who.caller);
	} else if (!is_dir(ino)) {
		err = ops_of(inode)->setxattr(inode->object, name, value, size, flags, &who.caller);
	}
	reply_error(req, err);
}

void shmfs_fuse_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request_caller who = caller_of(req);
	char *names = reply_scratch(size + XATTR_LIST_MAX);
	ssize_t len = -ENOMEM;

	if (names)
		len = list_all(fs_of(req), ino, names, size, names + size, &who.caller);
	reply_value(req, names, size, len);
}

void shmfs_fuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct request_caller who = caller_of(req);
	struct shmfs_inode *inode = inode_of(ino); /* unless it is a directory's */
	void *context;

	if (is_in_table(ino, name))
		reply_error(req, find_row(fs_of(req), ino, name, &context) ? -EPERM : -ENODATA);
	else
		reply_error(req, ops_of(inode)->removexattr(inode->object, name, &who.caller));
}

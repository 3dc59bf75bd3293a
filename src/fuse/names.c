/* SPDX-License-Identifier: MIT */
/*
 * Requests on names.
 *
 * Names are never cached: other processes make and remove segments without
 * telling us, so every walk to a name comes here (an entry timeout of 0).
 * What the walk finds is given along with fresh attributes, which the kernel
 * may use for one jiffy as long as nobody has the file open: that spares the
 * GETATTR behind every LOOKUP.
 */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuse/reply.h"

/* An object can be replaced between finding and asking: look again. */
#define LOOKUP_TRIES 10

double attr_timeout(const struct shmfs_inode *inode)
{
	/*
	 * A path is looked up afresh each time, so kept attributes are seen
	 * only through a descriptor that is open already, for which there are
	 * none.  (O_PATH descriptors are nobody's business but the kernel's and
	 * can be a jiffy behind.)
	 */
	return atomic_load(&inode->nopen) ? 0 : ONE_JIFFY;
}

static struct fuse_entry_param entry_of(const struct shmfs_inode *inode, const struct stat *st)
{
	return (struct fuse_entry_param){
		.ino = (fuse_ino_t)(uintptr_t)inode,
		.attr = *st,
		.attr_timeout = attr_timeout(inode),
	};
}

/* A name, and what it leads to. */
struct path {
	struct shmfs_backend *backend; /* borrowed */
	struct shmfs_name name;
	struct shmfs_inode *inode;   /* a lookup of it is counted */
	struct shmfs_handle *handle; /* owned; of who opens it */
	struct stat st;
};

static int resolve(struct shmfs_fs *fs, fuse_ino_t dir, const char *text, struct path *path)
{
	return shmfs_tree_resolve(&fs->tree, (enum shmfs_dir)dir, text, &path->backend,
				  &path->name);
}

/* Count a lookup of the object that the name leads to and get its attributes. */
static int look_up(struct shmfs_fs *fs, struct path *path, uint64_t identity,
		   const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = path->backend->ops;
	struct shmfs_inode *inode;
	int err = shmfs_inode_get(&fs->inodes, path->backend, identity, &inode);

	if (err)
		return err;
	err = ops->revalidate(inode->object, &path->name);
	if (!err)
		err = ops->getattr(inode->object, caller, &path->st);
	/* Gone, and its identity may be another's by now. */
	if (err == -ESTALE)
		shmfs_inode_retire(&fs->inodes, inode);
	if (err)
		shmfs_inode_forget(&fs->inodes, inode, 1);
	else
		path->inode = inode;
	return err;
}

static int find(struct shmfs_fs *fs, struct path *path, const struct shmfs_caller *caller)
{
	uint64_t identity;
	int err = -ESTALE;

	for (int i = 0; i < LOOKUP_TRIES && err == -ESTALE; i++) {
		err = path->backend->ops->find(path->backend, &path->name, &identity);
		if (!err)
			err = look_up(fs, path, identity, caller);
	}
	return err == -ESTALE ? -ENOENT : err;
}

static int find_in(struct shmfs_fs *fs, fuse_ino_t dir, const char *text,
		   const struct shmfs_caller *caller, struct path *path)
{
	int err = resolve(fs, dir, text, path);

	/* What cannot be created under this name is not there either. */
	if (err == -EINVAL || err == -EPERM)
		return -ENOENT;
	return err ? err : find(fs, path, caller);
}

static void reply_dir(fuse_req_t req, enum shmfs_dir dir)
{
	struct fuse_entry_param entry = { .ino = dir, .attr_timeout = ONE_JIFFY };
	int err = shmfs_tree_getattr(&fs_of(req)->tree, dir, &entry.attr);

	if (err)
		reply_error(req, err);
	else
		fuse_reply_entry(req, &entry);
}

/* A reply that the kernel does not take leaves it without the lookup. */
static void reply_entry(fuse_req_t req, const struct path *path)
{
	struct shmfs_fs *fs = fs_of(req);
	struct fuse_entry_param entry = entry_of(path->inode, &path->st);

	if (fuse_reply_entry(req, &entry) != 0)
		shmfs_inode_forget(&fs->inodes, path->inode, 1);
}

void shmfs_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	enum shmfs_dir dir = shmfs_tree_subdir((enum shmfs_dir)parent, name);
	AS_CALLER who = caller_of(req);
	struct path path;
	int err;

	if (dir) {
		reply_dir(req, dir);
		return;
	}
	err = find_in(fs_of(req), parent, name, &who.caller, &path);
	if (err)
		reply_error(req, err);
	else
		reply_entry(req, &path);
}

/* The directories are always there and are not counted. */
static void forget(struct shmfs_fs *fs, fuse_ino_t ino, uint64_t nlookup)
{
	if (!is_dir(ino))
		shmfs_inode_forget(&fs->inodes, inode_of(ino), nlookup);
}

void shmfs_fuse_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	forget(fs_of(req), ino, nlookup);
	fuse_reply_none(req);
}

void shmfs_fuse_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* --- creating --- */

/*
 * The name was free when the kernel looked it up and is taken now, without
 * O_EXCL: open what is there.  The kernel has not checked whether the caller
 * may; open() does.
 */
static int open_taken(struct shmfs_fs *fs, struct path *path, int flags,
		      const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = path->backend->ops;
	uint64_t identity;
	int err = ops->find(path->backend, &path->name, &identity);

	if (!err)
		err = look_up(fs, path, identity, caller);
	if (err)
		return err;
	err = ops->open(path->inode->object, flags, caller, &path->handle);
	if (err)
		shmfs_inode_forget(&fs->inodes, path->inode, 1);
	return err;
}

/* Count a lookup of what was just made, and tie its handle to it. */
static int enter_new(struct shmfs_fs *fs, struct path *path, uint64_t identity,
		     const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = path->backend->ops;
	int err = shmfs_inode_get(&fs->inodes, path->backend, identity, &path->inode);

	if (err) {
		ops->release(path->handle);
		return err;
	}
	ops->adopt(path->handle, path->inode->object);
	err = ops->revalidate(path->inode->object, &path->name);
	if (!err)
		err = ops->getattr(path->inode->object, caller, &path->st);
	if (err) {
		ops->release(path->handle);
		shmfs_inode_forget(&fs->inodes, path->inode, 1);
	}
	return err;
}

/*
 * Make the object, or without O_EXCL open the one that others have made since
 * the kernel found none.  While they make and remove them, it takes a few tries.
 * What is there but never found is no object, such as a directory.
 */
static int create(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode, int flags,
		  struct path *path)
{
	AS_CALLER who = caller_of(req);
	struct shmfs_fs *fs = fs_of(req);
	uint64_t identity;
	int err = resolve(fs, parent, text, path);

	if (err == -ENOENT && parent == SHMFS_DIR_BY_ID)
		return -EPERM;
	if (err)
		return err;
	for (int i = 0; i < LOOKUP_TRIES; i++) {
		err = path->backend->ops->create(path->backend, &path->name, flags, mode,
						 &who.caller, &identity, &path->handle);
		if (!err)
			return enter_new(fs, path, identity, &who.caller);
		if (err == -ESTALE)
			continue;
		if (err != -EEXIST || (flags & O_EXCL))
			return err;
		err = open_taken(fs, path, flags, &who.caller);
		if (err != -ENOENT && err != -ESTALE)
			return err;
	}
	return err == -ENOENT ? -EEXIST : err;
}

void shmfs_fuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		       struct fuse_file_info *fi)
{
	struct shmfs_fs *fs = fs_of(req);
	struct fuse_entry_param entry;
	struct shmfs_bound bound;
	struct path path;
	int err;

	if (shmfs_tree_subdir((enum shmfs_dir)parent, name)) {
		reply_error(req, -EISDIR);
		return;
	}
	err = create(req, parent, name, mode, fi->flags, &path);
	if (err) {
		reply_error(req, err);
		return;
	}
	bound = enter_handle(fs, path.inode, path.handle, fuse_req_ctx(req)->pid);
	entry = entry_of(path.inode, &path.st);
	if (shmfs_reply_create(req, &entry, fi, path.handle, bound) != 0) {
		leave_handle(fs, path.inode, path.handle);
		shmfs_inode_forget(&fs->inodes, path.inode, 1);
	}
}

/* mknod(2) of a regular file is creating without opening. */
void shmfs_fuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct path path;
	int err = -EPERM;

	(void)dev;
	if (S_ISREG(mode))
		err = create(req, parent, name, mode, O_RDWR | O_EXCL, &path);
	if (err) {
		reply_error(req, err);
		return;
	}
	path.backend->ops->release(path.handle);
	reply_entry(req, &path);
}

/* --- what there is not --- */

void shmfs_fuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	reply_error(req, -EPERM);
}

void shmfs_fuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link, (void)parent, (void)name;
	reply_error(req, -EPERM);
}

void shmfs_fuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	reply_error(req, -EPERM);
}

void shmfs_fuse_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	reply_error(req, -EPERM);
}

/* --- removing and renaming --- */

static int remove_name(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	AS_CALLER who = caller_of(req);
	struct path path;
	int err = resolve(fs_of(req), parent, text, &path);

	return err ? err : path.backend->ops->remove(path.backend, &path.name, &who.caller);
}

void shmfs_fuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_error(req, remove_name(req, parent, name));
}

/* Make what the content is to go to; it has the mode of where that comes from. */
static int make_target(struct shmfs_fs *fs, struct path *to, mode_t mode,
		       const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = to->backend->ops;
	uint64_t identity;
	int err = ops->create(to->backend, &to->name, O_RDWR | O_EXCL, mode & 07777, caller,
			      &identity, &to->handle);

	if (err)
		return err;
	err = enter_new(fs, to, identity, caller);
	if (err) {
		to->inode = NULL;
		ops->remove(to->backend, &to->name, caller);
		return err;
	}
	ops->release(to->handle);
	return 0;
}

/*
 * A name that cannot be moved takes the content of the source, as cp(1) would
 * bring it there, and then the source goes.  Whose name it is not could be
 * stopped at that last step: that is left to mv(1), to whom EXDEV says so.
 */
static int move_content(struct shmfs_fs *fs, struct path *from, struct path *to, unsigned flags,
			const struct shmfs_caller *caller)
{
	bool made = false;
	int err;

	if (caller->uid != 0 && caller->uid != from->st.st_uid)
		return -EXDEV;
	err = find(fs, to, caller);
	if (err == -ENOENT) {
		err = make_target(fs, to, from->st.st_mode, caller);
		made = !err;
	} else if (!err && (flags & RENAME_NOREPLACE)) {
		err = -EEXIST;
	}
	if (!err)
		err = to->backend->ops->replace_content(to->inode->object, from->inode->object,
							caller);
	if (err) {
		if (made)
			to->backend->ops->remove(to->backend, &to->name, caller);
		return err;
	}
	err = from->backend->ops->remove(from->backend, &from->name, caller);
	return err == -ENOENT ? 0 : err;
}

/* The two names are of different backends. */
static int rename_across(struct shmfs_fs *fs, struct path *from, struct path *to, unsigned flags,
			 const struct shmfs_caller *caller)
{
	int err;

	if (!to->backend->ops->replace_content || (flags & ~(unsigned)RENAME_NOREPLACE))
		return -EXDEV;
	err = find(fs, from, caller);
	if (err)
		return err;
	err = move_content(fs, from, to, flags, caller);
	shmfs_inode_forget(&fs->inodes, from->inode, 1);
	if (to->inode)
		shmfs_inode_forget(&fs->inodes, to->inode, 1);
	return err;
}

static int rename_name(fuse_req_t req, fuse_ino_t parent, const char *text, fuse_ino_t newparent,
		       const char *newtext, unsigned flags)
{
	AS_CALLER who = caller_of(req);
	struct shmfs_fs *fs = fs_of(req);
	struct path from = { 0 };
	struct path to = { 0 };
	int err;

	if (shmfs_tree_subdir((enum shmfs_dir)parent, text) ||
	    shmfs_tree_subdir((enum shmfs_dir)newparent, newtext))
		return -EPERM;
	err = resolve(fs, parent, text, &from);
	if (err)
		return err;
	err = resolve(fs, newparent, newtext, &to);
	/* An id cannot be given, no more than a key. */
	if (err == -ENOENT && newparent == SHMFS_DIR_BY_ID)
		return -EXDEV;
	if (err)
		return err;
	if (from.backend != to.backend)
		return rename_across(fs, &from, &to, flags, &who.caller);
	return from.backend->ops->rename(from.backend, &from.name, &to.name, flags, &who.caller);
}

void shmfs_fuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		       const char *newname, unsigned flags)
{
	reply_error(req, rename_name(req, parent, name, newparent, newname, flags));
}

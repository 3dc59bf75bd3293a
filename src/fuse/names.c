/* SPDX-License-Identifier: MIT */
/*
 * Requests on names.
 *
 * The kernel caches no name of a file (an entry timeout of 0), because other processes make and
 * remove segments without telling shmfs.  A lookup brings attributes, which the kernel may use for
 * a jiffy while nobody has the file open.  That saves a GETATTR after every LOOKUP.
 */
#include "fuse/internal.h"

/*
 * Others can make and remove a name while it is being created.  Beside a process that does nothing
 * else one try in ten succeeds.  The later half of the tries waits for what takes longer: a key
 * whose segment is being replaced is not to be had.
 */
#define CREATE_TRIES 200
#define CREATE_PAUSE_NS 250000

static struct fuse_entry_param entry_of(const struct shmfs_inode *inode, const struct stat *st)
{
	struct fuse_entry_param entry = {
		.ino = (fuse_ino_t)(uintptr_t)inode,
		.attr = *st,
		/* A mode that lets nobody read may be one of a moment, and is asked for again. */
		.attr_timeout = st->st_mode & 0444 ? attr_timeout(inode) : 0,
	};

	entry.attr.st_ino = ino_of(inode);
	return entry;
}

/* A name, and what it leads to. */
struct path {
	const struct shmfs_view *view; /* borrowed */
	struct shmfs_name name;
	struct shmfs_inode *inode;   /* a lookup of it is counted */
	struct shmfs_handle *handle; /* owned; of whoever creates it */
	struct stat st;
};

static int resolve(struct shmfs_fs *fs, fuse_ino_t dir, const char *text, struct path *path)
{
	return shmfs_tree_resolve(&fs->tree, dir_of(dir), text, &path->view, &path->name);
}

/* Count a lookup of the object, whose reference is taken over. */
static int enter(struct shmfs_fs *fs, struct path *path, struct shmfs_object *object)
{
	const struct shmfs_view *files = path->view->files ? path->view->files : path->view;

	return shmfs_inode_get(fs, files, object, &path->inode);
}

static int find(struct shmfs_fs *fs, struct path *path, const struct shmfs_caller *caller)
{
	struct shmfs_object *object;
	int err = path->view->ops->lookup(path->view, &path->name, caller, &object, &path->st);

	return err ? err : enter(fs, path, object);
}

/*
 * Find and open the object of a name.  The kernel has not checked the caller's rights; open() does.
 */
static int find_and_open(struct shmfs_fs *fs, struct path *path, int flags,
			 const struct shmfs_caller *caller)
{
	int err = find(fs, path, caller);

	if (err)
		return err;
	err = ops_of(path->inode)->open(path->inode->object, flags, caller, &path->handle);
	if (err)
		shmfs_inode_forget(fs, path->inode, 1);
	return err;
}

/* For an opener on its second walk: find an object that stays until it is opened. */
static int find_and_hold(struct shmfs_fs *fs, struct path *path, const struct shmfs_caller *caller)
{
	int err = find_and_open(fs, path, O_RDONLY, caller);

	if (err)
		return err == -ENOENT ? err : find(fs, path, caller);
	shmfs_walk_hold(fs, caller->pid, path->handle);
	return 0;
}

static bool is_subdir(struct shmfs_fs *fs, fuse_ino_t dir, const char *text,
		      const struct shmfs_caller *caller)
{
	shmfs_dir found;

	return shmfs_tree_subdir(&fs->tree, dir_of(dir), text, caller, &found) == 0;
}

static int find_in(struct shmfs_fs *fs, fuse_ino_t dir, const char *text,
		   const struct shmfs_caller *caller, struct path *path)
{
	int err = resolve(fs, dir, text, path);

	/* A name that cannot be created leads to nothing. */
	if (err == -EINVAL || err == -EPERM)
		return -ENOENT;
	if (!err)
		err = shmfs_walk_is_second(fs, caller->pid) ? find_and_hold(fs, path, caller) :
							      find(fs, path, caller);
	if (!err)
		note_searched(fs, dir_of(dir));
	return err;
}

/*
 * The kernel may keep the attributes for a jiffy alone.  It could be told of a change before it has
 * made the inode, and would miss it.
 */
static void reply_dir(fuse_req_t req, shmfs_dir dir)
{
	struct fuse_entry_param entry = {
		.ino = dir,
		.attr_timeout = ONE_JIFFY,
		.entry_timeout = SHMFS_DIR_IS_FIXED(dir) ? LONG_S : 0,
	};
	int err = shmfs_tree_getattr(&fs_of(req)->tree, dir, &entry.attr);

	if (SHMFS_DIR_IS_FIXED(dir))
		note_searched(fs_of(req), dir);
	if (err)
		reply_error(req, err);
	else
		fuse_reply_entry(req, &entry);
}

/* The kernel counts no lookup for a reply that it does not take. */
static void reply_entry(fuse_req_t req, const struct path *path)
{
	struct shmfs_fs *fs = fs_of(req);
	struct fuse_entry_param entry = entry_of(path->inode, &path->st);

	if (fuse_reply_entry(req, &entry) != 0)
		shmfs_inode_forget(fs, path->inode, 1);
}

void shmfs_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request_caller who = caller_of(req);
	struct shmfs_fs *fs = fs_of(req);
	struct path path;
	shmfs_dir dir;
	int err = shmfs_tree_subdir(&fs->tree, dir_of(parent), name, &who.caller, &dir);

	if (!err) {
		reply_dir(req, dir);
		return;
	}
	if (err == -ENOENT)
		err = find_in(fs, parent, name, &who.caller, &path);
	if (err)
		reply_error(req, err);
	else
		reply_entry(req, &path);
}

/* --- creating --- */

/* Make the object of a name that is free. */
static int make(struct shmfs_fs *fs, struct path *path, int flags, mode_t mode,
		const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = path->view->ops;
	struct shmfs_object *object;
	int err = ops->create(path->view, &path->name, flags, mode, caller, &object, &path->handle,
			      &path->st);

	if (err)
		return err;
	shmfs_object_ref(object);
	err = enter(fs, path, object);
	if (err)
		ops->release(path->handle);
	shmfs_object_put(object);
	return err;
}

/*
 * Make the object, or without O_EXCL open the one that another process has made since the kernel
 * found none.  Other processes can make and remove it again and again, hence the tries.  A name
 * that is taken and never found is no object, such as a directory in /dev/shm.
 */
static int create(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode, int flags,
		  struct path *path)
{
	const struct timespec moment = { .tv_nsec = CREATE_PAUSE_NS };
	struct request_caller who = caller_of(req);
	struct shmfs_fs *fs = fs_of(req);
	int err;

	if (is_subdir(fs, parent, text, &who.caller))
		return flags & O_EXCL ? -EEXIST : -EISDIR;
	err = resolve(fs, parent, text, path);
	if (err)
		return err == -ENOENT ? -EPERM : err;
	for (int i = 0; i < CREATE_TRIES; i++) {
		if (i > CREATE_TRIES / 2)
			nanosleep(&moment, NULL);
		err = make(fs, path, flags, mode, &who.caller);
		if (err == -ESTALE)
			continue;
		if (err != -EEXIST || (flags & O_EXCL))
			return err;
		err = find_and_open(fs, path, flags, &who.caller);
		if (err != -ENOENT && err != -ESTALE)
			return err;
	}
	return -EEXIST;
}

void shmfs_fuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		       struct fuse_file_info *fi)
{
	struct shmfs_fs *fs = fs_of(req);
	struct fuse_entry_param entry;
	struct shmfs_file *file;
	struct path path;
	int err;

	do {
		err = check_open_share(fs, fuse_req_ctx(req)->uid);
		if (!err)
			err = create(req, parent, name, mode, fi->flags, &path);
		if (err)
			break;
		err = open_file(fs, path.inode, path.handle, fuse_req_ctx(req), &file);
		if (err)
			shmfs_inode_forget(fs, path.inode, 1);
	} while (err == -ESTALE);
	shmfs_walk_end(fs, fuse_req_ctx(req)->pid);
	if (err) {
		reply_error(req, err);
		return;
	}
	entry = entry_of(path.inode, &path.st);
	if (shmfs_reply_open(req, &entry, file) != 0) {
		close_file(fs, file);
		shmfs_inode_forget(fs, path.inode, 1);
	}
}

/* mknod(2) of a regular file is creating without opening. */
void shmfs_fuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	struct path path;
	int err = -EPERM;

	if (S_ISREG(mode))
		err = create(req, parent, name, mode, O_RDWR | O_EXCL, &path);
	if (err) {
		reply_error(req, err);
		return;
	}
	ops_of(path.inode)->release(path.handle);
	reply_entry(req, &path);
}

/* What cannot be made, and directories, which cannot be removed. */
#define REFUSE(name, ...) \
	void shmfs_fuse_##name(fuse_req_t req, __VA_ARGS__) \
	{ \
		reply_error(req, -EPERM); \
	}
REFUSE(mkdir, fuse_ino_t parent, const char *text, mode_t mode)
REFUSE(symlink, const char *target, fuse_ino_t parent, const char *text)
REFUSE(link, fuse_ino_t ino, fuse_ino_t newparent, const char *text)
REFUSE(rmdir, fuse_ino_t parent, const char *text)

/* --- removing and renaming --- */

static int remove_name(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	struct request_caller who = caller_of(req);
	struct path path;
	int err = resolve(fs_of(req), parent, text, &path);

	return err ? err : path.view->ops->remove(path.view, &path.name, &who.caller);
}

void shmfs_fuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct shmfs_fs *fs = fs_of(req);
	int err = remove_name(req, parent, name);

	reply_error(req, err);
	if (!err)
		forget_elsewhere(fs, dir_of(parent), name);
}

/*
 * Rename between backends.  A name that cannot be moved takes the content of the source, and the
 * source is removed.  A caller who does not own the source could fail at that last step, so it gets
 * EXDEV first, and mv(1) copies.  Lookups that are counted here stay counted.
 */
static int move_content(struct shmfs_fs *fs, struct path *from, struct path *to, unsigned flags,
			const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = to->view->ops;
	bool made = false;
	int err;

	if (!ops->replace_content || (flags & ~(unsigned)RENAME_NOREPLACE))
		return -EXDEV;
	err = find(fs, from, caller);
	if (err)
		return err;
	if (caller->uid != 0 && caller->uid != from->st.st_uid)
		return -EXDEV;
	err = find(fs, to, caller);
	if (err == -ENOENT) {
		err = make(fs, to, O_RDWR | O_EXCL, from->st.st_mode & 07777, caller);
		made = !err;
		if (!err)
			ops->release(to->handle);
	} else if (!err && (flags & RENAME_NOREPLACE)) {
		err = -EEXIST;
	}
	if (!err)
		err = ops->replace_content(to->inode->object, from->inode->object, caller);
	if (err) {
		if (made)
			ops->remove(to->view, &to->name, caller);
		return err;
	}
	err = from->view->ops->remove(from->view, &from->name, caller);
	return err == -ENOENT ? 0 : err;
}

static int rename_name(fuse_req_t req, fuse_ino_t parent, const char *text, fuse_ino_t newparent,
		       const char *newtext, unsigned flags, bool *is_copy)
{
	struct request_caller who = caller_of(req);
	struct shmfs_fs *fs = fs_of(req);
	struct path from = { 0 };
	struct path to = { 0 };
	int err;

	if (is_subdir(fs, parent, text, &who.caller) ||
	    is_subdir(fs, newparent, newtext, &who.caller))
		return -EPERM;
	err = resolve(fs, parent, text, &from);
	if (err)
		return err;
	err = resolve(fs, newparent, newtext, &to);
	if (err)
		return err == -ENOENT ? -EXDEV : err;
	*is_copy = from.view->backend != to.view->backend;
	if (!*is_copy)
		return to.view->ops->rename(to.view, &from.name, &to.name, flags, &who.caller);
	if (parent != newparent)
		return -EXDEV;
	err = move_content(fs, &from, &to, flags, &who.caller);
	if (from.inode)
		shmfs_inode_forget(fs, from.inode, 1);
	if (to.inode)
		shmfs_inode_forget(fs, to.inode, 1);
	return err;
}

void shmfs_fuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		       const char *newname, unsigned flags)
{
	struct shmfs_fs *fs = fs_of(req);
	bool is_copy;
	int err = rename_name(req, parent, name, newparent, newname, flags, &is_copy);

	reply_error(req, err);
	/* After a copy the kernel has the source, which is gone, by the new name. */
	if (!err)
		forget_elsewhere(fs, is_copy ? 0 : dir_of(newparent), newname);
}

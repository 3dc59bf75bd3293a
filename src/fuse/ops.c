/* SPDX-License-Identifier: MIT */
/* Requests on files: attributes, open and close.  One call down, one reply out. */
#include "fuse/internal.h"

#include <sys/inotify.h>

#include "shmfs/proc.h"

/* For so long after a change of the root's names no directory's attributes are kept. */
#define RESTLESS_NS 1000000000u

/* --- attributes --- */

/*
 * The kernel asks for a directory's attributes at each walk for which they are too old
 * (fs/fuse/dir.c, fuse_permission(), Linux 6.18).  Those of all directories are alike.  So it keeps
 * them until a watch says that they have changed.  The watch comes first: no change goes unseen.
 * While names come and go again and again, watching would cost more than it saves.
 */
static double dir_timeout(struct shmfs_fs *fs, shmfs_dir dir)
{
	uint64_t never = 0;
	uint64_t quiet;

	/*
	 * Until its first attributes have come the kernel takes the root's mode to be 0
	 * (fs/fuse/inode.c, fuse_get_root_inode(), Linux 6.18), and it drops those that a
	 * notification overtakes.  So it gets none in the first moment.
	 */
	atomic_compare_exchange_strong(&fs->names_changed, &never, shmfs_now_ns());
	quiet = shmfs_now_ns() - atomic_load(&fs->names_changed);

	if (!SHMFS_DIR_IS_FIXED(dir) || fs->names_watch < 0 || quiet < RESTLESS_NS ||
	    shmfs_tree_watch(&fs->tree, fs->names_watch) != 0)
		return ONE_JIFFY;
	return LONG_S;
}

void shmfs_fs_names_changed(struct shmfs_fs *fs)
{
	_Alignas(struct inotify_event) char events[4096];

	if (read(fs->names_watch, events, sizeof(events)) <= 0)
		return;
	atomic_store(&fs->names_changed, shmfs_now_ns());
	for (unsigned row = 0; row < SHMFS_ROWS; row++) {
		if (row == SHMFS_ROW_ROOT || atomic_load(&fs->searched[row]))
			fuse_lowlevel_notify_inval_inode(fs->session, SHMFS_DIR(row, 0), -1, 0);
	}
}

/*
 * The error of a request on an object that was removed since its LOOKUP.  Calls by path come once
 * more at -ESTALE (linux/namei.h, retry_estale(), Linux 6.18).
 */
static int gone(struct shmfs_fs *fs, int err, pid_t caller)
{
	if (err != -ENOENT && err != -ESTALE)
		return err;
	return shmfs_walk_again(fs, caller, NULL) ? -ESTALE : -ENOENT;
}

static void reply_attr(fuse_req_t req, fuse_ino_t ino)
{
	struct shmfs_fs *fs = fs_of(req);
	struct stat st;
	double timeout;
	int err;

	if (is_dir(ino)) {
		timeout = dir_timeout(fs, dir_of(ino));
		err = shmfs_tree_getattr(&fs->tree, dir_of(ino), &st);
	} else {
		struct shmfs_inode *inode = inode_of(ino);
		struct request_caller who = caller_of(req);

		err = ops_of(inode)->getattr(inode->object, &who.caller, &st);
		err = gone(fs, err, who.caller.pid);
		st.st_ino = ino_of(inode);
		timeout = attr_timeout(inode);
	}
	if (err)
		reply_error(req, err);
	else
		fuse_reply_attr(req, &st, timeout);
}

void shmfs_fuse_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	reply_attr(req, ino);
}

static int set_times(const struct shmfs_inode *inode, const struct stat *st, int to_set,
		     const struct shmfs_caller *caller)
{
	const struct timespec now = { .tv_nsec = UTIME_NOW };
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		times[0] = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : st->st_atim;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		times[1] = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : st->st_mtim;

	return ops_of(inode)->utimens(inode->object, times, caller);
}

static int set_attr(fuse_req_t req, const struct shmfs_inode *inode, const struct stat *st,
		    int to_set, struct shmfs_handle *handle)
{
	const int owner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
	/* With a size the kernel sends the time of the change: that is the backend's. */
	const int times = to_set & FUSE_SET_ATTR_SIZE ?
				  0 :
				  FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW |
					  FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
	const struct shmfs_backend_ops *ops = ops_of(inode);
	struct shmfs_object *object = inode->object;
	struct request_caller who = caller_of(req);
	int err = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		err = ops->truncate(object, handle, st->st_size, &who.caller);
	/*
	 * Nothing to set: the kernel is about to write itself, in the name of a
	 * caller whose writes clear set-user-ID (fs/inode.c, file_remove_privs()).
	 */
	if (!err && ((to_set & owner) || !to_set))
		err = ops->chown(object, to_set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1,
				 to_set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1, &who.caller);
	if (!err && (to_set & FUSE_SET_ATTR_MODE))
		err = ops->chmod(object, st->st_mode & 07777, &who.caller);
	if (!err && (to_set & times))
		err = set_times(inode, st, to_set, &who.caller);
	return err;
}

/*
 * Directories do not change.  Setting the mode and owner that a directory has is no error, and
 * times have no effect: cp -a, rsync and tar do both to the directory that they copy into.
 */
static int set_dir_attr(struct shmfs_fs *fs, shmfs_dir dir, const struct stat *st, int to_set)
{
	struct stat now;
	int err = shmfs_tree_getattr(&fs->tree, dir, &now);

	if (err)
		return err;
	if (((to_set & FUSE_SET_ATTR_MODE) && (st->st_mode & 07777) != (now.st_mode & 07777)) ||
	    ((to_set & FUSE_SET_ATTR_UID) && st->st_uid != now.st_uid) ||
	    ((to_set & FUSE_SET_ATTR_GID) && st->st_gid != now.st_gid))
		return -EPERM;
	return 0;
}

void shmfs_fuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
			struct fuse_file_info *fi)
{
	int err;

	if (is_dir(ino))
		err = set_dir_attr(fs_of(req), dir_of(ino), st, to_set);
	else
		err = set_attr(req, inode_of(ino), st, to_set, fi ? file_of(fi)->handle : NULL);
	if (err == -ESTALE)
		err = gone(fs_of(req), err, fuse_req_ctx(req)->pid);
	if (err)
		reply_error(req, err);
	else
		reply_attr(req, ino);
}

/* --- open and close --- */

void shmfs_fuse_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct shmfs_fs *fs = fs_of(req);
	struct shmfs_inode *inode = inode_of(ino);
	struct request_caller who = caller_of(req);
	struct shmfs_handle *handle = NULL;
	struct shmfs_file *file;
	int err = check_open_share(fs, who.caller.uid);

	if (!err)
		err = ops_of(inode)->open(inode->object, fi->flags, &who.caller, &handle);
	err = gone(fs, err, who.caller.pid);
	if (!err)
		err = open_file(fs, inode, handle, fuse_req_ctx(req), &file);
	if (err != -ESTALE)
		shmfs_walk_end(fs, who.caller.pid);
	if (err) {
		reply_error(req, err);
		return;
	}
	/*
	 * The kernel may keep the attributes of the walk for a jiffy, and another process can
	 * resize the file before an fstat(2) in that time: drop them.  A negative offset means
	 * attributes alone, for which the kernel takes no lock that the opener may hold.
	 */
	fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
	if (shmfs_reply_open(req, NULL, file) != 0)
		close_file(fs, file);
}

void shmfs_fuse_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	struct request_caller who = caller_of(req);
	/* Or another thread of it. */
	bool by_opener = shmfs_proc_is_same("/proc", file->opener, who.caller.pid);

	reply_error(req, ops_of(file->inode)->flush(file->handle, by_opener, &who.caller));
}

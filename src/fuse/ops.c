/* SPDX-License-Identifier: MIT */
/* Requests on files: attributes, open and close.  One call down, one reply out. */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/open_order.h"
#include "fuse/reply.h"
#include "shmfs/clock.h"
#include "shmfs/sanitizer.h"

/* Most have no more, and are looked for once. */
#define FEW_GROUPS 32

/*
 * How many groups the caller has, and up to `size` of them.  libfuse reads
 * /proc and says EIO for whatever open(2) failed with: what we are short of is
 * our error, and who cannot be seen there (another PID namespace) has none.
 */
static int read_groups(fuse_req_t req, int size, gid_t *list)
{
	int count;

	errno = 0;
	count = fuse_req_getgroups(req, size, list);
	if (count >= 0 || count == -ENOMEM)
		return count;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

/*
 * The groups as they are now: FUSE sends one only.  They can change between
 * being counted and being read, and there are at most NGROUPS_MAX.
 */
static int load_groups(const struct shmfs_caller *caller, const gid_t **list)
{
	struct request_caller *who = (struct request_caller *)caller;
	int count = who->groups ? who->ngroups : read_groups(who->req, 0, NULL);

	while (!who->groups && count > 0) {
		int room = count;
		gid_t *groups = calloc((size_t)room, sizeof(*groups));

		count = groups ? read_groups(who->req, room, groups) : -ENOMEM;
		if (count <= 0 || count > room) {
			free(groups);
			continue;
		}
		who->groups = groups;
		who->ngroups = count;
	}
	*list = who->groups;
	return count;
}

struct request_caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct request_caller){
		.caller = { .uid = ctx->uid,
			    .gid = ctx->gid,
			    .pid = ctx->pid,
			    .umask = ctx->umask,
			    .groups = load_groups },
		.req = req,
	};
}

void caller_clear(struct request_caller *who)
{
	free(who->groups);
}

/* --- attributes --- */

static void reply_attr(fuse_req_t req, fuse_ino_t ino)
{
	struct shmfs_fs *fs = fs_of(req);
	struct stat st;
	double timeout = ONE_JIFFY;
	int err;

	if (is_dir(ino)) {
		err = shmfs_tree_getattr(&fs->tree, dir_of(ino), &st);
	} else {
		struct shmfs_inode *inode = inode_of(ino);
		AS_CALLER who = caller_of(req);

		err = ops_of(inode)->getattr(inode->object, &who.caller, &st);
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
	(void)fi;
	reply_attr(req, ino);
}

static struct timespec time_to_set(int to_set, int set, int now, struct timespec value)
{
	if (to_set & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (to_set & set)
		return value;
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_times(const struct shmfs_inode *inode, const struct stat *st, int to_set,
		     const struct shmfs_caller *caller)
{
	const struct timespec times[2] = {
		time_to_set(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, st->st_atim),
		time_to_set(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, st->st_mtim),
	};

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
	AS_CALLER who = caller_of(req);
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
 * The directories stay as they are.  To set what is so already is no error, nor
 * are times, which have no effect: cp -a, rsync and tar do both to the
 * directory that they copy into.
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
	if (err)
		reply_error(req, err);
	else
		reply_attr(req, ino);
}

/* --- open and close --- */

static void enter(struct shmfs_fs *fs, struct shmfs_file *file)
{
	atomic_fetch_add(&file->inode->nopen, 1);
	pthread_mutex_lock(&fs->open_lock);
	file->next = fs->open;
	file->link = &fs->open;
	if (fs->open)
		fs->open->link = &file->next;
	fs->open = file;
	pthread_mutex_unlock(&fs->open_lock);
}

void close_file(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;

	pthread_mutex_lock(&fs->open_lock);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	inode->closers[inode->nclosed++ % SHMFS_CLOSERS] =
		(struct shmfs_closer){ .thread = file->opener, .at = shmfs_now_ns() };
	pthread_mutex_unlock(&fs->open_lock);
	shmfs_open_order_acknowledge(file);
	if (file->bound)
		shmfs_passthrough_unbind(fs, inode);
	ops_of(inode)->release(file->handle);
	atomic_fetch_sub(&inode->nopen, 1);
	free(file);
}

int open_file(struct shmfs_fs *fs, struct shmfs_inode *inode, struct shmfs_handle *handle,
	      pid_t opener, struct shmfs_file **out, struct shmfs_bound *bound)
{
	struct shmfs_file *file = calloc(1, sizeof(*file));

	if (!file) {
		ops_of(inode)->release(handle);
		return -ENOMEM;
	}
	file->inode = inode;
	file->handle = handle;
	file->opener = opener;
	enter(fs, file);
	*bound = fs->passthrough.on ?
			 shmfs_passthrough_bind(fs, file) :
			 (struct shmfs_bound){ .binding = SHMFS_IO_DAEMON, .parallel = true };
	if (bound->binding == SHMFS_IO_MOVABLE) {
		close_file(fs, file);
		return -ESTALE;
	}
	*out = file;
	return 0;
}

void close_files(struct shmfs_fs *fs)
{
	while (fs->open) {
		struct shmfs_file *file = fs->open;

		fs->open = file->next;
		ops_of(file->inode)->release(file->handle);
		free(file);
	}
}

void shmfs_fuse_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct shmfs_fs *fs = fs_of(req);
	struct shmfs_inode *inode = inode_of(ino);
	AS_CALLER who = caller_of(req);
	struct shmfs_handle *handle;
	struct shmfs_bound bound;
	struct shmfs_file *file;
	int err = ops_of(inode)->open(inode->object, fi->flags, &who.caller, &handle);

	/* The kernel walks to the file once more when it is told ESTALE (do_filp_open()). */
	if (!err)
		err = open_file(fs, inode, handle, who.caller.pid, &file, &bound);
	if (err) {
		reply_error(req, err);
		return;
	}
	/*
	 * Attributes that the walk to here brought are kept for a jiffy, long
	 * enough for another process to resize before an fstat(2): drop them.
	 * (A negative offset: attributes alone, for which the kernel takes no
	 * lock that the opener may hold.)
	 */
	fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
	if (shmfs_reply_open(req, fi, file, bound) != 0)
		close_file(fs, file);
}

/* Is the process that closes the file the one that opened it? */
static bool is_opener(const struct shmfs_file *file, pid_t pid)
{
	char path[64];

	if (pid == file->opener)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", file->opener, pid);
	return access(path, F_OK) == 0;
}

void shmfs_fuse_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	AS_CALLER who = caller_of(req);
	bool by_opener = is_opener(file, who.caller.pid);

	(void)ino;
	reply_error(req, ops_of(file->inode)->flush(file->handle, by_opener, &who.caller));
}

void shmfs_fuse_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	close_file(fs_of(req), file_of(fi));
	reply_error(req, 0);
}

/* --- the table --- */

/* libfuse 3.17 has functions for it, and keeps conn->want for older programs. */
static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (wanted)
		fuse_set_feature_flag(conn, capability);
	else
		fuse_unset_feature_flag(conn, capability);
#else
	if (wanted)
		conn->want |= conn->capable & capability;
	else
		conn->want &= ~capability;
#endif
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct shmfs_fs *fs = userdata;

	/* The kernel asks for ACLs when it checks who may; a default one replaces the umask. */
	want(conn, FUSE_CAP_POSIX_ACL, true);
	want(conn, FUSE_CAP_DONT_MASK, true);
	/*
	 * Long replies are spliced (fuse_io.c), requests are read.  That a reply
	 * goes out before the request that it lets come, ThreadSanitizer sees of
	 * write(2) and read(2), and not of splice(2).
	 */
	want(conn, FUSE_CAP_SPLICE_WRITE, !SHMFS_TSAN);
	want(conn, FUSE_CAP_SPLICE_READ, false);
	shmfs_reply_init(&fs->passthrough, conn);
	if (conn->max_write > MAX_TRANSFER)
		conn->max_write = MAX_TRANSFER;
}

const struct fuse_lowlevel_ops shmfs_fuse_operations = {
	.init = on_init,
	.lookup = shmfs_fuse_lookup,
	.forget = shmfs_fuse_forget,
	.forget_multi = shmfs_fuse_forget_multi,
	.getattr = shmfs_fuse_getattr,
	.setattr = shmfs_fuse_setattr,
	.getxattr = shmfs_fuse_getxattr,
	.setxattr = shmfs_fuse_setxattr,
	.listxattr = shmfs_fuse_listxattr,
	.removexattr = shmfs_fuse_removexattr,
	.create = shmfs_fuse_create,
	.mknod = shmfs_fuse_mknod,
	.mkdir = shmfs_fuse_mkdir,
	.symlink = shmfs_fuse_symlink,
	.link = shmfs_fuse_link,
	.unlink = shmfs_fuse_unlink,
	.rmdir = shmfs_fuse_rmdir,
	.rename = shmfs_fuse_rename,
	.open = shmfs_fuse_open,
	.read = shmfs_fuse_read,
	.write = shmfs_fuse_write,
	.flush = shmfs_fuse_flush,
	.release = shmfs_fuse_release,
	.fallocate = shmfs_fuse_fallocate,
	.lseek = shmfs_fuse_lseek,
	.copy_file_range = shmfs_fuse_copy_file_range,
	.opendir = shmfs_fuse_opendir,
	.readdir = shmfs_fuse_readdir,
	.releasedir = shmfs_fuse_releasedir,
	.statfs = shmfs_fuse_statfs,
};

/* SPDX-License-Identifier: MIT */
/*
 * Kernel passthrough, for both generations of libfuse.
 *
 * Three things have to be said to the kernel: in the reply to INIT that we
 * want it, in an ioctl(2) which descriptor an inode is served from, and in
 * the reply to an open that the file is bound to it.  libfuse 3.17 says the
 * first and the last for us.  Before, we complete its INIT reply on the way
 * to the device, which fuse_session_custom_io() lets us stand in, and write
 * open replies ourselves.  There we stand with all of them, for what reading
 * the device says at the end of a mount: device_read().
 *
 * INIT has one thing more to say.  A filesystem that answers GETXATTR at all is
 * asked for security.capability before every write, unless it says that it
 * drops privileges itself (HANDLE_KILLPRIV_V2), which libfuse 3.14 cannot.
 *
 * The kernel's side: fs/fuse/passthrough.c, fs/fuse/iomode.c (Linux 6.9).
 */
#include "fuse/reply.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shmfs/clock.h"

#define LIBFUSE_HAS_PASSTHROUGH (FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17))

/* From <linux/fuse.h> of Linux 6.9 (protocol 7.40); older headers lack them. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

/* How long a reply takes to be taken, on a machine with more to do than it can. */
#define SETTLE_NS 200000000

#if !LIBFUSE_HAS_PASSTHROUGH
#define INIT_EXT (1u << 30)	    /* flags2 is there */
#define INIT2_PASSTHROUGH (1u << 5) /* in flags2: bit 37 of all */
#define INIT_KILLPRIV_V2 (1u << 28)
#define OPEN_PASSTHROUGH (1u << 7)

struct init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
};

struct open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
#endif

/* --- the device --- */

#if !LIBFUSE_HAS_PASSTHROUGH
static bool is_init(const struct shmfs_passthrough *passthrough, const void *request, ssize_t len)
{
	const struct fuse_in_header *header = request;

	return !passthrough->asked && len >= (ssize_t)(sizeof(*header) + sizeof(struct init_in)) &&
	       header->opcode == FUSE_INIT;
}

/* Does the kernel offer passthrough?  Then the reply has to ask for it. */
static void see_request(struct shmfs_passthrough *passthrough, const void *request, ssize_t len)
{
	const struct fuse_in_header *header = request;
	const struct init_in *init = (const struct init_in *)(header + 1);

	if (!is_init(passthrough, request, len))
		return;
	passthrough->asked = true;
	passthrough->offered = (init->flags & INIT_EXT) && (init->flags2 & INIT2_PASSTHROUGH);
	passthrough->killpriv_offered = init->flags & INIT_KILLPRIV_V2;
	passthrough->init_unique = header->unique;
}

static void see_reply(struct shmfs_passthrough *passthrough, const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct init_out *init;

	if (passthrough->settled || header->unique != passthrough->init_unique)
		return;
	passthrough->settled = true;
	if (header->error || count < 2 || iov[1].iov_len < sizeof(*init))
		return;
	init = iov[1].iov_base;
	if (passthrough->killpriv_offered)
		init->flags |= INIT_KILLPRIV_V2;
	if (passthrough->unwanted || !passthrough->offered)
		return;
	init->flags |= INIT_EXT;
	init->flags2 |= INIT2_PASSTHROUGH;
	init->max_stack_depth = 1;
	passthrough->on = true;
}

#else

static void see_request(struct shmfs_passthrough *passthrough, const void *request, ssize_t len)
{
	(void)passthrough, (void)request, (void)len;
}

static void see_reply(struct shmfs_passthrough *passthrough, const struct iovec *iov, int count)
{
	(void)passthrough, (void)iov, (void)count;
}

#endif

/*
 * ECONNABORTED: a request that was about to be read went with the mount, and so
 * may the next few (fuse_dev_do_read(), fuse_abort_conn()).  After them comes
 * ENODEV, which is no error.  To be told ECONNABORTED for good a filesystem has
 * to ask for it (FUSE_ABORT_ERROR).
 */
static ssize_t device_read(int fd, void *buf, size_t len, void *userdata)
{
	ssize_t n;

	do {
		n = read(fd, buf, len);
	} while (n < 0 && errno == ECONNABORTED);
	if (n > 0)
		see_request(&((struct shmfs_fs *)userdata)->passthrough, buf, n);
	return n;
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	see_reply(&((struct shmfs_fs *)userdata)->passthrough, iov, count);
	return writev(fd, iov, count);
}

/* Long replies, of which INIT is none. */
static ssize_t device_splice_send(int from, off_t *from_pos, int fd, off_t *pos, size_t len,
				  unsigned flags, void *userdata)
{
	(void)userdata;
	return splice(from, from_pos, fd, pos, len, flags);
}

int shmfs_passthrough_start(struct shmfs_fs *fs, struct fuse_session *session)
{
	static const struct fuse_custom_io io = {
		.read = device_read,
		.writev = device_writev,
		.splice_send = device_splice_send,
	};

	fs->passthrough.device = fuse_session_fd(session);
	return fuse_session_custom_io(session, &io, fs->passthrough.device);
}

void shmfs_passthrough_init(struct shmfs_passthrough *passthrough, struct fuse_conn_info *conn)
{
#if LIBFUSE_HAS_PASSTHROUGH
	fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	if (!passthrough->unwanted && fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
		conn->max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER; /* sent as 1 */
		passthrough->on = true;
	}
#else
	(void)passthrough, (void)conn; /* see_reply() does it */
#endif
}

/* Register a descriptor as any open would, and take it back. */
static int try_backing(const struct shmfs_passthrough *passthrough)
{
	struct backing_map map = { .fd = memfd_create("shmfs", MFD_CLOEXEC) };
	uint32_t id;
	int err = 0;
	int got;

	if (map.fd < 0)
		return -errno;
	got = ioctl(passthrough->device, BACKING_OPEN, &map);
	if (got < 0) {
		err = -errno;
	} else {
		id = (uint32_t)got;
		ioctl(passthrough->device, BACKING_CLOSE, &id);
	}
	close(map.fd);
	return err;
}

const char *shmfs_passthrough_lack(const struct shmfs_passthrough *passthrough)
{
	int err;

	if (passthrough->unwanted)
		return passthrough->unwanted;
	if (!passthrough->on)
		return "the kernel has no passthrough";
	err = try_backing(passthrough);
	if (err == -EPERM)
		return "passthrough takes CAP_SYS_ADMIN";
	return err ? strerror(-err) : NULL;
}

/* --- bindings --- */

/* Calls that open files. */
static bool is_open_call(long number)
{
	static const long calls[] = {
#ifdef SYS_open
		SYS_open,   SYS_creat,
#endif
		SYS_openat, SYS_openat2,  SYS_open_by_handle_at,
		SYS_execve, SYS_execveat, SYS_io_uring_enter,
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (calls[i] == number)
			return true;
	}
	return false;
}

/*
 * Has a thread come back from open(2)?  It has when it waits in another call,
 * or is no more; of one that runs, /proc does not say where, and of one that is
 * not to be seen from here (0) it says nothing.
 */
static bool has_returned(pid_t thread)
{
	char path[32];
	char text[32] = "";
	ssize_t len = -1;
	int fd;

	if (thread == 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (len < 0)
		return errno == ENOENT || errno == ESRCH;
	return isdigit((unsigned char)text[0]) && !is_open_call(strtol(text, NULL, 10));
}

/* Those whose reply the kernel must have taken, for their opener goes on. */
static void acknowledge_returned(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	pthread_mutex_lock(&fs->open_lock);
	for (struct shmfs_handle *handle = fs->open; handle; handle = handle->next) {
		if (handle->object == inode->object && atomic_load(&handle->unacknowledged) &&
		    ((opener && handle->opener == opener) || has_returned(handle->opener)))
			shmfs_passthrough_acknowledge(inode, handle);
	}
	pthread_mutex_unlock(&fs->open_lock);
}

/*
 * The kernel refuses, with EIO, an open that is not bound on an inode that is
 * (fuse_file_io_open()).  It looks when it takes the reply, so of two opens
 * that are answered in one order it may take the replies in the other.  Before
 * the first binding let a served open of a moment ago get through: it has when
 * its file is used or its opener is elsewhere.  inode->backing_lock is held.
 */
static void let_served_through(struct shmfs_fs *fs, struct shmfs_inode *inode, pid_t opener)
{
	while (inode->backing_users == 0 && atomic_load(&inode->nunacknowledged) > 0 &&
	       shmfs_now_ns() - inode->daemon_open_at < SETTLE_NS) {
		const struct timespec moment = { .tv_nsec = SETTLE_NS / 200 };

		acknowledge_returned(fs, inode, opener);
		if (atomic_load(&inode->nunacknowledged) == 0)
			break;
		pthread_mutex_unlock(&inode->backing_lock);
		shmfs_loop_release_lead();
		nanosleep(&moment, NULL);
		pthread_mutex_lock(&inode->backing_lock);
	}
}

struct shmfs_bound shmfs_passthrough_bind(struct shmfs_fs *fs, struct shmfs_inode *inode,
					  struct shmfs_handle *handle)
{
	struct backing_map map = { .fd = -1 };
	struct shmfs_bound bound = {
		.binding = ops_of(handle->object)->binding(handle, &map.fd),
	};
	int id;

	pthread_mutex_lock(&inode->backing_lock);
	if (bound.binding != SHMFS_IO_DAEMON)
		let_served_through(fs, inode, handle->opener);
	if (inode->backing_users == 0 && bound.binding != SHMFS_IO_DAEMON) {
		id = ioctl(fs->passthrough.device, BACKING_OPEN, &map);
		inode->backing_id = id > 0 ? id : 0;
	}
	if (inode->backing_id == 0) {
		bound.binding = SHMFS_IO_DAEMON;
		inode->daemon_open_at = shmfs_now_ns();
		atomic_store(&handle->unacknowledged, true);
		atomic_fetch_add(&inode->nunacknowledged, 1);
	} else {
		/* Bound in name, for the kernel's sake: reads and writes are served. */
		if (bound.binding == SHMFS_IO_DAEMON)
			bound.binding = SHMFS_IO_MMAP_ONLY;
		bound.backing_id = inode->backing_id;
		inode->backing_users++;
		handle->bound = true;
	}
	pthread_mutex_unlock(&inode->backing_lock);
	return bound;
}

void shmfs_passthrough_acknowledge(struct shmfs_inode *inode, struct shmfs_handle *handle)
{
	if (atomic_load(&handle->unacknowledged) && atomic_exchange(&handle->unacknowledged, false))
		atomic_fetch_sub(&inode->nunacknowledged, 1);
}

void shmfs_passthrough_unbind(struct shmfs_passthrough *passthrough, struct shmfs_inode *inode)
{
	pthread_mutex_lock(&inode->backing_lock);
	if (--inode->backing_users == 0) {
		uint32_t id = (uint32_t)inode->backing_id;

		ioctl(passthrough->device, BACKING_CLOSE, &id);
		inode->backing_id = 0;
	}
	pthread_mutex_unlock(&inode->backing_lock);
}

/* --- replies --- */

/*
 * No FOPEN_PARALLEL_DIRECT_WRITES: a write in progress then keeps the inode
 * bound after the last bound file was closed, and the next open fails with EIO
 * (fs/fuse/iomode.c, fuse_inode_uncached_io_end()).
 */

#if LIBFUSE_HAS_PASSTHROUGH

static void fill_reply(struct fuse_file_info *fi, struct shmfs_handle *handle,
		       struct shmfs_bound bound)
{
	fi->fh = (uintptr_t)handle;
	fi->direct_io = bound.binding != SHMFS_IO_PASSTHROUGH;
	fi->noflush = !handle->may_flush;
	fi->backing_id = bound.backing_id;
}

int shmfs_reply_open(fuse_req_t req, struct fuse_file_info *fi, struct shmfs_handle *handle,
		     struct shmfs_bound bound)
{
	fill_reply(fi, handle, bound);
	return fuse_reply_open(req, fi);
}

int shmfs_reply_create(fuse_req_t req, const struct fuse_entry_param *entry,
		       struct fuse_file_info *fi, struct shmfs_handle *handle,
		       struct shmfs_bound bound)
{
	fill_reply(fi, handle, bound);
	return fuse_reply_create(req, entry, fi);
}

#else

static struct open_out open_reply(struct shmfs_handle *handle, struct shmfs_bound bound)
{
	struct open_out out = { .fh = (uintptr_t)handle, .backing_id = bound.backing_id };

	if (bound.binding != SHMFS_IO_PASSTHROUGH)
		out.open_flags |= FOPEN_DIRECT_IO;
	if (bound.binding != SHMFS_IO_DAEMON)
		out.open_flags |= OPEN_PASSTHROUGH;
	if (!handle->may_flush)
		out.open_flags |= FOPEN_NOFLUSH;
	return out;
}

int shmfs_reply_open(fuse_req_t req, struct fuse_file_info *fi, struct shmfs_handle *handle,
		     struct shmfs_bound bound)
{
	struct open_out out = open_reply(handle, bound);

	(void)fi;
	return fuse_reply_buf(req, (char *)&out, sizeof(out));
}

static struct fuse_attr attr_reply(const struct stat *st)
{
	return (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.blksize = (uint32_t)st->st_blksize,
	};
}

/* A file that was just made is open: nothing of it is kept, all timeouts are 0. */
int shmfs_reply_create(fuse_req_t req, const struct fuse_entry_param *entry,
		       struct fuse_file_info *fi, struct shmfs_handle *handle,
		       struct shmfs_bound bound)
{
	struct {
		struct fuse_entry_out entry;
		struct open_out open;
	} out = {
		.entry = { .nodeid = entry->ino, .attr = attr_reply(&entry->attr) },
		.open = open_reply(handle, bound),
	};

	(void)fi;
	return fuse_reply_buf(req, (char *)&out, sizeof(out));
}

#endif

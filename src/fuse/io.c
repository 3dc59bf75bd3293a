/* SPDX-License-Identifier: MIT */
/*
 * Requests on bytes.  The backend says where they are, in a descriptor or in memory, and they are
 * copied once.
 */
#include "fuse/internal.h"

/* A step of a copy through a buffer. */
#define COPY_STEP ((size_t)64 << 10)
/* From here on splice(2) is faster than a copy through a buffer. */
#define SPLICED_REPLY ((size_t)16 << 10)

/*
 * Put pages into the pipe, without a copy.  Returns how many bytes, fewer at the end of a file, or
 * -1: there are none, or their file cannot lend them.
 */
static ssize_t splice_pages(int pipe, const struct shmfs_extent *extent)
{
	off_t pos = extent->pos;
	size_t done = 0;
	ssize_t n;

	do {
		n = splice(extent->fd, &pos, pipe, NULL, extent->len - done, SPLICE_F_NONBLOCK);
		if (n > 0)
			done += (size_t)n;
	} while (n > 0 && done < extent->len);
	return done > 0 ? (ssize_t)done : -1;
}

/*
 * Lend the pages to the kernel, which copies them once.  A second pipe has them meanwhile: if the
 * file became shorter while libfuse takes them from it, libfuse might send no reply at all.
 */
static bool reply_spliced(fuse_req_t req, const struct shmfs_extent *extent)
{
	const int *pipe = reply_pipe();
	const ssize_t n = pipe ? splice_pages(pipe[1], extent) : -1;
	struct fuse_bufvec from = FUSE_BUFVEC_INIT((size_t)n);

	if (n < 0)
		return false;
	from.buf[0].flags = FUSE_BUF_IS_FD;
	from.buf[0].fd = pipe[0];
	if (fuse_reply_data(req, &from, 0) != 0)
		reply_pipe_close(); /* some bytes may be left in it */
	return true;
}

static void reply_extent(fuse_req_t req, const struct shmfs_extent *extent)
{
	char *mem = extent->mem;
	ssize_t n = (ssize_t)extent->len;

	if (extent->fd >= 0 && extent->len >= SPLICED_REPLY && reply_spliced(req, extent))
		return;
	/* From memory writev(2) takes it: what is missing is its error, no signal. */
	if (extent->fd >= 0 && extent->len > 0) {
		mem = reply_scratch(extent->len);
		n = mem ? pread(extent->fd, mem, extent->len, extent->pos) : -1;
	}
	if (n < 0)
		reply_error(req, mem ? -errno : -ENOMEM);
	else
		fuse_reply_buf(req, mem, (size_t)n);
}

/*
 * Is this a read into the kernel's page cache?  read(2) tells its files table; a read that fills
 * pages for sendfile(2) or a private mapping has no owner (fs/fuse/file.c, fuse_send_read() and
 * fuse_do_readfolio()).
 *
 * The kernel would keep such a page and serve it stale later.  FUSE_NOTIFY_INVAL_INODE takes it
 * back too late: the caller may run before the daemon does.  Of 3000 calls of sendfile(2), each
 * after a store to the segment, 2999 were stale (Linux 6.18).  So there are no such pages.  At EINVAL
 * from sendfile(2) programs read instead.  A private mapping cannot be refused when it is made, and
 * ends with SIGBUS when it is touched.
 */
static bool fills_page(const struct fuse_file_info *fi)
{
	return fi->lock_owner == 0;
}

void shmfs_fuse_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	const struct shmfs_backend_ops *ops = ops_of(file->inode);
	struct shmfs_handle *handle = file->handle;
	struct shmfs_extent extent;
	int err;

	shmfs_open_order_acknowledge(file);
	if (fills_page(fi)) {
		reply_error(req, -EINVAL);
		return;
	}
	err = ops->read_begin(handle, off, size, &extent);
	if (err) {
		reply_error(req, err);
		return;
	}
	reply_extent(req, &extent);
	/* The file may have been closed, and freed, since the reply. */
	ops->read_end(handle, &extent);
}

/* Give an extent back after `n` bytes or an error.  Returns how many count for the backend. */
static ssize_t end_write(const struct shmfs_file *file, struct shmfs_extent *extent, ssize_t n)
{
	ssize_t counts =
		ops_of(file->inode)->write_end(file->handle, extent, n < 0 ? 0 : (size_t)n);

	return n < 0 ? n : counts;
}

void shmfs_fuse_write(fuse_req_t req, fuse_ino_t ino, const char *from, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	const struct shmfs_backend_ops *ops = ops_of(file->inode);
	struct request_caller who = caller_of(req);
	struct shmfs_extent extent;
	ssize_t n;

	shmfs_open_order_acknowledge(file);
	n = ops->write_begin(file->handle, off, size, fi->flags & O_APPEND, &who.caller, &extent);
	if (n == 0)
		n = end_write(file, &extent, shmfs_extent_store(&extent, from));
	if (n < 0)
		reply_error(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

void shmfs_fuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			  struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	struct request_caller who = caller_of(req);

	reply_error(req, ops_of(file->inode)->fallocate(file->handle, mode, off, len, &who.caller));
}

void shmfs_fuse_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		      struct fuse_file_info *fi)
{
	struct shmfs_file *file = file_of(fi);
	off_t pos = ops_of(file->inode)->seek(file->handle, off, whence);

	if (pos < 0)
		reply_error(req, (int)pos);
	else
		fuse_reply_lseek(req, pos);
}

/* --- copying within --- */

/* Copy to->len bytes or fewer; both extents are at least that long. */
static ssize_t copy_extent(struct shmfs_extent to, struct shmfs_extent from)
{
	off_t out = to.pos;
	off_t in = from.pos;
	char *buffer;
	ssize_t n;

	if (to.fd >= 0 && from.fd >= 0) {
		n = copy_file_range(from.fd, &in, to.fd, &out, to.len, 0);
		if (n >= 0 || (errno != EXDEV && errno != EINVAL))
			return n < 0 ? -errno : n;
	}
	from.len = to.len < COPY_STEP ? to.len : COPY_STEP;
	buffer = reply_scratch(from.len);
	n = buffer ? shmfs_extent_load(&from, buffer) : -ENOMEM;
	if (n <= 0)
		return n;
	to.len = (size_t)n;
	return shmfs_extent_store(&to, buffer);
}

static ssize_t copy_once(const struct shmfs_file *out, off_t off_out, const struct shmfs_file *in,
			 off_t off_in, size_t len, const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *in_ops = ops_of(in->inode);
	struct shmfs_extent from, to;
	ssize_t n = in_ops->read_begin(in->handle, off_in, len, &from);

	if (n)
		return n;
	if (from.len > 0) {
		n = ops_of(out->inode)
			    ->write_begin(out->handle, off_out, from.len, false, caller, &to);
		if (n == 0)
			n = end_write(out, &to, copy_extent(to, from));
	}
	in_ops->read_end(in->handle, &from);
	return n;
}

void shmfs_fuse_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in,
				struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
				struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct request_caller who = caller_of(req);
	size_t done = 0;
	ssize_t n = 0;

	while (done < len) {
		n = copy_once(file_of(fi_out), off_out + (off_t)done, file_of(fi_in),
			      off_in + (off_t)done, len - done, &who.caller);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == 0 && n < 0)
		reply_error(req, (int)n);
	else
		fuse_reply_write(req, done);
}

/* SPDX-License-Identifier: MIT */
/*
 * Replies without libfuse, and two that it cannot complete before 3.17: that of INIT, which asks
 * the kernel for passthrough, and that of an open, which binds the file.
 *
 * fuse_session_custom_io() would let replies be changed on their way, but 3.18.3 and its backports
 * refuse it.  So a pipe stands under the descriptor of /dev/fuse while libfuse answers INIT.
 *
 * INIT also says that writes clear set-user-ID bits and capabilities themselves
 * (FUSE_HANDLE_KILLPRIV_V2).  Otherwise the kernel asks a filesystem that answers GETXATTR for
 * security.capability before every write (fs/fuse/file.c and mm/filemap.c, file_remove_privs(),
 * Linux 5.11).
 */
#include "fuse/internal.h"

#include "shmfs/log.h"

/* Of each thread, owned. */
static _Thread_local struct {
	char *mem;
	size_t size;
} scratch;

char *reply_scratch(size_t size)
{
	if (scratch.size < size) {
		char *mem = realloc(scratch.mem, size);

		if (!mem)
			return NULL;
		scratch.mem = mem;
		scratch.size = size;
	}
	return scratch.mem;
}

/* Of each thread, owned; both 0: there is none. */
static _Thread_local int reply_ends[2];

/* Twice the room that a full reply takes.  A user may have too many pipes for that (pipe(7)). */
const int *reply_pipe(void)
{
	if (reply_ends[1])
		return reply_ends;
	if (pipe2(reply_ends, O_CLOEXEC) != 0)
		return NULL;
	if (fcntl(reply_ends[0], F_SETPIPE_SZ, 2 * MAX_TRANSFER) < 0) {
		reply_pipe_close();
		return NULL;
	}
	return reply_ends;
}

void reply_pipe_close(void)
{
	if (reply_ends[1]) {
		close(reply_ends[0]);
		close(reply_ends[1]);
	}
	reply_ends[1] = 0;
}

void reply_scratch_free(void)
{
	free(scratch.mem);
	reply_pipe_close();
}

void shmfs_reply_error(struct shmfs_fs *fs, const struct fuse_in_header *request, int err)
{
	const struct fuse_out_header reply = {
		.len = sizeof(reply),
		.error = err,
		.unique = request->unique,
	};
	ssize_t n = write(fuse_session_fd(fs->session), &reply, sizeof(reply));

	(void)n; /* the caller is gone */
}

/* From <linux/fuse.h> of Linux 6.9 (protocol 7.40); older headers lack them. */
#define INIT2_PASSTHROUGH (1u << 5) /* in flags2: bit 37 of all */
#define OPEN_PARALLEL_WRITES (1u << 6)
#define OPEN_PASSTHROUGH (1u << 7)

struct init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
	uint32_t unused[6];
};

struct open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

/* --- INIT --- */

struct request {
	struct fuse_in_header header;
	struct fuse_init_in init;
	char more[FUSE_MIN_READ_BUFFER]; /* the least that the kernel writes to */
};

struct reply {
	struct fuse_out_header header;
	struct init_out init;
};

static void complete(struct shmfs_passthrough *passthrough, const struct fuse_init_in *in,
		     struct init_out *out)
{
	out->flags |= in->flags & FUSE_HANDLE_KILLPRIV_V2;
	if (passthrough->unwanted || !(in->flags & FUSE_INIT_EXT) ||
	    !(in->flags2 & INIT2_PASSTHROUGH))
		return;
	out->flags |= FUSE_INIT_EXT;
	out->flags2 |= INIT2_PASSTHROUGH;
	out->max_stack_depth = 1;
	passthrough->on = true;
}

/* Let libfuse answer a request, with a pipe in the place of the device. */
static ssize_t answer(struct fuse_session *session, struct request *request, size_t len,
		      struct reply *reply)
{
	const struct fuse_buf buf = { .size = len, .mem = request };
	const int fd = fuse_session_fd(session);
	/* dup(2), which ThreadSanitizer follows: it has to know what orders requests. */
	SHMFS_AUTO_FD const int device = dup(fd);
	SHMFS_AUTO_FD int from = -1;
	int ends[2];
	int to;
	ssize_t n;

	if (device < 0 || pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	from = ends[0];
	to = dup3(ends[1], fd, O_CLOEXEC);
	close(ends[1]);
	if (to < 0)
		return -errno;
	fuse_session_process_buf(session, &buf);
	if (dup3(device, fd, O_CLOEXEC) < 0)
		return -errno;
	n = read(from, reply, sizeof(*reply));
	return n < 0 ? -errno : n;
}

int shmfs_reply_first(struct shmfs_fs *fs)
{
	const int device = fuse_session_fd(fs->session);
	struct request request = { 0 };
	struct reply reply;
	ssize_t n = read(device, &request, sizeof(request));

	/* Already unmounted: shmfs_loop_run() will find that out. */
	if (n < 0)
		return 0;
	n = answer(fs->session, &request, (size_t)n, &reply);
	if (n < 0) {
		shmfs_log(LOG_ERR, "cannot answer the kernel: %s", strerror((int)-n));
		return (int)n;
	}
	if (n == sizeof(reply) && !reply.header.error)
		complete(&fs->passthrough, &request.init, &reply.init);
	if (write(device, &reply, (size_t)n) < 0)
		shmfs_log(LOG_DEBUG, "unmounted before the first reply");
	return 0;
}

/* --- open --- */

static struct fuse_attr attr_of(const struct stat *st)
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

/* The kernel keeps nothing of a file that was just created: all timeouts are 0. */
int shmfs_reply_open(fuse_req_t req, const struct fuse_entry_param *entry,
		     const struct shmfs_file *file)
{
	struct {
		struct fuse_entry_out entry;
		struct open_out open;
	} out = { .open = { .fh = (uintptr_t)file, .backing_id = file->backing_id } };

	if (file->mode != SHMFS_IO_PASSTHROUGH)
		out.open.open_flags |= FOPEN_DIRECT_IO | OPEN_PARALLEL_WRITES;
	if (file->backing_id)
		out.open.open_flags |= OPEN_PASSTHROUGH;
	if (!file->handle->may_flush)
		out.open.open_flags |= FOPEN_NOFLUSH;
	if (!entry)
		return fuse_reply_buf(req, (char *)&out.open, sizeof(out.open));
	out.entry.nodeid = entry->ino;
	out.entry.attr = attr_of(&entry->attr);
	return fuse_reply_buf(req, (char *)&out, sizeof(out));
}

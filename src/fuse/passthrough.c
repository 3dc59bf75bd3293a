/* SPDX-License-Identifier: MIT */
/*
 * Kernel passthrough: which descriptor the kernel serves an open file from.
 *
 * The kernel is told three things: in the reply to INIT that the filesystem wants
 * passthrough (reply.c), in an ioctl(2) which descriptor an inode is served from
 * (here), and in the reply to an open that the file is bound to it (reply.c).
 *
 * The kernel's side: fs/fuse/passthrough.c, fs/fuse/iomode.c (Linux 6.9).
 */
#include "fuse/internal.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

/* From <linux/fuse.h> of Linux 6.9 (protocol 7.40); older headers lack them. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

/* A device that is not mounted refuses the ioctl(2), but knows it (fuse_dev_ioctl(), Linux 6.9). */
bool shmfs_passthrough_exists(const char *device)
{
	struct backing_map map = { .fd = -1 };
	SHMFS_AUTO_FD const int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	return ioctl(fd, BACKING_OPEN, &map) == 0 || (errno != ENOTTY && errno != EOPNOTSUPP);
}

/* Register a descriptor as any open would, and take it back. */
static int try_backing(int device)
{
	SHMFS_AUTO_FD const int fd = memfd_create("shmfs", MFD_CLOEXEC);
	struct backing_map map = { .fd = fd };
	int id = fd < 0 ? -1 : ioctl(device, BACKING_OPEN, &map);

	if (id < 0)
		return -errno;
	ioctl(device, BACKING_CLOSE, &id);
	return 0;
}

const char *shmfs_passthrough_lack(const struct shmfs_fs *fs)
{
	int err;

	if (fs->passthrough.unwanted)
		return fs->passthrough.unwanted;
	if (!fs->passthrough.on)
		return "the kernel has no passthrough";
	err = try_backing(fuse_session_fd(fs->session));
	if (err == -EPERM)
		return "passthrough requires root (CAP_SYS_ADMIN)";
	return err ? strerror(-err) : NULL;
}

/*
 * An unbound file can write while others do, and such a write keeps the inode bound that
 * was bound when it began: an open that is not bound fails then with EIO, even if the
 * bound file is closed (fs/fuse/iomode.c, fuse_inode_uncached_io_end(), Linux 6.9).  So
 * no inode is bound that has an unbound file open for writing.
 */
static void note_unbound(struct shmfs_inode *inode, struct shmfs_file *file)
{
	shmfs_open_order_served(file);
	file->unbound_writer = (file->handle->flags & O_ACCMODE) != O_RDONLY;
	inode->nunbound_writers += file->unbound_writer;
}

int shmfs_passthrough_bind(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;
	struct backing_map map = { .fd = -1 };
	enum shmfs_io_mode mode = ops_of(inode)->binding(file->handle, &map.fd);
	bool movable;
	int id;
	SHMFS_LOCKED(&inode->backing_lock);

	if (mode >= SHMFS_IO_PASSTHROUGH && inode->nunbound_writers == 0) {
		shmfs_open_order_settle(fs, inode, file->opener);
		/* That may have taken long enough for others to open it. */
		mode = ops_of(inode)->binding(file->handle, &map.fd);
	}
	movable = mode == SHMFS_IO_MOVABLE || mode == SHMFS_IO_APART;
	if (movable && inode->backing_id != 0 &&
	    (shmfs_walk_again(fs, file->opener, inode->object) || mode == SHMFS_IO_APART)) {
		shmfs_inode_supersede(fs, inode);
		return -ESTALE;
	}
	if (shmfs_walk_is_awaited(fs, inode->object, file->opener) || movable ||
	    inode->nunbound_writers > 0)
		mode = SHMFS_IO_DAEMON;
	if (inode->backing_users == 0 && mode != SHMFS_IO_DAEMON) {
		id = ioctl(fuse_session_fd(fs->session), BACKING_OPEN, &map);
		fs->passthrough.refused = id < 0 && errno == EPERM;
		inode->backing_id = id > 0 ? id : 0;
	}
	if (inode->backing_id == 0) {
		note_unbound(inode, file);
	} else {
		/* What the daemon is to serve is bound in name, for the kernel's sake. */
		file->mode = mode == SHMFS_IO_PASSTHROUGH ? mode : SHMFS_IO_MMAP_ONLY;
		file->backing_id = inode->backing_id;
		inode->backing_users++;
	}
	ops_of(inode)->lent(file->handle, file->backing_id != 0);
	return 0;
}

void shmfs_passthrough_unbind(struct shmfs_fs *fs, struct shmfs_file *file)
{
	struct shmfs_inode *inode = file->inode;
	SHMFS_LOCKED(&inode->backing_lock);

	inode->nunbound_writers -= file->unbound_writer;
	if (file->backing_id == 0 || --inode->backing_users > 0)
		return;
	ioctl(fuse_session_fd(fs->session), BACKING_CLOSE, &inode->backing_id);
	inode->backing_id = 0;
}

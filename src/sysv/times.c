/* SPDX-License-Identifier: MIT */
/*
 * The time of last modification.
 *
 * The kernel notes when a segment was last attached, detached and changed, but not when it was
 * written.  A process may have written until it detached.  shmfs attaches segments to look at them,
 * and its own detaches must not count.  So the time of the detach before them is kept here, and the
 * time of writes through the mount.
 *
 * The record is a file that all daemons of an IPC namespace map, so that one mount does not take
 * the detaches of another for those of users.  If it cannot be made, each daemon has its own
 * record.  A row belongs to the last segment among those that share it.  Without a row a segment
 * shows what the kernel tells.
 */
#include "sysv/internal.h"

#include <sys/mman.h>

#define ROWS 4096 /* as many as kernel.shmmni is by default */
#define SIZE (ROWS * sizeof(struct sysv_times_row))

struct sysv_times_row {
	int32_t id;
	int32_t lpid;	       /* the daemon that detached last */
	int64_t own_detach;    /* when; as the kernel noted it, 0: none did */
	int64_t others_detach; /* the last before that */
	int64_t written;       /* through a mount; CLOCK_REALTIME, nanoseconds */
};

/* The file of our namespace; nobody but us may have put it there.  -1: none. */
static int open_record(const struct sysv_backend *be)
{
	SHMFS_AUTO_FD int fd = -1;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/self/ns/ipc", be->config.proc_dir);
	if (!be->config.user_xattr_dir || !be->by_descriptor || stat(path, &st) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s-times-%llu", be->config.user_xattr_dir,
		 (unsigned long long)st.st_ino);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return -1;
	/* Memory that is not there would be a signal later. */
	if (posix_fallocate(fd, 0, (off_t)SIZE) != 0)
		return -1;
	return shmfs_steal_fd(&fd);
}

int sysv_times_init(struct sysv_backend *be)
{
	SHMFS_AUTO_FD int fd = open_record(be);
	void *rows = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			  fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (rows == MAP_FAILED)
		return -ENOMEM;
	be->times = rows;
	return 0;
}

void sysv_times_destroy(struct sysv_backend *be)
{
	munmap(be->times, SIZE);
}

/* The segment's row, which belongs to no other from here on.  base.lock is held. */
static struct sysv_times_row *take_row(const struct sysv_backend *be, int id)
{
	struct sysv_times_row *row = &be->times[(unsigned)id % ROWS];

	if (row->id != id)
		*row = (struct sysv_times_row){ .id = id };
	return row;
}

/* What is known of a segment.  base.lock is held. */
static struct sysv_times_row row_of(const struct sysv_backend *be, int id)
{
	const struct sysv_times_row *row = &be->times[(unsigned)id % ROWS];

	return row->id == id ? *row : (struct sysv_times_row){ 0 };
}

/*
 * The last detach that was not of a shmfs.  The kernel counts in seconds: of one in the same second
 * as ours only the process id is left, and that is of an attach as well, if somebody has it
 * attached.
 */
static int64_t others_detach(const struct sysv_times_row *row, const struct shmid_ds *ds,
			     uint64_t others)
{
	bool is_ours = row->own_detach && row->own_detach == ds->shm_dtime &&
		       (row->lpid == ds->shm_lpid || others > 0);

	return is_ours ? row->others_detach : ds->shm_dtime;
}

void sysv_times_attaching(struct sysv_backend *be, int id, const struct shmid_ds *before)
{
	SHMFS_LOCKED(&be->base.lock);
	const struct sysv_times_row row = row_of(be, id);

	if (row.own_detach)
		take_row(be, id)->others_detach = others_detach(&row, before, before->shm_nattch);
}

void sysv_times_detached(struct sysv_backend *be, int id, const struct shmid_ds *before,
			 uint64_t others, const struct shmid_ds *after)
{
	struct sysv_times_row *row;
	/* The process id may be of our own attach. */
	bool is_unknown = others > 0 || before->shm_lpid == after->shm_lpid;

	if (after->shm_lpid != getpid())
		return;
	row = take_row(be, id);
	row->others_detach = others_detach(row, before, is_unknown);
	row->own_detach = after->shm_dtime;
	row->lpid = after->shm_lpid;
}

void sysv_times_wrote(struct sysv_backend *be, int id)
{
	SHMFS_LOCKED(&be->base.lock);
	struct timespec now;

	/* Of the same clock as the kernel's own times of files: never ahead of them. */
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	take_row(be, id)->written = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void sysv_times_carry(struct sysv_backend *be, int to, int from)
{
	SHMFS_LOCKED(&be->base.lock);
	int64_t written = row_of(be, from).written;

	take_row(be, to)->written = written;
}

struct timespec sysv_times_modified(struct sysv_backend *be, int id, const struct shmid_ds *ds,
				    uint64_t others)
{
	SHMFS_LOCKED(&be->base.lock);
	const struct sysv_times_row row = row_of(be, id);
	int64_t detach = others_detach(&row, ds, others);
	int64_t seconds = detach > ds->shm_ctime ? detach : ds->shm_ctime;
	int64_t ns = row.written > seconds * 1000000000 ? row.written : seconds * 1000000000;

	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

/* SPDX-License-Identifier: MIT */
/*
 * Getting at a segment's memory.
 *
 * Everybody can attach with shmat(2), but nattch counts that, and a mapping is read and written by
 * touching pages.  The kernel backs every segment with a file of an internal tmpfs, and the file of
 * an attached segment can be opened through /proc/self/map_files, with CAP_CHECKPOINT_RESTORE or
 * CAP_SYS_ADMIN (proc(5)).  It is the plain file and not the attachment: after shmdt(2) nattch is
 * as before, read(2) and write(2) work without faults, holes are read without being filled, and the
 * kernel can bind an open file to it.
 *
 * A file handle of that file (open_by_handle_at(2), with CAP_DAC_READ_SEARCH) opens it again, and
 * leaves no trace in the segment.
 */
#include "sysv/internal.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "shmfs/sigbus.h"

#ifndef MADV_COLD
#define MADV_COLD 20 /* Linux 5.4 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Of any architecture. */
#define LARGEST_PAGE ((uint64_t)16 << 30)

static uint64_t round_up(uint64_t size, uint64_t unit)
{
	return (size + unit - 1) / unit * unit;
}

static size_t usual_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The link to the file behind a mapping is named for its range. */
static int open_map_file(int proc, const char *map, size_t size)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "self/map_files/%zx-%zx", (size_t)map, (size_t)map + size);
	fd = openat(proc, path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * shmat(2).  No child inherits the attachment.  Its length is that of the segment, rounded up to
 * the segment's page size.
 */
static int attach(struct sysv_segment *segment, int flags)
{
	char *map = shmat(segment->id, NULL, flags);

	if (map == (void *)-1)
		return -errno;
	/* Noted at once, for a second replacer. */
	segment->map = map;
	segment->is_attached = true;
	for (uint64_t page = usual_page(); page <= LARGEST_PAGE; page *= 2) {
		segment->map_size = (size_t)round_up(segment->size, page);
		/* EINVAL: a part of a huge page. */
		if (madvise(map, segment->map_size, MADV_DONTFORK) == 0 || errno != EINVAL)
			break;
	}
	/*
	 * mincore(2) does not find huge pages that this process has not touched.  MADV_COLD is
	 * refused for a mapping of them (mm/madvise.c, can_madv_lru_vma()), and does nothing to a
	 * fresh one of small pages.
	 */
	segment->tells_holes =
		!segment->backend->by_descriptor && madvise(map, usual_page(), MADV_COLD) == 0;
	return 0;
}

static void unmap(struct sysv_segment *segment)
{
	if (segment->is_attached)
		shmdt(segment->map);
	else if (segment->map)
		munmap(segment->map, segment->map_size);
	segment->map = NULL;
	segment->is_attached = false;
}

static size_t page_of(const struct sysv_segment *segment)
{
	return segment->huge ? segment->huge : usual_page();
}

int sysv_segment_map(struct sysv_segment *segment)
{
	size_t size = (size_t)round_up(segment->size, page_of(segment));
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	segment->map = map;
	segment->map_size = size;
	return 0;
}

/* Huge pages have no write(2): such a segment is written through a mapping. */
static int map_huge(struct sysv_segment *segment)
{
	struct statfs fs;

	if (fstatfs(segment->fd, &fs) != 0)
		return -errno;
	if ((unsigned long)fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	segment->huge = (size_t)fs.f_bsize;
	return sysv_segment_map(segment);
}

int sysv_open_tmpfs(int proc)
{
	size_t page = usual_page();
	/* Shared anonymous memory is a file of the same internal tmpfs. */
	char *map = mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd;

	if (map == MAP_FAILED)
		return -errno;
	fd = open_map_file(proc, map, page);
	munmap(map, page);
	return fd;
}

/* How often we have segment `id` attached.  base.lock is held. */
static unsigned count_own(const struct sysv_backend *be, int id)
{
	unsigned count = 0;

	for (const struct sysv_segment *own = be->attached; own; own = own->next_attached)
		count += own->id == id;
	return count;
}

/* base.lock is held. */
static void enter(struct sysv_segment *segment)
{
	segment->next_attached = segment->backend->attached;
	segment->backend->attached = segment;
}

int sysv_attach(struct sysv_segment *segment, int flags)
{
	int err;
	SHMFS_LOCKED(&segment->backend->base.lock);

	err = attach(segment, flags);
	if (!err)
		enter(segment);
	return err;
}

void sysv_segment_count(struct sysv_segment *segment)
{
	SHMFS_LOCKED(&segment->backend->base.lock);

	if (segment->is_attached)
		enter(segment);
}

/*
 * A detach by shmfs does not count as a change.  `before` is the segment as it is now, or NULL, and
 * `others` how often others have it attached.
 */
static void detach(struct sysv_segment *segment, const struct shmid_ds *before, uint64_t others)
{
	struct sysv_backend *be = segment->backend;
	struct sysv_segment **link = &be->attached;
	struct shmid_ds after;
	SHMFS_LOCKED(&be->base.lock);

	unmap(segment);
	if (before && shmctl(segment->id, SHM_STAT_ANY, &after) == segment->id)
		sysv_times_detached(be, segment->id, before, others, &after);
	while (*link != segment)
		link = &(*link)->next_attached;
	*link = segment->next_attached;
}

void sysv_forget_attachments(struct sysv_backend *be)
{
	while (be->attached) {
		struct sysv_segment *first = be->attached;

		be->attached = first->next_attached;
		free(first);
	}
}

int sysv_segment_stat(struct sysv_backend *be, int id, struct shmid_ds *ds, uint64_t *others)
{
	struct shmid_ds now;
	SHMFS_LOCKED(&be->base.lock);

	/*
	 * SHM_STAT_ANY needs no permission.  It returns the id of the segment that now is in the
	 * slot that the given id names.
	 */
	if (shmctl(id, SHM_STAT_ANY, &now) != id)
		return -ESTALE;
	if (others)
		*others = now.shm_nattch - count_own(be, id);
	*ds = now;
	return 0;
}

struct sysv_segment *sysv_segment_new(struct sysv_backend *be)
{
	struct sysv_segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	atomic_init(&segment->refs, 1);
	segment->backend = be;
	segment->fd = -1;
	return segment;
}

/*
 * With kernel.shm_rmid_forced a segment goes with the last process that has it attached (proc(5)),
 * and shmfs attaches each for a moment.  Setting it removes segments that nobody has attached by
 * then, so it is read before each attachment.
 */
bool sysv_detaching_removes(const struct sysv_backend *be)
{
	char value = '0';

	return be->rmid_forced >= 0 && pread(be->rmid_forced, &value, 1, 0) == 1 && value != '0';
}

/*
 * Is it still the segment that was seen, and may the caller use it?  Attached, a segment keeps its
 * id.  So the kernel's answer for the id is about the segment that was attached, which may be
 * another one than was seen.
 */
static int check_opened(struct sysv_backend *be, int id, const struct shmid_ds *seen, bool writable,
			const struct shmfs_caller *caller, struct shmid_ds *now, uint64_t *others)
{
	int err = sysv_segment_stat(be, id, now, others);

	if (err)
		return err;
	if (!sysv_is_same(now, seen))
		return -ESTALE;
	/* Another mount is about to replace it, and looks no more who has it open. */
	if (sysv_is_closed(now) && !sysv_is_closed(seen))
		return -EACCES;
	/* As shmat(2): writing requires permission to read. */
	return !caller || sysv_may(now, writable ? 06 : 04, caller) ? 0 : -EACCES;
}

/* With a lock for sysv_segment_is_opened_again(). */
static int adopt_file(struct sysv_segment *segment, int fd)
{
	struct flock lock = { .l_type = F_RDLCK };

	if (fd < 0)
		return fd;
	segment->fd = fd;
	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

static int open_file(struct sysv_segment *segment)
{
	return adopt_file(segment,
			  open_map_file(segment->backend->proc, segment->map, segment->map_size));
}

int sysv_segment_open(struct sysv_backend *be, int id, const struct shmid_ds *seen, bool writable,
		      const struct shmfs_caller *caller, struct sysv_segment **out)
{
	struct sysv_segment *segment;
	struct shmid_ds now;
	uint64_t others;
	int opened = 0;
	int err;

	if (seen->shm_nattch == 0 && sysv_detaching_removes(be))
		return -EPERM;
	segment = sysv_segment_new(be);
	if (!segment)
		return -ENOMEM;
	segment->id = id;
	segment->size = seen->shm_segsz;
	segment->writable = be->by_descriptor || writable;
	sysv_times_attaching(be, id, seen);
	err = sysv_attach(segment, be->by_descriptor || !writable ? SHM_RDONLY : 0);
	if (!err) {
		/* Checked last: one answer of the kernel serves the check and the detach. */
		opened = be->by_descriptor ? open_file(segment) : 0;
		err = check_opened(be, id, seen, writable, caller, &now, &others);
	}
	if (!err && be->by_descriptor) {
		detach(segment, &now, others);
		err = opened ? opened : map_huge(segment);
	}
	if (err)
		sysv_segment_put(segment);
	else
		*out = segment;
	return err;
}

/*
 * Another daemon can keep the inode of a segment that was removed, and a new segment can get its
 * shmid.  An open inode does not hold the shmid, as an attachment does.  But a new segment has a
 * later shm_ctime.
 */
int sysv_segment_reopen(struct sysv_backend *be, int id, const struct sysv_inode_handle *inode,
			struct shmid_ds *last, bool writable, const struct shmfs_caller *caller,
			struct sysv_segment **out)
{
	struct sysv_segment *segment = inode->bytes ? sysv_segment_new(be) : NULL;
	struct shmid_ds now;
	int err;

	if (!segment)
		return -ENOENT;
	segment->id = id;
	segment->size = last->shm_segsz;
	segment->writable = true;
	err = adopt_file(segment, open_by_handle_at(be->tmpfs, (struct file_handle *)inode,
						    O_RDWR | O_CLOEXEC));
	if (!err)
		err = check_opened(be, id, last, writable, caller, &now, NULL);
	if (!err && now.shm_ctime != inode->changed)
		err = -ESTALE;
	if (err || sysv_is_closed(&now)) {
		sysv_segment_put(segment);
		return err ? err : -EACCES;
	}
	*last = now;
	*out = segment;
	return 0;
}

void sysv_segment_handle(const struct sysv_segment *segment, struct sysv_inode_handle *inode)
{
	int mount;

	inode->bytes = sizeof(inode->handle);
	if (segment->fd < 0 || name_to_handle_at(segment->fd, "", (struct file_handle *)inode,
						 &mount, AT_EMPTY_PATH) != 0)
		inode->bytes = 0;
}

int sysv_segment_fill(struct sysv_segment *segment, uint64_t size)
{
	bool by_descriptor = segment->backend->by_descriptor;
	int err;

	segment->size = size;
	segment->writable = true;
	err = attach(segment, by_descriptor ? SHM_RDONLY : 0);
	if (err || !by_descriptor)
		return err;
	err = open_file(segment);
	unmap(segment);
	return err ? err : map_huge(segment);
}

struct sysv_segment *sysv_segment_get(struct sysv_segment *segment)
{
	atomic_fetch_add(&segment->refs, 1);
	return segment;
}

void sysv_segment_empty(struct sysv_segment *segment)
{
	unmap(segment);
	if (segment->fd >= 0)
		close(segment->fd);
	segment->fd = -1;
	segment->size = 0;
}

void sysv_segment_put(struct sysv_segment *segment)
{
	struct shmid_ds now;
	uint64_t others = 0;

	if (!segment || atomic_fetch_sub(&segment->refs, 1) != 1)
		return;
	if (segment->is_attached) {
		int err = sysv_segment_stat(segment->backend, segment->id, &now, &others);

		detach(segment, err ? NULL : &now, others);
	}
	sysv_segment_empty(segment);
	free(segment);
}

/* MADV_REMOVE is PUNCH_HOLE for a mapping; it takes whole pages. */
static int punch_mapping(struct sysv_segment *segment, size_t off, size_t len)
{
	size_t page = usual_page();
	size_t end = off + len;
	/* Bytes behind the end of the segment in its last page do not matter. */
	size_t whole_end = end == segment->size ? (size_t)round_up(end, page) : end / page * page;
	size_t whole = (size_t)round_up(off, page);

	if (whole >= whole_end || madvise(segment->map + whole, whole_end - whole, MADV_REMOVE))
		return shmfs_zero_nofault(segment->map + off, len);
	if (whole > off && shmfs_zero_nofault(segment->map + off, whole - off))
		return -EFAULT;
	return end > whole_end ? shmfs_zero_nofault(segment->map + whole_end, end - whole_end) : 0;
}

int sysv_segment_punch(struct sysv_segment *segment, uint64_t off, uint64_t len)
{
	if (off >= segment->size || len == 0)
		return 0;
	if (len > segment->size - off)
		len = segment->size - off;
	atomic_store(&segment->populated, 0);
	if (segment->fd < 0)
		return punch_mapping(segment, (size_t)off, (size_t)len) == 0 ? 0 : -ENOMEM;
	/* Punch to the end of the page, so that a whole page is given back. */
	if (off + len == segment->size)
		len = round_up(segment->size, page_of(segment)) - off;
	if (fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
		      (off_t)len) != 0)
		return -errno;
	return 0;
}

int sysv_segment_populate(struct sysv_segment *segment, uint64_t off, uint64_t len)
{
	size_t page = usual_page();
	size_t start = (size_t)off / page * page;

	if (segment->fd >= 0)
		return fallocate(segment->fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0 ?
			       0 :
			       -errno;
	if (madvise(segment->map + start, (size_t)(off + len) - start, MADV_POPULATE_WRITE) == 0)
		return 0;
	return errno == EINVAL ? -EOPNOTSUPP : -ENOMEM;
}

/*
 * A write lease is granted only to the sole opener of a file, and mappings count as openers
 * (fcntl(2), fs/locks.c check_conflicting_open()).  That also covers files of this or another mount
 * that the kernel serves, and their mappings, which outlive them.  nattch does not.
 */
bool sysv_segment_is_shared(const struct sysv_segment *segment)
{
	if (segment->fd < 0)
		return false;
	if (fcntl(segment->fd, F_SETLEASE, F_WRLCK) == 0) {
		fcntl(segment->fd, F_SETLEASE, F_UNLCK);
		return false;
	}
	return errno == EAGAIN;
}

bool sysv_segment_is_opened_again(const struct sysv_segment *segment)
{
	struct flock lock = { .l_type = F_WRLCK };

	return fcntl(segment->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

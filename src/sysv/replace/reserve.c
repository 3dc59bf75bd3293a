/* SPDX-License-Identifier: MIT */
/*
 * The reserve of the replacer, made before it removes the old segment.
 *
 * After the removal others can take what the new segment needs: the key, the last slot of SHMMNI,
 * the pages of SHMALL, memory, descriptors.  So two things are made first.  The rescue is an open
 * segment without a key, as large as the old one, for the content if all else fails.  The ballast
 * holds the slots and the size of the new segment until just before that is made.
 *
 * The rescue also holds the memory of the copy, and gives it back piece by piece to the segment
 * that is filled.  If memory runs out while it is populated, the kernel kills a process.  So a child
 * with a memory of its own does that, and is killed before any other process (proc(5),
 * oom_score_adj).  Its death is ENOMEM.
 */
#include "sysv/replace/internal.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include "shmfs/proc.h"
#include "shmfs/sigbus.h"

#define HUGE_SHIFT 26 /* SHM_HUGE_SHIFT of <linux/shm.h> */
/* Memory is given back in pieces of this size, that of a huge page mostly. */
#define PIECE ((uint64_t)2 << 20)
/* No child is started for less memory. */
#define LITTLE ((uint64_t)1 << 20)

/* --- segments --- */

int sysv_huge_flags(const struct sysv_segment *segment)
{
	return segment->huge ? SHM_HUGETLB | __builtin_ctzl(segment->huge) << HUGE_SHIFT : 0;
}

int sysv_get_new(const struct replacement *r, key_t key, uint64_t size, int flags)
{
	/* An ordinary user's daemon has to attach it first. */
	int mode = r->backend->by_descriptor ? SYSV_MODE_CLOSED : SYSV_MODE_CLOSING;
	int id = shmget(key, (size_t)size, IPC_CREAT | IPC_EXCL | mode | flags);

	return id < 0 ? sysv_error(SYSV_MAKE, -errno) : id;
}

/*
 * The first ballast also shows whether the wanted segment can be made.  The rescue has huge pages
 * if some are left, because the kernel reserves those.  Else its memory counts as it is populated.
 */
static int make_segments(struct replacement *r)
{
	SHMFS_AS_CALLER(refused, &r->creator);
	int *ballast = r->reserve.ballast;
	int id = -1;

	(void)refused; /* the daemon is the creator then */
	ballast[0] = sysv_get_new(r, IPC_PRIVATE, r->size, sysv_huge_flags(r->old));
	if (ballast[0] < 0)
		return ballast[0];
	if (r->old->huge)
		id = sysv_get_new(r, IPC_PRIVATE, r->old->size, sysv_huge_flags(r->old));
	if (id < 0)
		id = sysv_get_new(r, IPC_PRIVATE, r->old->size, SHM_NORESERVE);
	if (id < 0)
		return id;
	r->reserve.rescue->id = id;
	for (size_t i = 1; i < SYSV_BALLAST; i++)
		ballast[i] = sysv_get_new(r, IPC_PRIVATE, 1, 0);
	return 0;
}

bool sysv_reserve_free_slot(struct replacement *r)
{
	for (size_t i = 0; i < SYSV_BALLAST; i++) {
		if (r->reserve.ballast[i] < 0)
			continue;
		shmctl(r->reserve.ballast[i], IPC_RMID, NULL);
		r->reserve.ballast[i] = -1;
		return true;
	}
	return false;
}

/* --- memory --- */

/* The kernel's estimate of what can be had without harm to others, and swap space. */
static bool is_available(const char *proc_dir, uint64_t bytes)
{
	static const char *const labels[] = { "MemAvailable:", "SwapFree:" };
	char text[4096];
	uint64_t kib = 0;
	ssize_t len = shmfs_proc_read(AT_FDCWD, text, sizeof(text), "%s/meminfo", proc_dir);

	for (size_t i = 0; i < 2; i++) {
		const char *line = strstr(text, labels[i]);

		if (line)
			kib += strtoull(line + strlen(labels[i]), NULL, 10);
	}
	return len <= 0 || bytes / 1024 < kib;
}

static int populate(struct sysv_segment *segment, uint64_t bytes)
{
	int err = sysv_segment_populate(segment, 0, bytes);

	/* Before Linux 5.14 a mapping is populated by touching it. */
	if (err == -EOPNOTSUPP)
		err = shmfs_zero_nofault(segment->map, (size_t)bytes);
	return err ? -ENOMEM : 0;
}

/*
 * The child's whole life.  Its memory is a copy of the daemon's, with locks in it that nobody
 * releases any more.
 */
static void be_populator(const struct replacement *r)
{
	struct sysv_segment *rescue = r->reserve.rescue;
	const char *proc_dir = r->backend->config.proc_dir;
	char path[128];

	snprintf(path, sizeof(path), "%s/self/oom_score_adj", proc_dir);
	(void)!write(open(path, O_WRONLY | O_CLOEXEC), "1000", 4);
	/* It has none of the daemon's attachments. */
	if (rescue->fd < 0)
		rescue->map = shmat(rescue->id, NULL, 0);
	/* Not _exit(): ThreadSanitizer looks there for threads that nobody has joined. */
	syscall(SYS_exit_group, rescue->map == (void *)-1 ||
					!is_available(proc_dir, r->reserve.size) ||
					populate(rescue, r->reserve.size) != 0);
}

static int populate_in_child(const struct replacement *r)
{
	int status = 0;
	pid_t child;

	/* Not fork(): that takes libc's locks. */
	child = _Fork();
	if (child == 0)
		be_populator(r);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOMEM;
}

int sysv_reserve_take(struct replacement *r)
{
	struct sysv_segment *rescue = r->reserve.rescue;
	int err = make_segments(r);

	if (!err)
		err = sysv_segment_fill(rescue, r->old->size);
	/* Huge pages are copied through mappings. */
	if (!err && r->old->huge && !rescue->huge)
		err = sysv_segment_map(rescue);
	if (rescue->huge)
		r->reserve.size = 0;
	if (err || r->reserve.size == 0)
		return err;
	return r->reserve.size <= LITTLE ? populate(rescue, r->reserve.size) : populate_in_child(r);
}

/* Where the pieces end that hold the first `used` bytes. */
static uint64_t end_of_pieces(const struct sysv_reserve *reserve, uint64_t used)
{
	return shmfs_min((used + PIECE - 1) / PIECE * PIECE, reserve->size);
}

void sysv_reserve_yield(struct sysv_reserve *reserve, uint64_t bytes)
{
	uint64_t used, start;

	if (!reserve)
		return;
	used = reserve->used + shmfs_min(bytes, reserve->size - reserve->used);
	start = end_of_pieces(reserve, reserve->used);
	sysv_segment_punch(reserve->rescue, start, end_of_pieces(reserve, used) - start);
	reserve->used = used;
}

void sysv_reserve_drop(struct replacement *r)
{
	struct sysv_segment *rescue = r->reserve.rescue;
	bool is_needed =
		r->phase == REPLACE_RESCUED || (r->phase == REPLACE_TORN && r->filling == rescue);

	while (sysv_reserve_free_slot(r))
		;
	if (!is_needed && rescue->id >= 0) {
		shmctl(rescue->id, IPC_RMID, NULL);
		rescue->id = -1;
	}
}

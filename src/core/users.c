/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of who uses what.
 *
 * Reading /proc can wait for ever for a lock that a hostile process holds (users_scan.c).  Only the
 * end of the reader ends such a wait.  So a child of the daemon reads, into memory that both share.
 * A child that stands still is killed, and the process that it was reading is left out of the
 * snapshot.  Another child reads on behind that process.
 */
#include "core/users_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "shmfs/clock.h"
#include "shmfs/proc.h"
#include "shmfs/sanitizer.h"

/* How old a snapshot may be, in times of what it took; and while the next one is being taken. */
#define AGE 9
#define AGE_MEANWHILE 10
/* How long the first child may stand still, and each later one at least; the time is halved. */
#define STILL_MS 1000
#define STILL_MIN_MS 20
/* How long a killed child is waited for. */
#define END_MS 1000

struct snapshot {
	struct shmfs_users_snapshot public;
	struct shmfs_users *users; /* borrowed */
	unsigned references;	   /* guarded by users->lock */
	uint64_t taken_at;	   /* when it was begun; CLOCK_MONOTONIC, ns */
	uint64_t cost;
	struct users_sheet sheet;
};

struct shmfs_users {
	/* Without what each snapshot finds anew; `mount` is set before requests are served. */
	struct users_scope scope;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t taken;
	struct snapshot *last; /* one reference */
	bool taking;
};

/* A memfd comes from the same internal mount as segments.  There is one for each size of pages. */
static int find_devices(struct users_scope *scope)
{
	for (unsigned shift = HUGE_SHIFT_MIN - 1; shift <= HUGE_SHIFT_MAX; shift++) {
		const bool is_huge = shift >= HUGE_SHIFT_MIN;
		SHMFS_AUTO_FD int fd = memfd_create(
			"", MFD_CLOEXEC | (is_huge ? MFD_HUGETLB | shift << MAP_HUGE_SHIFT : 0));
		struct stat st;

		if (fd < 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
			return -errno;
		/* Without a descriptor there are no pages of this size. */
		if (fd >= 0 && fstat(fd, &st) == 0)
			scope->segments[scope->nsegments++] = st.st_dev;
	}
	return 0;
}

int shmfs_users_new(const char *proc_dir, dev_t objects, struct shmfs_users **out)
{
	struct shmfs_users *users = calloc(1, sizeof(*users));
	int err;

	if (!users)
		return -ENOMEM;
	users->scope = (struct users_scope){ .proc_dir = proc_dir, .objects = objects };
	err = find_devices(&users->scope);
	if (err) {
		free(users);
		return err;
	}
	pthread_mutex_init(&users->lock, NULL);
	pthread_cond_init(&users->taken, NULL);
	*out = users;
	return 0;
}

void shmfs_users_set_mount(struct shmfs_users *users, dev_t dev)
{
	users->scope.mount = dev;
}

/* --- the list of processes --- */

static int is_number(const struct dirent *entry)
{
	return entry->d_name[strspn(entry->d_name, "0123456789")] == '\0';
}

static int list_processes(struct users_scope *scope)
{
	int n = scandir(scope->proc_dir, &scope->processes, is_number, versionsort);

	scope->nprocesses = n < 0 ? 0 : (size_t)n;
	return n < 0 ? -errno : 0;
}

static void free_processes(struct users_scope *scope)
{
	for (size_t i = 0; i < scope->nprocesses; i++)
		free(scope->processes[i]);
	free(scope->processes);
}

/* --- other mounts --- */

/*
 * Mounts of shmfs that show the same memory as ours are those with the same source, which names the
 * target.  Only mounts of root and of our own user count, since another user's server can show any
 * numbers.
 */
struct mount {
	dev_t dev;
	char source[64];
};

/* A line of mountinfo (proc(5)): device, and behind " - " type, source and options. */
static bool parse(const char *line, struct mount *mount)
{
	const char *type = strstr(line, " - fuse.shmfs ");
	const char *user = type ? strstr(type, "user_id=") : NULL;
	unsigned major, minor, uid;

	if (!user || sscanf(line, "%*u %*u %u:%u ", &major, &minor) != 2 ||
	    sscanf(type, " - fuse.shmfs %63s ", mount->source) != 1 ||
	    sscanf(user, "user_id=%u", &uid) != 1)
		return false;
	mount->dev = makedev(major, minor);
	return uid == 0 || uid == getuid();
}

/* Take in a mount: ours, or another with the source that ours was seen to have. */
static void take_mount(struct users_scope *scope, struct mount *ours, const struct mount *mount)
{
	if (mount->dev == scope->mount)
		*ours = *mount;
	else if (strcmp(mount->source, ours->source) == 0 && scope->nmounts < USERS_MOUNTS)
		scope->mounts[scope->nmounts++] = mount->dev;
}

void users_find_mounts(struct users_scope *scope)
{
	SHMFS_AUTO_FREE char *line = NULL;
	struct mount ours = { 0 };
	struct mount mount;
	size_t size = 0;
	char path[128];
	FILE *table;

	scope->mounts[0] = scope->mount;
	scope->nmounts = scope->mount ? 1 : 0;
	snprintf(path, sizeof(path), "%s/self/mountinfo", scope->proc_dir);
	table = scope->mount ? fopen(path, "re") : NULL;
	for (int pass = 0; table && pass < 2; pass++) {
		scope->nmounts = 1;
		rewind(table);
		while (getline(&line, &size, table) > 0) {
			if (parse(line, &mount))
				take_mount(scope, &ours, &mount);
		}
	}
	if (table)
		fclose(table);
}

/* --- the child --- */

/* The child keeps nothing of the daemon open: no file, no segment, no mount. */
static void be_child(const struct users_scope *scope, struct users_sheet *sheet, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A thread beside its caller gives way to every process.  Others wait for this child. */
	sched_setscheduler(0, SCHED_OTHER, &(const struct sched_param){ 0 });
	if (getppid() != parent)
		_exit(0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	closefrom(STDERR_FILENO + 1);
	sheet->error = users_scan(scope, sheet);
	SHMFS_WRITE_COUNTS();
	/* Not _exit(): ThreadSanitizer looks there for threads that nobody has joined. */
	syscall(SYS_exit_group, 0);
}

/* Wait until the child ends.  False: it slept for `still_ms`, or stood still for STILL_MS. */
static bool watch(pid_t child, struct pollfd *ended, struct users_sheet *sheet, int still_ms)
{
	int still = 0;
	unsigned ticks;

	do {
		ticks = atomic_load(&sheet->ticks);
		if (poll(ended, 1, still_ms) > 0)
			return true;
		still = ticks == atomic_load(&sheet->ticks) ? still + still_ms : 0;
		/* A busy machine holds up any child for some time. */
	} while (still == 0 || (still < STILL_MS && shmfs_proc_stat("/proc", child).runs));
	return false;
}

/*
 * Let a child read on from sheet->at.  -ETIMEDOUT: it stood still there for
 * `still_ms` and was killed.
 */
static int run_child(const struct users_scope *scope, struct users_sheet *sheet, int still_ms)
{
	const pid_t parent = getpid();
	SHMFS_AUTO_FD int pidfd = -1;
	struct pollfd ended;
	pid_t child;

	sheet->error = -ETIMEDOUT;
	child = fork();
	if (child == 0)
		be_child(scope, sheet, parent);
	if (child < 0)
		return -errno;
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		sheet->error = -errno;
	ended = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	if (pidfd < 0 || !watch(child, &ended, sheet, still_ms))
		kill(child, SIGKILL);
	/* A child that SIGKILL does not end must not hold up this thread. */
	if (pidfd >= 0 && poll(&ended, 1, END_MS) == 0)
		return -EIO;
	waitpid(child, NULL, 0);
	return sheet->error;
}

static int read_all(const struct users_scope *scope, struct users_sheet *sheet)
{
	int still_ms = STILL_MS;
	int err;

	while ((err = run_child(scope, sheet, still_ms)) == -ETIMEDOUT) {
		atomic_fetch_add(&sheet->at, 1);
		still_ms = still_ms / 2 > STILL_MIN_MS ? still_ms / 2 : STILL_MIN_MS;
	}
	return err;
}

/* --- snapshots --- */

static int compare_uses(const void *a, const void *b)
{
	const struct shmfs_use *x = a;
	const struct shmfs_use *y = b;
	int order = users_compare_files(&x->file, &y->file);

	if (order == 0)
		order = (x->pid > y->pid) - (x->pid < y->pid);
	return order ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

/* Sort the uses, and join those of one process, file and kind. */
static void sort_uses(struct users_sheet *sheet)
{
	struct shmfs_use *uses = sheet->uses;
	size_t count = 0;

	qsort(uses, sheet->nuses, sizeof(*uses), compare_uses);
	for (size_t i = 0; i < sheet->nuses; i++) {
		if (count > 0 && compare_uses(&uses[count - 1], &uses[i]) == 0) {
			uses[count - 1].count += uses[i].count;
			uses[count - 1].writable |= uses[i].writable;
		} else {
			uses[count++] = uses[i];
		}
	}
	sheet->nuses = count;
}

static struct snapshot *new_snapshot(struct shmfs_users *users)
{
	struct snapshot *snapshot = mmap(NULL, sizeof(*snapshot), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (snapshot == MAP_FAILED)
		return NULL;
	snapshot->users = users;
	snapshot->sheet.names_used = 1; /* the empty name */
	snapshot->references = 1;
	snapshot->taken_at = shmfs_now_ns();
	return snapshot;
}

static int fill_snapshot(struct snapshot *snapshot)
{
	struct users_scope scope = snapshot->users->scope;
	struct users_sheet *sheet = &snapshot->sheet;
	int err = list_processes(&scope);

	if (!err)
		err = users_find_self(scope.proc_dir, scope.self);
	if (!err) {
		users_find_mounts(&scope);
		err = read_all(&scope, sheet);
	}
	free_processes(&scope);
	if (err)
		return err;
	sort_uses(sheet);
	snapshot->public = (struct shmfs_users_snapshot){
		.uses = sheet->uses,
		.nuses = sheet->nuses,
		.processes = sheet->processes,
		.nprocesses = sheet->nprocesses,
		.names = sheet->names,
		.proc_dir = scope.proc_dir,
	};
	snapshot->cost = shmfs_now_ns() - snapshot->taken_at;
	return 0;
}

/* users->lock is held. */
static void put_locked(struct snapshot *snapshot)
{
	if (!snapshot || --snapshot->references > 0)
		return;
	munmap(snapshot, sizeof(*snapshot));
}

/* users->lock is held. */
static bool is_fresh(const struct shmfs_users *users)
{
	const struct snapshot *last = users->last;
	uint64_t most = users->taking ? AGE_MEANWHILE : AGE;

	return last && shmfs_now_ns() - last->taken_at <= most * last->cost;
}

/* Take the next snapshot.  users->lock is held, and released meanwhile. */
static int renew(struct shmfs_users *users)
{
	struct snapshot *snapshot;
	int err;

	users->taking = true;
	pthread_mutex_unlock(&users->lock);
	snapshot = new_snapshot(users);
	err = snapshot ? fill_snapshot(snapshot) : -ENOMEM;
	pthread_mutex_lock(&users->lock);
	users->taking = false;
	pthread_cond_broadcast(&users->taken);
	put_locked(err ? snapshot : users->last);
	if (!err)
		users->last = snapshot;
	return err;
}

int shmfs_users_get(struct shmfs_users *users, const struct shmfs_users_snapshot **out)
{
	bool renewed = false;
	int err = 0;
	SHMFS_LOCKED(&users->lock);

	/* A snapshot that this call took itself will do, whatever its age. */
	while (!err && !renewed && !is_fresh(users)) {
		if (users->taking) {
			pthread_cond_wait(&users->taken, &users->lock);
		} else {
			err = renew(users);
			renewed = true;
		}
	}
	if (err)
		return err;
	users->last->references++;
	*out = &users->last->public;
	return 0;
}

void shmfs_users_put(const struct shmfs_users_snapshot *const *public)
{
	struct snapshot *snapshot = (struct snapshot *)*public;

	if (!snapshot)
		return;
	SHMFS_LOCKED(&snapshot->users->lock);
	put_locked(snapshot);
}

void shmfs_users_free(struct shmfs_users *users)
{
	put_locked(users->last);
	pthread_cond_destroy(&users->taken);
	pthread_mutex_destroy(&users->lock);
	free(users);
}

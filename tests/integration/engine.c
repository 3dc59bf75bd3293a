/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include "harness.h"

#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define CONNECTIONS STAGE "/connections"

/* FUSE_DEV_IOC_BACKING_CLOSE of Linux 6.9, which older headers lack. */
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

bool engine_is_passthrough(void)
{
	const char *options = getenv("SHMFS_TEST_OPTIONS");
	uint32_t id = 0;

	if (options && strstr(options, "nopassthrough"))
		return false;
	/* A kernel that knows the call misses the mount first. */
	int device = must(open("/dev/fuse", O_RDWR | O_CLOEXEC));
	bool known = ioctl(device, BACKING_CLOSE, &id) == -1 && errno == EPERM;
	close(device);
	return known;
}

/* --- with the daemon stopped --- */

struct attempt {
	bool (*call)(void *arg);
	void *arg;
	bool succeeded;
	atomic_bool over;
};

static void *run_attempt(void *arg)
{
	struct attempt *attempt = arg;
	attempt->succeeded = attempt->call(attempt->arg);
	attempt->over = true;
	return NULL;
}

/* Where the kernel counts the requests that wait for the daemon. */
static void find_waiting(char *path, size_t size)
{
	struct stat mount_point;

	must(stat(MNT, &mount_point));
	snprintf(path, size, CONNECTIONS "/%u/waiting", minor(mount_point.st_dev));
	if (mkdir(CONNECTIONS, 0700) == 0)
		must(mount("fusectl", CONNECTIONS, "fusectl", 0, NULL));
}

/* An open file goes on giving the count that it gave first. */
static bool somebody_waits(const char *path)
{
	char count[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool some = read(fd, count, sizeof(count) - 1) > 0 && atoi(count) > 0;
	close(fd);
	return some;
}

bool kernel_does(const struct fixture *fixture, bool (*call)(void *arg), void *arg)
{
	struct attempt attempt = { .call = call, .arg = arg };
	siginfo_t info;
	pthread_t thread;
	char waiting[64];

	find_waiting(waiting, sizeof(waiting));
	assert_true(eventually(!somebody_waits(waiting)));
	must(kill(fixture->daemon, SIGSTOP));
	must(waitid(P_PID, (id_t)fixture->daemon, &info, WSTOPPED));
	int err = pthread_create(&thread, NULL, run_attempt, &attempt);
	bool known = err == 0 && eventually(attempt.over || somebody_waits(waiting));
	bool alone = attempt.over;
	must(kill(fixture->daemon, SIGCONT));
	assert_int_equal(err, 0);
	pthread_join(thread, NULL);
	assert_true(known);
	assert_true(attempt.succeeded);
	return alone;
}

static bool read_byte(void *arg)
{
	char byte;
	return pread(*(const int *)arg, &byte, 1, 0) == 1;
}

static bool write_byte(void *arg)
{
	return pwrite(*(const int *)arg, "w", 1, 0) == 1;
}

bool kernel_reads(const struct fixture *fixture, int fd)
{
	return kernel_does(fixture, read_byte, &fd);
}

bool kernel_writes(const struct fixture *fixture, int fd)
{
	return kernel_does(fixture, write_byte, &fd);
}

/* --- the file behind a segment --- */

static int open_inode(const void *memory, size_t size, size_t page)
{
	size_t start = (size_t)memory;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/map_files/%zx-%zx", start,
		 start + (size + page - 1) / page * page);
	return must(open(path, O_PATH | O_CLOEXEC));
}

off_t inode_size(const void *memory, size_t size, size_t page)
{
	struct stat data;
	int fd = open_inode(memory, size, page);
	must(fstat(fd, &data));
	close(fd);
	return data.st_size;
}

bool inode_is_huge(const void *memory, size_t size, size_t page)
{
	struct statfs data;
	int fd = open_inode(memory, size, page);
	must(fstatfs(fd, &data));
	close(fd);
	return (unsigned long)data.f_type == HUGETLBFS_MAGIC;
}

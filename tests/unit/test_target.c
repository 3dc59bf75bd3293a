/* SPDX-License-Identifier: MIT */
/* Entering a target, with a directory in the place of /proc: what the kernel at hand cannot be. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/internal.h"

#define PROCESS 7

int __wrap_setns(int fd, int type);
void __wrap_shmfs_log(int priority, const char *format, ...);

static char said[512];
static int joined; /* how often */
static int setns_errno;

int __wrap_setns(int fd, int type)
{
	joined++;
	errno = setns_errno;
	return setns_errno ? -1 : 0;
}

void __wrap_shmfs_log(int priority, const char *format, ...)
{
	va_list args;

	assert_string_equal(said, "");
	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
}

static void make(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* A process 7 in the same mounts and other namespaces; the working directory is the "/proc". */
static int begin(void **state)
{
	char directory[] = "/tmp/shmfs-target-XXXXXX";

	said[0] = '\0';
	joined = 0;
	setns_errno = 0;
	assert_non_null(mkdtemp(directory));
	*state = strdup(directory);
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(mkdir("self", 0700) | mkdir("self/ns", 0700), 0);
	assert_int_equal(mkdir("7", 0700) | mkdir("7/ns", 0700), 0);
	assert_int_equal(symlink("/", "7/root"), 0);
	make("self/ns/ipc");
	make("self/ns/user");
	make("7/ns/ipc");
	make("7/ns/user");
	return 0;
}

static int end(void **state)
{
	static const char *const files[] = { "self/ns/ipc", "self/ns/user", "7/ns/ipc", "7/ns/user",
					     "7/root" };
	static const char *const directories[] = { "self/ns", "self", "7/ns", "7" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		unlinkat(AT_FDCWD, files[i], 0);
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		rmdir(directories[i]);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(*state), 0);
	free(*state);
	return 0;
}

static void assert_refused(int err, const char *word)
{
	assert_int_equal(shmfs_target_enter(".", PROCESS), err);
	assert_non_null(strstr(said, word));
	assert_non_null(strstr(said, "target=7: "));
}

static void what_is_opened_is_dev_shm(void **state)
{
	struct stat opened;
	struct stat there;
	int fd = shmfs_target_enter(".", PROCESS);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &opened) | stat("/dev/shm", &there), 0);
	assert_int_equal(opened.st_dev, there.st_dev);
	assert_int_equal(opened.st_ino, there.st_ino);
	assert_int_equal(joined, 1);
	assert_string_equal(said, "");
	close(fd);
}

static void our_own_namespace_is_not_joined(void **state)
{
	int fd;

	assert_int_equal(unlink("7/ns/ipc") | link("self/ns/ipc", "7/ns/ipc"), 0);
	fd = shmfs_target_enter(".", PROCESS);
	assert_true(fd >= 0);
	assert_int_equal(joined, 0);
	close(fd);
}

static void a_kernel_without_namespaces(void **state)
{
	assert_int_equal(unlink("7/ns/ipc") | unlink("self/ns/ipc"), 0);
	assert_refused(-EOPNOTSUPP, "no IPC namespaces");
}

static void a_process_that_ends_on_the_way(void **state)
{
	assert_int_equal(unlink("7/ns/ipc"), 0);
	assert_refused(-ENOENT, "no such process");
}

static void a_process_with_nothing_in_its_root(void **state)
{
	assert_int_equal(unlink("7/root") | symlink("7/ns", "7/root"), 0);
	assert_refused(-ENOENT, "no such process");
	said[0] = '\0';
	assert_int_equal(unlink("7/root") | symlink("ns", "7/root"), 0);
	assert_refused(-ENOENT, "/dev/shm: No such file");
	assert_int_equal(joined, 0);
}

static void joining_is_for_root(void **state)
{
	setns_errno = EPERM;
	assert_refused(-EPERM, "nsenter -t 7 ");
	/* Which would lead nowhere else. */
	assert_int_equal(unlink("7/ns/user") | link("self/ns/user", "7/ns/user"), 0);
	said[0] = '\0';
	assert_refused(-EPERM, "try as root");
	assert_null(strstr(said, "nsenter"));
	setns_errno = EINVAL;
	said[0] = '\0';
	assert_refused(-EINVAL, "Invalid argument");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_opened_is_dev_shm, begin, end),
		cmocka_unit_test_setup_teardown(our_own_namespace_is_not_joined, begin, end),
		cmocka_unit_test_setup_teardown(a_kernel_without_namespaces, begin, end),
		cmocka_unit_test_setup_teardown(a_process_that_ends_on_the_way, begin, end),
		cmocka_unit_test_setup_teardown(a_process_with_nothing_in_its_root, begin, end),
		cmocka_unit_test_setup_teardown(joining_is_for_root, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

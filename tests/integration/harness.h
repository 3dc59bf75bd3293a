/* SPDX-License-Identifier: MIT */
/*
 * What every integration test stands on.
 *
 * A test program begins with harness_enter(), which puts it into mount, IPC
 * and PID namespaces of its own: there it is process 1, /dev/shm is an empty
 * tmpfs, there are no segments, and when it ends, by whatever cause, every
 * mount, segment and process that it made ends with it.  Nothing outside is
 * seen or touched, so tests may run side by side.
 *
 * Each case is registered with mounted(), mounted_with() or bare():
 *
 *	static void reads_what_was_put(void **state) { ... }
 *
 *	int main(void)
 *	{
 *		const struct CMUnitTest tests[] = { mounted(reads_what_was_put) };
 *
 *		harness_enter(SHMFS_BINARY);
 *		return cmocka_run_group_tests(tests, NULL, NULL);
 *	}
 *
 * A mounted case has a fresh daemon on MNT.  When the case is over, the daemon
 * must hold nothing (no descriptor or attachment of an object), leave at an
 * unmount and exit with status 0: each case proves that as well.  What the
 * daemon wrote to its standard error is shown at the end of the case.
 *
 * SHMFS_TEST_OPTIONS in the environment is appended to -o of every mount;
 * SHMFS_TEST_PATIENCE, a number, multiplies all time limits.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "daemon.h"
#include "witness.h"

/* Places inside the namespaces. */
#define STAGE "/mnt"	  /* a tmpfs */
#define MNT STAGE "/shm"  /* where the daemon mounts */
#define BIN STAGE "/bin"  /* shmfs, classic and what is preloaded, for every user */
#define TMP STAGE "/tmp"  /* scratch, mode 1777; emptied after each case */
#define RUN "/run"	  /* an empty tmpfs, where the daemon notes what outlives it */
#define NATIVE "/dev/shm" /* the objects themselves */
#define NATIVE_SIZE "64M" /* of the tmpfs there, unless a case changes it */

/*
 * Enter the namespaces.  `binary` is the path of the daemon.  Returns in the
 * new process 1; the caller waits there and never returns.  Without root the
 * program ends with status 77, a skipped test.
 */
void harness_enter(const char *binary);

/* A time limit times SHMFS_TEST_PATIENCE of the environment, for slow machines. */
int patience(int limit);

/* Cases. */
#define mounted(test) mounted_with(test, NULL)
#define mounted_with(test, options) \
	cmocka_unit_test_prestate_setup_teardown(test, fixture_mount, fixture_end, \
						 (char *)(options))
#define mounted_by_user(test) mounted_by_user_with(test, NULL)
#define mounted_by_user_with(test, options) \
	cmocka_unit_test_prestate_setup_teardown(test, fixture_mount_as_nobody, fixture_end, \
						 (char *)(options))
#define bare(test) cmocka_unit_test_setup_teardown(test, fixture_begin, fixture_end)

/* Skip a case where `condition`, which `what` words, is not met. */
#define needs(condition, what) \
	do { \
		if (!(condition)) { \
			print_message("skipped: needs " what "\n"); \
			skip(); \
		} \
	} while (0)
#define USER_XATTRS "user attributes on tmpfs (Linux 6.6)"

/* The value of a system call that has to succeed. */
#define must(call) \
	({ \
		__typeof__(call) must_ = (call); \
		if (must_ == -1) \
			fail_msg("%s: %s", #call, strerror(errno)); \
		must_; \
	})

/* A system call that has to fail with `code`. */
#define must_fail(code, call) \
	do { \
		errno = 0; \
		if ((call) != -1) \
			fail_msg("%s succeeded", #call); \
		if (errno != (code)) \
			fail_msg("%s: %s, not %s", #call, strerror(errno), #code); \
	} while (0)

/* Whether `condition` comes true in a time that only a fault exceeds. */
#define eventually(condition) \
	({ \
		int tries_ = patience(5000); \
		while (!(condition) && --tries_ > 0) \
			usleep(1000); \
		tries_ > 0; \
	})

/* 1 where the daemon and the tests are built with a sanitizer, which takes its time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define array_size(array) (sizeof(array) / sizeof((array)[0]))

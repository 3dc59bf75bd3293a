/* SPDX-License-Identifier: MIT */
/* Commands, children and other users. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct user {
	uid_t uid;
	gid_t gid;
	gid_t group; /* the one supplementary group */
};

extern const struct user ROOT, ALICE, BOB, NOBODY;

/*
 * Run a shell command.  Standard output and error go to `output` (NULL: to
 * those of the test), cut to `size` with its NUL.  Returns the exit status, or
 * 128 and the signal.
 */
int shell(char *output, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Whether `output` is one line with `word` in it, as an error has to be. */
bool is_one_line_with(const char *output, const char *word);

/*
 * Act as `user` from here on: the effective ids, which are what the kernel
 * asks for at files and segments.  The case goes back with become(&ROOT), or
 * its tear-down does.
 */
void become(const struct user *user);

/*
 * Run function(arg) in a child that is `user` for good, all three ids.
 * Returns what the function returned, 0..255.  The child must not use cmocka's
 * assertions but child_must().
 */
int run_as(const struct user *user, int (*function)(void *arg), void *arg);

/*
 * The same for children that run at a time, as the user that the case is now:
 * child_start() returns at once, children_join() when all have ended, with the
 * number of those that returned other than 0.
 */
pid_t child_start(int (*function)(int number), int number);
int children_join(const pid_t *children, int count);

/* A descriptor of ours that a process which has ended by now has opened, or -1. */
int open_as_other(const char *path, int flags);

/* In such a function: return 1, with a word why, unless `condition` holds. */
#define child_must(condition) \
	do { \
		if (!(condition)) \
			return child_failed(#condition, __FILE__, __LINE__); \
	} while (0)
int child_failed(const char *condition, const char *file, int line);

/* The exit status in what waitpid(2) gave, or 128 and the signal. */
int exit_status(int status);

/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>

const struct user ROOT = { 0, 0, 0 };
const struct user ALICE = { 1001, 1001, 2000 };
const struct user BOB = { 1002, 1002, 2001 };
const struct user NOBODY = { 65534, 65534, 65534 }; /* has a name everywhere: fusermount3 asks */

int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Everything that comes, also what no longer fits. */
static void read_to_end(int fd, char *output, size_t size)
{
	char chunk[4096];
	size_t used = 0;
	ssize_t count;

	while ((count = read(fd, chunk, sizeof(chunk))) > 0) {
		size_t room = output ? size - 1 - used : 0;
		size_t take = (size_t)count < room ? (size_t)count : room;
		if (take > 0)
			memcpy(output + used, chunk, take);
		used += take;
	}
	if (output)
		output[used] = '\0';
}

int shell(char *output, size_t size, const char *format, ...)
{
	char command[4096];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);

	int ends[2];
	must(pipe2(ends, O_CLOEXEC));
	fflush(NULL);
	pid_t child = must(fork());
	if (child == 0) {
		if (output) {
			dup2(ends[1], STDOUT_FILENO);
			dup2(ends[1], STDERR_FILENO);
		}
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	read_to_end(ends[0], output, size);
	close(ends[0]);
	int status;
	must(waitpid(child, &status, 0));
	return exit_status(status);
}

bool is_one_line_with(const char *output, const char *word)
{
	const char *newline = strchr(output, '\n');
	return newline && newline != output && newline[1] == '\0' && strstr(output, word);
}

void become(const struct user *user)
{
	/* Group ids can be changed by root alone: first back, then on. */
	must(seteuid(0));
	must(setgroups(1, &user->group));
	must(setegid(user->gid));
	must(seteuid(user->uid));
	/* A change of ids clears it. */
	must(prctl(PR_SET_PDEATHSIG, SIGKILL));
}

int run_as(const struct user *user, int (*function)(void *arg), void *arg)
{
	fflush(NULL);
	pid_t child = must(fork());
	if (child == 0) {
		if (setgroups(1, &user->group) == -1 ||
		    setresgid(user->gid, user->gid, user->gid) == -1 ||
		    setresuid(user->uid, user->uid, user->uid) == -1)
			_exit(255);
		_exit(function(arg));
	}
	int status;
	must(waitpid(child, &status, 0));
	return exit_status(status);
}

pid_t child_start(int (*function)(int number), int number)
{
	fflush(NULL);
	pid_t child = must(fork());
	if (child == 0)
		_exit(function(number));
	return child;
}

int children_join(const pid_t *children, int count)
{
	int failed = 0, status;
	for (int i = 0; i < count; i++) {
		must(waitpid(children[i], &status, 0));
		failed += exit_status(status) != 0;
	}
	return failed;
}

struct opening {
	const char *path;
	int flags;
};

static int open_file(void *arg)
{
	const struct opening *opening = arg;
	return open(opening->path, opening->flags);
}

int open_as_other(const char *path, int flags)
{
	static char stack[64 << 10] __attribute__((aligned(16)));
	struct opening opening = { path, flags };
	int status;
	pid_t child =
		must(clone(open_file, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &opening));
	must(waitpid(child, &status, 0));
	return (signed char)exit_status(status);
}

int child_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: in a child: %s (%s)\n", file, line, condition, strerror(errno));
	return 1;
}

/* SPDX-License-Identifier: MIT */
#include "holders.h"

#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

pid_t holders[HOLDERS];
int nholders;
bool holder_thread_ends;

pid_t hold(bool (*take)(void), const struct user *user)
{
	int ready[2];
	char byte;
	assert_in_range(nholders, 0, HOLDERS - 1);
	must(pipe2(ready, O_CLOEXEC));
	fflush(NULL);
	pid_t pid = must(fork());
	if (pid == 0) {
		prctl(PR_SET_NAME, "holder");
		if (setgroups(0, NULL) == -1 || setresgid(user->gid, user->gid, user->gid) == -1 ||
		    setresuid(user->uid, user->uid, user->uid) == -1 || !take())
			_exit(1);
		/* A change of ids makes a process root's in /proc, as for a daemon. */
		prctl(PR_SET_DUMPABLE, 1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		while (!holder_thread_ends)
			pause();
		syscall(SYS_exit, 0); /* of this thread */
	}
	close(ready[1]);
	holders[nholders++] = pid;
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

void let_go(void)
{
	while (nholders > 0) {
		kill(holders[--nholders], SIGKILL);
		waitpid(holders[nholders], NULL, 0);
	}
}

bool attach(void)
{
	return shmat(segment_find(KEY), NULL, 0) != (void *)-1;
}

bool open_and_map(const char *path, bool keep_open, bool keep_mapped)
{
	int fd = open(path, O_RDWR);
	void *map =
		fd == -1 || !keep_mapped ? NULL : mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	return fd != -1 && map != MAP_FAILED && (keep_open || close(fd) == 0);
}

bool open_object(void)
{
	return open_and_map(NATIVE "/frames", true, false);
}

bool map_object(void)
{
	return open_and_map(NATIVE "/frames", false, true);
}

bool open_through_mount(void)
{
	return open_and_map(OBJECT, true, false);
}

bool map_through_mount(void)
{
	return open_and_map(OBJECT, false, true);
}

bool open_segment_through_mount(void)
{
	return open_and_map(SEGMENT, true, false);
}

bool map_segment_through_mount(void)
{
	return open_and_map(SEGMENT, false, true);
}

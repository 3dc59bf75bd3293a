/* SPDX-License-Identifier: MIT */
#include "container.h"

#include "harness.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { NAMESPACES = CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWPID };

static struct {
	pid_t init; /* 0: none runs */
	int ipc;    /* descriptors of its namespaces and of ours */
	int mounts;
	int own_ipc;
	int own_mounts;
} container;

pid_t container_pid(void)
{
	return container.init;
}

/* What the parent and the child tell each other. */
struct channel {
	int mapped[2]; /* to the child: its ids mean something now */
	int ready[2];  /* from the child: all is there */
};

static void __attribute__((noreturn))
live_inside(const struct channel *channel, const char *root, bool has_users)
{
	char byte;

	close(channel->mapped[1]);
	if (read(channel->mapped[0], &byte, 1) != 1)
		_exit(1);
	if (has_users && (setresgid(0, 0, 0) == -1 || setresuid(0, 0, 0) == -1))
		_exit(2);
	/* Not the child of a program with changed ids, but one like any other. */
	prctl(PR_SET_DUMPABLE, 1);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    (!root && mount("tmpfs", NATIVE, "tmpfs", 0, "mode=1777,size=8M") == -1))
		_exit(3);
	if (root && chroot(root) == -1)
		_exit(4);
	if (write(channel->ready[1], "", 1) != 1)
		_exit(5);
	for (;;)
		pause();
}

static void write_file(pid_t process, const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", process, name);
	file_write(path, 0, text, strlen(text));
}

static void map_ids(pid_t process, const struct user *owner)
{
	char map[64];
	snprintf(map, sizeof(map), "0 %u 1\n", owner->uid);
	write_file(process, "uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1\n", owner->gid);
	write_file(process, "gid_map", map);
}

static int open_namespace(pid_t process, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", process, name);
	return must(open(path, O_RDONLY | O_CLOEXEC));
}

void container_start(const char *root, const struct user *owner)
{
	struct channel channel;
	char byte;

	must(pipe2(channel.mapped, O_CLOEXEC));
	must(pipe2(channel.ready, O_CLOEXEC));
	fflush(NULL);
	if (owner)
		become(owner);
	/* As fork(2), and only this process's own thread goes on there. */
	container.init =
		(pid_t)must(syscall(SYS_clone, NAMESPACES | (owner ? CLONE_NEWUSER : 0) | SIGCHLD,
				    NULL, NULL, NULL, NULL));
	if (container.init == 0)
		live_inside(&channel, root, owner);
	if (owner) {
		become(&ROOT);
		map_ids(container.init, owner);
	}
	must((int)write(channel.mapped[1], "", 1));
	close(channel.ready[1]);
	assert_int_equal(read(channel.ready[0], &byte, 1), 1);
	close(channel.ready[0]);
	close(channel.mapped[0]);
	close(channel.mapped[1]);
	container.ipc = open_namespace(container.init, "ipc");
	container.mounts = open_namespace(container.init, "mnt");
	container.own_ipc = open_namespace(getpid(), "ipc");
	container.own_mounts = open_namespace(getpid(), "mnt");
}

void container_stop(void)
{
	if (container.init == 0)
		return;
	container_leave();
	kill(container.init, SIGKILL);
	waitpid(container.init, NULL, 0);
	container.init = 0;
	close(container.ipc);
	close(container.mounts);
	close(container.own_ipc);
	close(container.own_mounts);
}

void container_enter(void)
{
	/* A sanitizer has a thread of its own, and who shares a root cannot have other mounts. */
	must(unshare(CLONE_FS));
	must(setns(container.ipc, CLONE_NEWIPC));
	must(setns(container.mounts, CLONE_NEWNS));
}

void container_leave(void)
{
	must(unshare(CLONE_FS));
	must(setns(container.own_mounts, CLONE_NEWNS));
	must(setns(container.own_ipc, CLONE_NEWIPC));
}

void container_mount(struct fixture *fixture)
{
	char options[64];

	snprintf(options, sizeof(options), "target=%d", container.init);
	daemon_start(fixture, options);
	daemon_is_idle(fixture);
}

int container_end(void **state)
{
	container_stop();
	return fixture_end(state);
}

/* SPDX-License-Identifier: MIT */
#include "rights.h"

#include "harness.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

static int result_of(int value)
{
	return value == -1 ? errno : 0;
}

/* --- on a file --- */

static int open_file(const char *path, const char *unused, const struct user *actor, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);
	int result = result_of(fd);
	if (fd != -1)
		close(fd);
	return result;
}

static int create_file(const char *path, const char *unused, const struct user *actor, int flags)
{
	int result = open_file(unused, NULL, NULL, flags);
	if (result == 0)
		unlink(unused);
	return result;
}

static int access_file(const char *path, const char *unused, const struct user *actor, int mode)
{
	return result_of(access(path, mode));
}

static int stat_file(const char *path, const char *unused, const struct user *actor, int arg)
{
	struct stat st;
	return result_of(stat(path, &st));
}

static int truncate_file(const char *path, const char *unused, const struct user *actor, int size)
{
	return result_of(truncate(path, size));
}

static int unlink_file(const char *path, const char *unused, const struct user *actor, int arg)
{
	return result_of(unlink(path));
}

static int rename_file(const char *path, const char *unused, const struct user *actor, int arg)
{
	return result_of(rename(path, unused));
}

static int chmod_file(const char *path, const char *unused, const struct user *actor, int mode)
{
	return result_of(chmod(path, (mode_t)mode));
}

/* Who is to have it. */
enum { TO_OTHER = 1, TO_SELF, TO_OWN_GROUP, TO_OTHER_GROUP };

static void owner_of(int to, const struct user *actor, uid_t *uid, gid_t *gid)
{
	*uid = to == TO_OTHER ? BOB.uid : to == TO_SELF ? actor->uid : (uid_t)-1;
	*gid = to == TO_OTHER_GROUP ? BOB.gid : to == TO_OWN_GROUP ? actor->group : (gid_t)-1;
}

static int chown_file(const char *path, const char *unused, const struct user *actor, int to)
{
	uid_t uid;
	gid_t gid;
	owner_of(to, actor, &uid, &gid);
	return result_of(chown(path, uid, gid));
}

static int touch_file(const char *path, const char *unused, const struct user *actor, int now)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	return result_of(utimensat(AT_FDCWD, path, now ? NULL : times, 0));
}

static int get_note(const char *path, const char *unused, const struct user *actor, int arg)
{
	char value[16];
	return result_of((int)getxattr(path, "user.note", value, sizeof(value)));
}

static int set_note(const char *path, const char *unused, const struct user *actor, int arg)
{
	return result_of(setxattr(path, "user.note", "hi", 2, 0));
}

static int get_attribute(const char *path, const char *unused, const struct user *actor, int arg)
{
	char value[16];
	return result_of((int)getxattr(path, "user.shm.nattch", value, sizeof(value)));
}

static int set_locked(const char *path, const char *unused, const struct user *actor, int arg)
{
	return result_of(setxattr(path, "user.shm.locked", "1", 1, 0));
}

/* --- on a segment --- */

static int id_of(const struct target *target, int flags)
{
	return target->id != -1 ? target->id : shmget(target->key, 0, flags);
}

/* What it takes to read (SHM_RDONLY), or to write as well (0). */
static int attach(const struct target *target, int flags)
{
	int id = id_of(target, 0);
	const void *memory = id == -1 ? (void *)-1 : shmat(id, NULL, flags);
	if (memory == (void *)-1)
		return errno;
	return result_of(shmdt(memory));
}

static int clear(const struct target *target, int arg)
{
	char *memory = shmat(id_of(target, 0), NULL, 0);
	if (memory == (void *)-1)
		return errno;
	memory[0] = 0;
	return result_of(shmdt(memory));
}

/* As programs do that make the segment if it is not there. */
static int get_and_attach(const struct target *target, int flags)
{
	int bits = flags & SHM_RDONLY ? 0444 : 0666;
	return id_of(target, IPC_CREAT | bits) == -1 ? errno : attach(target, flags);
}

static int get_exclusively(const struct target *target, int arg)
{
	return result_of(shmget(target->key, 4096, IPC_CREAT | IPC_EXCL | 0666));
}

static int get_another(const struct target *target, int arg)
{
	int id = shmget(target->key + 1, 4096, IPC_CREAT | IPC_EXCL | 0666);
	if (id == -1)
		return errno;
	return result_of(shmctl(id, IPC_RMID, NULL));
}

static int look_at(const struct target *target, int arg)
{
	struct shmid_ds data;
	return result_of(shmctl(id_of(target, 0), SHM_STAT_ANY, &data));
}

static int remove_segment(const struct target *target, int arg)
{
	return result_of(shmctl(id_of(target, 0), IPC_RMID, NULL));
}

/* A segment of another size is another segment, with the bytes of the first. */
static int replace(const struct target *target, int arg)
{
	int result = attach(target, 0);
	return result ? result : remove_segment(target, arg);
}

static int set_mode(const struct target *target, int mode)
{
	struct shmid_ds data;
	int id = id_of(target, 0);
	if (shmctl(id, SHM_STAT_ANY, &data) == -1)
		return errno;
	data.shm_perm.mode = (unsigned short)mode;
	return result_of(shmctl(id, IPC_SET, &data));
}

static int set_owner(const struct target *target, int to)
{
	struct shmid_ds data;
	uid_t uid;
	gid_t gid;
	int id = id_of(target, 0);
	if (shmctl(id, SHM_STAT_ANY, &data) == -1)
		return errno;
	owner_of(to, target->actor, &uid, &gid);
	if (uid != (uid_t)-1)
		data.shm_perm.uid = uid;
	if (gid != (gid_t)-1)
		data.shm_perm.gid = gid;
	return result_of(shmctl(id, IPC_SET, &data));
}

/* Times are nothing that a program can set; what moves ctime is this. */
static int set_nothing(const struct target *target, int arg)
{
	return set_owner(target, 0);
}

static int lock(const struct target *target, int command)
{
	return result_of(shmctl(id_of(target, 0), command, NULL));
}

enum { RD = SHM_RDONLY, RDWR = 0 };

const struct operation rights_operations[] = {
	{ "stat", stat_file, look_at, 0, 0, LEAVES, ANYWHERE },
	{ "access r", access_file, attach, R_OK, RD, LEAVES, ANYWHERE },
	{ "access w", access_file, attach, W_OK, RDWR, LEAVES, ANYWHERE },
	{ "access rw", access_file, attach, R_OK | W_OK, RDWR, LEAVES, ANYWHERE },
	{ "open r", open_file, attach, O_RDONLY, RD, LEAVES, ANYWHERE },
	{ "open w", open_file, attach, O_WRONLY, RDWR, LEAVES, ANYWHERE },
	{ "open rw", open_file, attach, O_RDWR, RDWR, LEAVES, ANYWHERE },
	{ "open r+trunc", open_file, clear, O_RDONLY | O_TRUNC, 0, CHANGES, ANYWHERE },
	{ "open w+trunc", open_file, clear, O_WRONLY | O_TRUNC, 0, CHANGES, ANYWHERE },
	{ "open rw+trunc", open_file, clear, O_RDWR | O_TRUNC, 0, CHANGES, ANYWHERE },
	{ "open r+creat", open_file, get_and_attach, O_RDONLY | O_CREAT, RD, LEAVES, NOT_BY_ID },
	{ "open rw+creat", open_file, get_and_attach, O_RDWR | O_CREAT, RDWR, LEAVES, NOT_BY_ID },
	{ "open creat+excl", open_file, get_exclusively, O_RDWR | O_CREAT | O_EXCL, 0, LEAVES,
	  NOT_BY_ID },
	{ "create another", create_file, get_another, O_RDWR | O_CREAT | O_EXCL, 0, LEAVES,
	  NOT_BY_ID },
	{ "truncate to 0", truncate_file, clear, 0, 0, CHANGES, ANYWHERE },
	{ "truncate", truncate_file, replace, 8192, 0, REPLACES, NOT_BY_ID },
	{ "unlink", unlink_file, remove_segment, 0, 0, CHANGES, ANYWHERE },
	{ "rename", rename_file, NULL, 0, 0, CHANGES, ANYWHERE },
	{ "chmod", chmod_file, set_mode, 0604, 0604, CHANGES, ANYWHERE },
	{ "chown to other", chown_file, set_owner, TO_OTHER, TO_OTHER, CHANGES, ANYWHERE },
	{ "chown to self", chown_file, set_owner, TO_SELF, TO_SELF, CHANGES, ANYWHERE },
	{ "chgrp to own", chown_file, set_owner, TO_OWN_GROUP, TO_OWN_GROUP, CHANGES, ANYWHERE },
	{ "chgrp to other", chown_file, set_owner, TO_OTHER_GROUP, TO_OTHER_GROUP, CHANGES,
	  ANYWHERE },
	{ "set times", touch_file, set_nothing, 0, 0, LEAVES, ANYWHERE },
	{ "touch", touch_file, NULL, 1, 0, LEAVES, ANYWHERE },
	{ "get attribute", get_attribute, look_at, 0, 0, LEAVES, OF_SEGMENTS },
	{ "lock", set_locked, lock, 0, SHM_LOCK, CHANGES, OF_SEGMENTS },
	{ "get xattr", get_note, NULL, 0, 0, LEAVES, ANYWHERE },
	{ "set xattr", set_note, NULL, 0, 0, LEAVES, ANYWHERE },
};
const size_t rights_operation_count = array_size(rights_operations);

/* --- the actor --- */

struct request {
	const struct operation *operation; /* the same address on both sides of a fork */
	struct target target;
	bool mounted;
};

static int perform(const struct request *request)
{
	const struct operation *operation = request->operation;
	const struct target *target = &request->target;

	if (request->mounted)
		return operation->to_file(target->path, target->unused, target->actor,
					  operation->arg);
	if (target->is_segment)
		return operation->to_segment(target, operation->segment_arg);
	return operation->to_file(target->native, target->unused_too, target->actor,
				  operation->arg);
}

static int be_user(const struct user *user, bool powerless)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	umask(0);
	if (setgroups(1, &user->group) == -1 || setresgid(user->gid, user->gid, user->gid) == -1 ||
	    setresuid(user->uid, user->uid, user->uid) == -1)
		return -1;
	return powerless ? (int)syscall(SYS_capset, &header, none) : 0;
}

static void __attribute__((noreturn)) serve(const struct actor *actor)
{
	struct request request;
	int result;

	while (read(actor->from, &request, sizeof(request)) == sizeof(request)) {
		result = perform(&request);
		if (write(actor->to, &result, sizeof(result)) != sizeof(result))
			break;
	}
	_exit(0);
}

struct actor actor_start(const struct user *user, bool powerless)
{
	int requests[2], results[2];
	must(pipe2(requests, O_CLOEXEC));
	must(pipe2(results, O_CLOEXEC));
	fflush(NULL);
	pid_t pid = must(fork());
	if (pid == 0) {
		close(requests[1]);
		close(results[0]);
		if (be_user(user, powerless) == -1)
			_exit(255);
		serve(&(struct actor){ .from = requests[0], .to = results[1] });
	}
	close(requests[0]);
	close(results[1]);
	return (struct actor){ .pid = pid, .to = requests[1], .from = results[0] };
}

void actor_stop(const struct actor *actor)
{
	int status;
	close(actor->to);
	close(actor->from);
	must(waitpid(actor->pid, &status, 0));
	assert_int_equal(exit_status(status), 0);
}

int actor_do(const struct actor *actor, const struct operation *operation,
	     const struct target *target, bool mounted)
{
	const struct request request = { operation, *target, mounted };
	int result;
	assert_int_equal(write(actor->to, &request, sizeof(request)), sizeof(request));
	assert_int_equal(read(actor->from, &result, sizeof(result)), sizeof(result));
	return result;
}

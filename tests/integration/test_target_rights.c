/* SPDX-License-Identifier: MIT */
/*
 * Who may show a process's shared memory, whose it is then, and what a hostile
 * container can do.
 */
#include "harness.h"

#include "container.h"

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"
#define SHMFS "timeout 10 " BIN "/shmfs -f "
#define ROOTFS TMP "/root" /* for a container that is chrooted */
#define SECRET TMP "/secret"

enum { KEY = 3148, PAGE = 4096 };

/* --- a user namespace around it --- */

static int make_own_memory(void *arg)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | IPC_EXCL | 0600);
	int object = open(NATIVE "/frames", O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(id != -1 && object != -1);
	child_must(write(object, "inside", 7) == 7);
	return 0;
}

/* The owner of the container, or what he is inside: 0. */
static void start_container_of(const struct user *owner)
{
	container_start(NULL, owner);
	inside(assert_int_equal(run_as(owner, make_own_memory, NULL), 0));
}

static void owners_are_those_outside_a_user_namespace(void **state)
{
	start_container_of(&ALICE);
	container_mount(*state);
	assert_int_equal(file_stat(SEGMENT).st_uid, ALICE.uid);
	assert_int_equal(file_stat(OBJECT).st_uid, ALICE.uid);
	assert_true(file_has(OBJECT, 0, "inside", 7));
	file_write(SEGMENT, 0, "root", 5);
	become(&ALICE);
	file_write(MNT "/7000", O_CREAT | O_EXCL, "hers", 5);
	file_write(MNT "/new", O_CREAT | O_EXCL, "hers", 5);
	become(&ROOT);
	assert_int_equal(file_stat(MNT "/7000").st_uid, ALICE.uid);
	/* Its tmpfs keeps owners in its own numbers, and has none for root outside. */
	must_fail(EOVERFLOW, open(MNT "/roots", O_CREAT | O_RDWR, 0600));
}

/* --- who may --- */

static int refuse(void *arg)
{
	const char *const *words = arg;
	char command[256];
	char output[1024] = "";

	snprintf(command, sizeof(command), SHMFS "-o target=%s " MNT " 2>&1 >/dev/null", words[0]);
	FILE *shmfs = popen(command, "r");
	child_must(shmfs);
	child_must(fread(output, 1, sizeof(output) - 1, shmfs) > 0);
	int status = exit_status(pclose(shmfs));
	if (status != 1 || !is_one_line_with(output, words[1]))
		fprintf(stderr, "target=%s: status %d, \"%s\"\n", words[0], status, output);
	child_must(status == 1);
	child_must(is_one_line_with(output, words[1]));
	return 0;
}

static void assert_refused(const struct user *user, const char *target, const char *word)
{
	const char *words[] = { target, word };
	assert_int_equal(run_as(user, refuse, words), 0);
	assert_false(daemon_is_mounted());
}

static void what_is_no_process_is_refused(void **state)
{
	static const char *const targets[] = { "0",  "-1",   "abc",	    "12x", "0x10",
					       "+5", "\\ 5", "99999999999", "",	   "1.5" };
	for (size_t i = 0; i < array_size(targets); i++)
		assert_refused(&ROOT, targets[i], "target");
}

static void processes_that_are_gone_are_refused(void **state)
{
	char target[16];
	siginfo_t info;
	pid_t child = must(fork());
	if (child == 0)
		_exit(0);
	snprintf(target, sizeof(target), "%d", child);
	/* First it has ended and its parent does not know, then it is nobody. */
	must(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
	assert_refused(&ROOT, target, "no such process");
	must(waitpid(child, NULL, 0));
	assert_refused(&ROOT, target, "no such process");
}

static void a_user_may_not_look_into_others_processes(void **state)
{
	assert_refused(&NOBODY, "1", "no permission");
}

static void a_user_is_told_the_way_into_his_own_container(void **state)
{
	char target[16];
	start_container_of(&NOBODY);
	snprintf(target, sizeof(target), "%d", container_pid());
	assert_refused(&NOBODY, target, "nsenter -t");
}

/* Does what the message says, and uses the mount. */
static int go_that_way(void *arg)
{
	char command[512];
	snprintf(command, sizeof(command),
		 "nsenter -t %d -U --preserve-credentials unshare -m sh -e -c '" BIN
		 "/shmfs -o target=%d " MNT "; head -c 6 " OBJECT "; echo hi > " SEGMENT
		 "; head -c 2 " SEGMENT "; echo hi > " MNT "/new; umount " MNT "'",
		 container_pid(), container_pid());
	FILE *shell_there = popen(command, "r");
	char output[64] = "";
	child_must(shell_there);
	child_must(fread(output, 1, sizeof(output) - 1, shell_there) > 0);
	child_must(pclose(shell_there) == 0);
	child_must(strcmp(output, "insidehi") == 0);
	return 0;
}

static void that_way_leads_there(void **state)
{
	start_container_of(&NOBODY);
	assert_int_equal(run_as(&NOBODY, go_that_way, NULL), 0);
	inside(assert_true(object_has("new", 0, "hi\n", 3)));
}

static int wait_as_user(int number)
{
	if (setresgid(NOBODY.gid, NOBODY.gid, NOBODY.gid) == -1 ||
	    setresuid(NOBODY.uid, NOBODY.uid, NOBODY.uid) == -1)
		return 1;
	execlp("sleep", "sleep", "1000", (char *)NULL);
	return 1;
}

/* Nothing has to be joined then, which only root could. */
static void a_users_process_here_needs_no_rights(void **state)
{
	pid_t process = child_start(wait_as_user, 0);
	char command[256];
	int status = 1;
	object_create("frames", 10);
	must(chown(MNT, NOBODY.uid, NOBODY.gid));
	snprintf(command, sizeof(command),
		 "setpriv --reuid %u --regid %u --clear-groups sh -c '" BIN
		 "/shmfs -o target=%d " MNT " 2>/dev/null && stat " OBJECT
		 " >/dev/null && fusermount3 -u " MNT "'",
		 NOBODY.uid, NOBODY.gid, process);
	/* Until the child is who it will be. */
	eventually((status = shell(NULL, 0, "%s", command)) == 0);
	kill(process, SIGKILL);
	waitpid(process, NULL, 0);
	assert_int_equal(status, 0);
}

/* --- what a hostile container can do --- */

static void make_rootfs(void)
{
	must(mkdir(ROOTFS, 0755));
	must(mkdir(ROOTFS "/dev", 0755));
	must(mkdir(ROOTFS "/run", 0755));
	must(mkdir(ROOTFS "/run/shm", 01777));
	must(mkdir(SECRET, 0755));
	file_write(SECRET "/key", O_CREAT, "secret", 7);
	file_write(ROOTFS "/run/shm/frames", O_CREAT, "inside", 7);
}

static void assert_rootfs_refused(const char *word)
{
	char target[16];
	snprintf(target, sizeof(target), "%d", container_pid());
	assert_refused(&ROOT, target, word);
}

static void links_do_not_lead_out_of_the_container(void **state)
{
	static const char *const links[] = { SECRET, "../../../../../../.." SECRET,
					     "/proc/1/root" SECRET, "shm" };
	make_rootfs();
	must(mkdir(ROOTFS "/proc", 0755));
	must(mount("/proc", ROOTFS "/proc", NULL, MS_BIND, NULL));
	container_start(ROOTFS, NULL);
	for (size_t i = 0; i < array_size(links); i++) {
		must(symlink(links[i], ROOTFS "/dev/shm"));
		assert_rootfs_refused("/dev/shm");
		must(unlink(ROOTFS "/dev/shm"));
	}
	assert_rootfs_refused("/dev/shm: No such file");
	must(umount(ROOTFS "/proc"));
}

static void links_inside_the_container_are_followed(void **state)
{
	make_rootfs();
	must(symlink("/run/shm", ROOTFS "/dev/shm"));
	container_start(ROOTFS, NULL);
	container_mount(*state);
	assert_true(file_has(OBJECT, 0, "inside", 7));
}

static void only_a_tmpfs_will_do(void **state)
{
	make_rootfs();
	must(mkdir(ROOTFS "/dev/shm", 0755));
	must(mount("/proc/sys", ROOTFS "/dev/shm", NULL, MS_BIND, NULL));
	container_start(ROOTFS, NULL);
	assert_rootfs_refused("not a tmpfs");
	must(umount(ROOTFS "/dev/shm"));
}

#define alone(test) cmocka_unit_test_setup_teardown(test, fixture_begin, container_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		alone(owners_are_those_outside_a_user_namespace),
		alone(what_is_no_process_is_refused),
		alone(processes_that_are_gone_are_refused),
		alone(a_user_may_not_look_into_others_processes),
		alone(a_user_is_told_the_way_into_his_own_container),
		alone(that_way_leads_there),
		alone(a_users_process_here_needs_no_rights),
		alone(links_do_not_lead_out_of_the_container),
		alone(links_inside_the_container_are_followed),
		alone(only_a_tmpfs_will_do),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the mounted daemon may still do: what each kept capability is for,
 * and that nothing else is left.  That nothing else is needed is what all
 * other tests show.
 */
#include "harness.h"

#include <dirent.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* --- what each capability is for --- */

/* All of Alice's, and closed to everybody else. */
static void make_alices(void)
{
	become(&ALICE);
	segment_create(KEY, PAGE, 0600);
	become(&ROOT);
	object_create("frames", PAGE);
	must(chmod(NATIVE "/frames", 0600));
	must(chown(NATIVE "/frames", ALICE.uid, ALICE.gid));
}

static bool opens(const char *path)
{
	int fd = open(path, O_RDWR);
	if (fd != -1)
		close(fd);
	return fd != -1;
}

static bool root_changes_any_segment(struct fixture *fixture)
{
	return chmod(SEGMENT, 0640) == 0;
}

static bool a_user_owns_what_he_makes(struct fixture *fixture)
{
	become(&ALICE);
	bool made = mknod(MNT "/3149", S_IFREG | 0600, 0) == 0;
	become(&ROOT);
	return made && segment_stat(segment_find(3149)).shm_perm.cuid == ALICE.uid;
}

static bool a_user_opens_his_segment(struct fixture *fixture)
{
	become(&ALICE);
	return opens(SEGMENT);
}

/* The kernel knows the file meanwhile. */
static bool a_second_open_leaves_no_trace(struct fixture *fixture)
{
	int known = must(open(SEGMENT, O_PATH));
	bool opened = opens(SEGMENT);
	segment_detach(segment_attach(segment_find(KEY)));
	opened = opened && opens(SEGMENT);
	close(known);
	return opened && segment_stat(segment_find(KEY)).shm_lpid == getpid();
}

static bool a_user_opens_his_object(struct fixture *fixture)
{
	become(&ALICE);
	return opens(OBJECT);
}

/* By a descriptor of its memory, which is no attachment. */
static bool a_held_segment_keeps_its_size(struct fixture *fixture)
{
	become(&ALICE);
	int id = must(shmget(3150, PAGE, IPC_CREAT | 0600));
	become(&ROOT);
	const char *memory = segment_attach(id);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/map_files/%zx-%zx", (size_t)memory,
		 (size_t)memory + PAGE);
	int fd = must(open(path, O_RDWR));
	segment_detach(memory);
	bool kept = truncate(MNT "/3150", 2L * PAGE) == -1;
	close(fd);
	return kept;
}

static bool a_locked_segment_is_resized_over_the_limit(struct fixture *fixture)
{
	const struct rlimit limit = { PAGE, PAGE };
	must(prlimit(fixture->daemon, RLIMIT_MEMLOCK, &limit, NULL));
	must(shmctl(segment_find(KEY), SHM_LOCK, NULL));
	must(truncate(SEGMENT, 4L * PAGE));
	return segment_stat(segment_find(KEY)).shm_perm.mode & SHM_LOCKED;
}

static int lock_segment(int number)
{
	child_must(setxattr(SEGMENT, "user.shm.locked", "1", 1, 0) == -1);
	return 0;
}

static bool is_over(pid_t pid)
{
	siginfo_t info = { 0 };
	must(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT));
	return info.si_pid != 0;
}

/* Stopped by the insider, which has to be there: the user waits a second, not for ever. */
static bool a_stopped_process_that_locks_is_given_up(struct fixture *fixture)
{
	become(&ALICE);
	pid_t child = child_start(lock_segment, 0);
	become(&ROOT);
	for (int i = 0; i < 300 && !is_over(child); i++)
		usleep(10000);
	bool given_up = is_over(child);
	if (!given_up)
		shell(NULL, 0, "kill -CONT $(cat /proc/%d/task/*/children)", fixture->daemon);
	int failed = children_join(&child, 1);
	return given_up && failed == 0;
}

static bool root_changes_the_mode_of_any_object(struct fixture *fixture)
{
	return chmod(OBJECT, 0640) == 0;
}

static bool root_gives_objects_away(struct fixture *fixture)
{
	return chown(OBJECT, BOB.uid, BOB.gid) == 0;
}

static bool root_sets_the_group_id_bit_of_any_object(struct fixture *fixture)
{
	return chmod(OBJECT, 02750) == 0 && object_stat("frames").st_mode == (S_IFREG | 02750);
}

static bool root_gives_an_object_capabilities(struct fixture *fixture)
{
	const struct vfs_cap_data data = { .magic_etc = VFS_CAP_REVISION_2 };
	return setxattr(OBJECT, "security.capability", &data, XATTR_CAPS_SZ_2, 0) == 0;
}

static void mount_proc(const char *options)
{
	must(mount("proc", "/proc", "proc", MS_REMOUNT, options));
}

static bool groups_are_seen_in_a_hidden_proc(struct fixture *fixture)
{
	mount_proc("hidepid=2,gid=2001");
	become(&ALICE);
	bool changed = chown(OBJECT, (uid_t)-1, ALICE.group) == 0;
	become(&ROOT);
	mount_proc("hidepid=0,gid=0");
	return changed;
}

static const struct use {
	unsigned capability;
	bool (*works)(struct fixture *fixture); /* NULL: unit.follow shows it */
} uses[] = {
	{ CAP_SYS_ADMIN, root_changes_any_segment },
	{ CAP_SETUID, a_user_owns_what_he_makes },
	{ CAP_SETGID, a_user_owns_what_he_makes },
	{ CAP_IPC_OWNER, a_user_opens_his_segment },
	{ CAP_DAC_READ_SEARCH, a_second_open_leaves_no_trace },
	{ CAP_DAC_OVERRIDE, a_user_opens_his_object },
	{ CAP_LEASE, a_held_segment_keeps_its_size },
	{ CAP_IPC_LOCK, a_locked_segment_is_resized_over_the_limit },
	{ CAP_KILL, a_stopped_process_that_locks_is_given_up },
	{ CAP_FOWNER, root_changes_the_mode_of_any_object },
	{ CAP_CHOWN, root_gives_objects_away },
	{ CAP_FSETID, root_sets_the_group_id_bit_of_any_object },
	{ CAP_SETFCAP, root_gives_an_object_capabilities },
	{ CAP_SYS_NICE, NULL },
	{ CAP_SYS_PTRACE, groups_are_seen_in_a_hidden_proc },
};

static bool try_use(struct fixture *fixture, const struct use *use)
{
	make_alices();
	bool works = use->works(fixture);
	become(&ROOT);
	segments_remove_all();
	objects_remove_all();
	return works;
}

static void start_with_insider(struct fixture *fixture)
{
	setenv("LD_PRELOAD", BIN "/insider.so", 1);
	daemon_start(fixture, NULL);
	unsetenv("LD_PRELOAD");
}

static void each_capability_that_is_kept_is_used(void **state)
{
	struct fixture *fixture = *state;
	char number[16];
	for (size_t i = 0; i < array_size(uses); i++) {
		if (!uses[i].works)
			continue;
		snprintf(number, sizeof(number), "%u", uses[i].capability);
		setenv("SHMFS_WITHOUT", number, 1);
		start_with_insider(fixture);
		unsetenv("SHMFS_WITHOUT");
		if (try_use(fixture, &uses[i]))
			fail_msg("capability %s is not used where it was thought to be", number);
		daemon_stop(fixture);
		start_with_insider(fixture);
		if (!try_use(fixture, &uses[i]))
			fail_msg("capability %s is there and does not help", number);
		daemon_stop(fixture);
	}
}

/* --- that nothing else is left --- */

/* A field of /proc/PID/status, or of one thread's, that is a set of capabilities. */
static uint64_t set_of(const char *directory, const char *field)
{
	char path[PATH_MAX + 8], line[256];
	uint64_t set = UINT64_MAX;
	snprintf(path, sizeof(path), "%s/status", directory);
	FILE *status = fopen(path, "re");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, field, strlen(field)) == 0)
			set = strtoull(line + strlen(field), NULL, 16);
	}
	fclose(status);
	return set;
}

/* What the table above says, as far as we have it ourselves. */
static uint64_t expected_set(void)
{
	uint64_t set = 0;
	for (size_t i = 0; i < array_size(uses); i++)
		set |= UINT64_C(1) << uses[i].capability;
	return set & set_of("/proc/self", "CapPrm:");
}

static void assert_reduced(const char *directory, uint64_t expected)
{
	assert_int_equal(set_of(directory, "CapPrm:"), expected);
	assert_int_equal(set_of(directory, "CapEff:"), expected);
	assert_int_equal(set_of(directory, "CapInh:"), 0);
	assert_int_equal(set_of(directory, "CapAmb:"), 0);
}

/* All threads, those that have been somebody else among them. */
static void assert_threads_reduced(const struct fixture *fixture, uint64_t expected, bool filtered)
{
	char path[64], thread[PATH_MAX];
	unsigned count = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", fixture->daemon);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(thread, sizeof(thread), "%s/%s", path, entry->d_name);
		if (access(thread, F_OK) != 0)
			continue; /* it has ended since */
		assert_reduced(thread, expected);
		if (filtered) {
			assert_int_equal(set_of(thread, "CapBnd:"), 0);
			assert_int_equal(set_of(thread, "NoNewPrivs:"), 1);
			assert_int_equal(set_of(thread, "Seccomp:"), 2);
		}
		count++;
	}
	closedir(directory);
	assert_true(count > 2);
}

static int use_much(int number)
{
	char path[32];
	snprintf(path, sizeof(path), MNT "/%d", 5000 + number);
	for (int i = 0; i < 20; i++) {
		int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		child_must(fd != -1);
		child_must(fallocate(fd, 0, 0, 16L * PAGE) == 0);
		child_must(close(fd) == 0);
		child_must(unlink(path) == 0);
	}
	return 0;
}

/* Enough at a time for the daemon to start threads. */
static void keep_busy(const struct user *user)
{
	pid_t children[4];
	become(user);
	for (int i = 0; i < 4; i++)
		children[i] = child_start(use_much, i);
	assert_int_equal(children_join(children, 4), 0);
	become(&ROOT);
}

static void set_inheritable(uint32_t low)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	must((int)syscall(SYS_capget, &header, data));
	data[0].inheritable = low;
	data[1].inheritable = 0;
	must((int)syscall(SYS_capset, &header, data));
}

static void nothing_else_is_left_to_root(void **state)
{
	struct fixture *fixture = *state;
	/* Let it have something to give up. */
	set_inheritable(1U << CAP_KILL);
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	daemon_start(fixture, NULL);
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	set_inheritable(0);
	keep_busy(&ALICE);
	assert_threads_reduced(fixture, expected_set(), true);
	daemon_stop(fixture);
}

static void nothing_is_left_to_a_user(void **state)
{
	const struct fixture *fixture = *state;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d", fixture->daemon);
	assert_reduced(path, 0);
}

/* --- acting as a caller --- */

static void callers_have_no_capabilities_whoever_starts_the_daemon(void **state)
{
	struct fixture *fixture = *state;
	must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
	daemon_start(fixture, NULL);
	must(prctl(PR_SET_SECUREBITS, 0));
	make_alices();
	become(&BOB);
	must_fail(EPERM, chmod(SEGMENT, 0666));
	must_fail(EPERM, unlink(OBJECT));
	become(&ALICE);
	must(chmod(SEGMENT, 0666));
	must(unlink(OBJECT));
	become(&ROOT);
	daemon_stop(fixture);
}

static int start_with_capabilities_locked(void *arg)
{
	child_must(prctl(PR_SET_SECUREBITS,
			 SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED) == 0);
	return system("timeout 10 " BIN "/shmfs -f " MNT " 2> " TMP "/said") != 256;
}

static void without_the_rule_of_uids_it_does_not_serve(void **state)
{
	char output[256];
	assert_int_equal(run_as(&ROOT, start_with_capabilities_locked, NULL), 0);
	assert_false(daemon_is_mounted());
	shell(output, sizeof(output), "cat " TMP "/said");
	assert_non_null(strstr(output, "cannot give up privileges"));
}

/* --- what somebody who got in can do --- */

static int call_inside(const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "inside.%s", name);
	object_create(path, 0);
	snprintf(path, sizeof(path), MNT "/inside.%s", name);
	int result = rename(path, MNT "/x") == 0 ? 0 : errno;
	unlink(path);
	return result;
}

static void far_reaching_calls_are_refused(void **state)
{
	static const char *const refused[] = {
		"execve",
#ifndef __SANITIZE_ADDRESS__ /* LeakSanitizer needs it */
		"ptrace",
#endif
#ifndef SYS_socketcall /* a filter cannot see the family behind it */
		"inet",
#endif
		"process_vm_readv",
		"mount",
		"fsopen",
		"setns",
		"unshare",
		"clone",
		"bpf",
		"io_uring_setup",
		"keyctl",
	};
	struct fixture *fixture = *state;
	start_with_insider(fixture);
	for (size_t i = 0; i < array_size(refused); i++) {
		int result = call_inside(refused[i]);
		if (result != EPERM)
			fail_msg("%s: %s", refused[i], strerror(result));
	}
	assert_int_equal(call_inside("clone3"), ENOSYS);
	assert_int_equal(call_inside("unix"), 0);
	daemon_stop(fixture);
}

/* --- cores --- */

/* As others' settings might have it: a core, here. */
static void allow_cores(void)
{
	struct rlimit limit;
	must(getrlimit(RLIMIT_CORE, &limit));
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_CORE, &limit));
	must(chdir(TMP));
}

static void assert_dies_without_a_core(struct fixture *fixture)
{
	siginfo_t info;
	/* Of 1 byte: 0 is no limit where cores go to a program.  It is mounted a moment before. */
	assert_true(eventually(
		shell(NULL, 0, "grep -q '^Max core file size  *1  *1  *bytes' /proc/%d/limits",
		      fixture->daemon) == 0));
	must(kill(fixture->daemon, SIGABRT));
	must(waitid(P_PID, (id_t)fixture->daemon, &info, WEXITED));
	fixture->daemon = 0;
	assert_int_equal(info.si_code, CLD_KILLED);
	assert_int_equal(directory_count(TMP), 0);
}

static void no_core_of_roots_daemon_is_dumped(void **state)
{
	struct fixture *fixture = *state;
	allow_cores();
	daemon_start(fixture, NULL);
	assert_dies_without_a_core(fixture);
}

static void no_core_of_a_users_daemon_is_dumped(void **state)
{
	assert_dies_without_a_core(*state);
}

static int mount_with_cores(void **state)
{
	allow_cores();
	return fixture_mount_as_nobody(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bare(each_capability_that_is_kept_is_used),
		bare(nothing_else_is_left_to_root),
		mounted_by_user(nothing_is_left_to_a_user),
		bare(callers_have_no_capabilities_whoever_starts_the_daemon),
		bare(without_the_rule_of_uids_it_does_not_serve),
		bare(far_reaching_calls_are_refused),
		bare(no_core_of_roots_daemon_is_dumped),
		cmocka_unit_test_setup_teardown(no_core_of_a_users_daemon_is_dumped,
						mount_with_cores, fixture_end),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

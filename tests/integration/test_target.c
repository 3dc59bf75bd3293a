/* SPDX-License-Identifier: MIT */
/* `-o target=PID`: a container's shared memory on a mount outside of it. */
#include "harness.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "container.h"
#include "engine.h"

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"
#define SHMFS "timeout 10 " BIN "/shmfs -f "
#define ROOTFS TMP "/root" /* for a container that is chrooted */
#define SECRET TMP "/secret"

enum { KEY = 3148, PAGE = 4096 };

/* The container of the case that runs. */
static struct container box;

static void mount_target(struct fixture *fixture)
{
	char options[64];
	snprintf(options, sizeof(options), "target=%d", box.init);
	daemon_start(fixture, options);
	daemon_is_idle(fixture);
}

static int end_case(void **state)
{
	if (box.init) {
		container_leave(&box);
		container_stop(&box);
	}
	return fixture_end(state);
}

/* Key and name are the same inside and outside; all else differs. */
static int begin_with_container(void **state)
{
	fixture_begin(state);
	container_start(&box, NULL, NULL);
	segment_put(segment_create(KEY, 2 * PAGE, 0600), 0, "outside", 8);
	object_create("frames", 20);
	object_put("frames", 0, "outside", 8);
	inside(&box, {
		segment_put(segment_create(KEY, PAGE, 0640), 0, "inside", 7);
		object_create("frames", 10);
		object_put("frames", 0, "inside", 7);
	});
	return 0;
}

static int begin_mounted(void **state)
{
	begin_with_container(state);
	mount_target(*state);
	return 0;
}

static void the_targets_memory_is_shown_and_no_other(void **state)
{
	(void)state;
	inside(&box, object_create("only", 0));
	object_create("elsewhere", 0);
	assert_int_equal(directory_count(MNT), 3);
	assert_true(directory_lists(MNT, "3148") && directory_lists(MNT, "frames"));
	assert_true(directory_lists(MNT, "only"));
	assert_int_equal(directory_count(MNT "/.by-id"), 1);
	assert_true(file_has(SEGMENT, 0, "inside", 7));
	assert_int_equal(file_stat(SEGMENT).st_size, PAGE);
	assert_int_equal(file_stat(SEGMENT).st_mode, S_IFREG | 0640);
	assert_true(file_has(OBJECT, 0, "inside", 7));
	assert_int_equal(file_stat(OBJECT).st_size, 10);
}

static void resident_memory_is_the_targets(void **state)
{
	(void)state;
	char bytes[16 * PAGE];
	pattern_fill(bytes, sizeof(bytes), 1);
	inside(&box,
	       segment_put(segment_create(7000, sizeof(bytes), 0600), 0, bytes, sizeof(bytes)));
	assert_true(eventually(file_stat(MNT "/7000").st_blocks == sizeof(bytes) / 512));
}

static void what_is_done_there_is_done_to_the_target(void **state)
{
	(void)state;
	file_write(SEGMENT, 0, "through", 8);
	file_write(OBJECT, 0, "through", 8);
	file_write(MNT "/7000", O_CREAT | O_EXCL, "new", 4);
	file_write(MNT "/new", O_CREAT | O_EXCL, "new", 4);
	must(chmod(SEGMENT, 0606));
	must(truncate(MNT "/7000", 3 * PAGE));
	container_enter(&box);
	assert_true(segment_has(segment_find(KEY), 0, "through", 8));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0606);
	assert_true(object_has("frames", 0, "through", 8));
	assert_true(segment_has(segment_find(7000), 0, "new", 4));
	assert_int_equal(segment_stat(segment_find(7000)).shm_segsz, 3 * PAGE);
	assert_true(object_has("new", 0, "new", 4));
	container_leave(&box);
	must(unlink(SEGMENT));
	must(unlink(OBJECT));
	container_enter(&box);
	assert_int_equal(segment_find(KEY), -1);
	assert_false(object_exists("frames"));
	container_leave(&box);
	assert_true(segment_has(segment_find(KEY), 0, "outside", 8));
	assert_true(object_has("frames", 0, "outside", 8));
	assert_int_equal(segment_find(7000), -1);
	assert_false(object_exists("new"));
}

/* A file of the mount and the same memory as it is inside see each other's stores. */
static void assert_coherent(const char *path, char *within)
{
	int fd = must(open(path, O_RDWR));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!engine_is_passthrough()) {
		assert_ptr_equal(map, MAP_FAILED);
		return;
	}
	assert_ptr_not_equal(map, MAP_FAILED);
	strcpy(within, "one way");
	assert_string_equal(map, "one way");
	strcpy(map, "and back");
	assert_string_equal(within, "and back");
	munmap(map, PAGE);
}

static void mappings_are_the_targets_pages(void **state)
{
	(void)state;
	container_enter(&box);
	char *segment = segment_attach(segment_find(KEY));
	int fd = must(open(NATIVE "/frames", O_RDWR));
	char *object = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	container_leave(&box);
	close(fd);
	assert_ptr_not_equal(object, MAP_FAILED);
	assert_coherent(SEGMENT, segment);
	assert_coherent(OBJECT, object);
	munmap(object, PAGE);
	segment_detach(segment);
}

static void room_is_the_targets(void **state)
{
	struct statvfs fs;
	(void)state;
	inside(&box, limit_set("shmmni", 17));
	must(statvfs(MNT, &fs));
	assert_int_equal(fs.f_blocks * fs.f_frsize, CONTAINER_SHM);
	assert_int_equal(fs.f_files, 17);
	assert_int_equal(fs.f_ffree, 16);
}

static void the_mount_tells_its_target(void **state)
{
	char target[16];
	char value[16];
	ssize_t length;
	(void)state;
	assert_int_equal(shell(NULL, 0,
			       "grep -q ' - fuse.shmfs shmfs:target=%d ' /proc/self/mountinfo",
			       box.init),
			 0);
	snprintf(target, sizeof(target), "%d", box.init);
	length = must(getxattr(MNT, "user.shmfs.target", value, sizeof(value) - 1));
	value[length] = '\0';
	assert_string_equal(value, target);
}

static void without_a_target_there_is_none_to_tell(void **state)
{
	(void)state;
	assert_int_equal(getxattr(MNT, "user.shmfs.target", NULL, 0), 0);
}

static void the_mount_outlives_the_target(void **state)
{
	(void)state;
	int segment = must(open(SEGMENT, O_RDWR));
	container_stop(&box);
	assert_int_equal(pwrite(segment, "still", 6, 0), 6);
	close(segment);
	assert_true(file_has(SEGMENT, 0, "still", 6));
	assert_true(file_has(OBJECT, 0, "inside", 7));
	file_write(MNT "/7000", O_CREAT | O_EXCL, "new", 4);
	file_write(MNT "/new", O_CREAT | O_EXCL, "new", 4);
	must(rename(MNT "/new", MNT "/newer"));
	assert_int_equal(directory_count(MNT), 4);
	must(unlink(SEGMENT));
	must(unlink(OBJECT));
	assert_int_equal(directory_count(MNT), 2);
}

/*
 * Watch the file behind a segment and the filesystem of an object: the kernel
 * tells when they are gone, and the watch keeps neither.
 */
static int watch_memory(void)
{
	int watch = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	char path[64];
	container_enter(&box);
	char *memory = segment_attach(segment_find(KEY));
	snprintf(path, sizeof(path), "/proc/self/map_files/%zx-%zx", (size_t)memory,
		 (size_t)memory + PAGE);
	must(inotify_add_watch(watch, path, IN_DELETE_SELF));
	segment_detach(memory);
	must(inotify_add_watch(watch, NATIVE "/frames", IN_DELETE_SELF));
	container_leave(&box);
	return watch;
}

/* Adds what has gone since: bit 0 a file, bit 1 a filesystem. */
static unsigned has_gone(int watch, unsigned *gone)
{
	struct inotify_event event;
	while (read(watch, &event, sizeof(event)) == sizeof(event))
		*gone |=
			(event.mask & IN_DELETE_SELF ? 1U : 0) | (event.mask & IN_UNMOUNT ? 2U : 0);
	return *gone;
}

static void an_unmount_leaves_nothing_of_an_ended_target(void **state)
{
	unsigned gone = 0;
	int watch = watch_memory();
	container_stop(&box);
	file_write(SEGMENT, 0, "still", 6);
	assert_int_equal(has_gone(watch, &gone), 0);
	daemon_stop(*state);
	assert_true(eventually(has_gone(watch, &gone) == 3));
	close(watch);
}

static void in_the_background_as_well(void **state)
{
	(void)state;
	char output[64];
	assert_int_equal(shell(output, sizeof(output),
			       BIN "/shmfs -o target=%d " MNT " && head -c 6 " SEGMENT
				   " && umount " MNT,
			       box.init),
			 0);
	assert_string_equal(output, "inside");
}

/* --- a user namespace around it --- */

static int make_own_memory(void *arg)
{
	(void)arg;
	int id = shmget(KEY, PAGE, IPC_CREAT | IPC_EXCL | 0600);
	int object = open(NATIVE "/frames", O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(id != -1 && object != -1);
	child_must(write(object, "inside", 7) == 7);
	return 0;
}

/* The owner of the container, or what he is inside: 0. */
static void start_container_of(const struct user *owner)
{
	container_start(&box, NULL, owner);
	inside(&box, assert_int_equal(run_as(owner, make_own_memory, NULL), 0));
}

static void owners_are_those_outside_a_user_namespace(void **state)
{
	start_container_of(&ALICE);
	mount_target(*state);
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
	(void)state;
	static const char *const targets[] = { "0",  "-1",   "abc",	    "12x", "0x10",
					       "+5", "\\ 5", "99999999999", "",	   "1.5" };
	for (size_t i = 0; i < array_size(targets); i++)
		assert_refused(&ROOT, targets[i], "target");
}

static void processes_that_are_gone_are_refused(void **state)
{
	(void)state;
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
	(void)state;
	assert_refused(&NOBODY, "1", "no permission");
}

static void a_user_is_told_the_way_into_his_own_container(void **state)
{
	(void)state;
	char target[16];
	start_container_of(&NOBODY);
	snprintf(target, sizeof(target), "%d", box.init);
	assert_refused(&NOBODY, target, "nsenter -t");
}

/* Does what the message says, and uses the mount. */
static int go_that_way(void *arg)
{
	char command[512];
	(void)arg;
	snprintf(command, sizeof(command),
		 "nsenter -t %d -U --preserve-credentials unshare -m sh -e -c '" BIN
		 "/shmfs -o target=%d " MNT "; head -c 6 " OBJECT "; echo hi > " SEGMENT
		 "; head -c 2 " SEGMENT "; echo hi > " MNT "/new; umount " MNT "'",
		 box.init, box.init);
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
	(void)state;
	start_container_of(&NOBODY);
	assert_int_equal(run_as(&NOBODY, go_that_way, NULL), 0);
	inside(&box, assert_true(object_has("new", 0, "hi\n", 3)));
}

static int wait_as_user(int number)
{
	(void)number;
	if (setresgid(NOBODY.gid, NOBODY.gid, NOBODY.gid) == -1 ||
	    setresuid(NOBODY.uid, NOBODY.uid, NOBODY.uid) == -1)
		return 1;
	execlp("sleep", "sleep", "1000", (char *)NULL);
	return 1;
}

/* Nothing has to be joined then, which only root could. */
static void a_users_process_here_needs_no_rights(void **state)
{
	(void)state;
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
	snprintf(target, sizeof(target), "%d", box.init);
	assert_refused(&ROOT, target, word);
}

static void links_do_not_lead_out_of_the_container(void **state)
{
	static const char *const links[] = { SECRET, "../../../../../../.." SECRET,
					     "/proc/1/root" SECRET, "shm" };
	(void)state;
	make_rootfs();
	must(mkdir(ROOTFS "/proc", 0755));
	must(mount("/proc", ROOTFS "/proc", NULL, MS_BIND, NULL));
	container_start(&box, ROOTFS, NULL);
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
	container_start(&box, ROOTFS, NULL);
	mount_target(*state);
	assert_true(file_has(OBJECT, 0, "inside", 7));
}

static void only_a_tmpfs_will_do(void **state)
{
	(void)state;
	make_rootfs();
	must(mkdir(ROOTFS "/dev/shm", 0755));
	must(mount("/proc/sys", ROOTFS "/dev/shm", NULL, MS_BIND, NULL));
	container_start(&box, ROOTFS, NULL);
	assert_rootfs_refused("not a tmpfs");
	must(umount(ROOTFS "/dev/shm"));
}

#define contained(test) cmocka_unit_test_setup_teardown(test, begin_with_container, end_case)
#define mounted_target(test) cmocka_unit_test_setup_teardown(test, begin_mounted, end_case)
#define alone(test) cmocka_unit_test_setup_teardown(test, fixture_begin, end_case)

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_target(the_targets_memory_is_shown_and_no_other),
		mounted_target(resident_memory_is_the_targets),
		mounted_target(what_is_done_there_is_done_to_the_target),
		mounted_target(mappings_are_the_targets_pages),
		mounted_target(room_is_the_targets),
		mounted_target(the_mount_tells_its_target),
		mounted_target(the_mount_outlives_the_target),
		mounted_target(an_unmount_leaves_nothing_of_an_ended_target),
		mounted(without_a_target_there_is_none_to_tell),
		contained(in_the_background_as_well),
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

/* SPDX-License-Identifier: MIT */
/* Rights that are more than the mode bits: what the daemon, being root, must not give away. */
#include "harness.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>

#include "engine.h"

#define OBJECT MNT "/frames"
#define SEGMENT MNT "/3148"

enum { KEY = 3148, PAGE = 4096 };

static bool is_time(time_t end)
{
	return time(NULL) > end;
}

/* --- O_TRUNC --- */

enum { SIZE = 1 << 16, SECONDS = 1 };

static char bytes[SIZE];

/* Not hers, or none at this moment. */
static bool is_race(int code)
{
	return code == EACCES || code == ENOENT;
}

/* Alice's own object, through the mount; now and then the name is another's. */
static int truncate_own(int by_open)
{
	become(&ALICE);
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		if (by_open) {
			int fd = open(OBJECT, O_WRONLY | O_TRUNC);
			child_must(fd != -1 || is_race(errno));
			if (fd != -1)
				close(fd);
		} else {
			child_must(truncate(OBJECT, 0) == 0 || is_race(errno));
		}
	}
	return 0;
}

static int exchange(int number)
{
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		child_must(renameat2(AT_FDCWD, NATIVE "/frames", AT_FDCWD, NATIVE "/precious",
				     RENAME_EXCHANGE) == 0);
		child_must(renameat2(AT_FDCWD, NATIVE "/frames", AT_FDCWD, NATIVE "/precious",
				     RENAME_EXCHANGE) == 0);
	}
	return 0;
}

static void truncating_never_hits_who_took_the_name(void **state)
{
	pid_t children[3];
	pattern_fill(bytes, SIZE, 1);
	become(&ALICE);
	object_create("frames", 10);
	become(&ROOT);
	object_create("precious", 0);
	must(chmod(NATIVE "/precious", 0644));
	object_put("precious", 0, bytes, SIZE);
	children[0] = child_start(truncate_own, 0);
	children[1] = child_start(truncate_own, 1);
	children[2] = child_start(exchange, 0);
	assert_int_equal(children_join(children, 3), 0);
	assert_int_equal(object_stat("precious").st_size, SIZE);
	assert_true(object_has("precious", 0, bytes, SIZE));
}

/* --- between looking and opening --- */

/* Whoever has the key now, she sees her own bytes or an error. */
static int read_own(int number)
{
	char text[5];
	become(&ALICE);
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		int fd = open(SEGMENT, O_RDONLY);
		child_must(fd != -1 || is_race(errno));
		if (fd == -1)
			continue;
		child_must(read(fd, text, sizeof(text)) == sizeof(text));
		child_must(memcmp(text, "root's", sizeof(text)) != 0);
		close(fd);
	}
	return 0;
}

/* The key is now hers, now root's. */
static int take_key(int number)
{
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		become(&ALICE);
		int id = segment_create(KEY, PAGE, 0600);
		segment_put(id, 0, "hers", 5);
		become(&ROOT);
		segment_remove(id);
		id = segment_create(KEY, PAGE, 0600);
		segment_put(id, 0, "root's", 7);
		usleep(100);
		segment_remove(id);
	}
	return 0;
}

static void reading_never_hits_who_took_the_key(void **state)
{
	const pid_t children[] = { child_start(read_own, 0), child_start(read_own, 1),
				   child_start(take_key, 0) };
	assert_int_equal(children_join(children, array_size(children)), 0);
}

/* Open once more what an O_PATH descriptor names; nobody walks to it for that. */
static int reopen(int path, int flags)
{
	char name[32];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
	return open(name, flags);
}

/* Many times, for the kernel keeps what it knows of a mode for a moment. */
static void a_mode_counts_from_the_moment_when_it_is_set(void **state)
{
	int id = segment_create(KEY, PAGE, 0666);
	object_create("frames", 10);
	for (int i = 0; i < 50; i++) {
		segment_chmod(id, 0666);
		must(chmod(NATIVE "/frames", 0666));
		become(&ALICE);
		int segment = must(open(SEGMENT, O_PATH));
		int object = must(open(OBJECT, O_PATH));
		close(must(reopen(segment, O_RDWR)));
		close(must(reopen(object, O_RDWR)));
		file_stat(SEGMENT);
		file_stat(OBJECT);
		become(&ROOT);
		segment_chmod(id, 0600);
		must(chmod(NATIVE "/frames", 0600));
		become(&ALICE);
		must_fail(EACCES, reopen(segment, O_RDONLY));
		must_fail(EACCES, reopen(segment, O_RDONLY | O_TRUNC));
		must_fail(EACCES, reopen(object, O_RDONLY));
		must_fail(EACCES, reopen(object, O_RDONLY | O_TRUNC));
		become(&ROOT);
		close(segment);
		close(object);
	}
}

static void what_is_open_elsewhere_is_asked_for_all_the_same(void **state)
{
	int id = segment_create(KEY, PAGE, 0666);
	int open_one = must(open(SEGMENT, O_RDWR));
	segment_chmod(id, 0622); /* to write takes to read, at shmat(2) */
	become(&ALICE);
	must_fail(EACCES, open(SEGMENT, O_WRONLY));
	must_fail(EACCES, truncate(SEGMENT, 0));
	become(&ROOT);
	close(open_one);
}

static void a_writer_may_touch_what_only_its_owner_may_date(void **state)
{
	const struct timespec past[] = { { 1000, 0 }, { 1000, 0 } };
	segment_create(KEY, PAGE, 0666);
	become(&ALICE);
	must(utimensat(AT_FDCWD, SEGMENT, NULL, 0));
	must_fail(EPERM, utimensat(AT_FDCWD, SEGMENT, past, 0));
	become(&ROOT);
	segment_chmod(segment_find(KEY), 0644);
	become(&ALICE);
	must_fail(EACCES, utimensat(AT_FDCWD, SEGMENT, NULL, 0));
	become(&ROOT);
}

static void what_was_removed_is_left_to_whose_it_was(void **state)
{
	int id = segment_create(KEY, PAGE, 0666);
	segment_put(id, 0, "x", 1);
	int open_one = must(open(SEGMENT, O_RDWR));
	int path = must(open(SEGMENT, O_PATH));
	must(unlink(SEGMENT));
	close(must(reopen(path, O_RDWR)));
	become(&ALICE);
	must_fail(ENOENT, reopen(path, O_RDONLY));
	become(&ROOT);
	assert_int_equal(write(open_one, "y", 1), 1);
	close(open_one);
	close(path);
}

/* The kernel knows the owner that the file had by the other name. */
static void a_removed_segment_is_its_last_owners(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_chown(id, ALICE.uid, ALICE.gid);
	become(&ALICE);
	int text = must(open(MNT "/.text/3148", O_RDWR));
	int file = must(open(SEGMENT, O_RDWR));
	must(unlink(SEGMENT));
	must(fchmod(text, 0640));
	become(&ROOT);
	must(fchown(file, BOB.uid, BOB.gid));
	become(&ALICE);
	must_fail(EPERM, fchmod(text, 0666));
	become(&ROOT);
	struct stat data;
	must(fstat(file, &data));
	assert_int_equal(data.st_mode & 0777, 0640);
	close(file);
	close(text);
}

/* Whatever the descriptor is that cannot be had, nobody is told that a right is missing. */
static void groups_that_cannot_be_read_are_not_left_out(void **state)
{
	const struct fixture *fixture = *state;
	struct rlimit few;
	int result = -1;
	object_create("frames", 10);
	must(chown(NATIVE "/frames", ALICE.uid, ALICE.gid));
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, NULL, &few));
	for (few.rlim_cur = 3; result == -1; few.rlim_cur++) {
		must(prlimit(fixture->daemon, RLIMIT_NOFILE, &few, NULL));
		become(&ALICE);
		result = chown(OBJECT, (uid_t)-1, ALICE.group);
		int code = errno;
		become(&ROOT);
		assert_true(result == 0 || code == EMFILE);
	}
}

/* --- ways round --- */

/* With an object of hers in it, and the directory not hers to look into. */
static void assert_closed_to_alice(void)
{
	become(&ALICE);
	must_fail(EACCES, open(OBJECT, O_RDONLY));
	must_fail(EACCES, truncate(OBJECT, 0));
	must_fail(EACCES, open(MNT "/hers", O_RDWR | O_CREAT, 0600));
	must_fail(EACCES, chmod(OBJECT, 0600));
	must_fail(EACCES, chown(OBJECT, (uid_t)-1, ALICE.gid));
	must_fail(EACCES, utimensat(AT_FDCWD, OBJECT, NULL, 0));
	must_fail(EACCES, setxattr(OBJECT, "user.note", "x", 1, 0));
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_mode, S_IFREG | 0666);
	assert_int_equal(object_stat("frames").st_size, 10);
}

static void a_directory_that_is_closed_stays_closed(void **state)
{
	object_create("frames", 10);
	must(chmod(NATIVE "/frames", 0666));
	must(chown(NATIVE "/frames", ALICE.uid, ALICE.gid));
	must(chmod(NATIVE, 0700));
	assert_closed_to_alice();
	must(chmod(NATIVE, 01777));
	assert_int_equal(shell(NULL, 0, "setfacl -m u:%u:- " NATIVE, ALICE.uid), 0);
	assert_closed_to_alice();
	assert_int_equal(shell(NULL, 0, "setfacl -b " NATIVE), 0);
	become(&ALICE);
	must(chmod(OBJECT, 0600));
	become(&ROOT);
}

static void what_is_marked_for_destruction_keeps_its_mode(void **state)
{
	char path[64];
	int id = segment_create(KEY, PAGE, 0600);
	const void *memory = segment_attach(id);
	segment_remove(id);
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	close(must(open(path, O_RDWR)));
	become(&ALICE);
	must_fail(EACCES, open(path, O_RDONLY));
	must_fail(EACCES, open(path, O_WRONLY));
	must_fail(EACCES, truncate(path, 0));
	become(&ROOT);
	segment_detach(memory);
}

/* She has just used it, and it acted as her. */
static int look_into_daemon(void *arg)
{
	static const char *const parts[] = { "fd", "map_files", "mem", "root/etc" };
	const struct fixture *fixture = arg;
	char path[64];
	int fd = open(OBJECT, O_RDWR | O_CREAT, 0600);
	child_must(fd != -1);
	for (size_t i = 0; i < array_size(parts); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", fixture->daemon, parts[i]);
		child_must(open(path, O_RDONLY) == -1 && errno == EACCES);
	}
	close(fd);
	return 0;
}

static void the_daemons_descriptors_are_its_own(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	int open_one = must(open(SEGMENT, O_RDWR));
	assert_int_equal(run_as(&ALICE, look_into_daemon, *state), 0);
	close(open_one);
	segment_remove(id);
}

static void a_segment_has_no_bits_but_those_of_ipc_set(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	must(chmod(SEGMENT, 07751));
	assert_int_equal(file_stat(SEGMENT).st_mode, S_IFREG | 0751);
	assert_int_equal(segment_stat(id).shm_perm.mode, 0751);
}

enum { FLAGS = ST_NOSUID | ST_NODEV | ST_NOEXEC };

static unsigned long flags_of(const char *path)
{
	struct statvfs fs;
	must(statvfs(path, &fs));
	return fs.f_flag & FLAGS;
}

static void nothing_is_run_that_may_not_be_run_from_dev_shm(void **state)
{
	struct fixture *fixture = *state;
	daemon_start(fixture, NULL);
	assert_int_equal(flags_of(MNT), engine_is_passthrough() ? ST_NOSUID | ST_NODEV : FLAGS);
	daemon_stop(fixture);
	must(mount(NULL, NATIVE, NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL));
	daemon_start(fixture, NULL);
	assert_int_equal(flags_of(MNT), FLAGS);
	file_write(MNT "/script", O_CREAT, "#!/bin/true\n", 12);
	must(chmod(MNT "/script", 0755));
	assert_int_equal(shell(NULL, 0, MNT "/script 2> " TMP "/said"), 126);
	daemon_stop(fixture);
	daemon_start(fixture, "exec");
	assert_int_equal(flags_of(MNT), ST_NOSUID | ST_NODEV);
	assert_int_equal(shell(NULL, 0, MNT "/script"), 0);
	daemon_stop(fixture);
	must(mount(NULL, NATIVE, NULL, MS_REMOUNT | MS_BIND, NULL));
}

/* The kernel maps a program.  Where it cannot, the shell says so and nothing dies of SIGBUS. */
static void a_program_is_run_where_it_can_be_mapped(void **state)
{
	assert_int_equal(shell(NULL, 0, "cp /bin/true " MNT "/program"), 0);
	must(chmod(MNT "/program", 0755));
	assert_int_equal(shell(NULL, 0, MNT "/program 2> " TMP "/said"),
			 engine_is_passthrough() ? 0 : 126);
}

/* Neither for reading nor for writing: open(2) asks for the rights to both. */
static void opening_for_ioctl_takes_both_rights(void **state)
{
	object_create("frames", 10);
	must(chmod(NATIVE "/frames", 0606));
	become(&ALICE);
	close(must(open(OBJECT, O_ACCMODE)));
	become(&ROOT);
	must(chmod(NATIVE "/frames", 0604));
	become(&ALICE);
	must_fail(EACCES, open(OBJECT, O_ACCMODE));
	become(&ROOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(truncating_never_hits_who_took_the_name),
		mounted(reading_never_hits_who_took_the_key),
		mounted(a_mode_counts_from_the_moment_when_it_is_set),
		mounted(what_is_open_elsewhere_is_asked_for_all_the_same),
		mounted(a_writer_may_touch_what_only_its_owner_may_date),
		mounted(what_was_removed_is_left_to_whose_it_was),
		mounted(a_removed_segment_is_its_last_owners),
		mounted(groups_that_cannot_be_read_are_not_left_out),
		mounted(a_directory_that_is_closed_stays_closed),
		mounted(what_is_marked_for_destruction_keeps_its_mode),
		mounted(opening_for_ioctl_takes_both_rights),
		mounted(the_daemons_descriptors_are_its_own),
		mounted(a_segment_has_no_bits_but_those_of_ipc_set),
		bare(nothing_is_run_that_may_not_be_run_from_dev_shm),
		mounted(a_program_is_run_where_it_can_be_mapped),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

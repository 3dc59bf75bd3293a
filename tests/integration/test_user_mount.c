/* SPDX-License-Identifier: MIT */
/*
 * An ordinary user's own mount, through fusermount3: all that he could do with
 * shmat(2) and shm_open(3), and no more.  His cases run in children that are
 * he in all three ids, as the kernel asks of who uses such a mount.
 */
#include "harness.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static int use_own_segment(void *arg)
{
	char text[8] = "";
	int fd = open(SEGMENT, O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(fd != -1);
	child_must(pwrite(fd, "through", 8, 0) == 8);
	int id = shmget(KEY, PAGE, 0);
	child_must(id != -1);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	child_must(strcmp(memory, "through") == 0);
	strcpy(memory, "shmat");
	child_must(pread(fd, text, sizeof(text), 0) == sizeof(text));
	child_must(strcmp(text, "shmat") == 0);
	child_must(shmdt(memory) == 0);
	child_must(close(fd) == 0);
	child_must(chmod(SEGMENT, 0640) == 0);
	struct shmid_ds data;
	child_must(shmctl(id, IPC_STAT, &data) == 0);
	child_must(data.shm_perm.mode == 0640);
	child_must(data.shm_perm.cuid == NOBODY.uid && data.shm_perm.cgid == NOBODY.gid);
	child_must(unlink(SEGMENT) == 0);
	child_must(shmget(KEY, 0, 0) == -1);
	return 0;
}

static void a_user_makes_uses_and_removes_segments(void **state)
{
	assert_int_equal(run_as(&NOBODY, use_own_segment, NULL), 0);
}

/* Each in a process of its own, which keeps it open and does not use it. */
static int open_together(void *arg)
{
	struct timespec begin, end;
	char byte;
	int opened[2];
	close(open(OBJECT, O_CREAT | O_EXCL | O_RDWR, 0600));
	child_must(pipe(opened) == 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < 20; i++) {
		pid_t opener = fork();
		child_must(opener != -1);
		if (opener == 0)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (opener == 0) {
			byte = open(OBJECT, O_RDONLY) == -1;
			(void)!write(opened[1], &byte, 1);
			pause();
		}
		child_must(read(opened[0], &byte, 1) == 1 && byte == 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >
	       patience(2000);
}

static void opens_of_one_object_wait_for_no_other(void **state)
{
	assert_int_equal(run_as(&NOBODY, open_together, NULL), 0);
}

static int use_own_object(void *arg)
{
	char text[8] = "";
	int fd = open(OBJECT, O_CREAT | O_EXCL | O_RDWR, 0600);
	child_must(fd != -1);
	child_must(write(fd, "through", 8) == 8);
	int native = shm_open("/frames", O_RDWR, 0);
	child_must(native != -1);
	child_must(pread(native, text, sizeof(text), 0) == 8);
	child_must(strcmp(text, "through") == 0);
	child_must(ftruncate(native, 100) == 0);
	child_must(lseek(fd, 0, SEEK_END) == 100);
	child_must(fchmod(fd, 0640) == 0);
	child_must(close(fd) == 0 && close(native) == 0);
	child_must(rename(OBJECT, MNT "/others") == 0);
	child_must(unlink(MNT "/others") == 0);
	child_must(shm_open("/others", O_RDWR, 0) == -1);
	return 0;
}

static void a_user_makes_uses_and_removes_objects(void **state)
{
	assert_int_equal(run_as(&NOBODY, use_own_object, NULL), 0);
}

static int resize_own_segment(void *arg)
{
	child_must(system("head -c 300000 /dev/urandom > " TMP "/movie && cp " TMP "/movie " SEGMENT
			  " && cmp " TMP "/movie " SEGMENT) == 0);
	child_must(shmget(KEY, 300000, 0) != -1);
	child_must(truncate(SEGMENT, 400000) == 0);
	child_must(shmget(KEY, 400000, 0) != -1);
	child_must(truncate(SEGMENT, 300000) == 0);
	child_must(system("cmp " TMP "/movie " SEGMENT) == 0);
	child_must(system("echo hi > " SEGMENT) == 0);
	int id = shmget(KEY, 300000, 0);
	const char *memory = shmat(id, NULL, SHM_RDONLY);
	child_must(memory != (void *)-1 && memcmp(memory, "hi\n\0", 4) == 0);
	child_must(truncate(SEGMENT, 1) == -1 && errno == EBUSY);
	child_must(shmdt(memory) == 0);
	return 0;
}

static void a_user_resizes_his_segments(void **state)
{
	assert_int_equal(run_as(&NOBODY, resize_own_segment, NULL), 0);
}

static int look_at_links(void *arg)
{
	struct stat data;
	char byte;
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	int fd = open(SEGMENT, O_RDWR);
	child_must(fd != -1 && pread(fd, &byte, 1, 0) == 1);
	child_must(fstat(fd, &data) == 0 && data.st_nlink == 1);
	const void *memory = shmat(id, NULL, 0);
	child_must(fstat(fd, &data) == 0 && data.st_nlink == 2);
	child_must(stat(SEGMENT, &data) == 0 && data.st_nlink == 2);
	shmdt(memory);
	child_must(close(fd) == 0);
	struct shmid_ds segment;
	child_must(eventually(shmctl(id, IPC_STAT, &segment) == 0 && segment.shm_nattch == 0));
	return 0;
}

static void the_filesystems_attachment_is_not_counted(void **state)
{
	assert_int_equal(run_as(&NOBODY, look_at_links, NULL), 0);
}

static unsigned long attachments(int id)
{
	struct shmid_ds segment;

	return shmctl(id, IPC_STAT, &segment) == 0 ? segment.shm_nattch : ~0ul;
}

static int close_again_and_again(void *arg)
{
	char byte;
	/* After a change of user nobody but root may look at a process: proc(5), dumpable. */
	child_must(prctl(PR_SET_DUMPABLE, 1) == 0);
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	for (int i = 0; i < 2000; i++) {
		int fd = open(SEGMENT, i % 2 ? O_RDWR : O_RDONLY);
		child_must(read(fd, &byte, 1) == 1 && attachments(id) == 1);
		child_must(close(fd) == 0 && attachments(id) == 0);
	}
	return 0;
}

/* Programs decide by nattch whether they are the last. */
static void a_closed_segment_is_attached_no_more(void **state)
{
	assert_int_equal(run_as(&NOBODY, close_again_and_again, NULL), 0);
}

static int close_one_of_two(void *arg)
{
	char byte = 'x';
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	int fd = open(SEGMENT, O_RDWR);
	int copy = dup(fd);
	child_must(prctl(PR_SET_DUMPABLE, 1) == 0);
	child_must(close(fd) == 0 && attachments(id) == 1);
	child_must(write(copy, "y", 1) == 1);
	pid_t child = fork();
	if (child == 0) {
		usleep(100000);
		_exit(pread(copy, &byte, 1, 0) != 1 || byte != 'y');
	}
	child_must(close(copy) == 0 && attachments(id) == 1);
	child_must(shmctl(id, IPC_RMID, NULL) == 0);
	int status;
	child_must(waitpid(child, &status, 0) == child && status == 0);
	child_must(eventually(attachments(id) == ~0ul));
	return 0;
}

static void a_segment_is_attached_until_the_last_close(void **state)
{
	assert_int_equal(run_as(&NOBODY, close_one_of_two, NULL), 0);
}

/* Out of sight of the opener: the descriptor is in a socket when that closes it. */
static int put_into_socket(int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int ends[2];

	*header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (prctl(PR_SET_DUMPABLE, 1) == -1 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == -1 ||
	    sendmsg(ends[0], &message, 0) != 1 || close(fd) == -1)
		return -1;
	return ends[1];
}

static int take_from_socket(int end)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(end, &message, 0) == 1)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static int send_it_to_itself(void *arg)
{
	(void)arg;
	char byte;
	struct stat st;
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	int end = put_into_socket(open(SEGMENT, O_RDWR));

	child_must(end != -1 && attachments(id) == 0);
	child_must(unlink(SEGMENT) == 0);
	int fd = take_from_socket(end);
	child_must(pwrite(fd, "z", 1, PAGE - 1) == 1);
	child_must(pread(fd, &byte, 1, PAGE - 1) == 1 && byte == 'z');
	child_must(fstat(fd, &st) == 0 && st.st_size == PAGE);
	child_must(close(fd) == 0 && eventually(attachments(id) == ~0ul));
	return 0;
}

static void a_file_that_is_used_after_its_close_is_attached_again(void **state)
{
	assert_int_equal(run_as(&NOBODY, send_it_to_itself, NULL), 0);
}

/* A reader has attached it meanwhile, and its mode forbids to attach it for writing. */
static int write_what_may_only_be_read(void *arg)
{
	(void)arg;
	char byte;
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	int end = put_into_socket(open(SEGMENT, O_RDWR));

	child_must(end != -1 && attachments(id) == 0);
	int reader = open(SEGMENT, O_RDONLY);
	child_must(reader != -1 && read(reader, &byte, 1) == 1);
	child_must(chmod(SEGMENT, 0400) == 0);
	int fd = take_from_socket(end);
	child_must(pwrite(fd, "z", 1, 0) == -1 && errno == EACCES);
	child_must(chmod(SEGMENT, 0600) == 0 && pwrite(fd, "z", 1, 0) == 1);
	child_must(pread(reader, &byte, 1, 0) == 1 && byte == 'z');
	return 0;
}

static void what_may_only_be_read_by_now_is_not_written(void **state)
{
	(void)state;
	assert_int_equal(run_as(&NOBODY, write_what_may_only_be_read, NULL), 0);
}

static int use_others_segments(void *arg)
{
	char byte = 0;
	struct stat data;
	child_must(stat(MNT "/1", &data) == 0 && data.st_mode == (S_IFREG | 0600));
	child_must(open(MNT "/1", O_RDONLY) == -1 && errno == EACCES);
	int fd = open(MNT "/2", O_RDONLY);
	child_must(fd != -1 && read(fd, &byte, 1) == 1 && byte == '2');
	close(fd);
	child_must(open(MNT "/2", O_RDWR) == -1 && errno == EACCES);
	fd = open(MNT "/3", O_WRONLY);
	child_must(fd != -1 && write(fd, "x", 1) == 1);
	close(fd);
	for (char key = '1'; key <= '3'; key++) {
		char path[] = MNT "/.";
		path[sizeof(path) - 2] = key;
		child_must(unlink(path) == -1 && errno == EPERM);
		child_must(chmod(path, 0666) == -1 && errno == EPERM);
	}
	child_must(truncate(MNT "/3", 2L * PAGE) == -1 && (errno == EPERM || errno == EACCES));
	return 0;
}

static void others_segments_are_open_as_far_as_their_modes_say(void **state)
{
	segment_create(1, PAGE, 0600);
	segment_put(segment_create(2, PAGE, 0644), 0, "2", 1);
	int id = segment_create(3, PAGE, 0666);
	assert_int_equal(run_as(&NOBODY, use_others_segments, NULL), 0);
	assert_true(segment_has(id, 0, "x", 1));
	assert_int_equal(segments_count(), 3);
}

static int use_others_objects(void *arg)
{
	child_must(open(OBJECT, O_RDONLY) == -1 && errno == EACCES);
	child_must(unlink(OBJECT) == -1 && (errno == EPERM || errno == EACCES));
	child_must(rename(OBJECT, MNT "/x") == -1);
	int fd = open(MNT "/public", O_RDWR);
	child_must(fd != -1 && write(fd, "x", 1) == 1);
	close(fd);
	return 0;
}

static void others_objects_are_open_as_far_as_their_modes_say(void **state)
{
	object_create("frames", 1);
	must(chmod(NATIVE "/frames", 0600));
	object_create("public", 1);
	must(chmod(NATIVE "/public", 0666));
	assert_int_equal(run_as(&NOBODY, use_others_objects, NULL), 0);
	assert_true(object_has("public", 0, "x", 1));
	assert_int_equal(directory_count(NATIVE), 2);
}

static int look_around(void *arg)
{
	struct statfs fs;
	child_must(directory_count(MNT) == 2);
	child_must(directory_count(MNT "/.by-id") == 1);
	child_must(directory_count(MNT "/.by-name") == 1);
	child_must(statfs(MNT, &fs) == 0 && fs.f_files > 0);
	return 0;
}

static void everything_is_listed(void **state)
{
	segment_create(KEY, PAGE, 0600);
	object_create("frames", 1);
	assert_int_equal(run_as(&NOBODY, look_around, NULL), 0);
}

static void nobody_else_gets_in(void **state)
{
	must_fail(EACCES, open(MNT "/3148", O_RDONLY));
	become(&ALICE);
	must_fail(EACCES, access(MNT "/3148", F_OK));
}

static int unmount(void *arg)
{
	return system("fusermount3 -u " MNT);
}

static void the_user_unmounts(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(run_as(&NOBODY, unmount, NULL), 0);
	assert_int_equal(daemon_wait(fixture), 0);
	assert_false(daemon_is_mounted());
}

static void a_signal_unmounts(void **state)
{
	struct fixture *fixture = *state;
	segment_create(KEY, PAGE, 0600);
	object_create("frames", 1);
	assert_int_equal(run_as(&NOBODY, look_around, NULL), 0); /* it serves */
	must(kill(fixture->daemon, SIGTERM));
	assert_int_equal(daemon_wait(fixture), 0);
	assert_false(daemon_is_mounted());
}

static void a_signal_at_the_moment_of_mounting_unmounts(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 20; i++) {
		must(kill(fixture->daemon, SIGTERM));
		assert_int_equal(daemon_wait(fixture), 0);
		assert_false(daemon_is_mounted());
		daemon_start(fixture, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_by_user(a_user_makes_uses_and_removes_segments),
		mounted_by_user(a_user_makes_uses_and_removes_objects),
		mounted_by_user(opens_of_one_object_wait_for_no_other),
		mounted_by_user(a_user_resizes_his_segments),
		mounted_by_user(the_filesystems_attachment_is_not_counted),
		mounted_by_user(a_closed_segment_is_attached_no_more),
		mounted_by_user(a_segment_is_attached_until_the_last_close),
		mounted_by_user(a_file_that_is_used_after_its_close_is_attached_again),
		mounted_by_user(what_may_only_be_read_by_now_is_not_written),
		mounted_by_user(others_segments_are_open_as_far_as_their_modes_say),
		mounted_by_user(others_objects_are_open_as_far_as_their_modes_say),
		mounted_by_user(everything_is_listed),
		mounted_by_user(nobody_else_gets_in),
		mounted_by_user(the_user_unmounts),
		mounted_by_user(a_signal_unmounts),
		mounted_by_user(a_signal_at_the_moment_of_mounting_unmounts),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

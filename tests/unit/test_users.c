/* SPDX-License-Identifier: MIT */
/* Who uses what, told from a directory in the place of /proc. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/limits.h>

#include "processes.h"

static void a_segment_is_known_by_its_id_and_device(void **state)
{
	dev_t dev = device_of_segments();

	add_process(10, "by-key", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	add_process(11, "private", OURS);
	add_mapping(11, dev, SHMID, "/SYSV00000000 (deleted)");
	add_process(12, "other-id", OURS);
	add_mapping(12, dev, SHMID + 1, "/SYSV00000c4c (deleted)");
	add_process(13, "memfd", OURS);
	add_mapping(13, dev, SHMID, "/memfd:SYSV00000c4c (deleted)");
	add_process(14, "a-file", OURS);
	add_mapping(14, makedev(254, 1), SHMID, "/SYSV00000c4c");
	add_process(15, "elsewhere", THEIRS);
	add_mapping(15, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 by-key\n11 private\n");
}

static void nobody_is_no_text(void **state)
{
	add_process(10, "cat", OURS);
	assert_says(&of_segment, "");
}

static void shmfs_itself_is_left_out(void **state)
{
	dev_t dev = device_of_segments();

	add_mapping(4, dev, SHMID, "/SYSV00000c4c (deleted)");
	add_process(10, "shmfs", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 shmfs\n");
}

/* Numbers of files, as object.h has them. */
#define SEGMENT_FILE ((1ULL << 29) | 7)
#define OBJECT_FILE ((2ULL << 29) | 7)
#define TEXT_FILE ((2ULL << 29) | (1ULL << 28) | 7)

static void files_of_the_mount_count(void **state)
{
	struct shmfs_users_query query = { .files = { { SHMFS_SEGMENT_FILES, 7 } } };

	mount_dev = makedev(0, 300);
	/* Whatever the namespace: it is this file. */
	add_process(10, "segment", THEIRS);
	add_mapping(10, mount_dev, SEGMENT_FILE, "/mnt/shm/3148");
	add_process(11, "another", OURS);
	add_mapping(11, makedev(0, 301), SEGMENT_FILE, "/mnt/two/3148");
	add_process(12, "object", OURS);
	add_mapping(12, mount_dev, OBJECT_FILE, "/mnt/shm/frames");
	add_process(13, "text", OURS);
	add_mapping(13, mount_dev, TEXT_FILE, "/mnt/shm/.text/frames");
	add_process(14, "neither", OURS);
	add_mapping(14, mount_dev, 7, "/mnt/shm");
	assert_says(&query, "10 segment\n");
	query.files[0].dev = SHMFS_OBJECT_FILES;
	assert_says(&query, "12 object\n13 text\n");
}

/* Those of root, or of the user that asks, that have the same source. */
static void other_mounts_of_the_same_memory_count(void **state)
{
	const struct shmfs_users_query query = { .files = { { SHMFS_SEGMENT_FILES, 7 } } };

	mount_dev = makedev(0, 300);
	write_file("4/mountinfo",
		   "23 1 0:300 / /mnt/shm rw,nosuid - fuse.shmfs shmfs rw,user_id=0,group_id=0\n"
		   "24 1 0:301 / /mnt/two rw - fuse.shmfs shmfs rw,user_id=0,allow_other\n"
		   "25 1 0:302 / /mnt/box rw - fuse.shmfs shmfs:target=1 rw,user_id=0\n"
		   "26 1 0:303 / /home/x rw - fuse.shmfs shmfs rw,user_id=4294967294\n"
		   "27 1 0:304 / /tmp rw shared:1 - tmpfs shmfs rw,user_id=0\n"
		   "28 1 zz:305 / /x rw - fuse.shmfs shmfs rw,user_id=0\n"
		   "29 1 0:306 / /x rw - fuse.shmfs\n\n");
	for (int i = 0; i < 7; i++) {
		add_process(10 + i, "p", OURS);
		add_mapping(10 + i, makedev(0, 300u + (unsigned)i), SEGMENT_FILE, "/mnt/shm/3148");
	}
	assert_says(&query, "10 p\n11 p\n");
}

static void every_file_is_looked_for(void **state)
{
	struct shmfs_users_query query = { .files = { { SHMFS_OBJECTS, 7 } } };

	objects_dev = makedev(0, 0x30);
	mount_dev = makedev(0, 0x35);
	query.files[1] = (struct shmfs_file_id){ SHMFS_OBJECT_FILES, 7 };
	add_process(10, "native", OURS);
	add_mapping(10, makedev(0, 0x30), 7, "/dev/shm/frames (deleted)");
	add_process(11, "mount", OURS);
	add_mapping(11, makedev(0, 0x35), OBJECT_FILE, "/mnt/shm/frames");
	add_process(12, "neither", OURS);
	add_mapping(12, makedev(0, 0x31), 7, "/dev/shm/frames");
	add_mapping(12, makedev(0x30, 0), 7, "/dev/shm/frames");
	/* What is mapped of no file has device 0. */
	add_mapping(12, 0, 0, "");
	assert_says(&query, "10 native\n11 mount\n");
	query.files[1] = (struct shmfs_file_id){ 0 };
	assert_says(&query, "10 native\n");
}

static void who_has_it_open_counts_if_asked_for(void **state)
{
	struct shmfs_users_query query = of_object();

	write_file("other", "bytes");
	add_process(10, "open", OURS);
	add_descriptor(10, 0, "/dev/null");
	assert_int_equal(symlink("pipe:[77]", "10/fd/1"), 0);
	assert_int_equal(symlink("anon_inode:[eventpoll]", "10/fd/2"), 0);
	add_descriptor(10, 255, "object");
	add_process(11, "other", OURS);
	add_descriptor(11, 0, "other");
	assert_says(&query, "10 open\n");
	query.open = false;
	assert_says(&query, "");
}

/* The mutex of an epoll instance is taken by who reads fdinfo, and may never be free. */
static void fdinfo_is_not_read(void **state)
{
	struct shmfs_users_query query = of_object();

	add_process(10, "open", OURS);
	add_descriptor(10, 3, "object");
	assert_int_equal(mkfifo("10/fdinfo/3", 0600), 0);
	assert_says(&query, "10 open\n");
}

static void every_kind_of_use_has_a_line(void **state)
{
	struct shmfs_users_query query = of_object();
	char line[256];

	query.format = SHMFS_USERS_FULL;
	query.files[1] = (struct shmfs_file_id){ SHMFS_SEGMENTS, SHMID };
	add_process(10, "much", OURS);
	for (int i = 0; i < 3; i++)
		add_mapping(10, objects_dev, query.files[0].ino, "/dev/shm/object");
	add_descriptor(10, 5, "object");
	add_process(11, "reader", OURS);
	write_file("11/maps", "7f00-7f01 r--s 0 %x:%x %d /SYSV00000c4c (deleted)\n",
		   major(device_of_segments()), minor(device_of_segments()), SHMID);
	add_process(12, "copy", OURS);
	write_file("12/maps", "7f00-7f01 rw-p 0 %x:%x %llu /dev/shm/object\n", major(objects_dev),
		   minor(objects_dev), (unsigned long long)query.files[0].ino);
	snprintf(line, sizeof(line),
		 "10 %u mapped rw 3 much\n10 %u open rw 1 much\n"
		 "11 %u attached r 1 reader\n12 %u mapped r 1 copy\n",
		 uid_of(10), uid_of(10), uid_of(11), uid_of(12));
	assert_says(&query, line);
}

/* Each file of a process is found, and each of its later uses. */
static void uses_are_counted_however_many_files_there_are(void **state)
{
	struct shmfs_users_query query = { .format = SHMFS_USERS_FULL };
	const int files = within_budget(5000);
	char line[64];
	FILE *maps;

	objects_dev = makedev(0, 0x30);
	add_process(10, "broker", OURS);
	maps = fopen("10/maps", "w");
	assert_non_null(maps);
	for (int i = 0; i < 2 * files; i++)
		fprintf(maps, "7f00-7f01 %s 0 00:30 %d /dev/shm/x\n", i < files ? "r--s" : "rw-s",
			i % files + 1);
	assert_int_equal(fclose(maps), 0);
	snprintf(line, sizeof(line), "10 %u mapped rw 2 broker\n", uid_of(10));
	for (int i = 1; i <= files; i += 499) {
		query.files[0] = (struct shmfs_file_id){ SHMFS_OBJECTS, (ino_t)i };
		assert_says(&query, line);
	}
}

static void one_line_for_a_process(void **state)
{
	struct shmfs_users_query query = of_object();

	add_process(10, "much", OURS);
	add_mapping(10, objects_dev, query.files[0].ino, "/dev/shm/object");
	add_mapping(10, objects_dev, query.files[0].ino, "/dev/shm/object");
	add_descriptor(10, 0, "object");
	add_descriptor(10, 1, "object");
	assert_says(&query, "10 much\n");
}

static void lines_are_in_the_order_of_numbers(void **state)
{
	static const int pids[] = { 100, 20, 3, 4194304, 1 };
	dev_t dev = device_of_segments();

	for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++) {
		add_process(pids[i], "p", OURS);
		add_mapping(pids[i], dev, SHMID, "/SYSV00000c4c (deleted)");
	}
	assert_says(&of_segment, "1 p\n3 p\n20 p\n100 p\n4194304 p\n");
}

static void a_command_stays_in_its_line(void **state)
{
	dev_t dev = device_of_segments();

	add_process(10, "a b\nc\td\033[m", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	add_process(11, "", OURS);
	add_mapping(11, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 a b?c?d?[m\n11 \n");
}

/*
 * More than the value of an attribute may be, in lines of such a length that
 * one byte is left at its end.
 */
static void too_many_are_cut_at_a_line(void **state)
{
	enum { FIRST = 1000, COUNT = 1400, LINE = 51 };
	static const char command[] = "a-name-of-forty-five-bytes-as-kernel-threads-";
	char path[64];
	char *text;
	size_t len;

	assert_int_equal(sizeof(command) - 1, LINE - strlen("1000 \n"));
	add_process(FIRST, command, OURS);
	add_mapping(FIRST, device_of_segments(), SHMID, "/SYSV00000c4c (deleted)");
	for (int pid = FIRST + 1; pid < FIRST + COUNT; pid++) {
		snprintf(path, sizeof(path), "%d", pid);
		assert_int_equal(symlink("1000", path), 0);
	}
	assert_int_equal(ask(&of_segment, &text), 0);
	len = strlen(text);
	assert_in_range(len, XATTR_SIZE_MAX - LINE, XATTR_SIZE_MAX);
	assert_string_equal(text + len - 5, "\n...\n");
	text[LINE - 1] = '\0';
	assert_string_equal(text + strlen("1000 "), command);
	free(text);
}

#define in_proc(test) cmocka_unit_test_setup_teardown(test, processes_begin, processes_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_proc(a_segment_is_known_by_its_id_and_device),
		in_proc(nobody_is_no_text),
		in_proc(shmfs_itself_is_left_out),
		in_proc(files_of_the_mount_count),
		in_proc(other_mounts_of_the_same_memory_count),
		in_proc(every_file_is_looked_for),
		in_proc(who_has_it_open_counts_if_asked_for),
		in_proc(fdinfo_is_not_read),
		in_proc(every_kind_of_use_has_a_line),
		in_proc(uses_are_counted_however_many_files_there_are),
		in_proc(one_line_for_a_process),
		in_proc(lines_are_in_the_order_of_numbers),
		in_proc(a_command_stays_in_its_line),
		in_proc(too_many_are_cut_at_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

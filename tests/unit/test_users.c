/* SPDX-License-Identifier: MIT */
/* Who uses what, told from a directory in the place of /proc. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/limits.h>

#include "shmfs/users.h"

#define SHMID 65538
#define OURS "ipc:[4026531839]"
#define THEIRS "ipc:[4026532000]"

/* --- the directory; it is the working directory --- */

static struct shmfs_users_config config; /* of each question */
static dev_t mount_dev;

static void write_file(const char *path, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void write_file(const char *path, const char *format, ...)
{
	FILE *file = fopen(path, "w");
	va_list args;

	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
}

/* A process without files: its mappings are those of any program. */
static void add_process(int pid, const char *command, const char *ipc)
{
	char path[64];

	snprintf(path, sizeof(path), "%d", pid);
	assert_int_equal(mkdir(path, 0700), 0);
	for (const char *const *name = (const char *const[]){ "ns", "fd", "fdinfo", NULL }; *name;
	     name++) {
		snprintf(path, sizeof(path), "%d/%s", pid, *name);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%d/ns/ipc", pid);
	assert_int_equal(symlink(ipc, path), 0);
	snprintf(path, sizeof(path), "%d/ns/pid", pid);
	assert_int_equal(symlink("pid:[4026532001]", path), 0);
	snprintf(path, sizeof(path), "%d/status", pid);
	write_file(path, "Name:\tx\nUid:\t1\t%d\t3\t4\nGid:\t5\t6\t7\t8\n", 1000 + pid);
	snprintf(path, sizeof(path), "%d/comm", pid);
	write_file(path, "%s\n", command);
	snprintf(path, sizeof(path), "%d/maps", pid);
	write_file(path,
		   "55d8c0a00000-55d8c0a02000 r--p 00000000 fe:01 1573 %20s/usr/bin/cat\n"
		   "7ffd1c5b1000-7ffd1c5d2000 rw-p 00000000 00:00 0 %20s[stack]\n",
		   "", "");
}

static void add_mapping(int pid, dev_t dev, unsigned long long ino, const char *path)
{
	char maps[64];
	FILE *file;

	snprintf(maps, sizeof(maps), "%d/maps", pid);
	file = fopen(maps, "a");
	assert_non_null(file);
	fprintf(file, "7f414b9e6000-7f414b9e8000 rw-s 00000000 %02x:%02x %llu %20s%s\n", major(dev),
		minor(dev), ino, "", path);
	assert_int_equal(fclose(file), 0);
}

/* `file` is in the directory, or absolute. */
static void add_descriptor(int pid, int fd, const char *file)
{
	char target[PATH_MAX];
	char path[64];

	assert_non_null(getcwd(target, sizeof(target) - strlen(file) - 1));
	strcat(strcat(target, "/"), file);
	snprintf(path, sizeof(path), "%d/fd/%d", pid, fd);
	assert_int_equal(symlink(*file == '/' ? file : target, path), 0);
}

static dev_t device_of_segments(void)
{
	int fd = memfd_create("device", MFD_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_dev;
}

/* We are 4. */
static int begin(void **state)
{
	char directory[] = "/tmp/shmfs-attached-XXXXXX";

	assert_non_null(mkdtemp(directory));
	*state = strdup(directory);
	config = (struct shmfs_users_config){ .proc_dir = ".",
					      .segment_number = 1,
					      .object_number = 2 };
	mount_dev = 0;
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(symlink("4", "self"), 0);
	add_process(4, "shmfs", OURS);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

static int end(void **state)
{
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(*state);
	return 0;
}

/* --- questions --- */

/* Each question is asked of a new module: it has no earlier snapshot. */
static int ask(const struct shmfs_users_query *query, char **text)
{
	const struct shmfs_caller root = { 0 };
	struct shmfs_users *users;
	size_t len;
	FILE *out = open_memstream(text, &len);
	int err;

	assert_non_null(out);
	err = shmfs_users_new(&config, &users);
	if (!err) {
		shmfs_users_set_mount(users, mount_dev);
		err = shmfs_users_write(users, query, &root, out);
		shmfs_users_free(users);
	}
	assert_int_equal(fclose(out), 0);
	return err;
}

static void assert_says(const struct shmfs_users_query *query, const char *expected)
{
	char *text;

	assert_int_equal(ask(query, &text), 0);
	assert_string_equal(text, expected);
	free(text);
}

static int count_lines(const struct shmfs_users_query *query)
{
	char *text;
	int count = 0;

	assert_int_equal(ask(query, &text), 0);
	for (const char *c = text; *c; c++)
		count += *c == '\n';
	free(text);
	return count;
}

static const struct shmfs_users_query of_segment = { .files = { { SHMFS_SEGMENTS, SHMID } } };

static void a_segment_is_known_by_its_id_and_device(void **state)
{
	dev_t dev = device_of_segments();

	(void)state;
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
	(void)state;
	add_process(10, "cat", OURS);
	assert_says(&of_segment, "");
}

static void shmfs_itself_is_left_out(void **state)
{
	dev_t dev = device_of_segments();

	(void)state;
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

	(void)state;
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

	(void)state;
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

	(void)state;
	config.objects = makedev(0, 0x30);
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

/* A query for the file "object", which is the only one on the objects' device that is open. */
static struct shmfs_users_query of_object(void)
{
	struct shmfs_users_query query = { .open = true };
	struct stat st;

	write_file("object", "bytes");
	assert_int_equal(stat("object", &st), 0);
	config.objects = st.st_dev;
	query.files[0] = (struct shmfs_file_id){ SHMFS_OBJECTS, st.st_ino };
	return query;
}

static void who_has_it_open_counts_if_asked_for(void **state)
{
	struct shmfs_users_query query = of_object();

	(void)state;
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

	(void)state;
	add_process(10, "open", OURS);
	add_descriptor(10, 3, "object");
	assert_int_equal(mkfifo("10/fdinfo/3", 0600), 0);
	assert_says(&query, "10 open\n");
}

static void every_kind_of_use_has_a_line(void **state)
{
	struct shmfs_users_query query = of_object();
	char line[256];

	(void)state;
	query.format = SHMFS_USERS_FULL;
	query.files[1] = (struct shmfs_file_id){ SHMFS_SEGMENTS, SHMID };
	add_process(10, "much", OURS);
	for (int i = 0; i < 3; i++)
		add_mapping(10, config.objects, query.files[0].ino, "/dev/shm/object");
	add_descriptor(10, 5, "object");
	add_process(11, "reader", OURS);
	write_file("11/maps", "7f00-7f01 r--s 0 %x:%x %d /SYSV00000c4c (deleted)\n",
		   major(device_of_segments()), minor(device_of_segments()), SHMID);
	add_process(12, "copy", OURS);
	write_file("12/maps", "7f00-7f01 rw-p 0 %x:%x %llu /dev/shm/object\n",
		   major(config.objects), minor(config.objects),
		   (unsigned long long)query.files[0].ino);
	snprintf(line, sizeof(line), "%s",
		 "10 1010 mapped rw 3 much\n10 1010 open rw 1 much\n"
		 "11 1011 attached r 1 reader\n12 1012 mapped r 1 copy\n");
	assert_says(&query, line);
}

/* More files than a process' uses are found by, and each of them again later. */
static void uses_are_counted_however_many_files_there_are(void **state)
{
	enum { FILES = 5000 };
	struct shmfs_users_query query = { .format = SHMFS_USERS_FULL };
	FILE *maps;

	(void)state;
	config.objects = makedev(0, 0x30);
	add_process(10, "broker", OURS);
	maps = fopen("10/maps", "w");
	assert_non_null(maps);
	for (int i = 0; i < 2 * FILES; i++)
		fprintf(maps, "7f00-7f01 %s 0 00:30 %d /dev/shm/x\n", i < FILES ? "r--s" : "rw-s",
			i % FILES + 1);
	assert_int_equal(fclose(maps), 0);
	for (int i = 1; i <= FILES; i += 499) {
		query.files[0] = (struct shmfs_file_id){ SHMFS_OBJECTS, (ino_t)i };
		assert_says(&query, "10 1010 mapped rw 2 broker\n");
	}
}

/* Opening a FIFO waits for a writer, as reading /proc can wait for what a process holds. */
static void a_process_that_lets_its_reader_wait_is_passed_over(void **state)
{
	dev_t dev = device_of_segments();

	(void)state;
	add_process(10, "before", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	for (int pid = 11; pid < 14; pid++) {
		char path[64];

		add_process(pid, "hung", OURS);
		snprintf(path, sizeof(path), "%d/maps", pid);
		assert_int_equal(unlink(path) | mkfifo(path, 0600), 0);
	}
	add_process(14, "behind", OURS);
	add_mapping(14, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 before\n14 behind\n");
}

/* Somebody can have more mappings than anybody has time for. */
static void a_process_that_never_ends_is_cut(void **state)
{
	dev_t dev = device_of_segments();
	pid_t writer;

	(void)state;
	add_process(10, "endless", OURS);
	assert_int_equal(unlink("10/maps") | mkfifo("10/maps", 0600), 0);
	add_process(11, "behind", OURS);
	add_mapping(11, dev, SHMID, "/SYSV00000c4c (deleted)");
	writer = fork();
	if (writer == 0) {
		FILE *maps = fopen("10/maps", "w");

		while (maps && fprintf(maps, "7f00-7f01 r--s 0 %x:%x %d /SYSV00000c4c\n",
				       major(dev), minor(dev), SHMID) > 0)
			;
		_exit(0);
	}
	assert_says(&of_segment, "10 endless\n11 behind\n");
	assert_int_equal(waitpid(writer, NULL, 0), writer);
}

static void a_snapshot_serves_a_moment(void **state)
{
	const struct shmfs_users_snapshot *first;
	const struct shmfs_users_snapshot *second;
	struct shmfs_users *users;

	(void)state;
	/* Now it takes a second. */
	add_process(11, "hung", OURS);
	assert_int_equal(unlink("11/maps") | mkfifo("11/maps", 0600), 0);
	assert_int_equal(shmfs_users_new(&config, &users), 0);
	assert_int_equal(shmfs_users_get(users, &first), 0);
	assert_false(first->complete);
	assert_int_equal(shmfs_users_get(users, &second), 0);
	assert_ptr_equal(first, second);
	shmfs_users_put(&first);
	shmfs_users_put(&second);
	shmfs_users_free(users);
}

static void one_line_for_a_process(void **state)
{
	struct shmfs_users_query query = of_object();

	(void)state;
	add_process(10, "much", OURS);
	add_mapping(10, config.objects, query.files[0].ino, "/dev/shm/object");
	add_mapping(10, config.objects, query.files[0].ino, "/dev/shm/object");
	add_descriptor(10, 0, "object");
	add_descriptor(10, 1, "object");
	assert_says(&query, "10 much\n");
}

static void lines_are_in_the_order_of_numbers(void **state)
{
	static const int pids[] = { 100, 20, 3, 4194304, 1 };
	dev_t dev = device_of_segments();

	(void)state;
	for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++) {
		add_process(pids[i], "p", OURS);
		add_mapping(pids[i], dev, SHMID, "/SYSV00000c4c (deleted)");
	}
	assert_says(&of_segment, "1 p\n3 p\n20 p\n100 p\n4194304 p\n");
}

static void a_command_stays_in_its_line(void **state)
{
	dev_t dev = device_of_segments();

	(void)state;
	add_process(10, "a b\nc\td\033[m", OURS);
	add_mapping(10, dev, SHMID, "/SYSV00000c4c (deleted)");
	add_process(11, "", OURS);
	add_mapping(11, dev, SHMID, "/SYSV00000c4c (deleted)");
	assert_says(&of_segment, "10 a b?c?d?[m\n11 \n");
}

static void what_is_no_process_of_a_user_is_skipped(void **state)
{
	struct shmfs_users_query query = of_object();

	(void)state;
	/* A kernel thread has no mappings, a process that ends no files. */
	add_process(10, "kthreadd", OURS);
	write_file("10/maps", "%s", "");
	add_descriptor(10, 0, "object");
	add_process(11, "gone", OURS);
	assert_int_equal(unlink("11/maps"), 0);
	add_descriptor(11, 0, "object");
	add_process(12, "nameless", OURS);
	add_descriptor(12, 0, "object");
	assert_int_equal(unlink("12/comm"), 0);
	assert_int_equal(mkdir("13", 0700), 0);
	assert_int_equal(mkdir("sys", 0700) | mkdir("14x", 0700), 0);
	add_process(15, "there", OURS);
	add_descriptor(15, 0, "object");
	assert_says(&query, "15 there\n");
}

/* What is read at once ends in every place of the line that counts. */
static void a_line_may_come_in_two_pieces(void **state)
{
	enum { CHUNK = 32768, LINES = 4, PLACES = 110 };
	char filler[CHUNK / LINES];
	dev_t dev = device_of_segments();

	(void)state;
	memset(filler, 'x', sizeof(filler));
	for (int place = 0; place < PLACES; place++) {
		char path[64];
		FILE *maps;

		add_process(1000 + place, "p", OURS);
		snprintf(path, sizeof(path), "%d/maps", 1000 + place);
		maps = fopen(path, "w");
		assert_non_null(maps);
		for (int i = 0; i < LINES; i++)
			fprintf(maps, "%.*s\n", CHUNK / LINES - 1 - (i == 0 ? place : 0), filler);
		assert_int_equal(fclose(maps), 0);
		add_mapping(1000 + place, dev, SHMID, "/SYSV00000c4c (deleted)");
	}
	assert_int_equal(count_lines(&of_segment), PLACES);
}

static void what_does_not_read_as_a_mapping_matches_nothing(void **state)
{
	char *line = malloc(100000);

	(void)state;
	assert_non_null(line);
	memset(line, 'x', 99999);
	line[99999] = '\0';
	add_process(10, "long", OURS);
	write_file("10/maps", "%s", line);
	add_process(11, "short", OURS);
	write_file("11/maps",
		   "\n7f\n7f r\n7f r 0\n7f r 0 zz:1 65538 /SYSV\n7f r 0 00:\n7f r 0 00:1");
	assert_says(&of_segment, "");
	free(line);
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

	(void)state;
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

/* With no descriptor left, one, two ... until there are enough. */
static unsigned count_shortages(const struct shmfs_users_query *query, const char *expected)
{
	rlim_t used = (rlim_t)dup(STDIN_FILENO);
	struct rlimit before;
	unsigned shortages = 0;
	char *text;
	int err;

	close((int)used);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	do {
		struct rlimit limit = { used + shortages, before.rlim_max };

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		err = ask(query, &text);
		setrlimit(RLIMIT_NOFILE, &before);
		if (err)
			assert_int_equal(err, -EMFILE);
		else
			assert_string_equal(text, expected);
		free(text);
	} while (err && ++shortages < 100);
	return shortages;
}

static void a_shortage_of_ours_is_no_answer(void **state)
{
	struct shmfs_users_query query = of_object();

	(void)state;
	add_process(10, "open", OURS);
	add_descriptor(10, 7, "object");
	assert_in_range(count_shortages(&query, "10 open\n"), 1, 10);
}

static void without_proc_there_is_no_answer(void **state)
{
	char *text;

	(void)state;
	config.proc_dir = "nowhere";
	assert_int_equal(ask(&of_segment, &text), -ENOENT);
	free(text);
}

#define in_proc(test) cmocka_unit_test_setup_teardown(test, begin, end)

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
		in_proc(a_process_that_lets_its_reader_wait_is_passed_over),
		in_proc(a_process_that_never_ends_is_cut),
		in_proc(a_snapshot_serves_a_moment),
		in_proc(one_line_for_a_process),
		in_proc(lines_are_in_the_order_of_numbers),
		in_proc(a_command_stays_in_its_line),
		in_proc(what_is_no_process_of_a_user_is_skipped),
		in_proc(a_line_may_come_in_two_pieces),
		in_proc(what_does_not_read_as_a_mapping_matches_nothing),
		in_proc(too_many_are_cut_at_a_line),
		in_proc(a_shortage_of_ours_is_no_answer),
		in_proc(without_proc_there_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Texts and the memory behind them, used by several at once. */
#include "harness.h"

enum { KEY = 7000, PAGE = 4096 };

#define RAW MNT "/7000"
#define TEXT MNT "/.text/7000"

static void script(const char *expected, const char *commands)
{
	char output[1024];
	int status = shell(output, sizeof(output),
			   "set -eu; M=" MNT " T=" MNT "/.text; cd " TMP "\n%s", commands);
	if (status != 0)
		fail_msg("status %d: %s", status, output);
	assert_string_equal(output, expected);
}

static void looking_moves_no_mtime(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, "hello", 6);
	object_create("frames", 0);
	object_put("frames", 0, "frame", 5);
	script("", "echo hello, world > $T/7000");
	struct stat before = file_stat(RAW), object = file_stat(MNT "/frames");
	sleep(1);
	script("", "ls -l $T > list; find $T -size 0 > list; cat $T/* > list; stat $T/7000 > list");
	struct stat after = file_stat(RAW), text = file_stat(TEXT);
	assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	assert_int_equal(after.st_ctim.tv_sec, before.st_ctim.tv_sec);
	assert_int_equal(text.st_mtim.tv_sec, before.st_mtim.tv_sec);
	assert_int_equal(file_stat(MNT "/frames").st_mtim.tv_nsec, object.st_mtim.tv_nsec);
	assert_int_equal(segment_stat(id).shm_nattch, 0);
	assert_int_equal(segment_stat(id).shm_segsz, PAGE);
}

/* While it grows, by either view, others ask for its size and read it. */
static void looking_harms_no_writer(void **state)
{
	static const char *const views[] = { "$T", "$M" };
	char line[512];
	for (size_t i = 0; i < array_size(views); i++) {
		snprintf(line, sizeof(line),
			 "touch on; (set +e; while test -e on; do ls -l $T; find $T -size +1; cat "
			 "$T/7000; "
			 "head -c 1 $T/7000; done > seen 2>&1) & looker=$!\n"
			 "for i in 1 2 3; do (echo first; sleep 0.1; seq 3000; sleep 0.1; seq "
			 "20000) > "
			 "%s/7000; head -c 122793 %s/7000 | cksum; rm %s/7000; done\n"
			 "rm on; wait $looker || :",
			 views[i], views[i], views[i]);
		script("2666783914 122793\n2666783914 122793\n2666783914 122793\n", line);
	}
}

static int append_by(int number)
{
	char line[32];
	for (int i = 0; i < 200; i++) {
		int fd = open(TEXT, O_WRONLY | O_CREAT | O_APPEND, 0600);
		int len = snprintf(line, sizeof(line), "%d says %d\n", number, i);
		child_must(fd != -1 && write(fd, line, (size_t)len) == len && close(fd) == 0);
	}
	return 0;
}

/* One has the memory open for reading since the text was: it moves along. */
static void writers_of_both_views_see_each_other(void **state)
{
	char seen[PAGE];
	int text = must(open(TEXT, O_CREAT | O_WRONLY, 0600));
	int fd = must(open(RAW, O_RDONLY));
	pid_t children[2] = { child_start(append_by, 1), child_start(append_by, 2) };
	assert_int_equal(children_join(children, 2), 0);
	script("400 2\n", "awk '{ n[$1]++ } END { print NR, length(n) }' $T/7000");
	must(pread(fd, seen, sizeof(seen), 0));
	assert_true(file_has(TEXT, 0, seen, sizeof(seen)));
	close(fd);
	close(text);
}

static void both_views_are_two_files_of_one_object(void **state)
{
	file_write(TEXT, O_CREAT, "hello", 5);
	int text = must(open(TEXT, O_RDWR)), raw = must(open(RAW, O_RDWR));
	char seen[8] = "";
	assert_int_equal(pwrite(raw, "J", 1, 0), 1);
	assert_int_equal(pread(text, seen, 8, 0), 5);
	assert_string_equal(seen, "Jello");
	assert_int_equal(pwrite(text, "!", 1, 5), 1);
	assert_int_equal(pread(raw, seen, 7, 0), 7);
	assert_string_equal(seen, "Jello!");
	assert_true(file_stat(TEXT).st_ino != file_stat(RAW).st_ino);
	assert_int_equal(file_stat(RAW).st_size, PAGE);
	close(text);
	close(raw);
}

/* A filesystem in which no hole can be punched. */
static void a_dev_shm_that_is_no_tmpfs_has_texts(void **state)
{
	struct fixture *fixture = *state;
	must(mount("ramfs", NATIVE, "ramfs", 0, NULL));
	daemon_start(fixture, NULL);
	script("hi\n", "seq 5000 > $T/frames; echo hi > $T/frames; cat $T/frames");
	script("23894 3\n", "echo $(stat -c %s $M/frames) $(tr -d '\\0' < $M/frames | wc -c)");
	script("ho\n", "sed -i s/hi/ho/ $T/frames; cat $T/frames");
	daemon_stop(fixture);
	must(umount2(NATIVE, MNT_DETACH));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(looking_moves_no_mtime),
		mounted(looking_harms_no_writer),
		mounted(writers_of_both_views_see_each_other),
		mounted(both_views_are_two_files_of_one_object),
		bare(a_dev_shm_that_is_no_tmpfs_has_texts),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

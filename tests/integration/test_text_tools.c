/* SPDX-License-Identifier: MIT */
/*
 * The texts as people use them: with the programs that know text files.  A
 * script runs with .text as $T, the same memory raw on $R, and fails at the
 * first command that does.
 */
#include "harness.h"

enum { KEY = 3148, PAGE = 4096 };

#define TEXT MNT "/.text"
#define CLASSIC BIN "/classic"

static void script(const char *expected, const char *commands)
{
	char output[8192];
	int status = shell(output, sizeof(output),
			   "set -eu; export LC_ALL=C.UTF-8; T=" TEXT " R=" MNT "; cd " TMP "\n%s",
			   commands);
	if (status != 0)
		fail_msg("status %d: %s", status, output);
	assert_string_equal(output, expected);
}

static void echo_and_cat(void **state)
{
	script("hi\n", "echo hi > $T/3148; cat $T/3148");
	script("hi\nmore\n8\n", "echo more >> $T/3148; cat $T/3148; wc -c < $T/3148");
	script("1 2 8\n", "echo $(grep -c more $T/3148) $(wc -lc < $T/3148)");
	script("", "printf 'hi\\nmore\\n' | cmp - $T/3148");
	script("re\n", "tail -c 3 $T/3148");
	script("more\n", "tail -n 1 $T/3148");
	script("0\n", ": > $T/3148; stat -c %s $T/3148");
	script("frame 1\nframe 2\n",
	       "echo frame 1 > $T/frames; echo frame 2 >> $T/frames; cat $T/frames");
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, PAGE);
	assert_true(segment_is_zero(segment_find(KEY), 0, PAGE));
}

static void tee_dd_and_truncate(void **state)
{
	script("", "seq 1000 | tee $T/3148 > all; cmp all $T/3148");
	script("", "seq 1001 1200 | tee -a $T/3148 >> all; cmp all $T/3148");
	script("12X\nYZ5", "printf 12345 > $T/1; printf 'X\\nYZ' | dd of=$T/1 conv=notrunc "
			   "status=none bs=1 seek=2; printf 5 >> $T/1; cat $T/1");
	script("hi", "echo hidden words > $T/1; truncate -s 2 $T/1; cat $T/1");
	assert_true(segment_has(segment_find(1), 0, "hi\0\0\0\0\0\0\0\0\0\0\0", 13));
	script("refused\nhi", "truncate -s 100 $T/1 2> /dev/null || echo refused; cat $T/1");
	script("refused\nhi", "echo x | dd of=$T/1 conv=notrunc status=none bs=1 seek=50 "
			      "2> /dev/null || echo refused; cat $T/1");
	script("refused\n", "printf 'a\\0b' 2> /dev/null > $T/1 || echo refused");
}

static void cp_both_ways(void **state)
{
	script("", "seq 50000 > file; cp file $T/1; cmp file $T/1; cp $T/1 back; cmp file back");
	script("", "cp --sparse=always file $T/2; cmp file $T/2; cp -p $T/2 $T/3; cmp file $T/3");
	script("", "cp $T/1 $T/frames; cmp file $T/frames; mv $T/frames $T/other; cmp file "
		   "$T/other");
	/* Memory as it was saved: the NULs behind a text are its end. */
	script("hi\n", "echo hi > $R/4; cp $R/4 saved; cp saved $T/5; cat $T/5");
	script("hi\n", "seq 60000 > $T/5; cp --sparse=never saved $T/5; cat $T/5; cmp saved $R/4");
	script("moved\n", "echo moved > $T/6; mv $T/6 $T/7; cat $T/7; test ! -e $T/6");
}

static void programs_that_write_in_place(void **state)
{
	script("h\xc3\xa9XXo\nend\n",
	       "python3 -c '\nf = open(\"" TEXT
	       "/1\", \"w\"); f.write(\"h\xc3\xa9llo\\n\"); f.close()\n"
	       "f = open(\"" TEXT "/1\", \"r+\"); f.seek(3); f.write(\"XX\"); f.close()\n"
	       "f = open(\"" TEXT "/1\", \"a\"); f.write(\"end\\n\"); f.close()'; cat $T/1");
	script("a\nb\nc\n", "printf 'c\\na\\nb\\n' > $T/1; sort -o $T/1 $T/1; cat $T/1");
	for (int i = 0; i < 6; i++) {
		static const char *const options[] = { "",	   "--inplace",
						       "--append", "--preallocate",
						       "-S",	   "--inplace --preallocate" };
		char line[256];
		snprintf(line, sizeof(line), "seq 20000 >> file; rsync %s file $T/1; cmp file $T/1",
			 options[i]);
		script("", line);
	}
	script("", "echo short > file; rsync --inplace file $T/1; cmp file $T/1");
}

/* sed(1) makes a temporary file and renames it: the key takes its content. */
static void sed_in_place(void **state)
{
	script("", CLASSIC " -p 'hello, world'");
	int id = segment_find(KEY);
	const char *memory = segment_attach(id);
	script("HELLO, world", "sed -i s/hello/HELLO/ $T/3148; cat $T/3148; test $(ls $T) = 3148");
	assert_string_equal(memory, "HELLO, world");
	script("", "sed -i s/.*/no/ $T/3148");
	assert_true(segment_has(id, 0, "no\0\0\0\0\0\0\0\0\0\0\0", 13));
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_nattch, 1);
	segment_detach(memory);
	/* The temporary file on its own; a key that was not there; a name. */
	script("640 text\n", "(umask 027; echo text > $T/temp); mv $T/temp $T/77; "
			     "echo $(stat -c %a $T/77) $(cat $T/77); test ! -e $T/temp");
	script("frame 2\n", "echo frame 1 > $T/frames; sed -i s/1/2/ $T/frames; cat $T/frames");
	/* A backup would take the segment away from its key. */
	script("refused\nno", "sed -i.bak s/no/yes/ $T/3148 2> /dev/null || echo refused; "
			      "cat $T/3148");
	assert_int_equal(directory_count(NATIVE), 1);
}

static void a_text_that_does_not_fit_is_not_lost(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_put(id, 0, "the old text", 13);
	const void *memory = segment_attach(id);
	script("refused\n", "seq 2000 > $T/temp; mv $T/temp $T/3148 2> /dev/null || echo refused; "
			    "seq 2000 | cmp - $T/temp");
	script("refused\n", "sed -i 's/^/'$(head -c 5000 /dev/zero | tr '\\0' x)/ $T/3148 2> "
			    "/dev/null || echo refused");
	assert_true(segment_has(id, 0, "the old text", 13));
	must_fail(EEXIST,
		  renameat2(AT_FDCWD, TEXT "/temp", AT_FDCWD, TEXT "/3148", RENAME_NOREPLACE));
	must_fail(EXDEV,
		  renameat2(AT_FDCWD, TEXT "/temp", AT_FDCWD, TEXT "/3148", RENAME_EXCHANGE));
	must_fail(EXDEV, rename(TEXT "/3148", TEXT "/away"));
	must_fail(EXDEV, rename(TEXT "/temp", MNT "/.by-id/77777"));
	segment_detach(memory);
	script("", "mv $T/temp $T/3148; seq 2000 | cmp - $T/3148; test ! -e $T/temp");
}

static void a_rename_asks_for_the_callers_rights(void **state)
{
	int id = segment_create(KEY, PAGE, 0644);
	segment_put(id, 0, "the old text", 13);
	become(&ALICE);
	file_write(TEXT "/temp", O_CREAT, "Alice's", 7);
	must_fail(EACCES, rename(TEXT "/temp", TEXT "/3148"));
	must(rename(TEXT "/temp", TEXT "/1"));
	file_write(TEXT "/temp", O_CREAT, "Alice's", 7);
	become(&BOB);
	must_fail(EXDEV, rename(TEXT "/temp", TEXT "/2"));
	become(&ROOT);
	assert_true(segment_has(id, 0, "the old text", 13));
	assert_int_equal(segment_stat(segment_find(1)).shm_perm.cuid, ALICE.uid);
	assert_int_equal(segment_find(2), -1);
	segment_chmod(id, 0666);
	become(&ALICE);
	must(rename(TEXT "/temp", TEXT "/3148"));
	become(&ROOT);
	assert_true(segment_has(id, 0, "Alice's", 8));
	assert_int_equal(segment_stat(id).shm_perm.uid, 0);
}

static void attributes_are_those_of_the_memory(void **state)
{
	script("1 0x00000c4c\n", "echo hi > $T/3148; setfattr -n user.shm.locked -v 1 $T/3148; "
				 "get='getfattr --absolute-names --only-values -n user.shm'; "
				 "echo $($get.locked $T/3148) $($get.key $T/3148)");
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode & SHM_LOCKED, SHM_LOCKED);
	needs(objects_take_user_xattrs(), USER_XATTRS);
	script("payroll", "echo x > $T/frames; setfattr -n user.note -v payroll " NATIVE "/frames; "
			  "getfattr --absolute-names --only-values -n user.note $T/frames");
}

/* --- an ordinary user's mount --- */

static int use_texts(void *arg)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	memset(memory + 1, 'z', PAGE - 1);
	child_must(system("echo hi >> " TEXT "/3148 && test \"$(cat " TEXT "/3148)\" = hi") == 0);
	child_must(strcmp(memory, "hi\n") == 0 && memory[4] == 'z');
	child_must(system("sed -i s/hi/hello/ " TEXT "/3148") == 0);
	child_must(strcmp(memory, "hello\n") == 0 && memory[4000] == '\0');
	child_must(truncate(TEXT "/3148", 2) == 0 && strcmp(memory, "he") == 0);
	child_must(truncate(TEXT "/3148", 3) == -1 && errno == EINVAL);
	child_must(file_stat(TEXT "/3148").st_size == 2 && file_stat(TEXT "/3148").st_nlink == 2);
	child_must(shmdt(memory) == 0);
	child_must(system("seq 5000 > " TMP "/all && cp " TMP "/all " TEXT "/3148 && cmp " TMP
			  "/all " TEXT "/3148 && echo end >> " TEXT "/3148") == 0);
	struct shmid_ds data;
	child_must(shmctl(shmget(KEY, 0, 0), IPC_STAT, &data) == 0);
	child_must(data.shm_segsz == 23893 + 4 + 1);
	child_must(system("echo frame > " TEXT "/frames && echo 2 >> " TEXT "/frames && sed -i "
			  "s/2/3/ " TEXT "/frames && printf 'frame\\n3\\n' | cmp - " TEXT
			  "/frames") == 0);
	child_must(shmctl(shmget(KEY, 0, 0), IPC_STAT, &data) == 0 && data.shm_nattch == 0);
	/* Others' segments: the size, or the text where one may read. */
	child_must(file_stat(TEXT "/1").st_size == PAGE);
	child_must(file_stat(TEXT "/2").st_size == 6);
	child_must(open(TEXT "/2", O_WRONLY) == -1 && errno == EACCES);
	return 0;
}

static void a_user_has_texts_as_well(void **state)
{
	segment_put(segment_create(1, PAGE, 0600), 0, "secret", 7);
	segment_put(segment_create(2, PAGE, 0644), 0, "public", 7);
	assert_int_equal(run_as(&NOBODY, use_texts, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(echo_and_cat),
		mounted(tee_dd_and_truncate),
		mounted(cp_both_ways),
		mounted(programs_that_write_in_place),
		mounted(sed_in_place),
		mounted(a_text_that_does_not_fit_is_not_lost),
		mounted(a_rename_asks_for_the_callers_rights),
		mounted(attributes_are_those_of_the_memory),
		mounted_by_user(a_user_has_texts_as_well),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

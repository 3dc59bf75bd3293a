/* SPDX-License-Identifier: MIT */
/* System V segments: owner, mode, times, links, renames, the filesystem's room. */
#include "harness.h"

#include <sys/statfs.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096 };

#define PATH MNT "/3148"

static void mode_owner_and_size_are_the_segments(void **state)
{
	int id = segment_create(KEY, 12345, 0642);
	segment_chown(id, 1001, 2000);
	struct stat data = file_stat(PATH);
	assert_int_equal(data.st_mode, S_IFREG | 0642);
	assert_int_equal(data.st_uid, 1001);
	assert_int_equal(data.st_gid, 2000);
	assert_int_equal(data.st_size, 12345);
}

static void chmod_sets_the_mode_alone(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_chown(id, 1001, 2000);
	must(chmod(PATH, 0464));
	struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_perm.mode, 0464);
	assert_int_equal(data.shm_perm.uid, 1001);
	assert_int_equal(data.shm_perm.gid, 2000);
}

static void chown_sets_owner_and_group_and_not_the_creator(void **state)
{
	int id = segment_create(KEY, PAGE, 0640);
	must(chown(PATH, 1001, (gid_t)-1));
	must(chown(PATH, (uid_t)-1, 2000));
	struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_perm.uid, 1001);
	assert_int_equal(data.shm_perm.gid, 2000);
	assert_int_equal(data.shm_perm.cuid, 0);
	assert_int_equal(data.shm_perm.cgid, 0);
	assert_int_equal(data.shm_perm.mode, 0640);
}

static void an_open_handle_changes_its_own_segment(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	int fd = must(open(PATH, O_RDWR));
	must(fchmod(fd, 0660));
	must(fchown(fd, 1001, 2000));
	assert_int_equal(segment_stat(id).shm_perm.mode, 0660);
	assert_int_equal(segment_stat(id).shm_perm.uid, 1001);
	close(fd);
}

static void times_are_the_segments(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	assert_int_equal(file_stat(PATH).st_atime, 0); /* never attached */
	assert_int_equal(file_stat(PATH).st_mtime, segment_stat(id).shm_ctime);
	usleep(1100000); /* the kernel counts in seconds */
	segment_put(id, 0, "x", 1);
	struct shmid_ds data = segment_stat(id);
	assert_int_equal(file_stat(PATH).st_atime, data.shm_atime);
	assert_int_equal(file_stat(PATH).st_mtime, data.shm_dtime);
	assert_int_equal(file_stat(PATH).st_ctime, data.shm_ctime);
	assert_true(data.shm_dtime > data.shm_ctime);
}

static void a_detach_between_two_reads_counts(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	time_t second;
	usleep(1100000); /* the kernel counts in seconds */
	do {
		second = time(NULL);
		assert_true(file_has(PATH, 0, "", 0));
		segment_put(id, 0, "x", 1);
		assert_true(file_has(PATH, 0, "x", 1));
	} while (segment_stat(id).shm_dtime != second);
	assert_int_equal(file_stat(PATH).st_mtime, second);
}

static void restart(struct fixture *fixture)
{
	daemon_stop(fixture);
	daemon_start(fixture, NULL);
}

/* The kernel's own times have no fraction of a second. */
static void the_record_of_times_is_for_nobody_else(void **state)
{
	struct fixture *fixture = *state;
	segment_create(KEY, PAGE, 0600);
	file_write(PATH, 0, "x", 1);
	assert_int_not_equal(file_stat(PATH).st_mtim.tv_nsec, 0);
	restart(fixture);
	assert_int_not_equal(file_stat(PATH).st_mtim.tv_nsec, 0);
	assert_int_equal(shell(NULL, 0, "chown %u " RUN "/shmfs-times-*", ALICE.uid), 0);
	restart(fixture);
	assert_int_equal(file_stat(PATH).st_mtim.tv_nsec, 0);
	assert_int_equal(shell(NULL, 0, "chown 0 " RUN "/shmfs-times-*"), 0);
	assert_int_equal(shell(NULL, 0, "chmod 622 " RUN "/shmfs-times-*"), 0);
	restart(fixture);
	assert_int_equal(file_stat(PATH).st_mtim.tv_nsec, 0);
}

static void setting_times_changes_ctime_alone(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	time_t created = segment_stat(id).shm_ctime;
	usleep(1100000);
	must(utimensat(AT_FDCWD, PATH, (struct timespec[]){ { 1000, 0 }, { 2000, 0 } }, 0));
	struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_atime, 0);
	assert_int_equal(data.shm_dtime, 0);
	assert_true(data.shm_ctime > created);
	assert_int_equal(file_stat(PATH).st_atime, 0);
	assert_int_equal(file_stat(PATH).st_ctime, data.shm_ctime);
	assert_int_equal(data.shm_perm.mode, 0600);
}

static void tools_that_set_times_succeed(void **state)
{
	char bytes[5000], output[512];
	pattern_fill(bytes, sizeof(bytes), 1);
	file_write(TMP "/source", O_CREAT, bytes, sizeof(bytes));
	assert_int_equal(shell(output, sizeof(output), "cp -p " TMP "/source " PATH), 0);
	assert_string_equal(output, "");
	assert_int_equal(shell(output, sizeof(output), "touch " PATH), 0);
	assert_int_equal(shell(output, sizeof(output), "touch " MNT "/3149"), 0);
	assert_true(segment_has(segment_find(KEY), 0, bytes, sizeof(bytes)));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, sizeof(bytes));
	assert_int_equal(segment_stat(segment_find(3149)).shm_segsz, PAGE);
}

static void links_are_one_and_the_attachments(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	assert_int_equal(file_stat(PATH).st_nlink, 1);
	void *first = segment_attach(id);
	assert_int_equal(file_stat(PATH).st_nlink, 2);
	void *second = segment_attach(id);
	assert_int_equal(file_stat(PATH).st_nlink, 3);
	segment_detach(first);
	segment_detach(second);
	assert_int_equal(file_stat(PATH).st_nlink, 1);
}

static void the_filesystems_own_hold_is_not_counted(void **state)
{
	char byte;
	struct stat data;
	int id = segment_create(KEY, PAGE, 0600);
	int reader = must(open(PATH, O_RDONLY));
	int writer = must(open(PATH, O_RDWR));
	assert_int_equal(pread(reader, &byte, 1, 0), 1);
	assert_int_equal(pwrite(writer, "x", 1, 0), 1);
	must(fstat(reader, &data));
	assert_int_equal(data.st_nlink, 1);
	assert_int_equal(file_stat(PATH).st_nlink, 1);
	void *memory = segment_attach(id);
	must(fstat(writer, &data));
	assert_int_equal(data.st_nlink, 2);
	segment_detach(memory);
	close(reader);
	close(writer);
	assert_true(eventually(segment_stat(id).shm_nattch == 0));
}

static void find_tells_who_is_in_use(void **state)
{
	char found[64];
	segment_create(KEY, PAGE, 0600);
	void *memory = segment_attach(segment_create(5000, PAGE, 0600));
	assert_int_equal(shell(found, sizeof(found), "find " MNT " -type f -links 1"), 0);
	assert_string_equal(found, PATH "\n");
	assert_int_equal(shell(found, sizeof(found), "find " MNT " -type f -links +1"), 0);
	assert_string_equal(found, MNT "/5000\n");
	segment_detach(memory);
}

/* What a daily job does; segments cannot be aged, so these may be young. */
static void find_removes_the_orphans_of_a_user_alone(void **state)
{
	char output[256];
	char expected[256];
	int with_key = segment_create(KEY, PAGE, 0600);
	int without_key = must(shmget(IPC_PRIVATE, PAGE, 0600));
	int in_use = must(shmget(IPC_PRIVATE, PAGE, 0600));
	int of_another = must(shmget(IPC_PRIVATE, PAGE, 0600));
	const void *memory = segment_attach(in_use);
	segment_chown(of_another, ALICE.uid, ALICE.gid);
	assert_int_equal(shell(output, sizeof(output),
			       "find " MNT "/.by-id -type f -links 1 -user root -mmin +1440 -print "
			       "-delete; "
			       "find " MNT "/.by-id -type f -links 1 -user root -mmin -1440 -print "
			       "-delete | sort -V"),
			 0);
	snprintf(expected, sizeof(expected), MNT "/.by-id/%d\n" MNT "/.by-id/%d\n", with_key,
		 without_key);
	assert_string_equal(output, expected);
	assert_int_equal(segments_count(), 2);
	segment_stat(in_use);
	segment_stat(of_another);
	segment_detach(memory);
}

static void attributes_are_what_ipcs_prints(void **state)
{
	char output[256];
	int id = segment_create(KEY, 12345, 0640);
	segment_chown(id, ALICE.uid, ALICE.gid);
	const void *memory = segment_attach(id);
	/* By one shell: it inherits the attachment, and so is the last to detach. */
	shell(output, sizeof(output),
	      "ipcs -m -i %d | grep -owE '(nattch|lpid|cpid|cuid|cgid)=[0-9]+' | sort >" TMP
	      "/ipcs; "
	      "for name in cgid cpid cuid lpid nattch; do echo $name=$(getfattr "
	      "--absolute-names --only-values -n user.shm.$name " PATH "); done | diff " TMP
	      "/ipcs - && "
	      "grep nattch " TMP "/ipcs",
	      id);
	assert_string_equal(output, "nattch=1\n");
	segment_detach(memory);
}

static void blocks_are_the_resident_memory(void **state)
{
	int id = segment_create(KEY, 100 * PAGE, 0600);
	assert_int_equal(file_stat(PATH).st_blocks, 0);
	char *memory = segment_attach(id);
	memory[0] = memory[PAGE] = memory[50 * PAGE] = 1;
	segment_detach(memory);
	assert_true(eventually(file_stat(PATH).st_blocks == 3 * PAGE / 512));
}

static void a_segment_cannot_be_renamed(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	segment_create(5000, PAGE, 0600);
	object_create("frames", 1);
	must_fail(EXDEV, rename(PATH, MNT "/4000"));
	must_fail(EXDEV, rename(PATH, MNT "/5000"));
	must_fail(EXDEV, rename(PATH, MNT "/new"));
	must_fail(EXDEV, rename(PATH, MNT "/frames"));
	must_fail(EXDEV, rename(MNT "/frames", MNT "/4000"));
	must_fail(EXDEV, rename(MNT "/frames", PATH));
	must_fail(EXDEV, renameat2(AT_FDCWD, PATH, AT_FDCWD, MNT "/frames", RENAME_EXCHANGE));
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segments_count(), 2);
	assert_true(object_exists("frames"));
}

static void mv_copies_and_removes(void **state)
{
	char bytes[9000], output[512];
	pattern_fill(bytes, sizeof(bytes), 3);
	int id = segment_create(KEY, sizeof(bytes), 0640);
	segment_put(id, 0, bytes, sizeof(bytes));
	segment_chown(id, 1001, 2000);
	assert_int_equal(shell(output, sizeof(output), "mv " PATH " " MNT "/4000"), 0);
	assert_string_equal(output, "");
	assert_int_equal(segment_find(KEY), -1);
	struct shmid_ds data = segment_stat(segment_find(4000));
	assert_int_equal(data.shm_segsz, sizeof(bytes));
	assert_int_equal(data.shm_perm.mode, 0640);
	assert_int_equal(data.shm_perm.uid, 1001);
	assert_int_equal(data.shm_perm.gid, 2000);
	assert_true(segment_has(segment_find(4000), 0, bytes, sizeof(bytes)));
}

static void mv_turns_a_segment_into_an_object_and_back(void **state)
{
	char bytes[9000], output[512];
	pattern_fill(bytes, sizeof(bytes), 4);
	segment_put(segment_create(KEY, sizeof(bytes), 0600), 0, bytes, sizeof(bytes));
	assert_int_equal(shell(output, sizeof(output), "mv " PATH " " MNT "/frames"), 0);
	assert_int_equal(segments_count(), 0);
	assert_true(object_has("frames", 0, bytes, sizeof(bytes)));
	assert_int_equal(object_stat("frames").st_size, sizeof(bytes));
	assert_int_equal(shell(output, sizeof(output), "mv " MNT "/frames " PATH), 0);
	assert_false(object_exists("frames"));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, sizeof(bytes));
	assert_true(segment_has(segment_find(KEY), 0, bytes, sizeof(bytes)));
}

static void df_shows_the_room_of_dev_shm(void **state)
{
	struct statfs seen, native;
	object_create("frames", 0);
	static char bytes[1 << 20];
	memset(bytes, 1, sizeof(bytes));
	object_put("frames", 0, bytes, sizeof(bytes));
	must(statfs(MNT, &seen));
	must(statfs(NATIVE, &native));
	assert_int_equal(seen.f_blocks * (unsigned long)seen.f_frsize,
			 native.f_blocks * (unsigned long)native.f_frsize);
	assert_int_equal(seen.f_bfree * (unsigned long)seen.f_frsize,
			 native.f_bfree * (unsigned long)native.f_frsize);
	assert_int_equal(seen.f_bavail * (unsigned long)seen.f_frsize,
			 native.f_bavail * (unsigned long)native.f_frsize);
	assert_int_equal(seen.f_namelen, 255);
}

static void df_i_shows_the_segments_that_may_be_made(void **state)
{
	struct statfs seen;
	limit_set("shmmni", 100);
	must(statfs(MNT, &seen));
	assert_int_equal(seen.f_files, 100);
	assert_int_equal(seen.f_ffree, 100);
	segment_create(KEY, PAGE, 0600);
	must(shmget(IPC_PRIVATE, PAGE, 0600));
	must(statfs(MNT, &seen));
	assert_int_equal(seen.f_files, 100);
	assert_int_equal(seen.f_ffree, 98);
	limit_set("shmmni", 1); /* less than there are */
	must(statfs(MNT, &seen));
	assert_int_equal(seen.f_ffree, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(mode_owner_and_size_are_the_segments),
		mounted(chmod_sets_the_mode_alone),
		mounted(chown_sets_owner_and_group_and_not_the_creator),
		mounted(an_open_handle_changes_its_own_segment),
		mounted(times_are_the_segments),
		mounted(a_detach_between_two_reads_counts),
		mounted(the_record_of_times_is_for_nobody_else),
		mounted(setting_times_changes_ctime_alone),
		mounted(tools_that_set_times_succeed),
		mounted(links_are_one_and_the_attachments),
		mounted(the_filesystems_own_hold_is_not_counted),
		mounted(find_tells_who_is_in_use),
		mounted(find_removes_the_orphans_of_a_user_alone),
		mounted(attributes_are_what_ipcs_prints),
		mounted(blocks_are_the_resident_memory),
		mounted(a_segment_cannot_be_renamed),
		mounted(mv_copies_and_removes),
		mounted(mv_turns_a_segment_into_an_object_and_back),
		mounted(df_shows_the_room_of_dev_shm),
		mounted(df_i_shows_the_segments_that_may_be_made),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Attributes as cp, mv, tar, rsync, Python and getfattr meet them. */
#include "harness.h"

#include <sys/shm.h>
#include <sys/xattr.h>

enum { KEY = 3148 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static void assert_note(const char *path)
{
	char value[8];
	assert_int_equal(getxattr(path, "user.note", value, sizeof(value)), 4);
	assert_memory_equal(value, "kept", 4);
}

/* A command that is to succeed and to have nothing to say. */
static void assert_quiet(const char *command)
{
	char output[4096];
	int status = shell(output, sizeof(output), "cd " TMP " && %s", command);
	if (status != 0 || output[0])
		fail_msg("%s: exit status %d\n%s", command, status, output);
}

static bool is_installed(const char *program)
{
	return shell(NULL, 0, "command -v %s > /dev/null", program) == 0;
}

static void copies_go_out_and_back(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	file_write(SEGMENT, O_CREAT, "content", 7);
	object_create("frames", 0);
	object_put("frames", 0, "content", 7);
	must(setxattr(OBJECT, "user.note", "kept", 4, 0));
	assert_quiet("cp --preserve=xattr " SEGMENT " " OBJECT " .");
	must_fail(ENODATA, getxattr(TMP "/3148", "user.shm.key", NULL, 0));
	assert_note(TMP "/frames");
	assert_quiet("cp --preserve=xattr 3148 " MNT "/3149");
	assert_quiet("cp --preserve=xattr frames " MNT "/films");
	assert_note(MNT "/films");
	assert_quiet("cp -a " SEGMENT " " MNT "/3150 && cp -a " MNT "/3150 a && cp -a a " MNT
		     "/3151");
	assert_quiet("mv " MNT "/3149 " MNT "/3152 && mv " MNT "/3152 b && mv b " MNT "/3153");
	assert_quiet("tar --xattrs -C " MNT " -cf t.tar 3148 frames && rm " SEGMENT " " OBJECT
		     " && tar --xattrs -C " MNT " -xf t.tar");
	assert_note(OBJECT);
	assert_true(file_has(SEGMENT, 0, "content", 7));
	assert_quiet("cp -a " MNT " all && rm " MNT "/3151 && cp -a all/* " MNT);
	assert_true(file_has(MNT "/3151", 0, "content", 7));
	assert_true(file_has(MNT "/3153", 0, "content", 7));
}

/* Python lists the attributes of a file that it has closed (shutil.copystat()). */
static void a_copy_by_python_takes_none_along(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	char names[256];
	file_write(SEGMENT, O_CREAT, "content", 7);
	object_create("frames", 0);
	must(setxattr(OBJECT, "user.note", "kept", 4, 0));
	assert_quiet("python3 -c 'import shutil\n"
		     "for name in \"3148\", \"frames\":\n"
		     "    shutil.copy2(\"" MNT "/\" + name, name)'");
	assert_int_equal(listxattr(TMP "/3148", names, sizeof(names)), 0);
	assert_int_equal(listxattr(TMP "/frames", names, sizeof(names)), sizeof("user.note"));
}

/* getfattr(1) asks for the length first, and reads as many bytes as the second call says. */
static void what_changes_by_itself_has_room(void **state)
{
	static const char *const names[] = { "user.shm.attached", "user.shm.users",
					     "user.shm.nattch",	  "user.shm.lpid",
					     "user.shm.status",	  "user.shm.resident",
					     "user.shm.swapped" };
	int id = segment_create(KEY, 4096, 0600);
	for (size_t i = 0; i < array_size(names); i++)
		assert_true(getxattr(SEGMENT, names[i], NULL, 0) >= 32);
	pid_t child = fork();
	if (child == 0) {
		for (;;)
			shmdt(shmat(id, NULL, 0));
	}
	for (int i = 0; i < 50; i++)
		assert_int_equal(shell(NULL, 0, "getfattr -d " SEGMENT " > /dev/null 2>&1"), 0);
	must(kill(child, SIGKILL));
	must(waitpid(child, NULL, 0));
}

static void rsync_copies_out_and_back(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	if (!is_installed("rsync")) {
		print_message("skipped: rsync is not installed\n");
		skip();
	}
	file_write(SEGMENT, O_CREAT, "content", 7);
	object_create("frames", 0);
	object_put("frames", 0, "content", 7);
	must(setxattr(OBJECT, "user.note", "kept", 4, 0));
	assert_quiet("rsync -aX --filter='-x user.shm*' " OBJECT " " SEGMENT " .");
	assert_note(TMP "/frames");
	assert_quiet("rm " OBJECT " " SEGMENT);
	assert_quiet("rsync -aX --inplace --filter='-x user.shm*' frames 3148 " MNT "/");
	assert_note(OBJECT);
	assert_quiet("mkdir all && rsync -aX --filter='-x user.shm*' " MNT "/ all/");
	assert_quiet("rm " OBJECT " " SEGMENT);
	assert_quiet("rsync -aX --inplace --filter='-x user.shm*' all/ " MNT "/");
	assert_note(OBJECT);
	assert_true(file_has(SEGMENT, 0, "content", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(copies_go_out_and_back),
		mounted(a_copy_by_python_takes_none_along),
		mounted(what_changes_by_itself_has_room),
		mounted(rsync_copies_out_and_back),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

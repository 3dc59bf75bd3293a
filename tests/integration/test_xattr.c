/* SPDX-License-Identifier: MIT */
/* Extended attributes: what shmfs tells, and what objects have themselves. */
#include "harness.h"

#include "engine.h"

#include <sys/shm.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* --- values --- */

/* The value of an attribute as text, in memory of the next call's. */
static const char *value_of(const char *path, const char *name)
{
	static char value[65537];
	ssize_t length = getxattr(path, name, value, sizeof(value) - 1);
	if (length == -1)
		fail_msg("%s of %s: %s", name, path, strerror(errno));
	/* Asked for its length alone it says the same, or with room to spare. */
	assert_true(getxattr(path, name, NULL, 0) >= length);
	value[length] = '\0';
	return value;
}

static void assert_value(const char *path, const char *name, const char *format, ...)
{
	char expected[256];
	va_list args;
	va_start(args, format);
	vsnprintf(expected, sizeof(expected), format, args);
	va_end(args);
	assert_string_equal(value_of(path, name), expected);
}

static bool lists(const char *path, const char *name)
{
	char names[4096];
	ssize_t length = must(listxattr(path, names, sizeof(names)));
	assert_int_equal(must(listxattr(path, NULL, 0)), length);
	for (const char *at = names; at < names + length; at += strlen(at) + 1) {
		if (strcmp(at, name) == 0)
			return true;
	}
	return false;
}

/* Columns of a segment's line in the kernel's table, from 0; the last but one is rss. */
static unsigned long long table_column(int id, int column)
{
	char line[1024];
	unsigned long long found = ULLONG_MAX;
	FILE *table = fopen("/proc/sysvipc/shm", "re");
	assert_non_null(table);
	while (fgets(line, sizeof(line), table)) {
		unsigned long long values[16];
		char *at = line;
		for (size_t i = 0; i < array_size(values); i++)
			values[i] = strtoull(at, &at, i == 2 ? 8 : 10);
		if (values[1] == (unsigned long long)id)
			found = values[column];
	}
	fclose(table);
	return found;
}

/* What the calls and the table tell at this moment. */
static void assert_all_values(const char *path, int id)
{
	struct shmid_ds data;
	must(shmctl(id, IPC_STAT, &data));
	assert_value(path, "user.shm.key", "0x%08x", (unsigned)data.shm_perm.__key);
	assert_value(path, "user.shm.id", "%d", id);
	assert_value(path, "user.shm.nattch", "%lu", (unsigned long)data.shm_nattch);
	assert_value(path, "user.shm.cpid", "%d", data.shm_cpid);
	assert_value(path, "user.shm.lpid", "%d", data.shm_lpid);
	assert_value(path, "user.shm.cuid", "%u", data.shm_perm.cuid);
	assert_value(path, "user.shm.cgid", "%u", data.shm_perm.cgid);
	assert_value(path, "user.shm.resident", "%llu", table_column(id, 14));
	assert_value(path, "user.shm.swapped", "%llu", table_column(id, 15));
	assert_value(path, "user.shm.locked", "%d", (data.shm_perm.mode & SHM_LOCKED) != 0);
}

static const char *by_id(int id)
{
	static char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	return path;
}

/* --- segments --- */

static void segments_tell_what_ipcs_tells(void **state)
{
	become(&ALICE);
	int id = segment_create(KEY, 10 * PAGE, 0644);
	become(&ROOT);
	segment_chown(id, BOB.uid, BOB.gid);
	assert_all_values(SEGMENT, id);
	assert_value(SEGMENT, "user.shm.cuid", "%u", ALICE.uid);
	assert_value(SEGMENT, "user.shm.resident", "0");
	assert_value(SEGMENT, "user.shm.status", "");
	/* At once, however short ago the table was read. */
	char *memory = segment_attach(id);
	for (size_t page = 0; page < 10; page++) {
		memory[page * PAGE] = 'x';
		assert_value(SEGMENT, "user.shm.resident", "%zu", (page + 1) * PAGE);
	}
	assert_all_values(SEGMENT, id);
	assert_value(SEGMENT, "user.shm.nattch", "1");
	segment_detach(memory);
	assert_all_values(SEGMENT, id);
	/* A file of the mount is no attachment. */
	int fd = must(open(SEGMENT, O_RDWR));
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_value(SEGMENT, "user.shm.nattch", "0");
	close(fd);
}

static void segments_without_a_key_tell_too(void **state)
{
	int id = must(shmget(IPC_PRIVATE, PAGE, 0600));
	assert_all_values(by_id(id), id);
	assert_value(by_id(id), "user.shm.key", "0x00000000");
	/* Marked for destruction, and alive as long as it is attached. */
	void *memory = segment_attach(id);
	segment_remove(id);
	assert_all_values(by_id(id), id);
	assert_value(by_id(id), "user.shm.status", "dest");
	must(shmctl(id, SHM_LOCK, NULL));
	assert_value(by_id(id), "user.shm.status", "dest locked");
	segment_detach(memory);
	must_fail(ENOENT, getxattr(by_id(id), "user.shm.id", NULL, 0));
}

static void an_open_file_tells_of_what_was_removed(void **state)
{
	char value[64];
	int id = segment_create(KEY, PAGE, 0600);
	int fd = must(open(SEGMENT, O_RDONLY));
	segment_remove(id);
	assert_int_equal(must(fgetxattr(fd, "user.shm.status", value, sizeof(value))), 4);
	assert_memory_equal(value, "dest", 4);
	assert_int_equal(must(fgetxattr(fd, "user.shm.nattch", value, sizeof(value))), 1);
	assert_int_equal(value[0], '0');
	/* It is in the table no more. */
	must_fail(ENODATA, fgetxattr(fd, "user.shm.resident", value, sizeof(value)));
	close(fd);
}

static void all_are_listed_and_getfattr_prints_them(void **state)
{
	char output[4096];
	static const char *const names[] = { "key",	"id",	  "nattch", "cpid",
					     "lpid",	"cuid",	  "cgid",   "resident",
					     "swapped", "status", "locked" };
	segment_create(KEY, PAGE, 0600);
	assert_int_equal(shell(output, sizeof(output), "getfattr -d --absolute-names " SEGMENT), 0);
	for (size_t i = 0; i < array_size(names); i++) {
		char name[64];
		snprintf(name, sizeof(name), "user.shm.%s", names[i]);
		assert_true(lists(SEGMENT, name));
		assert_non_null(strstr(output, name));
	}
	assert_non_null(strstr(output, "user.shm.key=\"0x00000c4c\"\n"));
	assert_int_equal(shell(output, sizeof(output), "getfattr -d -m - " SEGMENT), 0);
	char names_too_small[20];
	must_fail(ERANGE, listxattr(SEGMENT, names_too_small, sizeof(names_too_small)));
	must_fail(ERANGE, getxattr(SEGMENT, "user.shm.key", names_too_small, 9));
}

static void what_is_told_cannot_be_written(void **state)
{
	static const char *const paths[] = { SEGMENT, OBJECT };
	static const char *const names[] = { "user.shm.key",	   "user.shm.name",
					     "user.shm.status",	   "user.shm.other",
					     "user.shm.",	   "user.shmfs.version",
					     "user.shmfs.anything" };
	segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	for (size_t i = 0; i < array_size(paths); i++) {
		for (size_t j = 0; j < array_size(names); j++) {
			must_fail(EPERM, setxattr(paths[i], names[j], "1", 1, 0));
			must_fail(EPERM, setxattr(paths[i], names[j], "1", 1, XATTR_CREATE));
		}
		must_fail(ENODATA, getxattr(paths[i], "user.shm.other", NULL, 0));
		must_fail(ENODATA, getxattr(paths[i], "user.shmfs.version", NULL, 0));
		must_fail(ENODATA, removexattr(paths[i], "user.shm.other"));
	}
	must_fail(EPERM, removexattr(SEGMENT, "user.shm.key"));
	must_fail(EPERM, removexattr(SEGMENT, "user.shm.locked"));
	must_fail(EPERM, removexattr(OBJECT, "user.shm.name"));
	must_fail(ENODATA, getxattr(SEGMENT, "user.shm.name", NULL, 0));
	must_fail(ENODATA, getxattr(OBJECT, "user.shm.key", NULL, 0));
	/* Tried by nobody else either. */
	become(&ALICE);
	must_fail(EACCES, setxattr(SEGMENT, "user.shm.key", "1", 1, 0));
}

static void who_may_not_read_is_told_nothing(void **state)
{
	segment_create(KEY, PAGE, 0600);
	become(&ALICE);
	must_fail(EACCES, getxattr(SEGMENT, "user.shm.key", NULL, 0));
}

/* --- objects --- */

static void objects_tell_their_name(void **state)
{
	char value[16];
	object_create("frames", PAGE);
	object_create("3148", PAGE);
	assert_value(OBJECT, "user.shm.name", "/frames");
	assert_value(MNT "/.by-name/3148", "user.shm.name", "/3148");
	int fd = must(open(OBJECT, O_RDONLY));
	must(rename(OBJECT, MNT "/films"));
	assert_value(MNT "/films", "user.shm.name", "/films");
	must(unlink(NATIVE "/films"));
	must_fail(ENODATA, fgetxattr(fd, "user.shm.name", value, sizeof(value)));
	close(fd);
}

static void attributes_of_an_object_are_on_both_sides(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	object_create("frames", PAGE);
	must(setxattr(OBJECT, "user.note", "payroll", 7, XATTR_CREATE));
	assert_value(NATIVE "/frames", "user.note", "payroll");
	must_fail(EEXIST, setxattr(OBJECT, "user.note", "x", 1, XATTR_CREATE));
	must(setxattr(NATIVE "/frames", "user.note", "accounting", 10, 0));
	must(setxattr(NATIVE "/frames", "user.empty", "", 0, 0));
	assert_value(OBJECT, "user.note", "accounting");
	assert_value(OBJECT, "user.empty", "");
	assert_true(lists(OBJECT, "user.note"));
	assert_true(lists(OBJECT, "user.shm.name"));
	must(removexattr(OBJECT, "user.note"));
	must_fail(ENODATA, getxattr(NATIVE "/frames", "user.note", NULL, 0));
	must_fail(ENODATA, removexattr(OBJECT, "user.note"));
	must_fail(ENODATA, setxattr(OBJECT, "user.note", "x", 1, XATTR_REPLACE));
	assert_false(lists(OBJECT, "user.note"));
	/* As long as it may be. */
	static char value[65536];
	memset(value, 'v', sizeof(value));
	must(setxattr(OBJECT, "user.long", value, sizeof(value), 0));
	assert_int_equal(getxattr(NATIVE "/frames", "user.long", NULL, 0), sizeof(value));
	assert_int_equal(must(getxattr(OBJECT, "user.long", value, sizeof(value))), sizeof(value));
}

static void a_name_of_ours_on_the_object_is_not_seen(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	object_create("frames", PAGE);
	must(setxattr(NATIVE "/frames", "user.shm.name", "/fake", 5, 0));
	must(setxattr(NATIVE "/frames", "user.shm.cpid", "1", 1, 0));
	assert_value(OBJECT, "user.shm.name", "/frames");
	must_fail(ENODATA, getxattr(OBJECT, "user.shm.cpid", NULL, 0));
	assert_false(lists(OBJECT, "user.shm.cpid"));
}

static void attributes_of_an_object_are_for_who_may(void **state)
{
	needs(objects_take_user_xattrs(), USER_XATTRS);
	become(&ALICE);
	object_create("frames", PAGE);
	must(setxattr(OBJECT, "user.note", "hers", 4, 0));
	must_fail(EPERM, setxattr(OBJECT, "trusted.note", "x", 1, 0));
	must_fail(EPERM, setxattr(OBJECT, "security.note", "x", 1, 0));
	become(&ROOT);
	must(chmod(OBJECT, 0644));
	must(setxattr(OBJECT, "trusted.note", "secret", 6, 0));
	assert_value(NATIVE "/frames", "trusted.note", "secret");
	assert_true(lists(OBJECT, "trusted.note"));
	become(&BOB);
	assert_value(OBJECT, "user.note", "hers");
	must_fail(EACCES, setxattr(OBJECT, "user.note", "his", 3, 0));
	must_fail(EACCES, removexattr(OBJECT, "user.note"));
	must_fail(ENODATA, getxattr(OBJECT, "trusted.note", NULL, 0));
	assert_false(lists(OBJECT, "trusted.note"));
	assert_false(lists(NATIVE "/frames", "trusted.note"));
	become(&ROOT);
	must(chmod(OBJECT, 0600));
	become(&BOB);
	must_fail(EACCES, getxattr(OBJECT, "user.note", NULL, 0));
}

/* --- the root directory --- */

static unsigned long long limit(const char *name)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	int fd = must(open(path, O_RDONLY | O_CLOEXEC));
	must(read(fd, text, sizeof(text) - 1));
	close(fd);
	return strtoull(text, NULL, 10);
}

static void the_root_tells_limits_and_use(void **state)
{
	limit_set("shmmax", 1 << 20);
	limit_set("shmall", 5000);
	limit_set("shmmni", 100);
	assert_value(MNT, "user.shmfs.shmmax", "%llu", limit("shmmax"));
	assert_value(MNT, "user.shmfs.shmmax", "%d", 1 << 20);
	assert_value(MNT, "user.shmfs.shmall", "5000");
	assert_value(MNT, "user.shmfs.shmmni", "100");
	assert_value(MNT, "user.shmfs.segments", "0");
	assert_value(MNT, "user.shmfs.pages", "0");
	segment_create(KEY, 3 * PAGE, 0600);
	segment_create(5000, 1, 0600);
	assert_value(MNT, "user.shmfs.segments", "2");
	assert_value(MNT, "user.shmfs.pages", "4");
	assert_true(lists(MNT, "user.shmfs.version"));
	must_fail(EPERM, setxattr(MNT, "user.shmfs.shmmax", "1", 1, 0));
	must_fail(EOPNOTSUPP, setxattr(MNT, "user.note", "1", 1, 0));
	must_fail(ENODATA, getxattr(MNT, "user.note", NULL, 0));
	must_fail(ENODATA, getxattr(MNT "/.by-id", "user.shmfs.version", NULL, 0));
	become(&ALICE);
	assert_value(MNT, "user.shmfs.segments", "2");
}

static void the_root_tells_the_engine(void **state)
{
	if (engine_is_passthrough())
		assert_value(MNT, "user.shmfs.engine", "passthrough");
	else
		assert_memory_equal(value_of(MNT, "user.shmfs.engine"), "daemon: ", 8);
}

static void the_root_tells_why_the_daemon_serves(void **state)
{
	assert_value(MNT, "user.shmfs.engine", "daemon: nopassthrough was asked for");
}

/* --- an ordinary user's own mount --- */

static bool has_value(const char *path, const char *name, const char *expected)
{
	char value[256] = "";
	ssize_t length = getxattr(path, name, value, sizeof(value) - 1);
	return length >= 0 && strcmp(value, expected) == 0;
}

static int use_own_mount(void *arg)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	void *memory = shmat(id, NULL, 0);
	child_must(has_value(SEGMENT, "user.shm.key", "0x00000c4c"));
	child_must(has_value(SEGMENT, "user.shm.nattch", "1"));
	/* The daemon attaches now. */
	int fd = open(SEGMENT, O_RDWR);
	child_must(fd != -1 && has_value(SEGMENT, "user.shm.nattch", "1"));
	child_must(close(fd) == 0 && shmdt(memory) == 0);
	child_must(has_value(SEGMENT, "user.shm.status", ""));
	child_must(setxattr(SEGMENT, "user.shm.key", "1", 1, 0) == -1 && errno == EPERM);
	fd = open(OBJECT, O_CREAT | O_RDWR, 0600);
	child_must(fd != -1 && close(fd) == 0);
	if (objects_take_user_xattrs()) {
		child_must(setxattr(OBJECT, "user.note", "his", 3, 0) == 0);
		child_must(has_value(NATIVE "/frames", "user.note", "his"));
	}
	child_must(has_value(OBJECT, "user.shm.name", "/frames"));
	child_must(setxattr(OBJECT, "trusted.note", "his", 3, 0) == -1 && errno == EPERM);
	child_must(has_value(MNT, "user.shmfs.segments", "1"));
	child_must(getxattr(MNT, "user.shmfs.engine", NULL, 0) > 8);
	return 0;
}

static void a_user_has_them_on_his_own_mount(void **state)
{
	assert_int_equal(run_as(&NOBODY, use_own_mount, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(segments_tell_what_ipcs_tells),
		mounted(segments_without_a_key_tell_too),
		mounted(an_open_file_tells_of_what_was_removed),
		mounted(all_are_listed_and_getfattr_prints_them),
		mounted(what_is_told_cannot_be_written),
		mounted(who_may_not_read_is_told_nothing),
		mounted(objects_tell_their_name),
		mounted(attributes_of_an_object_are_on_both_sides),
		mounted(a_name_of_ours_on_the_object_is_not_seen),
		mounted(attributes_of_an_object_are_for_who_may),
		mounted(the_root_tells_limits_and_use),
		mounted(the_root_tells_the_engine),
		mounted_with(the_root_tells_why_the_daemon_serves, "nopassthrough"),
		mounted_by_user(a_user_has_them_on_his_own_mount),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

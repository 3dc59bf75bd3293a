/* SPDX-License-Identifier: MIT */
/* Requests on extended attributes, of files and of the directories. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "kernel.h"
#include "shmfs/version.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT SHMFS_DIR_ROOT

static const char name[] = "frames";

/* --- the requests --- */

/* A length or, with a size, bytes; else a negative errno. */
static ssize_t answer(struct kernel *k, int err, uint32_t size)
{
	struct fuse_getxattr_out out;

	if (err)
		return err;
	if (size > 0)
		return (ssize_t)k->reply_len;
	assert_int_equal(k->reply_len, sizeof(out));
	memcpy(&out, k->reply, sizeof(out));
	return (ssize_t)out.size;
}

static ssize_t get(struct kernel *k, uint64_t node, const char *xattr, uint32_t size)
{
	const struct fuse_getxattr_in in = { .size = size };

	return answer(k,
		      kernel_ask(k, FUSE_GETXATTR, node, &in, sizeof(in), xattr, strlen(xattr) + 1),
		      size);
}

static ssize_t list(struct kernel *k, uint64_t node, uint32_t size)
{
	const struct fuse_getxattr_in in = { .size = size };

	return answer(k, kernel_ask(k, FUSE_LISTXATTR, node, &in, sizeof(in), NULL, 0), size);
}

/* As a kernel sends it that was not told of longer requests (SETXATTR_EXT). */
static int set(struct kernel *k, uint64_t node, const char *xattr, const char *value, uint32_t size,
	       uint32_t flags)
{
	const uint32_t in[2] = { size, flags };
	const struct kernel_part parts[] = {
		{ in, sizeof(in) },
		{ xattr, strlen(xattr) + 1 },
		{ value, size },
	};

	kernel_send(k, FUSE_SETXATTR, node, parts, 3);
	return kernel_reply(k);
}

static void expect(struct kernel *k, uint64_t node, const char *xattr, const char *value)
{
	ssize_t len = get(k, node, xattr, 1000);

	assert_int_equal(len, strlen(value));
	assert_memory_equal(k->reply, value, strlen(value));
	assert_int_equal(get(k, node, xattr, 0), strlen(value));
}

/* --- files --- */

#define OWN_NAMES "user.shm.identity\0user.shm.mode\0"

static void files_have_what_their_backend_says(void **state)
{
	static const char all[] = OWN_NAMES "user.empty\0user.note";
	struct kernel *k = *state;
	struct memory_file *object = memory_add(k->posix, 0, name);
	uint64_t node = kernel_find(k, ROOT, name);

	k->uid = 1000;
	k->gid = 100;
	assert_int_equal(set(k, node, "user.note", "payroll", 7, XATTR_CREATE), 0);
	assert_int_equal(k->posix->seen.uid, 1000);
	assert_int_equal(k->posix->seen.gid, 100);
	assert_int_equal(k->posix->seen.flags, XATTR_CREATE);
	assert_string_equal(memory_find_xattr(object, "user.note")->value, "payroll");
	k->uid = 1001;
	expect(k, node, "user.note", "payroll");
	assert_int_equal(k->posix->seen.uid, 1001);
	assert_int_equal(set(k, node, "user.empty", "", 0, 0), 0);
	assert_int_equal(get(k, node, "user.empty", 10), 0);
	assert_int_equal(get(k, node, "user.empty", 0), 0);
	k->uid = 1002;
	assert_int_equal(list(k, node, 100), sizeof(all));
	assert_memory_equal(k->reply, all, sizeof(all));
	assert_int_equal(list(k, node, 0), sizeof(all));
	assert_int_equal(list(k, node, sizeof(all) - 1), -ERANGE);
	assert_int_equal(k->posix->seen.uid, 1002);
	k->uid = 1003;
	assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, node, "user.note"), 0);
	assert_int_equal(k->posix->seen.uid, 1003);
	assert_null(memory_find_xattr(object, "user.note"));
	assert_int_equal(get(k, node, "user.note", 100), -ENODATA);
	kernel_forget(k, node, 1);
}

static void files_have_what_their_table_says(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add(k->posix, 0, name);
	uint64_t node = kernel_find(k, ROOT, name);

	k->uid = 1000;
	expect(k, node, "user.shm.identity", "1");
	assert_int_equal(k->posix->seen.uid, 1000);
	assert_int_equal(get(k, node, "user.shm.other", 100), -ENODATA);
	assert_int_equal(get(k, node, "user.shmfs.version", 100), -ENODATA);
	assert_int_equal(set(k, node, "user.shm.identity", "1", 1, 0), -EPERM);
	assert_int_equal(set(k, node, "user.shm.other", "1", 1, 0), -EPERM);
	assert_int_equal(set(k, node, "user.shmfs.other", "1", 1, 0), -EPERM);
	k->uid = 1001;
	assert_int_equal(set(k, node, "user.shm.mode", "4", 1, 0), 0);
	assert_int_equal(object->mode, 4);
	assert_int_equal(k->posix->seen.uid, 1001);
	assert_int_equal(set(k, node, "user.shm.mode", "44", 2, 0), -EINVAL);
	assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, node, "user.shm.mode"), -EPERM);
	assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, node, "user.shm.other"), -ENODATA);
	/* The backend was not asked: they are no affair of the object. */
	assert_int_equal(k->posix->calls[MEMORY_GETXATTR], 0);
	assert_int_equal(k->posix->calls[MEMORY_SETXATTR], 0);
	assert_int_equal(k->posix->calls[MEMORY_REMOVEXATTR], 0);
	kernel_forget(k, node, 1);
}

static void what_an_object_has_of_our_names_is_not_seen(void **state)
{
	static const char seen[] = OWN_NAMES "user.note";
	struct kernel *k = *state;
	uint64_t node;

	memory_set_xattr(memory_add(k->posix, 0, name), "user.note", "b");
	memory_set_xattr(k->posix->files, "user.shm.identity", "fake");
	memory_set_xattr(k->posix->files, "user.shm.fake", "fake");
	node = kernel_find(k, ROOT, name);
	assert_int_equal(list(k, node, 1000), sizeof(seen));
	assert_memory_equal(k->reply, seen, sizeof(seen));
	expect(k, node, "user.shm.identity", "1");
	assert_int_equal(get(k, node, "user.shm.fake", 100), -ENODATA);
	kernel_forget(k, node, 1);
}

static void who_copies_a_file_does_not_take_ours_along(void **state)
{
	static const char others[] = "user.note";
	struct kernel *k = *state;
	struct kernel_file file, another;
	uint64_t node, other_node;

	memory_add(k->posix, 0, "another");
	memory_set_xattr(memory_add(k->posix, 0, name), others, "b");
	node = kernel_find(k, ROOT, name);
	other_node = kernel_find(k, ROOT, "another");
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), 0);
	assert_int_equal(list(k, node, 100), sizeof(others));
	assert_memory_equal(k->reply, others, sizeof(others));
	assert_int_equal(list(k, other_node, 100), sizeof(OWN_NAMES) - 1);
	/* They are there all the same. */
	expect(k, node, "user.shm.identity", "2");
	/* Somebody else, who has another file open, and then not even that. */
	assert_int_equal(kernel_open(k, other_node, O_RDONLY, &another), 0);
	k->pid = 1;
	assert_int_equal(list(k, node, 100), sizeof(OWN_NAMES) - 1 + sizeof(others));
	k->pid = 0;
	/* Python lists the attributes of what it has just closed. */
	kernel_release(k, &file);
	assert_int_equal(list(k, node, 100), sizeof(others));
	/* Another has closed it meanwhile. */
	k->pid = 1;
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), 0);
	kernel_release(k, &file);
	k->pid = 0;
	assert_int_equal(list(k, node, 100), sizeof(others));
	usleep(1100000);
	assert_int_equal(list(k, node, 100), sizeof(OWN_NAMES) - 1 + sizeof(others));
	kernel_close(k, &another);
	kernel_forget(k, node, 1);
}

static void files_without_attributes_of_their_own_have_ours(void **state)
{
	struct kernel *k = *state;
	uint64_t node;

	memory_add(k->sysv, 1, NULL);
	node = kernel_find(k, ROOT, "1");
	memory_fail(k->sysv, MEMORY_LISTXATTR, -EOPNOTSUPP);
	assert_int_equal(list(k, node, 100), sizeof(OWN_NAMES) - 1);
	kernel_forget(k, node, 1);
}

static void long_values_go_through(void **state)
{
	static char value[60000];
	struct kernel *k = *state;
	uint64_t node;

	memory_add(k->sysv, 1, NULL);
	node = kernel_find(k, ROOT, "1");
	memset(value, 'v', sizeof(value));
	assert_int_equal(set(k, node, "user.long", value, sizeof(value), 0), 0);
	assert_int_equal(get(k, node, "user.long", 65536), sizeof(value));
	assert_memory_equal(k->reply, value, sizeof(value));
	kernel_forget(k, node, 1);
}

static void failures_of_the_backend_are_the_answer(void **state)
{
	struct kernel *k = *state;
	uint64_t node;

	memory_add(k->sysv, 1, NULL);
	node = kernel_find(k, ROOT, "1");
	assert_int_equal(set(k, node, "user.note", "payroll", 7, 0), 0);
	assert_int_equal(get(k, node, "user.note", 6), -ERANGE);
	assert_int_equal(list(k, node, 9), -ERANGE);
	memory_fail(k->sysv, MEMORY_GETXATTR, -ESTALE);
	assert_int_equal(get(k, node, "user.note", 100), -ESTALE);
	memory_fail(k->sysv, MEMORY_SETXATTR, -EDQUOT);
	assert_int_equal(set(k, node, "user.note", "1", 1, 0), -EDQUOT);
	memory_fail(k->sysv, MEMORY_LISTXATTR, -ESTALE);
	assert_int_equal(list(k, node, 0), -ESTALE);
	memory_fail(k->sysv, MEMORY_REMOVEXATTR, -EPERM);
	assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, node, "user.note"), -EPERM);
	kernel_forget(k, node, 1);
}

/* --- the root directory --- */

static void the_root_tells_of_the_filesystem_and_its_backends(void **state)
{
	static const char names[] = "user.shmfs.version\0user.shmfs.engine\0user.shmfs.target\0"
				    "user.shmfs.flavour";
	struct kernel *k = *state;

	assert_int_equal(list(k, ROOT, 1000), sizeof(names));
	assert_memory_equal(k->reply, names, sizeof(names));
	assert_int_equal(list(k, ROOT, 0), sizeof(names));
	assert_int_equal(list(k, ROOT, sizeof(names) - 1), -ERANGE);
	expect(k, ROOT, "user.shmfs.version", SHMFS_VERSION);
	/* The backend is the subject of its own table. */
	expect(k, ROOT, "user.shmfs.flavour", "7");
	expect(k, ROOT, "user.shmfs.target", "");
	assert_int_equal(get(k, ROOT, "user.shmfs.version", 1), -ERANGE);
	assert_int_equal(get(k, ROOT, "user.shmfs.versions", 100), -ENODATA);
	assert_int_equal(get(k, ROOT, "user.note", 100), -ENODATA);
	assert_int_equal(get(k, ROOT, "system.posix_acl_access", 100), -ENODATA);
}

static void the_directories_are_as_they_are(void **state)
{
	struct kernel *k = *state;

	for (uint64_t dir = ROOT; dir <= DIR_TEXT; dir += 2) {
		assert_int_equal(set(k, dir, "user.note", "1", 1, 0), -EOPNOTSUPP);
		assert_int_equal(set(k, dir, "user.shmfs.version", "1", 1, 0), -EPERM);
		assert_int_equal(set(k, dir, "user.shmfs.other", "1", 1, 0), -EPERM);
		assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, dir, "user.note"), -ENODATA);
		if (dir != ROOT) {
			assert_int_equal(get(k, dir, "user.shmfs.version", 100), -ENODATA);
			assert_int_equal(list(k, dir, 0), 0);
			assert_int_equal(list(k, dir, 100), 0);
		}
	}
	assert_int_equal(kernel_name(k, FUSE_REMOVEXATTR, ROOT, "user.shmfs.version"), -EPERM);
}

/* --- access control lists --- */

static const char acl[] = "system.posix_acl_access";

static void the_kernel_checks_by_lists_and_leaves_the_umask_to_us(void **state)
{
	const uint32_t both = FUSE_POSIX_ACL | FUSE_DONT_MASK;
	static const uint32_t offers[] = { 0, FUSE_POSIX_ACL, FUSE_DONT_MASK,
					   FUSE_POSIX_ACL | FUSE_DONT_MASK };

	for (size_t i = 0; i < COUNT(offers); i++) {
		struct kernel *k = kernel_start(false);
		struct fuse_init_out out;

		assert_int_equal(kernel_init(k, offers[i], 0, &out), 0);
		assert_int_equal(out.flags & both, offers[i]);
		kernel_stop(k);
	}
}

static void what_is_created_has_the_mode_and_the_umask_of_its_maker(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;

	k->umask = 027;
	assert_int_equal(kernel_create(k, ROOT, name, O_RDWR, 0666, &entry, &file), 0);
	assert_int_equal(k->posix->seen.mode & 07777, 0666);
	assert_int_equal(k->posix->seen.umask, 027);
	kernel_close(k, &file);
}

static void the_kernel_is_kept_from_keeping_lists(void **state)
{
	struct kernel *k = *state;
	uint64_t object;
	uint64_t segment;

	memory_add(k->sysv, 1, NULL);
	memory_add(k->posix, 0, name);
	object = kernel_find(k, ROOT, name);
	segment = kernel_find(k, ROOT, "1");
	/* Before the answer: kernel_reply() sees to that. */
	assert_int_equal(get(k, object, acl, 4096), -ENODATA);
	assert_int_equal(k->notified, 1);
	assert_int_equal(k->invalidated.ino, object);
	assert_int_equal(k->invalidated.off, -1);
	memory_set_xattr(k->posix->files, acl, "a list");
	assert_int_equal(get(k, object, acl, 4096), 6);
	assert_int_equal(k->notified, 2);
	/* Those of others do not change, and other attributes are not kept. */
	assert_int_equal(get(k, segment, acl, 4096), -ENODATA);
	assert_int_equal(get(k, ROOT, acl, 4096), -ENODATA);
	assert_int_equal(get(k, object, "user.note", 4096), -ENODATA);
	assert_int_equal(get(k, object, "security.capability", 4096), -ENODATA);
	assert_int_equal(k->notified, 2);
	kernel_forget(k, object, 1);
	kernel_forget(k, segment, 1);
}

/* --- who moves the bytes --- */

static struct kernel *start(bool wanted, uint32_t flags2)
{
	struct kernel *k = kernel_start(wanted);
	struct fuse_init_out out;

	assert_int_equal(kernel_init(k, FUSE_INIT_EXT, flags2, &out), 0);
	return k;
}

static void the_engine_is_what_the_kernel_grants(void **state)
{
	struct kernel *k = start(true, KERNEL_INIT2_PASSTHROUGH);

	kernel_backing = (struct kernel_backing){ .next_id = 5 };
	expect(k, ROOT, "user.shmfs.engine", "passthrough");
	/* Tried twice, and taken back. */
	assert_int_equal(kernel_backing.opened, 2);
	assert_int_equal(kernel_backing.closed, 2);
	assert_int_equal(kernel_backing.last_closed, 5);
	kernel_backing.next_id = -EPERM;
	expect(k, ROOT, "user.shmfs.engine", "daemon: passthrough requires root (CAP_SYS_ADMIN)");
	kernel_backing.next_id = -ENOTTY;
	expect(k, ROOT, "user.shmfs.engine", "daemon: Inappropriate ioctl for device");
	assert_int_equal(kernel_backing.closed, 2);
	kernel_stop(k);
	k = start(true, 0);
	expect(k, ROOT, "user.shmfs.engine", "daemon: the kernel has no passthrough");
	kernel_stop(k);
	k = start(false, KERNEL_INIT2_PASSTHROUGH);
	kernel_backing.next_id = 5;
	expect(k, ROOT, "user.shmfs.engine", "daemon: nopassthrough was asked for");
	kernel_stop(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(files_have_what_their_backend_says),
		KERNEL_TEST(files_have_what_their_table_says),
		KERNEL_TEST(what_an_object_has_of_our_names_is_not_seen),
		KERNEL_TEST(who_copies_a_file_does_not_take_ours_along),
		KERNEL_TEST(files_without_attributes_of_their_own_have_ours),
		KERNEL_TEST(long_values_go_through),
		KERNEL_TEST(failures_of_the_backend_are_the_answer),
		KERNEL_TEST(the_root_tells_of_the_filesystem_and_its_backends),
		KERNEL_TEST(the_directories_are_as_they_are),
		cmocka_unit_test(the_kernel_checks_by_lists_and_leaves_the_umask_to_us),
		KERNEL_TEST(what_is_created_has_the_mode_and_the_umask_of_its_maker),
		KERNEL_TEST(the_kernel_is_kept_from_keeping_lists),
		cmocka_unit_test(the_engine_is_what_the_kernel_grants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

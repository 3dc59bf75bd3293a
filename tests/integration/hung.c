/* SPDX-License-Identifier: MIT */
#include "harness.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "hung.h"

enum { ROOT_INO = 1, FILE_INO = 2, SIZE = 1 << 20 };

static pid_t server;

static struct stat attributes_of(fuse_ino_t ino)
{
	return (struct stat){
		.st_ino = ino,
		.st_mode = ino == ROOT_INO ? S_IFDIR | 0755 : S_IFREG | 0666,
		.st_nlink = 1,
		.st_size = ino == ROOT_INO ? 0 : SIZE,
	};
}

static void look_up(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = FILE_INO, .attr_timeout = 1000 };
	entry.attr = attributes_of(FILE_INO);
	if (strcmp(name, "file") == 0)
		fuse_reply_entry(req, &entry);
	else
		fuse_reply_err(req, ENOENT);
}

static void get_attributes(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes_of(ino);
	fuse_reply_attr(req, &st, 1000);
}

static void open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static void hang_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
}

static void hang_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      struct fuse_pollhandle *handle)
{
}

static void hang_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = look_up,
	.getattr = get_attributes,
	.open = open_file,
	.read = hang_read,
	.poll = hang_poll,
	.flush = hang_flush,
};

static void serve(int ready)
{
	char *argv[] = { "hung", "-oallow_other", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session =
		fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session || fuse_session_mount(session, HUNG_DIR) != 0 || write(ready, "", 1) != 1)
		_exit(1);
	fuse_session_loop(session);
	_exit(0);
}

void hung_start(void)
{
	int ready[2];
	char byte;
	must(mkdir(HUNG_DIR, 0755));
	must(pipe2(ready, O_CLOEXEC));
	fflush(NULL);
	server = must(fork());
	if (server == 0)
		serve(ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

void hung_stop(void)
{
	if (server == 0)
		return;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
	must(umount2(HUNG_DIR, MNT_DETACH));
	must(rmdir(HUNG_DIR));
}

/* SPDX-License-Identifier: MIT */
/* The command line: shmfs [options] [SOURCE] MOUNTPOINT. */
#ifndef SHMFS_OPTIONS_H
#define SHMFS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "shmfs/name.h"

struct fuse_args;

struct shmfs_options {
	uint64_t min_size;	    /* `size=`: bytes of a segment made by writing */
	enum shmfs_key_format keys; /* `keys=dec|hex` */
	pid_t target;		    /* `target=PID`; 0: what we see ourselves */
	bool nopassthrough;	    /* `nopassthrough` */
	bool allow_other;	    /* `allow_other`: what root's mounts are anyway */
	bool allow_root;	    /* `allow_root`: for an ordinary user to give */

	char *mountpoint; /* owned; NULL with help or version */
	bool foreground;  /* -f, or -d */
	bool single_thread;
	bool show_help;
	bool show_version;
};

/*
 * Parse the command line.  Takes out of *args what is ours and what libfuse's
 * command line has; what is left is for the session.
 *
 * Returns 0, or -EINVAL after one line on standard error that says what is
 * wrong and what to do.  Free with shmfs_options_clear() either way.
 */
int shmfs_options_parse(struct fuse_args *args, struct shmfs_options *);
void shmfs_options_clear(struct shmfs_options *);

/* What -h prints. */
void shmfs_options_help(FILE *out, const char *program);

#endif

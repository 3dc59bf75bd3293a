/* SPDX-License-Identifier: MIT */
/* The command line: shmfs [options] [SOURCE] MOUNTPOINT. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "shmfs/name.h"

struct fuse_args;

struct shmfs_options {
	uint64_t min_size; /* bytes of a segment made by writing */
	enum shmfs_key_format keys;
	pid_t target; /* 0: none */
	bool nopassthrough;
	bool allow_other;
	bool allow_root;
	char *mountpoint; /* owned; absolute; NULL with help or version */
	bool foreground;  /* -f or -d */
	bool single_thread;
	bool show_help;
	bool show_version;
};

/*
 * Parse the command line.  What is left in *args afterwards is for the FUSE session.
 *
 * Returns 0, or -EINVAL after one line on standard error that says what is wrong and what to do.
 * Free with shmfs_options_clear() in either case.
 */
int shmfs_options_parse(struct fuse_args *args, struct shmfs_options *);
void shmfs_options_clear(struct shmfs_options *);

/* Print what -h shows. */
void shmfs_options_help(FILE *out, const char *program);

/* SPDX-License-Identifier: MIT */
/*
 * A directory in the place of /proc.  It is the working directory of a case:
 *
 *	cmocka_unit_test_setup_teardown(test, processes_begin, processes_end)
 */
#pragma once

#include <stdio.h>

#include "shmfs/users.h"

#define SHMID 65538
#define OURS "ipc:[4026531839]"
#define THEIRS "ipc:[4026532000]"

/* Of each question. */
extern const char *proc_dir;
extern dev_t objects_dev;
extern dev_t mount_dev;

/* We are process 4. */
int processes_begin(void **state);
int processes_end(void **state);

void write_file(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A process without files: its mappings are those of any program. */
void add_process(int pid, const char *command, const char *ipc);
/* The owner of such a process: one of its own if the test is root. */
unsigned uid_of(int pid);
void add_mapping(int pid, dev_t dev, unsigned long long ino, const char *path);
/* `file` is in the directory, or absolute. */
void add_descriptor(int pid, int fd, const char *file);
dev_t device_of_segments(void);

/*
 * Of `count` pieces of work, those that a processor which is SHMFS_TEST_PATIENCE (of the
 * environment) times slower does in the same time.
 */
int within_budget(int count);

/* Each question is asked of a new module: it has no earlier snapshot. */
int ask(const struct shmfs_users_query *query, char **text);
void assert_says(const struct shmfs_users_query *query, const char *expected);
int count_lines(const struct shmfs_users_query *query);

/* A query for the segment SHMID. */
extern const struct shmfs_users_query of_segment;
/* A query for the file "object", which is the only one on the objects' device that is open. */
struct shmfs_users_query of_object(void);

/* SPDX-License-Identifier: MIT */
/* shmfs-key PATH ID: the key that programs get from ftok(PATH, ID), for a shell to use. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>

#include "shmfs/version.h"

static void show_usage(FILE *out)
{
	fprintf(out, "usage: shmfs-key [-x] PATH ID\n");
}

static void show_help(void)
{
	show_usage(stdout);
	printf("\n"
	       "Prints the key that ftok(PATH, ID) gives: the name of the segment under a shmfs.\n"
	       "\n"
	       "    PATH            a file that exists\n"
	       "    ID              a number, or one character that is no digit: 65, 0x41 and A\n"
	       "                    are the same\n"
	       "    -x              print the key as ipcs does, 0x00000c4c instead of 3148\n"
	       "    -h   --help     print help\n"
	       "    -V   --version  print version\n");
}

/* As C's source has it: a character, or a number in any of C's bases. */
static int parse_id(const char *text, int *id)
{
	char *end;
	long number;

	if (text[0] && !text[1] && !isdigit((unsigned char)text[0])) {
		*id = (unsigned char)text[0];
		return 0;
	}
	if (!isdigit((unsigned char)text[text[0] == '-']))
		return -EINVAL;
	errno = 0;
	number = strtol(text, &end, 0);
	if (errno || *end || number < INT_MIN || number > INT_MAX)
		return -EINVAL;
	*id = (int)number;
	return 0;
}

static int find_key(const char *path, const char *id_text, key_t *key)
{
	int id;

	if (parse_id(id_text, &id) != 0) {
		fprintf(stderr,
			"shmfs-key: ID '%s' is neither one character nor a number of 32 bits; "
			"give one such as A or 65\n",
			id_text);
		return -EINVAL;
	}
	/* -1 is a key as well, if an unlikely one. */
	errno = 0;
	*key = ftok(path, id);
	if (*key == -1 && errno) {
		fprintf(stderr, "shmfs-key: '%s': %s; give the path that the program gives\n", path,
			strerror(errno));
		return -EINVAL;
	}
	if (*key == IPC_PRIVATE) {
		fprintf(stderr,
			"shmfs-key: %s with ID %s gives 0, IPC_PRIVATE, which is no key; "
			"give another ID\n",
			path, id_text);
		return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	bool hex = false;
	key_t key;
	int option;

	/* "+": what follows PATH is its ID, -1 as well. */
	while ((option = getopt_long(argc, argv, "+xhV", long_options, NULL)) != -1) {
		switch (option) {
		case 'x':
			hex = true;
			break;
		case 'h':
			show_help();
			return EXIT_SUCCESS;
		case 'V':
			printf("shmfs-key %s\n", SHMFS_VERSION);
			return EXIT_SUCCESS;
		default:
			show_usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (argc - optind != 2) {
		show_usage(stderr);
		return EXIT_FAILURE;
	}
	if (find_key(argv[optind], argv[optind + 1], &key) != 0)
		return EXIT_FAILURE;
	printf(hex ? "0x%08x\n" : "%u\n", (unsigned)key);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "shmfs-key: cannot print the key: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/* shmfs-key PATH ID: the key that programs get from ftok(PATH, ID), for a shell to use. */
#include <ctype.h>
#include <err.h>
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

/* A character, or a number as C's source spells it. */
static int parse_id(const char *text)
{
	char *end;
	long number;

	if (text[0] && !text[1] && !isdigit((unsigned char)text[0]))
		return (unsigned char)text[0];
	errno = 0;
	number = strtol(text, &end, 0);
	if (!isdigit((unsigned char)text[text[0] == '-']) || errno || *end || number < INT_MIN ||
	    number > INT_MAX)
		errx(EXIT_FAILURE,
		     "ID '%s' is neither one character nor a number of 32 bits; "
		     "give one such as A or 65",
		     text);
	return (int)number;
}

static key_t find_key(const char *path, const char *id)
{
	const int number = parse_id(id);
	key_t key;

	/* -1 is a key as well, if an unlikely one. */
	errno = 0;
	key = ftok(path, number);
	if (key == -1 && errno)
		errx(EXIT_FAILURE, "'%s': %s; give the path that the program gives", path,
		     strerror(errno));
	if (key == IPC_PRIVATE)
		errx(EXIT_FAILURE,
		     "%s with ID %s gives 0, IPC_PRIVATE, which is no key; give another ID", path,
		     id);
	return key;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	bool hex = false;
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
	printf(hex ? "0x%08x\n" : "%u\n", (unsigned)find_key(argv[optind], argv[optind + 1]));
	if (fflush(stdout) != 0)
		err(EXIT_FAILURE, "cannot print the key");
	return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * A program as shared memory has always been used: one well-known key, one
 * page, a C string in it.  `-p TEXT` puts a text there, `-g` prints it, `-w`
 * prints it once it is another than at the start (so it stays attached while
 * others write).
 */
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

enum { KEY = 3148, SIZE = 4096 };

static void print_next(const volatile char *text)
{
	char first = text[0];

	puts("attached");
	fflush(stdout);
	while (text[0] == first || text[0] == '\0') /* cleared, not yet written */
		usleep(1000);
	usleep(10000); /* the writer's second byte follows the first */
	puts((const char *)text);
}

int main(int argc, char **argv)
{
	int id = shmget(KEY, SIZE, IPC_CREAT | 0666);
	if (id == -1) {
		perror("shmget");
		return 1;
	}
	char *text = shmat(id, NULL, 0);
	if (text == (void *)-1) {
		perror("shmat");
		return 1;
	}
	for (int option; (option = getopt(argc, argv, "p:gw")) != -1;) {
		if (option == 'p')
			strcpy(text, optarg);
		else if (option == 'g')
			puts(text);
		else if (option == 'w')
			print_next(text);
		else
			return 2;
	}
	shmdt(text);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "exerciser.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 40, LINE = 160 };

bool trace_all;

static char lines[KEPT][LINE];
static uint64_t count;

void trace(const char *format, ...)
{
	char *line = lines[count % KEPT];
	int used = snprintf(line, LINE, "%8llu ", (unsigned long long)count);
	va_list args;

	va_start(args, format);
	vsnprintf(line + used, LINE - (size_t)used, format, args);
	va_end(args);
	count++;
	if (trace_all) {
		puts(line);
		fflush(stdout);
	}
}

void differs(const char *format, ...)
{
	uint64_t first = count > KEPT ? count - KEPT : 0;
	va_list args;

	fflush(stdout);
	if (!trace_all)
		for (uint64_t i = first; i < count; i++)
			fprintf(stderr, "%s\n", lines[i % KEPT]);
	fputs("DIFFERENCE: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void give_up(const char *what)
{
	perror(what);
	exit(2);
}

void expect(const char *call, int64_t result, int64_t expected, int code)
{
	int got = errno;

	if (result == expected && (result != -1 || got == code))
		return;
	differs("%s gave %lld (%s), expected %lld (%s)", call, (long long)result,
		result == -1 ? strerror(got) : "no error", (long long)expected,
		expected == -1 ? strerror(code) : "no error");
}

void expect_bytes(const struct object *obj, uint64_t offset, const char *got, size_t length)
{
	size_t known = offset < MOST ? (size_t)(MOST - offset) : 0;
	size_t i = 0;

	if (known > length)
		known = length;
	if (known > 0 && memcmp(obj->bytes + offset, got, known) == 0)
		i = known;
	for (; i < length; i++) {
		char expected = i < known ? obj->bytes[offset + i] : 0;

		if (got[i] != expected)
			differs("name %d, size %llu: byte %llu is 0x%02x, expected 0x%02x",
				obj->name, (unsigned long long)obj->size,
				(unsigned long long)(offset + i), (unsigned char)got[i],
				(unsigned char)expected);
	}
}

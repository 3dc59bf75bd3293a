/* SPDX-License-Identifier: MIT */
/* Medians, and the table: Markdown, its columns in line. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { CELL_SIZE = 64 };

struct table {
	const struct place *places; /* borrowed */
	unsigned rows;
	char cells[MAX_ROWS + 1][PLACES + 1][CELL_SIZE]; /* the first row has the titles */
	double unrest[MAX_ROWS];
};

struct summary {
	double median;
	double spread; /* half the distance between the quartiles */
};

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Between the two neighbours of a place in a sorted list, 0 to 1. */
static double quantile(const double *sorted, unsigned count, double part)
{
	double place = part * (count - 1);
	unsigned below = (unsigned)place;
	double next = below + 1 < count ? sorted[below + 1] : sorted[below];

	return sorted[below] + (next - sorted[below]) * (place - below);
}

static struct summary summarize(const double *values, unsigned count)
{
	double sorted[MAX_ROUNDS * PLACES];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), compare_doubles);
	return (struct summary){
		.median = quantile(sorted, count, 0.5),
		.spread = (quantile(sorted, count, 0.75) - quantile(sorted, count, 0.25)) / 2,
	};
}

/* --- cells --- */

/* Three digits tell enough. */
static int digits(double value)
{
	return value < 10 ? 2 : value < 100 ? 1 : 0;
}

static void write_error(char cell[CELL_SIZE], int error)
{
	snprintf(cell, CELL_SIZE, "%s", strerrorname_np(-error));
}

static void write_direct(char cell[CELL_SIZE], const struct task *task, double ns)
{
	static const char *const names[] = { "GiB/s", "ns", "us", "ms" };
	double value[] = { (double)task->block / ns * 1e9 / (1 << 30), ns, ns / 1e3, ns / 1e6 };

	snprintf(cell, CELL_SIZE, "%.*f %s", digits(value[task->unit]), value[task->unit],
		 names[task->unit]);
}

static void write_time(char cell[CELL_SIZE], const struct task *task, const struct figures *figures)
{
	struct summary time = summarize(figures->here, figures->rounds);
	double unit = task->unit == MICROSECONDS ? 1e3 : 1e6;

	snprintf(cell, CELL_SIZE, "%.*f ±%.*f %s", digits(time.median / unit), time.median / unit,
		 digits(time.median / unit), time.spread / unit,
		 task->unit == MICROSECONDS ? "us" : "ms");
}

static void write_ratio(char cell[CELL_SIZE], const struct figures *figures)
{
	double ratios[MAX_ROUNDS];
	struct summary ratio;

	for (unsigned i = 0; i < figures->rounds; i++)
		ratios[i] = figures->direct[i] / figures->here[i];
	ratio = summarize(ratios, figures->rounds);
	snprintf(cell, CELL_SIZE, "%.2f ±%.2f", ratio.median, ratio.spread);
}

/* --- rows --- */

struct table *table_new(const struct place places[PLACES])
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->places = places;
	for (unsigned i = 0; i < PLACES; i++)
		snprintf(table->cells[0][i + 1], CELL_SIZE, "%s", places[i].title);
	return table;
}

/* Direct access in a column: all its rounds, beside whatever they were. */
static void add_direct(struct table *table, const struct task *task, unsigned place,
		       const struct figures figures[PLACES])
{
	char *cell = table->cells[table->rows][place + 1];
	double all[MAX_ROUNDS * PLACES];
	struct summary summary;
	unsigned count = 0;
	int error = 0;

	for (unsigned i = 0; i < PLACES; i++) {
		if (figures[i].rounds == 0 || direct_place(task, &table->places[i]) != place)
			continue;
		error = figures[i].direct_error;
		memcpy(all + count, figures[i].direct, figures[i].rounds * sizeof(*all));
		count += error ? 0 : figures[i].rounds;
	}
	if (error)
		write_error(cell, error);
	if (count == 0)
		return;
	summary = summarize(all, count);
	write_direct(cell, task, summary.median);
	table->unrest[table->rows - 1] = summary.spread / summary.median;
}

void table_add(struct table *table, const struct task *task, const struct figures figures[PLACES])
{
	unsigned row = table->rows + 1;

	if (row > MAX_ROWS)
		return;
	table->rows = row;
	snprintf(table->cells[row][0], CELL_SIZE, "%s", task->label);
	for (unsigned i = 0; i < PLACES; i++) {
		char *cell = table->cells[row][i + 1];

		if (figures[i].error)
			write_error(cell, figures[i].error);
		else if (figures[i].rounds == 0)
			continue;
		else if (task->unit == MICROSECONDS || task->unit == MILLISECONDS)
			write_time(cell, task, &figures[i]);
		else if (!figures[i].direct_error)
			write_ratio(cell, &figures[i]);
	}
	add_direct(table, task, TMPFS, figures);
	add_direct(table, task, SHMAT, figures);
}

double table_unrest(const struct table *table)
{
	return table->rows ? summarize(table->unrest, table->rows).median : 0;
}

/* --- printing --- */

/* How wide a UTF-8 text is on a terminal. */
static int width(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += (*text & 0xc0) != 0x80;
	return count;
}

static bool shown(const struct table *table, unsigned column)
{
	return column == 0 || !table->places[column - 1].left_out;
}

static int column_width(const struct table *table, unsigned column)
{
	int widest = 3;

	for (unsigned row = 0; row <= table->rows; row++)
		if (width(table->cells[row][column]) > widest)
			widest = width(table->cells[row][column]);
	return widest;
}

static void print_row(const struct table *table, unsigned row, FILE *out)
{
	for (unsigned column = 0; column <= PLACES; column++) {
		const char *cell = table->cells[row][column];
		int pad = column_width(table, column) - width(cell);

		if (!shown(table, column))
			continue;
		if (column == 0)
			fprintf(out, "| %s%*s |", cell, pad, "");
		else
			fprintf(out, " %*s%s |", pad, "", cell);
	}
	fputc('\n', out);
}

static void print_rule(const struct table *table, FILE *out)
{
	for (unsigned column = 0; column <= PLACES; column++) {
		int dashes = column_width(table, column);

		if (!shown(table, column))
			continue;
		fputs(column == 0 ? "| " : " ", out);
		for (int i = column == 0 ? 0 : 1; i < dashes; i++)
			fputc('-', out);
		fputs(column == 0 ? " |" : ": |", out);
	}
	fputc('\n', out);
}

void table_print(const struct table *table, FILE *out)
{
	print_row(table, 0, out);
	print_rule(table, out);
	for (unsigned row = 1; row <= table->rows; row++)
		print_row(table, row, out);
}

void table_free(struct table *table)
{
	free(table);
}

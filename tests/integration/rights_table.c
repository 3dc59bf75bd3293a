/* SPDX-License-Identifier: MIT */
#include "rights_table.h"

#include "harness.h"
#include "rights.h"

#include <sys/shm.h>

enum {
	KEY = 3148,
	PAGE = 4096,
	MODES = 64,
	SHOWN_AT_MOST = 100,
	KNOWN_AT_MOST = 12,
	OPERATIONS_AT_MOST = 32,
};

static const struct user SOMEBODY = { 3001, 3001, 3001 };

enum { NOT, HIS, HIS_OTHER };

static const struct relation_data {
	const char *name;
	int uid, gid, cuid, cgid;
} relations[RELATIONS] = {
	[OWNER] = { "owner", HIS, NOT, HIS, NOT },
	[NEW_OWNER] = { "owner, not creator", HIS, NOT, NOT, NOT },
	[CREATOR] = { "creator, not owner", NOT, NOT, HIS, NOT },
	[CREATORS_GROUP] = { "creator's group", NOT, NOT, NOT, HIS },
	[CREATORS_SUPPLEMENTARY] = { "creator's group, supplementary", NOT, NOT, NOT, HIS_OTHER },
	[GROUP] = { "group", NOT, HIS, NOT, NOT },
	[SUPPLEMENTARY] = { "group, supplementary", NOT, HIS_OTHER, NOT, NOT },
	[OTHER] = { "other", NOT, NOT, NOT, NOT },
};

static uid_t uid_as(int whose, const struct user *user)
{
	return whose == HIS ? user->uid : SOMEBODY.uid;
}

static gid_t gid_as(int whose, const struct user *user)
{
	return whose == HIS ? user->gid : whose == HIS_OTHER ? user->group : SOMEBODY.gid;
}

struct table {
	const struct user *actor;
	const struct difference *known;
	bool is_segment;
	const char *path; /* "%d" stands for the shmid */

	struct actor process;
	struct target target;
	const struct relation_data *relation;
	unsigned mode;
	unsigned cells, unknown;
	/* How many cells differ as a row of `known` says, for each that it speaks of. */
	unsigned hits[KNOWN_AT_MOST][RELATIONS][OPERATIONS_AT_MOST];
};

/* As much as an operation can change. */
struct target_state {
	bool exists;
	unsigned mode;
	uid_t uid;
	gid_t gid;
	off_t size;
	char byte;
};

static void put_segment(struct table *table)
{
	const struct relation_data *relation = table->relation;
	const struct user creator = { uid_as(relation->cuid, table->actor),
				      gid_as(relation->cgid, table->actor), 0 };
	struct shmid_ds data = { 0 };

	segments_remove_all();
	become(&creator);
	int id = segment_create(KEY, PAGE, 0600);
	become(&ROOT);
	data.shm_perm.uid = uid_as(relation->uid, table->actor);
	data.shm_perm.gid = gid_as(relation->gid, table->actor);
	data.shm_perm.mode = (unsigned short)table->mode;
	must(shmctl(id, IPC_SET, &data));
	segment_put(id, 0, "x", 1);
	table->target.id = strchr(table->path, '%') ? id : -1;
	snprintf(table->target.path, sizeof(table->target.path), table->path, id);
}

static void put_object(struct table *table)
{
	objects_remove_all();
	object_create("frames", PAGE);
	object_put("frames", 0, "x", 1);
	must(chown(NATIVE "/frames", uid_as(table->relation->uid, table->actor),
		   gid_as(table->relation->gid, table->actor)));
	must(chmod(NATIVE "/frames", table->mode));
}

static void put_target(struct table *table)
{
	if (table->is_segment)
		put_segment(table);
	else
		put_object(table);
}

static struct target_state look_at_segment(void)
{
	int id = segment_find(KEY);
	if (id == -1)
		return (struct target_state){ .exists = false };
	struct shmid_ds data = segment_stat(id);
	return (struct target_state){
		.exists = true,
		.mode = data.shm_perm.mode,
		.uid = data.shm_perm.uid,
		.gid = data.shm_perm.gid,
		.size = (off_t)data.shm_segsz,
		.byte = (char)(segment_has(id, 0, "x", 1) ? 'x' : 0),
	};
}

static struct target_state look_at_object(void)
{
	if (!object_exists("frames"))
		return (struct target_state){ .exists = false };
	struct stat data = object_stat("frames");
	return (struct target_state){
		.exists = true,
		.mode = data.st_mode,
		.uid = data.st_uid,
		.gid = data.st_gid,
		.size = data.st_size,
		.byte = (char)(data.st_size && object_has("frames", 0, "x", 1) ? 'x' : 0),
	};
}

static struct target_state look(const struct table *table)
{
	return table->is_segment ? look_at_segment() : look_at_object();
}

static bool is_same(const struct target_state *a, const struct target_state *b)
{
	return a->exists == b->exists && a->mode == b->mode && a->uid == b->uid &&
	       a->gid == b->gid && a->size == b->size && a->byte == b->byte;
}

static const char *word(int result)
{
	return result ? strerrorname_np(result) : "allowed";
}

static void tell(struct table *table, const struct operation *operation, int native, int mounted,
		 const char *what)
{
	if (table->unknown++ < SHOWN_AT_MOST)
		print_error("%s, %s, mode %04o, %s: natively %s, on the mount %s%s\n",
			    table->target.path, table->relation->name, table->mode, operation->name,
			    word(native), word(mounted), what);
}

/* --- what is known --- */

static bool is_about(const struct difference *known, const struct operation *operation)
{
	for (size_t i = 0; i < array_size(known->operations) && known->operations[i]; i++) {
		if (strcmp(known->operations[i], operation->name) == 0)
			return true;
	}
	return false;
}

static bool holds(const struct difference *known)
{
	return !known->holds || known->holds();
}

static bool is_known(struct table *table, const struct operation *operation, int native,
		     int mounted)
{
	ptrdiff_t relation = table->relation - relations;

	for (size_t i = 0; table->known[i].why; i++) {
		const struct difference *known = &table->known[i];
		if ((known->relations & ONLY(relation)) && known->native == native &&
		    known->mounted == mounted && is_about(known, operation) && holds(known)) {
			table->hits[i][relation][operation - rights_operations]++;
			return true;
		}
	}
	return false;
}

static bool is_possible(const struct table *table, const struct operation *operation)
{
	if (!table->is_segment)
		return operation->where != OF_SEGMENTS;
	return operation->to_segment &&
	       !(operation->where == NOT_BY_ID && strchr(table->path, '%'));
}

static unsigned count_missed_of(const struct table *table, size_t number, size_t relation)
{
	const struct difference *known = &table->known[number];
	unsigned missed = 0;

	for (size_t i = 0; i < rights_operation_count; i++) {
		const struct operation *operation = &rights_operations[i];
		if (!is_about(known, operation) || !is_possible(table, operation) ||
		    table->hits[number][relation][i] > 0)
			continue;
		print_error("%s, %s, %s: never %s natively and %s on the mount, as listed\n",
			    table->path, relations[relation].name, rights_operations[i].name,
			    word(known->native), word(known->mounted));
		missed++;
	}
	return missed;
}

/* Of what is listed, that which no longer differs. */
static unsigned count_missed(const struct table *table)
{
	unsigned missed = 0;

	for (size_t i = 0; table->known[i].why; i++) {
		for (size_t relation = 0; holds(&table->known[i]) && relation < RELATIONS;
		     relation++) {
			if (table->known[i].relations & ONLY(relation))
				missed += count_missed_of(table, i, relation);
		}
	}
	return missed;
}

static void tell_known(const struct table *table)
{
	for (size_t i = 0; table->known[i].why; i++) {
		unsigned cells = 0;
		for (size_t relation = 0; relation < RELATIONS; relation++) {
			for (size_t j = 0; j < rights_operation_count; j++)
				cells += table->hits[i][relation][j];
		}
		if (cells > 0)
			print_message(
				"%s: %u cells differ as listed, natively %s, on the mount %s: %s\n",
				table->path, cells, word(table->known[i].native),
				word(table->known[i].mounted), table->known[i].why);
	}
}

/* --- all cells --- */

/* What it did where it was allowed, and that it did nothing where not. */
static int perform(struct table *table, const struct operation *operation, bool mounted,
		   const struct target_state *before, struct target_state *after)
{
	int result = actor_do(&table->process, operation, &table->target, mounted);

	*after = look(table);
	if ((result || operation->effect == LEAVES) && !is_same(before, after))
		tell(table, operation, mounted ? 0 : result, mounted ? result : 0,
		     " and changed all the same");
	if (!is_same(before, after))
		put_target(table);
	return result;
}

static void try_cell(struct table *table, const struct operation *operation)
{
	const struct target_state before = look(table);
	struct target_state natively, after;
	int native = perform(table, operation, false, &before, &natively);
	int mounted = perform(table, operation, true, &before, &after);

	table->cells++;
	if (native != mounted && !is_known(table, operation, native, mounted))
		tell(table, operation, native, mounted, "");
	if (!native && !mounted && operation->effect == CHANGES && !is_same(&natively, &after))
		tell(table, operation, native, mounted, ", but not the same");
}

/* One bit pattern of r and w for owner, group and other. */
static unsigned mode_number(unsigned number)
{
	unsigned mode = 0;
	for (unsigned class = 0; class < 3; class ++)
		mode |= (number >> (2 * class) & 3) << (3 * class + 1);
	return mode;
}

static void try_mode(struct table *table)
{
	put_target(table);
	for (size_t i = 0; i < rights_operation_count; i++) {
		if (is_possible(table, &rights_operations[i]))
			try_cell(table, &rights_operations[i]);
	}
}

static void try_relations(struct table *table, unsigned wanted)
{
	for (size_t i = 0; i < RELATIONS; i++) {
		if (!(wanted & ONLY(i)))
			continue;
		table->relation = &relations[i];
		for (unsigned number = 0; number < MODES; number++) {
			table->mode = mode_number(number);
			try_mode(table);
		}
	}
}

static void try_path(const struct rights_case *what, bool is_segment, const char *path,
		     const char *unused)
{
	struct table table = {
		.actor = what->user,
		.known = what->known,
		.is_segment = is_segment,
		.path = path,
		.target = { .is_segment = is_segment,
			    .key = KEY,
			    .id = -1,
			    .native = NATIVE "/frames",
			    .unused_too = NATIVE "/unused",
			    .actor = what->user },
	};

	assert_in_range(rights_operation_count, 1, OPERATIONS_AT_MOST);
	snprintf(table.target.path, sizeof(table.target.path), "%s", path);
	snprintf(table.target.unused, sizeof(table.target.unused), "%s", unused);
	table.process = actor_start(what->user, what->powerless);
	try_relations(&table, what->relations);
	actor_stop(&table.process);
	tell_known(&table);
	print_message("%s: %u cells\n", path, table.cells);
	assert_int_equal(table.unknown + count_missed(&table), 0);
}

void rights_try_segments(const struct rights_case *what)
{
	try_path(what, true, MNT "/3148", MNT "/3149");
	try_path(what, true, MNT "/.by-id/%d", MNT "/.by-id/0");
}

void rights_try_objects(const struct rights_case *what)
{
	try_path(what, false, MNT "/frames", MNT "/unused");
	try_path(what, false, MNT "/.by-name/frames", MNT "/.by-name/unused");
}

// SQLite in memory: inserts, an index, updates, joins and groups.
#include <stdio.h>

#define SQLITE_THREADSAFE 0
#define SQLITE_OMIT_LOAD_EXTENSION 1
#define SQLITE_OMIT_WAL 1
#define SQLITE_OMIT_SHARED_CACHE 1
#define SQLITE_TEMP_STORE 3
#define SQLITE_DEFAULT_MEMSTATUS 0
#define SQLITE_OS_OTHER 1
#include "sqlite3-binding.c"

static int print(void *unused, int n, char **values, char **names) {
	(void)unused, (void)names;
	for (int i = 0; i < n; i++) printf("%s%c", values[i], i == n - 1 ? '\n' : ' ');
	return 0;
}

static int randomness(sqlite3_vfs *v, int n, char *out) { (void)v; for (int i = 0; i < n; i++) out[i] = (char)i; return n; }
static int now(sqlite3_vfs *v, double *t) { (void)v; *t = 2460000.5; return 0; }

static sqlite3_vfs none = {.iVersion = 1, .szOsFile = 8, .mxPathname = 64, .zName = "none", .xRandomness = randomness, .xCurrentTime = now};

int sqlite3_os_init(void) { return sqlite3_vfs_register(&none, 1); }
int sqlite3_os_end(void) { return SQLITE_OK; }

int main(void) {
	sqlite3 *db;
	if (sqlite3_open(":memory:", &db)) return 1;
	const char *script =
		"CREATE TABLE ship(id INTEGER PRIMARY KEY, name TEXT, port INT, load REAL);"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60000)"
		" INSERT INTO ship SELECT i, 'dhow-' || (i * 7919 % 60000), i % 97, i * 0.5 FROM n;"
		"CREATE INDEX by_name ON ship(name);"
		"UPDATE ship SET load = load + 1 WHERE port < 40;"
		"SELECT count(*), sum(load) FROM ship WHERE name LIKE 'dhow-1%';"
		"SELECT port, count(*), round(avg(load), 3) FROM ship GROUP BY port ORDER BY 3 DESC LIMIT 3;"
		"SELECT count(*) FROM ship a JOIN ship b ON a.name = 'dhow-' || b.id WHERE a.port = b.port;"
		"DELETE FROM ship WHERE id % 3 = 0;"
		"SELECT name FROM ship ORDER BY load * 37 % 1009, name LIMIT 2;";
	char *error = 0;
	if (sqlite3_exec(db, script, print, 0, &error)) return printf("%s\n", error), 1;
	return sqlite3_close(db);
}

#include <sqlite3.h>

// sqlite3_db_config() is variadic, which Swift cannot call.
// https://www.sqlite.org/c3ref/c_dbconfig_enable_fkey.html#sqlitedbconfigenabletrigger
static inline int drover_sqlite3_disable_triggers(sqlite3 *db) {
  return sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)0);
}

// So is sqlite3_config(). Without statistics no allocation waits for the one lock that guards them.
// https://www.sqlite.org/c3ref/c_config_covering_index_scan.html#sqliteconfigmemstatus
static inline void drover_sqlite3_count_no_memory(void) { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

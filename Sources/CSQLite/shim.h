#include <errno.h>
#include <sqlite3.h>

// sqlite3_db_config() is variadic, which Swift cannot call.
// https://www.sqlite.org/c3ref/c_dbconfig_enable_fkey.html#sqlitedbconfigenabletrigger
static inline int drover_sqlite3_disable_triggers(sqlite3 *db) {
  return sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)0);
}

// So is sqlite3_config(). Without statistics no allocation waits for the one lock that guards them.
// https://www.sqlite.org/c3ref/c_config_covering_index_scan.html#sqliteconfigmemstatus
static inline void drover_sqlite3_count_no_memory(void) { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

// Flushes the database's own file through the descriptor that SQLite has of it; its methods stand behind pointers to functions.
// https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html#sqlitefcntlfilepointer
// Returns 0, or the system's error.
static inline int drover_sqlite3_flush(sqlite3 *db) {
  sqlite3_file *file = 0;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file->pMethods) return EBADF;
  if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY) == SQLITE_OK) return 0;
  int error = 0;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
  return error ? error : EIO;
}

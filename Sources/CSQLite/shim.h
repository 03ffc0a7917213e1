#include <errno.h>
#include <sqlite3.h>

// sqlite3_db_config() is variadic, which Swift cannot call.
// https://www.sqlite.org/c3ref/c_dbconfig_enable_fkey.html#sqlitedbconfigenabletrigger
static inline int drover_sqlite3_disable_triggers(sqlite3 *db) {
  return sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)0);
}

// The same for a few statements and back; it cannot fail where disabling did not.
static inline void drover_sqlite3_enable_triggers(sqlite3 *db, int on) {
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, on, (int *)0);
}

// Closing the connection leaves its WAL as it is.
// https://www.sqlite.org/c3ref/c_dbconfig_enable_fkey.html#sqlitedbconfignockptonclose
static inline void drover_sqlite3_close_without_checkpoint(sqlite3 *db) {
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
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

// The numbers of changes: drover_next_change() counts on from the last one, drover_change_time() is the time of the transaction. A function of
// Swift's would cost more than the rest of an upsert.
typedef struct {
  sqlite3_int64 last;
  sqlite3_int64 now;
} drover_change_numbers;

static inline void drover_next_change(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count, (void)values;
  sqlite3_result_int64(context, ++((drover_change_numbers *)sqlite3_user_data(context))->last);
}

static inline void drover_change_time(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count, (void)values;
  sqlite3_result_int64(context, ((drover_change_numbers *)sqlite3_user_data(context))->now);
}

// Gives a connection both functions. Returns their numbers, which live as long as the connection or until this is called again; 0 when
// there is no memory.
static inline drover_change_numbers *drover_sqlite3_number_changes(sqlite3 *db) {
  drover_change_numbers *numbers = (drover_change_numbers *)sqlite3_malloc(sizeof *numbers);
  if (!numbers) return 0;
  numbers->last = numbers->now = 0;
  if (sqlite3_create_function_v2(db, "drover_change_time", 0, SQLITE_UTF8, numbers, drover_change_time, 0, 0, 0)) {
    sqlite3_free(numbers);
    return 0;
  }
  // When it fails it calls the destructor itself: https://www.sqlite.org/c3ref/create_function.html
  return sqlite3_create_function_v2(
             db, "drover_next_change", 0, SQLITE_UTF8, numbers, drover_next_change, 0, 0, sqlite3_free)
      ? 0 : numbers;
}

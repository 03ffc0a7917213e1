// Preloaded into a program of Drover's, counts its calls that change files below a folder, and makes the nth one go wrong: the
// program dies before it, or in the middle of it, or the call fails. What the program writes through mapped memory is not seen: that
// is SQLite's -shm file alone, which is made anew from the WAL. Lines of logs (*.log) do not count.
//
// FAILPOINT_FOLDER  files at and below it count
// FAILPOINT_REPORT  a file for what was done: a line for each call that went wrong, and at the end `calls N`
// FAILPOINT_AT      the nth call, from 1; 0 counts only
// FAILPOINT_KIND    kill | tear (half of a write is done, then death) | full (ENOSPC) | broken (EIO) | unflushed (EIO of flushes alone)
// FAILPOINT_UNTIL   the calls go on failing until this file is there; without it only the nth one fails

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// What a call does to the disk, because not every failure can come of every call.
enum effect { GROWS = 1, FLUSHES = 2, SHRINKS = 4 };

static char folder[PATH_MAX];
static const char *report, *until, *kind;
static long at, calls;
static int has_begun;

__attribute__((constructor)) static void begin(void) {
  const char *named = getenv("FAILPOINT_FOLDER"), *number = getenv("FAILPOINT_AT");
  report = getenv("FAILPOINT_REPORT");
  until = getenv("FAILPOINT_UNTIL");
  kind = getenv("FAILPOINT_KIND");
  at = number ? atol(number) : 0;
  if (named && report && kind && realpath(named, folder)) has_begun = 1;
}

// With system calls of its own, so that it does not count itself.
static void note(const char *format, ...) {
  char line[PATH_MAX + 100];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  long file = syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  syscall(SYS_write, file, line, length);
  syscall(SYS_close, file);
}

__attribute__((destructor)) static void end(void) {
  if (has_begun) note("calls %ld\n", calls);
}

static int counts(const char *path) {
  size_t length = strlen(folder), whole = strlen(path);
  if (strncmp(path, folder, length) != 0 || (path[length] != '/' && path[length] != 0)) return 0;
  return whole < 4 || strcmp(path + whole - 4, ".log") != 0;
}

static int can_go_wrong(enum effect effect, size_t bytes) {
  if (strcmp(kind, "tear") == 0) return bytes > 1;
  if (strcmp(kind, "full") == 0) return effect == GROWS;
  if (strcmp(kind, "unflushed") == 0) return effect == FLUSHES;
  return 1;
}

// The error that the call has to fail with; 0 when it is to be made, and -1 when half of it is and the program is to die then.
static int verdict(const char *call, const char *path, enum effect effect, size_t bytes) {
  if (!has_begun || !counts(path) || !can_go_wrong(effect, bytes)) return 0;
  long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  if (at == 0 || number < at) return 0;
  if (number > at && (!until || access(until, F_OK) == 0)) return 0;
  note("%ld %s %s\n", number, call, path + strlen(folder));
  if (strcmp(kind, "kill") == 0) syscall(SYS_kill, getpid(), SIGKILL);
  if (strcmp(kind, "tear") == 0) return -1;
  return strcmp(kind, "full") == 0 ? ENOSPC : EIO;
}

static int verdict_of_descriptor(const char *call, int descriptor, enum effect effect, size_t bytes) {
  if (!has_begun) return 0;
  char link[40], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return verdict(call, path, effect, bytes);
}

// Paths come relative too; the folder they are in exists, the file may not.
static int verdict_of_path(const char *call, const char *path, enum effect effect) {
  if (!has_begun) return 0;
  char copy[PATH_MAX], real[PATH_MAX], whole[PATH_MAX + NAME_MAX + 2];
  snprintf(copy, sizeof copy, "%s", path);
  char *slash = strrchr(copy, '/');
  const char *name = slash ? slash + 1 : copy;
  if (slash) *slash = 0;
  if (!realpath(slash ? (copy[0] ? copy : "/") : ".", real)) return 0;
  snprintf(whole, sizeof whole, "%s/%s", real, name);
  return verdict(call, whole, effect, 0);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(code) do { errno = (code); return -1; } while (0)

#define WRITING(name, parameters, all, half) \
  ssize_t name parameters { \
    int code = verdict_of_descriptor(#name, descriptor, GROWS, size); \
    if (code > 0) FAIL(code); \
    if (code == 0) return NEXT(name) all; \
    NEXT(name) half; \
    syscall(SYS_kill, getpid(), SIGKILL); \
    return 0; \
  }
WRITING(write, (int descriptor, const void *bytes, size_t size), (descriptor, bytes, size), (descriptor, bytes, size / 2))
WRITING(pwrite, (int descriptor, const void *bytes, size_t size, off_t offset),
        (descriptor, bytes, size, offset), (descriptor, bytes, size / 2, offset))
WRITING(pwrite64, (int descriptor, const void *bytes, size_t size, off64_t offset),
        (descriptor, bytes, size, offset), (descriptor, bytes, size / 2, offset))
// Half of the parts instead of half of the bytes.
WRITING(writev, (int descriptor, const struct iovec *parts, int size), (descriptor, parts, size), (descriptor, parts, size / 2))

#define OF_DESCRIPTOR(name, effect, parameters, arguments) \
  int name parameters { \
    int code = verdict_of_descriptor(#name, descriptor, effect, 0); \
    if (code > 0) FAIL(code); \
    return NEXT(name) arguments; \
  }
OF_DESCRIPTOR(fsync, FLUSHES, (int descriptor), (descriptor))
OF_DESCRIPTOR(fdatasync, FLUSHES, (int descriptor), (descriptor))
OF_DESCRIPTOR(ftruncate, SHRINKS, (int descriptor, off_t size), (descriptor, size))
OF_DESCRIPTOR(ftruncate64, SHRINKS, (int descriptor, off64_t size), (descriptor, size))
OF_DESCRIPTOR(fallocate, GROWS, (int descriptor, int mode, off_t offset, off_t size), (descriptor, mode, offset, size))

#define OF_PATH(name, parameters, arguments) \
  int name parameters { \
    int code = verdict_of_path(#name, path, SHRINKS); \
    if (code > 0) FAIL(code); \
    return NEXT(name) arguments; \
  }
OF_PATH(unlink, (const char *path), (path))
OF_PATH(rename, (const char *path, const char *to), (path, to))

#define OPENING(name, at_parameter, at_argument) \
  int name(at_parameter const char *path, int flags, ...) { \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list more; \
      va_start(more, flags); \
      mode = va_arg(more, mode_t); \
      va_end(more); \
    } \
    /* Only what makes a file changes the disk. */ \
    if (flags & O_CREAT && access(path, F_OK) != 0) { \
      int code = verdict_of_path(#name, path, GROWS); \
      if (code > 0) FAIL(code); \
    } \
    return NEXT(name)(at_argument path, flags, mode); \
  }
#define COMMA ,
OPENING(open, , )
OPENING(open64, , )
OPENING(openat, int base COMMA, base COMMA)
OPENING(openat64, int base COMMA, base COMMA)

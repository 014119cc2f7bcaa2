/* Fails, cuts short or kills at one call out of all that change files below a folder.
 *
 * Preloaded into a process under test. Environment:
 *   IO_FAULTS_BELOW   the folder; calls on other files pass
 *   IO_FAULTS_AT      number of the call, from 1; 0 only counts
 *   IO_FAULTS_KIND    `kill`, `short`, or the number of an error
 *   IO_FAULTS_ONWARD  `1`: that call and all after it; else that call alone
 *   IO_FAULTS_COUNT   a file that gets the number of calls when the process exits
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS, SHORT, FAIL };

static atomic_long calls;
static char below[PATH_MAX];
static size_t below_length;
static long at;
static int onward, is_kill, is_short, number;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("IO_FAULTS_BELOW");
    if (!text || strlen(text) >= sizeof below) return;
    strcpy(below, text);
    below_length = strlen(below);
    at = (text = getenv("IO_FAULTS_AT")) ? atol(text) : 0;
    onward = (text = getenv("IO_FAULTS_ONWARD")) && *text == '1';
    text = getenv("IO_FAULTS_KIND");
    is_kill = text && !strcmp(text, "kill");
    is_short = text && !strcmp(text, "short");
    number = text ? atoi(text) : 0;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("IO_FAULTS_COUNT");
    if (!path) return;
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

static int fate_of_path(const char *path) {
    if (!below_length || !path || strncmp(path, below, below_length)) return PASS;
    long mine = atomic_fetch_add(&calls, 1) + 1;
    if (!at || (onward ? mine < at : mine != at)) return PASS;
    if (is_kill) kill(getpid(), SIGKILL);
    if (is_short) return SHORT;
    errno = number;
    return FAIL;
}

static int fate_of_relative(const char *path) {
    char whole[2 * PATH_MAX];
    if (!below_length || !path) return PASS;
    if (*path == '/') return fate_of_path(path);
    if (!getcwd(whole, PATH_MAX)) return PASS;
    strcat(whole, "/");
    strncat(whole, path, PATH_MAX - 2);
    return fate_of_path(whole);
}

static int fate_of(int handle) {
    char link[64], path[PATH_MAX];
    if (!below_length) return PASS;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return PASS;
    path[length] = 0;
    return fate_of_path(path);
}

ssize_t write(int handle, const void *data, size_t count) {
    REAL(write);
    int fate = fate_of(handle);
    if (fate == FAIL) return -1;
    return real(handle, data, fate == SHORT && count > 1 ? count / 2 : count);
}

ssize_t pwrite(int handle, const void *data, size_t count, off_t offset) {
    REAL(pwrite);
    int fate = fate_of(handle);
    if (fate == FAIL) return -1;
    return real(handle, data, fate == SHORT && count > 1 ? count / 2 : count, offset);
}

ssize_t pwrite64(int handle, const void *data, size_t count, off64_t offset) {
    REAL(pwrite64);
    int fate = fate_of(handle);
    if (fate == FAIL) return -1;
    return real(handle, data, fate == SHORT && count > 1 ? count / 2 : count, offset);
}

ssize_t writev(int handle, const struct iovec *parts, int count) {
    REAL(writev);
    int fate = fate_of(handle);
    if (fate == FAIL) return -1;
    return real(handle, parts, fate == SHORT && count > 1 ? count / 2 : count);
}

#define ON_HANDLE(name) \
    int name(int handle) { \
        REAL(name); \
        return fate_of(handle) == FAIL ? -1 : real(handle); \
    }
ON_HANDLE(fsync)
ON_HANDLE(fdatasync)

int ftruncate(int handle, off_t length) {
    REAL(ftruncate);
    return fate_of(handle) == FAIL ? -1 : real(handle, length);
}

int ftruncate64(int handle, off64_t length) {
    REAL(ftruncate64);
    return fate_of(handle) == FAIL ? -1 : real(handle, length);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fate_of_relative(to) == FAIL ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
    REAL(link);
    return fate_of_relative(to) == FAIL ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    return fate_of_relative(path) == FAIL ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fate_of_relative(path) == FAIL ? -1 : real(path, mode);
}

int rmdir(const char *path) {
    REAL(rmdir);
    return fate_of_relative(path) == FAIL ? -1 : real(path);
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int changes = flags & (O_CREAT | O_TRUNC); \
        return changes && fate_of_relative(path) == FAIL ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

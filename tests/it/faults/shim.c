/* System calls that fail on demand, for a circusd that is started with LD_PRELOAD.
 *
 * The file that CIRCUS_FAULTS names is shared with the test: it says which call is to fail, after how many others of its
 * kind, how often, and with which error; and it counts. Calls of libzmq's own threads, and of its eventfds in any thread,
 * do not fail: libzmq ends the process where its own descriptors do.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct plan {
    char call[32];
    int error;
    int skip;
    int times;
    _Atomic int armed;
    _Atomic int seen;
    _Atomic int fired;
    /* The process whose calls fail, once it is known. What it becomes by an upgrade has no faults, */
    _Atomic int owner;
    /* but for this: then that program is the one whose calls fail, and not what it becomes. */
    _Atomic int after_exec;
};

static struct plan *plan;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CIRCUS_FAULTS");
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at == MAP_FAILED) return;
    plan = at;
    int pid = getpid(), nobody = 0;
    if (!atomic_compare_exchange_strong(&plan->owner, &nobody, pid) && nobody == pid)
        atomic_store(&plan->armed, atomic_exchange(&plan->after_exec, 0));
}

static int is_libzmq(int fd) {
    char name[32] = "";
    syscall(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
    if (strncmp(name, "ZMQ", 3) == 0) return 1;
    if (fd < 0) return 0;
    char link[64], target[64] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    return length > 0 && strstr(target, "[eventfd]") != NULL;
}

static int fails(const char *call, int fd) {
    if (!plan || !atomic_load(&plan->armed) || strcmp(plan->call, call) != 0) return 0;
    int before = errno;
    int exempt = is_libzmq(fd);
    errno = before;
    if (exempt) return 0;
    int seen = atomic_fetch_add(&plan->seen, 1);
    if (seen < plan->skip || seen - plan->skip >= plan->times) return 0;
    atomic_fetch_add(&plan->fired, 1);
    errno = plan->error;
    return 1;
}

#define REAL(type, name, parameters)                                   \
    static type(*real) parameters;                                     \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

#define WRAP(type, name, call, fd, parameters, arguments) \
    type name parameters {                                \
        REAL(type, name, parameters);                     \
        if (fails(call, fd)) return (type)-1;             \
        return real arguments;                            \
    }

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...) {                         \
        REAL(int, name, (const char *, int, ...));                       \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                    \
        return fails("open", -1) ? -1 : real(path, flags, mode);         \
    }
#define OPENAT(name)                                                     \
    int name(int folder, const char *path, int flags, ...) {             \
        REAL(int, name, (int, const char *, int, ...));                  \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                    \
        return fails("open", -1) ? -1 : real(folder, path, flags, mode); \
    }
#define FCNTL(name)                                                      \
    int name(int fd, int command, ...) {                                 \
        REAL(int, name, (int, int, ...));                                \
        va_list rest;                                                    \
        va_start(rest, command);                                         \
        void *argument = va_arg(rest, void *);                           \
        va_end(rest);                                                    \
        int copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;   \
        return fails(copies ? "dup" : "fcntl", fd) ? -1 : real(fd, command, argument); \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FCNTL(fcntl)
FCNTL(fcntl64)
WRAP(ssize_t, read, "read", fd, (int fd, void *to, size_t size), (fd, to, size))
WRAP(ssize_t, readv, "read", fd, (int fd, const struct iovec *to, int count), (fd, to, count))
WRAP(ssize_t, write, "write", fd, (int fd, const void *from, size_t size), (fd, from, size))
WRAP(ssize_t, writev, "write", fd, (int fd, const struct iovec *from, int count), (fd, from, count))
WRAP(int, pipe2, "pipe", -1, (int fds[2], int flags), (fds, flags))
WRAP(int, dup, "dup", fd, (int fd), (fd))
WRAP(int, dup2, "dup2", fd, (int fd, int to), (fd, to))
WRAP(int, dup3, "dup2", fd, (int fd, int to, int flags), (fd, to, flags))
WRAP(pid_t, fork, "fork", -1, (void), ())
WRAP(int, execve, "exec", -1, (const char *path, char *const argv[], char *const env[]), (path, argv, env))
WRAP(pid_t, waitpid, "wait", -1, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(pid_t, wait4, "wait", -1, (pid_t pid, int *status, int flags, struct rusage *usage), (pid, status, flags, usage))
WRAP(int, waitid, "wait", -1, (idtype_t type, id_t id, siginfo_t *info, int flags), (type, id, info, flags))
WRAP(int, kill, "kill", -1, (pid_t pid, int signal), (pid, signal))
WRAP(int, socket, "socket", -1, (int family, int type, int protocol), (family, type, protocol))
WRAP(int, bind, "bind", -1, (int fd, const struct sockaddr *to, socklen_t size), (fd, to, size))
WRAP(int, listen, "listen", -1, (int fd, int backlog), (fd, backlog))
WRAP(int, epoll_create1, "epoll_create", -1, (int flags), (flags))
WRAP(int, epoll_ctl, "epoll_ctl", of, (int fd, int what, int of, struct epoll_event *event), (fd, what, of, event))
WRAP(int, epoll_wait, "epoll_wait", -1, (int fd, struct epoll_event *to, int count, int time), (fd, to, count, time))
WRAP(int, eventfd, "eventfd", -1, (unsigned count, int flags), (count, flags))
WRAP(int, rename, "rename", -1, (const char *from, const char *to), (from, to))
WRAP(int, unlink, "unlink", -1, (const char *path), (path))
WRAP(int, ftruncate64, "ftruncate", fd, (int fd, off64_t size), (fd, size))
WRAP(int, fsync, "fsync", fd, (int fd), (fd))
WRAP(int, memfd_create, "memfd", -1, (const char *name, unsigned flags), (name, flags))
WRAP(int, inotify_init1, "inotify", -1, (int flags), (flags))
WRAP(int, chdir, "chdir", -1, (const char *path), (path))
WRAP(ssize_t, sendmsg, "send", fd, (int fd, const struct msghdr *from, int flags), (fd, from, flags))
WRAP(ssize_t, recvmsg, "receive", fd, (int fd, struct msghdr *to, int flags), (fd, to, flags))

int prctl(int what, ...) {
    REAL(int, prctl, (int, unsigned long, unsigned long, unsigned long, unsigned long));
    va_list rest;
    va_start(rest, what);
    unsigned long a = va_arg(rest, unsigned long), b = va_arg(rest, unsigned long);
    unsigned long c = va_arg(rest, unsigned long), d = va_arg(rest, unsigned long);
    va_end(rest);
    return what == PR_SET_CHILD_SUBREAPER && fails("subreaper", -1) ? -1 : real(what, a, b, c, d);
}

DIR *opendir(const char *path) {
    REAL(DIR *, opendir, (const char *));
    return fails("open", -1) ? NULL : real(path);
}

int clone(int (*run)(void *), void *stack, int flags, void *argument, ...) {
    REAL(int, clone, (int (*)(void *), void *, int, void *, ...));
    va_list rest;
    va_start(rest, argument);
    void *a = va_arg(rest, void *), *b = va_arg(rest, void *), *c = va_arg(rest, void *);
    va_end(rest);
    return fails("fork", -1) ? -1 : real(run, stack, flags, argument, a, b, c);
}

/* What has no function of its own, and all that a child does before its program. */
long syscall(long number, ...) {
    REAL(long, syscall, (long, ...));
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    const char *call = NULL;
    switch (number) {
    case SYS_pidfd_open: call = "pidfd_open"; break;
    case SYS_pidfd_send_signal: call = "kill"; break;
    case SYS_execve: call = "exec"; break;
    case SYS_chdir: call = "chdir"; break;
    case SYS_dup2: case SYS_dup3: call = "dup2"; break;
    case SYS_setsid: call = "setsid"; break;
    }
    if (call && fails(call, -1)) return -1;
    return real(number, a, b, c, d, e, f);
}

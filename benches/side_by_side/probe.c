/* The worker of the comparison: no runtime, almost no memory, so that its own start weighs little.
 *
 *   probe SOCKET pause              tells that it is alive, and waits
 *   probe SOCKET spam LINES WIDTH   the same, and between the two writes LINES lines of WIDTH bytes
 *
 * It tells by one datagram to the unix socket SOCKET (none if that is "-"): its pid, and the CLOCK_MONOTONIC nanoseconds
 * at which main() began. A clock that all processes share makes it the witness of its own start: a
 * datagram that is read late has the same figure. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void report(const char *path, struct timespec born) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char text[64];
    int inbox = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int length = snprintf(text, sizeof text, "%d %lld", getpid(), born.tv_sec * 1000000000LL + born.tv_nsec);
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    sendto(inbox, text, length, 0, (struct sockaddr *)&to, sizeof to);
    close(inbox);
}

/* One write(2) a line, as programs do whose output is line-buffered. */
static int spam(long lines, size_t width) {
    char *line = malloc(width);
    if (!line || width < 32) return 1;
    memset(line, 'x', width);
    line[width - 1] = '\n';
    for (long at = 0; at < lines; at++) {
        char head[32];
        int length = snprintf(head, sizeof head, "%08d:%08ld ", getpid(), at);
        memcpy(line, head, length);
        for (size_t done = 0; done < width;) {
            ssize_t wrote = write(STDOUT_FILENO, line + done, width - done);
            if (wrote <= 0) return 1;
            done += wrote;
        }
    }
    free(line);
    return 0;
}

int main(int argc, char **argv) {
    struct timespec born;
    clock_gettime(CLOCK_MONOTONIC, &born);
    if (argc < 3) return 2;
    if (strcmp(argv[1], "-")) report(argv[1], born);
    if (argc > 4 && !strcmp(argv[2], "spam") && spam(atol(argv[3]), atol(argv[4]))) return 1;
    for (;;) pause();
}

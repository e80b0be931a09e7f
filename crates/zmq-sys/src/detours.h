/* Sends two of libzmq's system calls to accept.rs, which says why. The build script has it included before anything else:
 * the system's header comes first, since its own inline functions need the real names. */
#ifndef ZMQ_SYS_DETOURS_H
#define ZMQ_SYS_DETOURS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/types.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif
int zmq_sys_accept4 (int listener, struct sockaddr *address, socklen_t *len, int flags);
ssize_t zmq_sys_recv (int connection, void *buffer, size_t len, int flags);
#ifdef __cplusplus
}
#endif

#define accept4 zmq_sys_accept4
#define recv zmq_sys_recv

#endif

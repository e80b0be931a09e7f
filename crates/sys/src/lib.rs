//! Layer 2: the kernel. Processes, signals, sockets, limits; the only crate that makes system calls about them.
//!
//! # Starting and ending processes
//!
//! [`spawn`] turns a [`Launch`], which is plain data, into a process, or says at which [`Stage`](circus_core::proto::Stage)
//! and why it could not. The parent prepares everything (`launch`), the child does nothing but system calls (`child`),
//! and creates it without copying circusd where the identity stays the same (`spawn` has the reasons and the figures).
//! [`reap`] is the only loop that waits for children; [`send`] and [`kill_trees`] deliver signals.
//!
//! # Signals and sockets
//!
//! [`Signals`] is a descriptor for the poll loop and a list of intents. [`open_all`] makes the managed sockets,
//! [`swap_sockets`] changes them while they are in use, [`bind_endpoint`] makes those of ZeroMQ. An error names the process that
//! holds the address.
//!
//! # Sampling processes
//!
//! [`Proc`] knows each process's children, [`Sampler`] what they use.
//!
//! [`try_service`] says whether a service answers, in a thread of its own; [`ServiceAttempt`] does so in a poll loop.
//!
//! # Tunnels to other machines
//!
//! [`Tunnel`] is the system's ssh client, for the programs that take `--ssh`.
//!
//! # The order of a start
//!
//! [`sanitize_stdio`], [`daemonize`], [`raise_nofile`], [`Pidfile::claim`], [`open_all`] (the workers' numbers, from 3
//! on), then whatever else opens descriptors: [`bind_endpoint`], [`Signals::install`], [`Spawner::new`], ZeroMQ, threads.
//!
//! Every descriptor made here is an `OwnedFd` and close-on-exec. Unsafe code is in `child`, `spawn` (clone), `reap`
//! (waitpid), `hand_over` (execve), `survivor` (pidfd), `kill` (kill, pidfd), `daemonize` (fork), `parent` and `notify`
//! (descriptors by number), `memory` (mallopt, malloc_trim), `yield_to_others` (setpriority) and
//! `abort` (a signal handler), for what no safe crate offers as it must be.

#![warn(missing_docs)]

mod abort;
mod cgroup;
mod child;
mod clock;
mod connections;
mod daemonize;
mod descendants;
mod endpoint;
mod fd_store;
mod hand_over;
mod host;
mod ipc;
mod key_files;
mod kill;
mod launch;
mod leftovers;
mod limits;
mod machine;
mod memory;
mod notify;
mod open_path;
mod parent;
mod pidfile;
mod port_owner;
mod process;
mod python;
mod raw_pid;
mod raw_text;
mod reap;
mod safe_path;
mod sample;
mod service_attempt;
mod service_probe;
mod signals;
mod socket_file;
mod sockets;
mod spawn;
mod status;
mod survivor;
mod swap_sockets;
#[cfg(test)]
mod testing;
mod tree;
mod tunnel;
mod user;
mod virtualenv;
mod yield_to_others;

pub use abort::end_children_on_abort;
pub use cgroup::{Cgroup, CgroupHome};
pub use clock::since_boot;
pub use connections::{open_connections, waiting_connections};
pub use daemonize::{Background, Side, Started, Starting, daemonize};
pub use descendants::DescendantHandle;
pub use endpoint::{BoundEndpoint, EndpointError, SavedEndpoint, bind_endpoint, is_exposed};
pub use fd_store::{forget_stored, from_store, is_stored_name, store, stored_name, take_passed};
pub use hand_over::{WayBack, become_program, is_open, own_program, sealed};
pub use host::{
    host, named_time_zone, notify_socket, sanitize_stdio, set_umask, state_fd, time_zone, upgrade_failure, watchdog,
};
pub use key_files::{read_hosts_file, read_key_ring, read_public_key, read_secret_key};
pub use kill::{SendError, send, send_to_group};
pub use launch::{Credentials, Launch, SocketPassing, Stdio};
pub use leftovers::{
    Extent, ProcessIdentity, become_subreaper, descendants, left_behind, left_of_group, leftover_roots,
};
pub use limits::{OpenFileLimit, nofile, raise_nofile, room};
pub use machine::Machine;
pub use memory::{bound_the_heap, release_memory};
pub use notify::{Datagram, FdRequest, NotifySocket, Received, parse_datagram};
pub use open_path::{
    OpenedFile, PathPin, check_file, not_our_own, open_for_append, open_log_file, open_private_file, pin,
};
pub use parent::{notify, read_inherited, take_inherited, watch_parent};
pub use pidfile::{Pidfile, PidfileError, has_our_program};
pub use process::{Proc, Stat};
pub use python::python_path;
pub use reap::{Exit, reap};
pub use safe_path::unsafe_place;
pub use sample::{Details, Metrics, Probe, Prober, Sampler, TreeOptions, TreeUsage, cpu_time};
pub use service_attempt::{AttemptProgress, ServiceAttempt};
pub use service_probe::{Service, try_service};
pub use signals::{SignalEvent, Signals, reset_inherited_signals, unblock_signals};
pub use socket_file::{SavedSocketFile, SocketFile};
pub use sockets::{Address, ManagedSocket, SavedSocket, SocketError, open, open_all, open_own, open_rest};
pub use spawn::{Spawned, Spawner, spawn};
pub use status::{StatusRead, read_status};
pub use survivor::{Survivor, take_back};
pub use swap_sockets::swap_sockets;
pub use tree::{kill_group, kill_tree, kill_trees};
pub use tunnel::{Ssh, Tunnel};
pub use user::{Identity, group_id, identity, local_users, resolve, unmapped, user_id};
pub use virtualenv::Virtualenv;
pub use yield_to_others::yield_to_others;

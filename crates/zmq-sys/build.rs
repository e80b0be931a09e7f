//! Compiles libzmq with CURVE, statically, out of sources that are in the registry.
//!
//! Needed: a C compiler and a C++ compiler. Not needed: cmake, pkg-config, any library of the system's, or the network.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// What libzmq's configure script would have found out on Linux. zeromq-src runs no such checks and sets none of these,
/// and libzmq then silently takes the poorer way: descriptors that leak into children, pipes in place of eventfds, dead
/// TCP peers that are never noticed.
const DEFINES: &[&str] = &[
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "HAVE_ACCEPT4",
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_HAVE_SO_PEERCRED",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_HAVE_TCP_KEEPINTVL",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    "HAVE_CLOCK_GETTIME",
    // CURVE, by the functions of src/sodium.rs. zeromq-src can add it with a libsodium only.
    "ZMQ_HAVE_CURVE",
    "ZMQ_USE_LIBSODIUM",
];

/// Included before every source: accept.rs says why.
const DETOURS: &str = "src/detours.h";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={DETOURS}");
    println!("cargo:rerun-if-changed=include");
    pass_defines();
    pass_headers();
    link_libstdcxx_statically();
    zeromq_src::Build::new().build();
}

/// zeromq-src has no setting for defines, but the `cc` crate below it heeds the variables that make(1) heeds.
fn pass_defines() {
    let wanted: String = DEFINES.iter().map(|define| format!(" -D{define}")).collect();
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let mut detours = format!("{folder}/{DETOURS}");
    if detours.contains(char::is_whitespace) {
        // Words are parted by blanks otherwise.
        set("CC_SHELL_ESCAPED_FLAGS", "1");
        detours = format!("'{}'", detours.replace('\'', "'\\''"));
    }
    set("CXXFLAGS", &(env::var("CXXFLAGS").unwrap_or_default() + &wanted + " -include " + &detours));
}

/// Where the compiler finds sodium.h and sstream, of the folder include: a variable of gcc's and clang's, as a folder's name may hold blanks.
fn pass_headers() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it") + "/include";
    let others = env::var("CPLUS_INCLUDE_PATH").map(|others| format!(":{others}")).unwrap_or_default();
    set("CPLUS_INCLUDE_PATH", &(folder + &others));
}

/// A self-contained binary has no libstdc++.so to relocate at start and none to miss on the target. A compiler that has
/// no static one (Fedora packs it apart) gives a dynamically linked binary instead.
fn link_libstdcxx_statically() {
    if env::var_os("CXXSTDLIB").is_some() || env::var("TARGET") != env::var("HOST") {
        return;
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let Ok(answer) = Command::new(compiler).arg("-print-file-name=libstdc++.a").output() else { return };
    let library = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    // A compiler that does not have the file repeats the bare name.
    if let (true, Some(folder)) = (library.is_absolute(), library.parent()) {
        println!("cargo:rustc-link-search=native={}", folder.display());
        set("CXXSTDLIB", "static=stdc++");
    }
}

fn set(key: &str, value: &str) {
    // SAFETY: a build script's main thread is its only thread until the compiler runs.
    unsafe { env::set_var(key, value) };
}

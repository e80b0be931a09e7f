//! What the build script promises.

use std::ffi::{CStr, c_int};

fn has(capability: &CStr) -> bool {
    // SAFETY: the argument is a C string that outlives the call.
    unsafe { zmq_sys::zmq_has(capability.as_ptr()) == 1 }
}

#[test]
fn curve_is_built_in() {
    assert!(has(c"curve"), "libzmq was built without libsodium");
    assert!(has(c"ipc"));
}

#[test]
fn the_library_is_the_one_that_the_bindings_describe() {
    let (mut major, mut minor, mut patch): (c_int, c_int, c_int) = (0, 0, 0);
    // SAFETY: the three pointers are to live integers.
    unsafe { zmq_sys::zmq_version(&mut major, &mut minor, &mut patch) };
    assert_eq!((major, minor, patch), (4, 3, 5));
}

#[test]
fn a_key_pair_can_be_made() {
    let (mut public, mut secret) = ([0; 41], [0; 41]);
    // SAFETY: Z85 text of a key is 40 characters and a NUL.
    assert_eq!(unsafe { zmq_sys::zmq_curve_keypair(public.as_mut_ptr(), secret.as_mut_ptr()) }, 0);
    assert_ne!(public, secret);
}

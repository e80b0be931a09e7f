//! Large bodies of events: libzmq counts messages, and this counts the bytes that it still holds of them for subscribers.
#![expect(unsafe_code, reason = "zmq_msg_init_data(3) takes a function that frees what a message holds")]

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that libzmq holds, of all bodies that were sent through this.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldBytes(Arc<AtomicUsize>);

/// What a message holds until its last subscriber has it.
struct Body {
    bytes: Vec<u8>,
    held: HeldBytes,
}

impl HeldBytes {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Sends a body as the last frame of a message. Never waits.
    pub(super) fn send(&self, socket: &mut zmq::Socket, bytes: &[u8]) -> zmq::Result<()> {
        let mut body = Box::new(Body { bytes: bytes.to_vec(), held: self.clone() });
        let (data, size) = (body.bytes.as_mut_ptr().cast(), body.bytes.len());
        let hint = Box::into_raw(body);
        self.0.fetch_add(size, Ordering::Relaxed);
        let mut message = zmq_sys::zmq_msg_t::default();
        // SAFETY: `data` has `size` bytes and lives as long as the body, which `free` gets as its hint, once.
        if unsafe { zmq_sys::zmq_msg_init_data(&raw mut message, data, size, Some(free), hint.cast()) } != 0 {
            // SAFETY: nothing else has the body where the call has failed.
            unsafe { free(data, hint.cast()) };
            return Err(zmq::Error::ENOMEM);
        }
        loop {
            // SAFETY: the message was made above and not sent yet; the socket is alive and borrowed exclusively.
            if unsafe { zmq_sys::zmq_msg_send(&raw mut message, socket.as_mut_ptr(), zmq::DONTWAIT) } >= 0 {
                return Ok(());
            }
            // SAFETY: it reads a number of this thread.
            let error = zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() });
            if error != zmq::Error::EINTR {
                // SAFETY: the message is still ours, and it is not used any more; its body is freed.
                unsafe { zmq_sys::zmq_msg_close(&raw mut message) };
                return Err(error);
            }
        }
    }
}

/// libzmq calls it from any of its threads, when nothing needs the body any more.
unsafe extern "C" fn free(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: the hint is the body of `send`, and libzmq calls this once for it.
    let body = unsafe { Box::from_raw(hint.cast::<Body>()) };
    body.held.0.fetch_sub(body.bytes.len(), Ordering::Relaxed);
}

//! Options that libzmq has and the zmq crate has no setter for.
#![expect(unsafe_code, reason = "zmq_setsockopt(3) takes a pointer")]

use std::ffi::c_int;

/// An option whose value is an int.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntOption {
    /// Accept connections at this descriptor.
    UseFd,
    /// Pass subscriptions to the program, and apply only those that it returns.
    XpubManual,
    /// Accept connections of this user only, and of the others that were named so.
    IpcFilterUid,
    /// Let no client in while there is no handler of ZAP.
    ZapEnforceDomain,
}

impl IntOption {
    fn number(self) -> c_int {
        match self {
            Self::UseFd => zmq_sys::ZMQ_USE_FD as c_int,
            Self::XpubManual => zmq_sys::ZMQ_XPUB_MANUAL as c_int,
            Self::IpcFilterUid => zmq_sys::ZMQ_IPC_FILTER_UID as c_int,
            Self::ZapEnforceDomain => zmq_sys::ZMQ_ZAP_ENFORCE_DOMAIN as c_int,
        }
    }
}

/// Sets an option of a socket.
pub(super) fn set_option(socket: &mut zmq::Socket, option: IntOption, value: c_int) -> zmq::Result<()> {
    let (number, pointer) = (option.number(), (&raw const value).cast());
    // SAFETY: the socket is alive and borrowed exclusively; the value of each of these options is an int, which is read
    // during the call only.
    let answer = unsafe { zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), number, pointer, size_of::<c_int>()) };
    // The one refusal that zmq_setsockopt(3) has for an int of the right size.
    if answer == 0 { Ok(()) } else { Err(zmq::Error::EINVAL) }
}

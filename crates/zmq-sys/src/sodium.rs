//! What libzmq's CURVE asks of libsodium, by the crates of RustCrypto and dalek.
//!
//! CURVE seals with NaCl's `crypto_box`: X25519 agrees on a point, HSalsa20 makes a key of it, XSalsa20 and Poly1305 seal.
//! libsodium itself would need `sh`, `make` and its configure script, and the crate that carries it an HTTP client. The
//! functions have the names and contracts of libsodium's; include/sodium.h declares them to libzmq.
//!
//! There are two layouts of a sealed message. The older one pads: a message begins with 32 bytes of zero, and what is sealed
//! with 16, which the tag follows. The `easy` one has the tag, and then the ciphertext.

use std::ffi::{c_int, c_uchar, c_ulonglong, c_void};
use std::{ptr, slice};

use crypto_secretbox::aead::{AeadInPlace, KeyInit};
use crypto_secretbox::{Nonce, Tag, XSalsa20Poly1305};
use curve25519_dalek::montgomery::MontgomeryPoint;
use salsa20::cipher::consts::U10;
use salsa20::hsalsa;
use zeroize::{Zeroize, Zeroizing};

type Key = Zeroizing<[u8; 32]>;

const NONCE: usize = 24;
const TAG: usize = 16;
/// The zeros that a padded message begins with.
const PADDING: usize = 32;
/// The zeros that a padded sealed message begins with.
const SEALED_PADDING: usize = PADDING - TAG;
/// The u-coordinate of the base point of RFC 7748.
const BASE: MontgomeryPoint = {
    let mut point = [0; 32];
    point[0] = 9;
    MontgomeryPoint(point)
};

const DONE: c_int = 0;
const FAILED: c_int = -1;

/// # Safety
///
/// `bytes` points to 32 bytes that may be read.
unsafe fn key(bytes: *const c_uchar) -> Key {
    // SAFETY: of this function.
    Zeroizing::new(unsafe { *bytes.cast::<[u8; 32]>() })
}

/// # Safety
///
/// `bytes` points to 24 bytes that may be read.
unsafe fn nonce(bytes: *const c_uchar) -> Nonce {
    // SAFETY: of this function.
    Nonce::from(unsafe { *bytes.cast::<[u8; NONCE]>() })
}

/// The key that two pairs share, or nothing where the public key is a point of small order, with which all secret keys
/// would share one.
fn shared_key(public: &Key, secret: &Key) -> Option<Key> {
    let point = Zeroizing::new(MontgomeryPoint(**public).mul_clamped(**secret).to_bytes());
    if point.iter().fold(0, |all, byte| all | byte) == 0 {
        return None;
    }
    let mut derived = hsalsa::<U10>((&*point).into(), &Default::default());
    let key = Key::new(derived.into());
    derived.zeroize();
    Some(key)
}

/// Seals the message in place, and returns its tag.
fn seal(key: &Key, nonce: &Nonce, message: &mut [u8]) -> Option<Tag> {
    XSalsa20Poly1305::new((&**key).into()).encrypt_in_place_detached(nonce, b"", message).ok()
}

/// Opens the message in place, if the tag is that of the key.
fn open(key: &Key, nonce: &Nonce, message: &mut [u8], tag: &Tag) -> Option<()> {
    XSalsa20Poly1305::new((&**key).into()).decrypt_in_place_detached(nonce, b"", message, tag).ok()
}

fn status(done: Option<()>) -> c_int {
    if done.is_some() { DONE } else { FAILED }
}

/// Seals `message`, of `len` bytes and padded, into `sealed`, of as many.
///
/// # Safety
///
/// The pointers are those of as many bytes; the two messages are the same or do not overlap.
unsafe fn seal_padded(
    sealed: *mut c_uchar,
    message: *const c_uchar,
    len: c_ulonglong,
    nonce: &Nonce,
    key: &Key,
) -> Option<()> {
    let len = usize::try_from(len).ok().filter(|len| *len >= PADDING)?;
    // SAFETY: both have `len` bytes; copy allows for an overlap.
    let sealed = unsafe {
        ptr::copy(message, sealed, len);
        slice::from_raw_parts_mut(sealed, len)
    };
    let (padding, text) = sealed.split_at_mut(PADDING);
    let tag = seal(key, nonce, text)?;
    padding[..SEALED_PADDING].fill(0);
    padding[SEALED_PADDING..].copy_from_slice(&tag);
    Some(())
}

/// Opens `sealed`, of `len` bytes and padded, into `message`, of as many.
///
/// # Safety
///
/// As for [`seal_padded`].
unsafe fn open_padded(
    message: *mut c_uchar,
    sealed: *const c_uchar,
    len: c_ulonglong,
    nonce: &Nonce,
    key: &Key,
) -> Option<()> {
    let len = usize::try_from(len).ok().filter(|len| *len >= PADDING)?;
    // SAFETY: both have `len` bytes; copy allows for an overlap.
    let message = unsafe {
        ptr::copy(sealed, message, len);
        slice::from_raw_parts_mut(message, len)
    };
    let (padding, text) = message.split_at_mut(PADDING);
    let tag = Tag::clone_from_slice(&padding[SEALED_PADDING..]);
    open(key, nonce, text, &tag)?;
    padding.fill(0);
    Some(())
}

/// Nothing has to be prepared.
#[unsafe(no_mangle)]
extern "C" fn sodium_init() -> c_int {
    DONE
}

/// Memory for keys, which [`sodium_free`] overwrites. Null if there is none.
#[unsafe(no_mangle)]
extern "C" fn sodium_allocarray(count: usize, size: usize) -> *mut c_void {
    let Some(len) = count.checked_mul(size) else { return ptr::null_mut() };
    // SAFETY: malloc takes any size.
    unsafe { libc::malloc(len.max(1)) }
}

/// Overwrites memory of [`sodium_allocarray`] and gives it back.
///
/// # Safety
///
/// `memory` is null or comes from [`sodium_allocarray`], and is used no more.
#[unsafe(no_mangle)]
unsafe extern "C" fn sodium_free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: the memory is of malloc, with as many bytes as it says, and nothing else uses it.
    unsafe {
        let len = libc::malloc_usable_size(memory);
        slice::from_raw_parts_mut(memory.cast::<u8>(), len).zeroize();
        libc::free(memory);
    }
}

/// Fills `bytes` with what getrandom(2) gives. Without randomness no key is safe, so a failure ends the process.
///
/// # Safety
///
/// `bytes` points to `len` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn randombytes(mut bytes: *mut c_uchar, len: c_ulonglong) {
    let mut left = usize::try_from(len).unwrap_or(usize::MAX);
    while left > 0 {
        // SAFETY: `left` bytes may be written there.
        match usize::try_from(unsafe { libc::getrandom(bytes.cast(), left, 0) }) {
            Ok(count) => {
                // SAFETY: `count` of the bytes that are left were written.
                bytes = unsafe { bytes.add(count) };
                left -= count;
            }
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => std::process::abort(),
        }
    }
}

/// Nothing is open.
#[unsafe(no_mangle)]
extern "C" fn randombytes_close() -> c_int {
    DONE
}

/// The public key of a secret one.
///
/// # Safety
///
/// Each pointer is that of 32 bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_scalarmult_base(public: *mut c_uchar, secret: *const c_uchar) -> c_int {
    // SAFETY: of this function.
    let secret = unsafe { key(secret) };
    // SAFETY: of this function.
    unsafe { *public.cast::<[u8; 32]>() = BASE.mul_clamped(*secret).to_bytes() };
    DONE
}

/// A new pair of keys.
///
/// # Safety
///
/// Each pointer is that of 32 bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_keypair(public: *mut c_uchar, secret: *mut c_uchar) -> c_int {
    // SAFETY: of this function.
    unsafe {
        randombytes(secret, 32);
        crypto_scalarmult_base(public, secret)
    }
}

/// The key that the owners of two pairs share.
///
/// # Safety
///
/// Each pointer is that of 32 bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_beforenm(
    shared: *mut c_uchar,
    public: *const c_uchar,
    secret: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    let Some(key) = shared_key(&unsafe { key(public) }, &unsafe { key(secret) }) else { return FAILED };
    // SAFETY: of this function.
    unsafe { *shared.cast::<[u8; 32]>() = *key };
    DONE
}

/// # Safety
///
/// The messages have `len` bytes each, the nonce 24, the keys 32.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box(
    sealed: *mut c_uchar,
    message: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    public: *const c_uchar,
    secret: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    let Some(shared) = shared_key(&unsafe { key(public) }, &unsafe { key(secret) }) else { return FAILED };
    // SAFETY: of this function.
    status(unsafe { seal_padded(sealed, message, len, &nonce(number), &shared) })
}

/// # Safety
///
/// As for [`crypto_box`].
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_open(
    message: *mut c_uchar,
    sealed: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    public: *const c_uchar,
    secret: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    let Some(shared) = shared_key(&unsafe { key(public) }, &unsafe { key(secret) }) else { return FAILED };
    // SAFETY: of this function.
    status(unsafe { open_padded(message, sealed, len, &nonce(number), &shared) })
}

/// # Safety
///
/// The messages have `len` bytes each, the nonce 24, the key 32.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_afternm(
    sealed: *mut c_uchar,
    message: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    shared: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    status(unsafe { seal_padded(sealed, message, len, &nonce(number), &key(shared)) })
}

/// # Safety
///
/// As for [`crypto_box_afternm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_open_afternm(
    message: *mut c_uchar,
    sealed: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    shared: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    status(unsafe { open_padded(message, sealed, len, &nonce(number), &key(shared)) })
}

/// # Safety
///
/// The message has `len` bytes, what is sealed 16 more, the nonce 24, the key 32. The text of both may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_easy_afternm(
    sealed: *mut c_uchar,
    message: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    shared: *const c_uchar,
) -> c_int {
    let Ok(len) = usize::try_from(len) else { return FAILED };
    // SAFETY: of this function.
    let text = unsafe {
        ptr::copy(message, sealed.add(TAG), len);
        slice::from_raw_parts_mut(sealed.add(TAG), len)
    };
    // SAFETY: of this function.
    let Some(tag) = seal(&unsafe { key(shared) }, &unsafe { nonce(number) }, text) else { return FAILED };
    // SAFETY: the tag stands before the text, in memory of its own.
    unsafe { slice::from_raw_parts_mut(sealed, TAG) }.copy_from_slice(&tag);
    DONE
}

/// # Safety
///
/// What is sealed has `len` bytes, the message 16 less, the nonce 24, the key 32. The text of both may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_box_open_easy_afternm(
    message: *mut c_uchar,
    sealed: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    shared: *const c_uchar,
) -> c_int {
    let Some(len) = usize::try_from(len).ok().and_then(|len| len.checked_sub(TAG)) else { return FAILED };
    // SAFETY: of this function. The tag is taken before the message may overwrite it.
    let (tag, text) = unsafe {
        let tag = Tag::clone_from_slice(slice::from_raw_parts(sealed, TAG));
        ptr::copy(sealed.add(TAG), message, len);
        (tag, slice::from_raw_parts_mut(message, len))
    };
    // SAFETY: of this function.
    status(open(&unsafe { key(shared) }, &unsafe { nonce(number) }, text, &tag))
}

/// # Safety
///
/// As for [`crypto_box_afternm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_secretbox(
    sealed: *mut c_uchar,
    message: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    secret: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    unsafe { crypto_box_afternm(sealed, message, len, number, secret) }
}

/// # Safety
///
/// As for [`crypto_box_afternm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn crypto_secretbox_open(
    message: *mut c_uchar,
    sealed: *const c_uchar,
    len: c_ulonglong,
    number: *const c_uchar,
    secret: *const c_uchar,
) -> c_int {
    // SAFETY: of this function.
    unsafe { crypto_box_open_afternm(message, sealed, len, number, secret) }
}

#[cfg(test)]
mod tests;

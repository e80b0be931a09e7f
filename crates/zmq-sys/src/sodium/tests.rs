//! The values are those of libsodium for the same keys, nonce and text.

use super::*;

const PUBLIC: [&str; 2] = [
    "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c",
    "5714769d116bf76436ae74bc793d2c30ad1903c59ac5273805c7e2698b410c36",
];
const SHARED: &str = "72da8bbbf5a0760cea2a1d1f2c5f19d54f292f8e7a1dd292b7a86a567ceabc69";
const TEXT: &[u8] = b"forty-two bytes of text, and then some mor";
const SEALED: &str = "5100538c2f06173ad8e092b06d5bcc6c\
    6c3e73023cc5e0e0c39e3f32c0394ab46b406fa089b797b81a3b2888935f3e266f831064ccd4694e4312";

fn secret(first: u8) -> [u8; 32] {
    std::array::from_fn(|place| first + place as u8)
}

fn number() -> [u8; NONCE] {
    std::array::from_fn(|place| place as u8)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn public(secret: &[u8; 32]) -> [u8; 32] {
    let mut key = [0; 32];
    // SAFETY: both are of 32 bytes.
    assert_eq!(unsafe { crypto_scalarmult_base(key.as_mut_ptr(), secret.as_ptr()) }, DONE);
    key
}

/// What two share, by the public key of one and the secret key of the other.
fn shared(public: &[u8; 32], secret: &[u8; 32]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    // SAFETY: all are of 32 bytes.
    let status = unsafe { crypto_box_beforenm(key.as_mut_ptr(), public.as_ptr(), secret.as_ptr()) };
    (status == DONE).then_some(key)
}

fn padded(text: &[u8]) -> Vec<u8> {
    [&[0; PADDING], text].concat()
}

#[test]
fn keys_are_those_of_libsodium() {
    let (one, other) = (secret(1), secret(101));
    assert_eq!([hex(&public(&one)), hex(&public(&other))], PUBLIC);
    assert_eq!(hex(&shared(&public(&other), &one).unwrap()), SHARED);
    assert_eq!(hex(&shared(&public(&one), &other).unwrap()), SHARED);
}

#[test]
fn points_of_small_order_share_no_key() {
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        assert_eq!(shared(&point, &secret(1)), None);
        let (mut into, message) = (padded(TEXT), padded(TEXT));
        // SAFETY: the messages are of one length, the nonce and the keys of theirs.
        let status = unsafe {
            crypto_box(
                into.as_mut_ptr(),
                message.as_ptr(),
                message.len() as u64,
                number().as_ptr(),
                point.as_ptr(),
                secret(1).as_ptr(),
            )
        };
        assert_eq!(status, FAILED);
    }
}

#[test]
fn padded_messages_are_sealed_and_opened() {
    let (one, other) = (secret(1), secret(101));
    let message = padded(TEXT);
    let len = message.len() as u64;
    let mut sealed = vec![0xff; message.len()];
    // SAFETY: as in points_of_small_order_share_no_key.
    unsafe {
        let status = crypto_box(
            sealed.as_mut_ptr(),
            message.as_ptr(),
            len,
            number().as_ptr(),
            public(&other).as_ptr(),
            one.as_ptr(),
        );
        assert_eq!(status, DONE);
    }
    assert_eq!(sealed[..SEALED_PADDING], [0; SEALED_PADDING]);
    assert_eq!(hex(&sealed[SEALED_PADDING..]), SEALED);

    let open = |sealed: &[u8], len: u64| {
        let mut message = vec![0xff; sealed.len()];
        // SAFETY: as above.
        let status = unsafe {
            crypto_box_open(
                message.as_mut_ptr(),
                sealed.as_ptr(),
                len,
                number().as_ptr(),
                public(&one).as_ptr(),
                other.as_ptr(),
            )
        };
        (status == DONE).then_some(message)
    };
    assert_eq!(open(&sealed, len), Some(message));
    // Any byte that is another, in the tag or in the text, is noticed.
    for place in SEALED_PADDING..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(open(&changed, len), None, "byte {place}");
    }
    assert_eq!(open(&sealed, PADDING as u64 - 1), None);
}

#[test]
fn secret_boxes_are_opened_by_their_key_alone() {
    let message = padded(TEXT);
    let len = message.len() as u64;
    let (mut sealed, mut opened) = (vec![0; message.len()], vec![0; message.len()]);
    // SAFETY: as in points_of_small_order_share_no_key.
    unsafe {
        let (n, right, wrong) = (number(), secret(1), secret(2));
        assert_eq!(crypto_secretbox(sealed.as_mut_ptr(), message.as_ptr(), len, n.as_ptr(), right.as_ptr()), DONE);
        let mut open =
            |key: &[u8; 32]| crypto_secretbox_open(opened.as_mut_ptr(), sealed.as_ptr(), len, n.as_ptr(), key.as_ptr());
        assert_eq!((open(&wrong), open(&right)), (FAILED, DONE));
    }
    assert_eq!(opened, message);
}

#[test]
fn messages_are_opened_in_their_place() {
    let key = shared(&public(&secret(101)), &secret(1)).unwrap();
    let mut sealed = vec![0; TAG + TEXT.len()];
    let len = sealed.len() as u64;
    // SAFETY: the nonce and the key have their lengths, and what is sealed 16 bytes more than the text.
    unsafe {
        let n = number();
        let text = TEXT.as_ptr();
        let status = crypto_box_easy_afternm(sealed.as_mut_ptr(), text, TEXT.len() as u64, n.as_ptr(), key.as_ptr());
        assert_eq!((status, hex(&sealed)), (DONE, SEALED.to_owned()));
        // libzmq puts the text where the ciphertext stood.
        let bytes = sealed.as_mut_ptr();
        assert_eq!(crypto_box_open_easy_afternm(bytes.add(TAG), bytes, len, n.as_ptr(), key.as_ptr()), DONE);
        assert_eq!(&sealed[TAG..], TEXT);
        assert_eq!(crypto_box_open_easy_afternm(bytes.add(TAG), bytes, len, n.as_ptr(), key.as_ptr()), FAILED);
        assert_eq!(crypto_box_open_easy_afternm(bytes, bytes, TAG as u64 - 1, n.as_ptr(), key.as_ptr()), FAILED);
    }
}

#[test]
fn new_keys_differ_and_are_pairs() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (mut of_all, mut own) = ([0; 32], [0; 32]);
        // SAFETY: both are of 32 bytes.
        assert_eq!(unsafe { crypto_box_keypair(of_all.as_mut_ptr(), own.as_mut_ptr()) }, DONE);
        assert_eq!(of_all, public(&own));
        assert!(!seen.contains(&own));
        seen.push(own);
    }
}

#[test]
fn memory_of_keys_is_given_and_refused() {
    let memory = sodium_allocarray(4, 8);
    assert!(!memory.is_null());
    // SAFETY: it was given just now, and null is allowed.
    unsafe {
        sodium_free(memory);
        sodium_free(ptr::null_mut());
    }
    assert!(sodium_allocarray(usize::MAX, 2).is_null());
}

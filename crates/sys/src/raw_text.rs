//! Text of the system that is no UTF-8, as text: what circusd was given reaches a worker byte by byte.
//!
//! A byte that is no part of a character stands as a character from the very end of Unicode, where no text has any:
//! byte 0x80 is U+10FF80, byte 0xFF is U+10FFFF.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// The character that stands for byte 0.
const BASE: u32 = 0x0010_FF00;

/// The text of a string of the system.
pub(super) fn from_os(value: OsString) -> String {
    value.into_string().unwrap_or_else(|value| {
        let bytes = value.into_vec();
        let mut text = String::with_capacity(bytes.len() + 8);
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(BASE + u32::from(*byte))));
        }
        text
    })
}

/// The bytes of a text: those of a string of the system where [`from_os`] made it.
pub(super) fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    // Most texts have no such character, whose first byte is this one.
    if !text.as_bytes().contains(&0xF4) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(u32::from(character).wrapping_sub(BASE)) {
            Ok(byte @ 0x80..) => bytes.push(byte),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_back() {
        assert_eq!(from_os(OsString::from("é")), "é");
        let text = from_os(OsString::from_vec(b"a\xffb\xc3\xa9\x80".to_vec()));
        assert_eq!(text, "a\u{10ffff}b\u{e9}\u{10ff80}");
        assert_eq!(to_bytes(&text).as_ref(), b"a\xffb\xc3\xa9\x80");
        assert_eq!(to_bytes("\u{10ff7f}\u{100000}").as_ref(), "\u{10ff7f}\u{100000}".as_bytes());
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let has_mark = std::str::from_utf8(&bytes).is_ok_and(|text| text.chars().any(|c| u32::from(c) >= BASE + 0x80));
            prop_assume!(!has_mark);
            let text = from_os(OsString::from_vec(bytes.clone()));
            prop_assert_eq!(to_bytes(&text).into_owned(), bytes);
        }
    }
}

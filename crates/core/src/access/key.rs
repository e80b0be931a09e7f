//! Keys of CURVE as text: Z85 (ZeroMQ RFC 32), five characters for four bytes.

use std::fmt;

const BYTES: usize = 32;
const CHARACTERS: usize = 40;
const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; BYTES]);

impl PublicKey {
    /// A key as the protocol has it.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// A key as files have it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; BYTES];
        if text.len() != CHARACTERS {
            return None;
        }
        for (from, to) in text.as_bytes().chunks(5).zip(bytes.chunks_mut(4)) {
            let mut number = 0_u32;
            for character in from {
                let digit = ALPHABET.iter().position(|known| known == character)?;
                number = number.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
            }
            to.copy_from_slice(&number.to_be_bytes());
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        for four in bytes.chunks(4) {
            let number = four.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            for power in [85_u32.pow(4), 85_u32.pow(3), 85 * 85, 85, 1] {
                let digit = ALPHABET[(number / power % 85) as usize];
                write!(f, "{}", char::from(digit))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the manual page of zmq_curve(7).
    const KEY: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

    #[test]
    fn key_is_the_same_after_a_round() {
        let key = PublicKey::parse(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(&key.0[..4], [0xbb, 0x88, 0x47, 0x1d], "as zmq_curve(7) has it in hexadecimal");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", &KEY[1..], &format!("{KEY}0"), &KEY.replace('$', "'"), &"#".repeat(40), &"é".repeat(20)] {
            assert_eq!(PublicKey::parse(text), None, "{text}");
        }
    }
}

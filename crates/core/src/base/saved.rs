//! State that one process writes and the next one reads: a header, then the state as MessagePack.
//!
//! The header names the version and has a checksum, so that a state of another version, one that was cut off and one
//! that was damaged are recognized before any of it is used. Structs are written with the names of their
//! fields.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::msgpack;

const MAGIC: &str = "circus-state";

/// What comes before the state.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    magic: String,
    version: u32,
    /// How many bytes of state follow.
    length: u64,
    checksum: u64,
}

/// Why a state cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedError {
    /// Something in it cannot be written.
    Unwritable(String),
    /// It does not begin as a state does.
    NoState,
    /// It is of another version than this program reads.
    Version {
        /// Its version.
        found: u32,
        /// The one that this program reads.
        expected: u32,
    },
    /// Its end is missing, or something follows it.
    Length {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// Its bytes are not those that were written.
    Damaged,
    /// Its bytes are those that were written, and are no state of this program.
    Unreadable(String),
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable(reason) => write!(f, "the state cannot be written: {reason}"),
            Self::NoState => f.write_str("this is not a state of circusd"),
            Self::Version { found, expected } if found > expected => {
                write!(f, "the state is of version {found}, which is newer than this circusd (version {expected})")
            }
            Self::Version { found, expected } => {
                write!(f, "the state is of version {found}, and this circusd reads version {expected} only")
            }
            Self::Length { found, expected } if found < expected => {
                write!(f, "the state is cut off: {found} bytes of {expected} are there")
            }
            Self::Length { found, expected } => write!(f, "the state has {expected} bytes, and {found} are there"),
            Self::Damaged => f.write_str("the state is damaged: its checksum is wrong"),
            Self::Unreadable(reason) => write!(f, "the state cannot be read: {reason}"),
        }
    }
}

impl std::error::Error for SavedError {}

/// Writes a state.
///
/// # Errors
/// Where something of it cannot be written as MessagePack.
pub fn write<S: Serialize>(version: u32, state: &S) -> Result<Vec<u8>, SavedError> {
    let unwritable = |error: msgpack::Error| SavedError::Unwritable(error.to_string());
    let state = msgpack::to_vec(state).map_err(unwritable)?;
    let header = Header { magic: MAGIC.into(), version, length: state.len() as u64, checksum: checksum(&state) };
    let mut bytes = msgpack::to_vec(&header).map_err(unwritable)?;
    bytes.extend(state);
    Ok(bytes)
}

/// Reads what [`write()`] has written.
///
/// # Errors
/// Where it is of another version, damaged, cut off, or no state at all.
pub fn read<S: DeserializeOwned>(version: u32, bytes: &[u8]) -> Result<S, SavedError> {
    let mut state = bytes;
    let header: Header = msgpack::from_front(&mut state).map_err(|_| SavedError::NoState)?;
    if header.magic != MAGIC {
        return Err(SavedError::NoState);
    }
    if header.version != version {
        return Err(SavedError::Version { found: header.version, expected: version });
    }
    if header.length != state.len() as u64 {
        return Err(SavedError::Length { found: state.len() as u64, expected: header.length });
    }
    if header.checksum != checksum(state) {
        return Err(SavedError::Damaged);
    }
    msgpack::from_slice(state).map_err(|error| SavedError::Unreadable(error.to_string()))
}

/// FNV-1a: it notices every single damaged byte.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    type State = Vec<(String, u64)>;

    fn state() -> State {
        vec![("a".into(), 1), ("b".into(), u64::MAX)]
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        assert_eq!(read::<State>(3, &write(3, &state()).unwrap()), Ok(state()));
    }

    #[test]
    fn other_versions_are_refused_by_number() {
        let bytes = write(3, &state()).unwrap();
        let newer = read::<State>(2, &bytes).unwrap_err();
        assert_eq!(newer, SavedError::Version { found: 3, expected: 2 });
        assert!(newer.to_string().contains("newer"), "{newer}");
        let older = read::<State>(4, &bytes).unwrap_err();
        assert_eq!(older, SavedError::Version { found: 3, expected: 4 });
        assert!(!older.to_string().contains("newer"), "{older}");
    }

    #[test]
    fn truncated_state_is_refused_at_each_length() {
        let bytes = write(3, &state()).unwrap();
        for length in 0..bytes.len() {
            let error = read::<State>(3, &bytes[..length]).unwrap_err();
            assert!(matches!(error, SavedError::NoState | SavedError::Length { .. }), "{length}: {error:?}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(read::<State>(3, &longer), Err(SavedError::Length { .. })));
    }

    #[test]
    fn damaged_byte_is_noticed_wherever_it_is() {
        let bytes = write(3, &state()).unwrap();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert!(read::<State>(3, &damaged).is_err(), "byte {place}, bit {bit}");
            }
        }
        assert_eq!(read::<State>(3, b"{}"), Err(SavedError::NoState));
    }

    #[test]
    fn state_of_another_shape_is_refused() {
        let bytes = write(3, &"text").unwrap();
        assert!(matches!(read::<State>(3, &bytes), Err(SavedError::Unreadable(_))));
    }
}

//! What can be wrong with bytes or values.

use std::fmt;

/// Why bytes are not the value that was expected, or why a value cannot be written.
#[derive(Debug)]
pub(crate) struct Error(Box<str>);

pub(super) type Result<T> = std::result::Result<T, Error>;

#[cold]
pub(super) fn fault(reason: &str) -> Error {
    Error(reason.into())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        fault(&reason.to_string())
    }
}

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        fault(&reason.to_string())
    }
}

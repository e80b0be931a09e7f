//! How work ends.

/// What came of it, or why nothing did.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A reason of our own.
pub(crate) fn fault(text: impl Into<String>) -> Box<dyn std::error::Error> {
    text.into().into()
}

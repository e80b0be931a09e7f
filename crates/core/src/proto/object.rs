//! Objects of the wire.

/// An object of the wire, keys in the order they were written.
pub type Object = serde_json::Map<String, serde_json::Value>;

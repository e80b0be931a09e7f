//! The last lines of each stream, and events while they are followed.

pub(super) mod ring;
pub(super) mod stream_tail;

pub use stream_tail::Kept;

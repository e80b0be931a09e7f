//! Types that all layers share: the clock's time, process ids, levels of the log, error numbers, how Python writes
//! values, ordered maps out of iterators, and the frame of saved state. Nothing here knows a watcher.

pub mod errno;
mod level;
pub(crate) mod msgpack;
mod ordered;
mod pid;
pub mod python;
pub mod saved;
mod throttle;
pub(crate) mod time;

pub use level::Level;
pub use ordered::CollectOrdered;
pub use pid::Pid;
pub use throttle::Throttle;
pub use time::{Mono, Now};

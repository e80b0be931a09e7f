#![doc = include_str!("../docs/architecture.md")]
#![warn(missing_docs)]

pub use circus_core::{arbiter, commands, config, proto};
pub use circus_net as net;
pub use circus_sys as sys;

mod background;
pub mod daemon;
pub mod output;

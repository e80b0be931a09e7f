//! Layer 1: the INI dialect and what it means.

mod model;

pub use model::{
    Account, Args, CircusConfig, Config, Family, Host, SocketConfig, SocketType, StreamConfig, WatcherConfig,
};

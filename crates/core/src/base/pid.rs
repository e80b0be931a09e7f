//! Process ids.

use serde::{Deserialize, Serialize};

/// A process id. The kernel uses it again, so it is data: processes are told apart by ids of circusd's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

//! Process ids.

use serde::{Deserialize, Serialize};

/// A process id. The kernel uses it again, so it is data: ids of circusd's own distinguish processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

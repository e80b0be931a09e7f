//! Layer 3: circus-munin, a plugin of munin-node.
//!
//! munin-node runs it under the name of a link: `circus_cpu` draws one graph, `circus` all. It asks circusd what that graph
//! needs, all at once and for a second and a bit, since munin-node waits for its plugins one after the other; what is not
//! answered by then is `U`, unknown. `ask` does that, `replies` reads the answers, `graph` writes what munin reads: pure
//! functions but for the first.

mod ask;
mod graph;
mod names;
mod program;
mod queues;
mod replies;

pub use program::main;

//! What built-in plugins share.

pub(crate) mod background;
pub(crate) mod fingerprints;
pub(crate) mod http_agent;
pub(crate) mod http_server;
pub(crate) mod interval;
pub(crate) mod limits;
pub(crate) mod probe;
pub(crate) mod process_metrics;
pub(crate) mod selection;
pub(crate) mod sizes;
pub(crate) mod statsd_client;
pub(crate) mod why;

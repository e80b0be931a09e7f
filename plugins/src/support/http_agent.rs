//! The HTTP client of plugins.

use std::time::Duration;

use ureq::Agent;

/// A client that gives up in time, and takes any status for an answer.
pub(crate) fn agent(timeout: Duration) -> Agent {
    Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build().into()
}

//! The console with a real circusd, over HTTP and in Chromium.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod actions;
mod browser;
mod driver;
mod early;
mod fleet;
mod hosts;
mod httpd;
mod live;
mod rig;
mod secure;
mod sites;
mod ways;

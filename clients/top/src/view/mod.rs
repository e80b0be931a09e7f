//! What is drawn: a function of the model, and of what fits.

mod columns;
mod frame;
mod output;
mod panes;
mod popup;
mod tree;

pub(super) use columns::{counted, descendants};
pub(super) use frame::render;
pub(super) use tree::Scroll;

//! Two pictures: each manager in multiples of the floor, and what one worker costs as their number grows.

mod colour;
mod curves;
mod dots;

pub(crate) use curves::{Curves, curves};
pub(crate) use dots::{Dots, dots};

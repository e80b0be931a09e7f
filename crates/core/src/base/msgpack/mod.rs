//! MessagePack, as the saved state and the control protocol use it.
//!
//! rmp-serde compiles code for every kind of value that could stand in the place of each type when it reads, and three
//! writers for each type (two for lists whose length is not known, or which may be bytes). For circusd's
//! state that is more than a megabyte of program, which counts against the memory of each circusd although it runs at an
//! upgrade only. The reader and the writer here are one each, and read and write what rmp-serde does (`to_vec_named`):
//! structs are maps with the names of their fields, enums are the name of the variant, or a map from that name to its
//! content.

mod error;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use error::Error;
pub(crate) use reader::{from_front, from_slice};
pub(crate) use writer::to_vec;

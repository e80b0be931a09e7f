//! Pipes of workers: when they are read, and how bytes become whole lines.

pub(super) mod adaptive_interval;
pub(super) mod awaited_line;
pub(super) mod partial_line;
pub(super) mod pipe_reader;
pub(super) mod read_turn;

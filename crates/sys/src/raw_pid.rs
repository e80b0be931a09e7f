//! A pid as the number that it is, for saved states.

use nix::unistd::Pid;
use serde::{Deserialize as _, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(pid: &Pid, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i32(pid.as_raw())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Pid, D::Error> {
    i32::deserialize(from).map(Pid::from_raw)
}

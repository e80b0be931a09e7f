//! How many timers circusd has, by the state that it hands to the program which is to take its place: one that keeps the
//! state and declines.

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::Outcome;
use crate::fleet::{Client, Fleet};

/// What is read of the state.
#[derive(Deserialize)]
struct State {
    #[serde(deserialize_with = "circus_bytes")]
    arbiter: Vec<u8>,
}

#[derive(Deserialize)]
struct Arbiter {
    timers: Timers,
}

#[derive(Deserialize)]
struct Timers {
    by_time: Vec<IgnoredAny>,
}

/// What a look at the state shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) timers: usize,
    /// The length of the whole.
    pub(crate) bytes: usize,
}

/// Makes the program that declines.
pub(crate) fn prepare(fleet: &Fleet) -> Outcome<()> {
    let program = fleet.path("declines");
    std::fs::write(&program, format!("#!/bin/sh\ncat >{}\nexit 1\n", fleet.path("state").display()))?;
    Ok(std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?)
}

/// Has circusd write down its state. `None` where it is busy with an upgrade of another client, or the request was lost in
/// one.
pub(crate) fn look(fleet: &Fleet, client: &mut Client) -> Outcome<Option<Kept>> {
    let file = fleet.path("state");
    drop(std::fs::remove_file(&file));
    let request = json!({"binary": fleet.path("declines")});
    let Ok(reply) = client.ask_within(Duration::from_secs(10), "upgrade", request) else { return Ok(None) };
    if reply["status"] != "error" {
        return Err(format!("the program that declines was taken: {reply}").into());
    }
    let Ok(bytes) = std::fs::read(&file) else { return Ok(None) };
    let state: State = behind_header(&bytes)?;
    let arbiter: Arbiter = behind_header(&state.arbiter)?;
    Ok(Some(Kept { timers: arbiter.timers.by_time.len(), bytes: bytes.len() }))
}

/// A header, and then what is wanted.
fn behind_header<'d, T: Deserialize<'d>>(bytes: &[u8]) -> Outcome<T> {
    let mut cursor = Cursor::new(bytes);
    IgnoredAny::deserialize(&mut rmp_serde::Deserializer::new(&mut cursor))?;
    Ok(T::deserialize(&mut rmp_serde::Deserializer::new(&mut cursor))?)
}

fn circus_bytes<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl serde::de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    from.deserialize_bytes(Bytes)
}

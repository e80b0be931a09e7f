//! The options `ready*` and `health*`.

use serde_json::Value;

use super::field::Field as _;
use crate::config::probe::{Probe, ProbeUse};

/// No pause is shorter, so that a probe never fills a processor.
const LEAST_PAUSE: f64 = 0.01;

pub(super) fn show(probe: Option<&Probe>) -> Value {
    probe.map_or("none", Probe::text).into()
}

pub(super) fn put_ready(probe: &mut Option<Probe>, value: &Value) -> Result<(), String> {
    put(probe, value, ProbeUse::Ready)
}

pub(super) fn put_health(probe: &mut Option<Probe>, value: &Value) -> Result<(), String> {
    put(probe, value, ProbeUse::Health)
}

/// `exec:COMMAND` or nothing.
pub(super) fn put_command(probe: &mut Option<Probe>, value: &Value) -> Result<(), String> {
    *probe = match value {
        Value::Null => None,
        value => Probe::read_command(&String::read(value)?)?,
    };
    Ok(())
}

fn put(probe: &mut Option<Probe>, value: &Value, of: ProbeUse) -> Result<(), String> {
    *probe = match value {
        Value::Null => None,
        value => Probe::read(&String::read(value)?, of)?,
    };
    Ok(())
}

/// Seconds that cannot be none.
pub(super) fn put_pause(pause: &mut f64, value: &Value) -> Result<(), String> {
    let seconds = f64::read(value)?;
    if seconds < LEAST_PAUSE {
        return Err(format!("{seconds} is less than {LEAST_PAUSE}"));
    }
    *pause = seconds;
    Ok(())
}

pub(super) fn put_retries(retries: &mut u32, value: &Value) -> Result<(), String> {
    let number = u32::read(value)?;
    if number == 0 {
        return Err("0 is not possible; write 1 or more".into());
    }
    *retries = number;
    Ok(())
}

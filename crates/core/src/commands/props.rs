//! Reading the properties of a message: what is accepted, and what is said of the rest.
//!
//! Circus let Python fail on values of the wrong type, which gave errno 5; the number is kept, the reason is in words.

use serde_json::Value;

use super::python::quoted;
use crate::proto::{ErrNo, Fault, Object, Signal, SignalError};

/// errno 3: a required property is not there.
pub(super) fn missing(key: &str) -> Fault {
    Fault::message(format!("message invalid '{key}' is missing"))
}

fn required<'a>(properties: &'a Object, key: &str) -> Result<&'a Value, Fault> {
    properties.get(key).ok_or_else(|| missing(key))
}

/// A property whose null means what its absence means.
pub(super) fn given<'a>(properties: &'a Object, key: &str) -> Option<&'a Value> {
    properties.get(key).filter(|value| !value.is_null())
}

/// A required string.
pub(super) fn text(properties: &Object, key: &str) -> Result<String, Fault> {
    as_text(required(properties, key)?, key)
}

/// An optional string. Null is refused: it must not turn a command for one watcher into one for all.
pub(super) fn optional_text(properties: &Object, key: &str) -> Result<Option<String>, Fault> {
    properties.get(key).map(|value| as_text(value, key)).transpose()
}

fn as_text(value: &Value, key: &str) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(Fault::command(format!("'{key}' isn't a string"))),
    }
}

/// A boolean, read as Python reads truth.
pub(super) fn flag(properties: &Object, key: &str, default: bool) -> bool {
    match properties.get(key) {
        None => default,
        Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
    }
}

/// An optional whole number; `2.0` is one.
pub(super) fn integer(properties: &Object, key: &str) -> Result<Option<i64>, Fault> {
    given(properties, key)
        .map(|value| whole(value).ok_or_else(|| Fault::message(format!("'{key}' isn't an integer"))))
        .transpose()
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).and_then(truncated))
}

/// The whole part of a float that an `i64` can hold.
fn truncated(number: f64) -> Option<i64> {
    // Exact powers of two, so that the comparison is exact too.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked, and truncation is what is wanted")]
    (-LIMIT..LIMIT).contains(&number).then_some(number as i64)
}

/// An optional process id: a number, or a string that holds one.
pub(super) fn pid(properties: &Object, key: &str) -> Result<Option<i64>, Fault> {
    let read = |value: &Value| match value {
        Value::String(text) => text.trim().parse().ok(),
        other => whole(other),
    };
    given(properties, key)
        .map(|value| read(value).ok_or_else(|| Fault::command(format!("'{key}' isn't a process id"))))
        .transpose()
}

/// An optional time in seconds. A string that holds one is accepted: Circus's own circusctl sends it so.
pub(super) fn seconds(properties: &Object, key: &str) -> Result<Option<f64>, Fault> {
    let read = |value: &Value| match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    given(properties, key)
        .map(|value| {
            let number = read(value).filter(|number: &f64| number.is_finite());
            // A negative time has passed already.
            number.map(|number| number.max(0.0)).ok_or_else(|| Fault::message(format!("'{key}' isn't a number")))
        })
        .transpose()
}

/// A required signal.
pub(super) fn signal(properties: &Object, key: &str) -> Result<Signal, Fault> {
    as_signal(required(properties, key)?)
}

/// An optional signal.
pub(super) fn optional_signal(properties: &Object, key: &str) -> Result<Option<Signal>, Fault> {
    given(properties, key).map(as_signal).transpose()
}

fn as_signal(value: &Value) -> Result<Signal, Fault> {
    let invalid = || Fault::message("signal invalid");
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| number.as_f64().and_then(truncated));
            // A number that no kernel has is refused as the kernel would.
            whole
                .and_then(|whole| i32::try_from(whole).ok())
                .map(Signal)
                .ok_or_else(|| Fault::new(ErrNo::Os, "[Errno 22] Invalid argument"))
        }
        Value::String(text) => Signal::parse(text).map_err(|error| match error {
            SignalError::Invalid => invalid(),
            SignalError::Unknown(name) => Fault::command(format!("no signal is called {}", quoted(&name))),
        }),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(invalid()),
    }
}

/// The `options` of `add` and `set`. Their values are looked at where the options are declared.
pub(super) fn options(properties: &Object) -> Result<Option<Object>, Fault> {
    match properties.get("options") {
        None => Ok(None),
        Some(Value::Object(options)) => Ok(Some(options.clone())),
        Some(_) => Err(Fault::message("'options' property should be an object")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        serde_json::from_value(json!({ "p": value })).unwrap()
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Fault>) -> (u8, String) {
        let fault = result.unwrap_err();
        (fault.errno as u8, fault.reason)
    }

    #[test]
    fn truth_is_python_s() {
        for value in [json!(true), json!(1), json!("false"), json!([0]), json!({"a": 1}), json!(0.5)] {
            assert!(flag(&object(value.clone()), "p", false), "{value}");
        }
        for value in [json!(false), json!(0), json!(""), json!([]), json!({}), json!(null), json!(0.0)] {
            assert!(!flag(&object(value.clone()), "p", true), "{value}");
        }
        assert!(flag(&Object::new(), "p", true));
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(integer(&object(json!(-3)), "p"), Ok(Some(-3)));
        assert_eq!(integer(&object(json!(2.0)), "p"), Ok(Some(2)));
        assert_eq!(integer(&object(json!(null)), "p"), Ok(None));
        for value in [json!("2"), json!(1.5), json!(true), json!([]), json!(1e300), json!(u64::MAX)] {
            assert_eq!(reason(integer(&object(value), "p")), (3, "'p' isn't an integer".into()));
        }
    }

    #[test]
    fn process_ids() {
        assert_eq!(pid(&object(json!(17)), "p"), Ok(Some(17)));
        assert_eq!(pid(&object(json!(" 17 ")), "p"), Ok(Some(17)));
        assert_eq!(pid(&object(json!(null)), "p"), Ok(None));
        for value in [json!("x"), json!(1.5), json!({}), json!("")] {
            assert_eq!(reason(pid(&object(value), "p")), (5, "'p' isn't a process id".into()));
        }
    }

    #[test]
    fn times() {
        assert_eq!(seconds(&object(json!(0.5)), "p"), Ok(Some(0.5)));
        assert_eq!(seconds(&object(json!("1.5")), "p"), Ok(Some(1.5)));
        assert_eq!(seconds(&object(json!(-2)), "p"), Ok(Some(0.0)));
        for value in [json!("x"), json!("inf"), json!("nan"), json!([]), json!(true)] {
            assert_eq!(reason(seconds(&object(value), "p")), (3, "'p' isn't a number".into()));
        }
    }

    #[test]
    fn signals_in_every_spelling() {
        for (value, number) in [
            (json!(18), 18),
            (json!("18"), 18),
            (json!("CONT"), 18),
            (json!("sigcont"), 18),
            (json!(18.7), 18),
            (json!("RTMIN+3"), 37),
            (json!(-5), -5),
            (json!(4000), 4000),
        ] {
            assert_eq!(signal(&object(value), "p"), Ok(Signal(number)));
        }
    }

    #[test]
    fn what_is_no_signal() {
        for value in [json!("+"), json!("!"), json!(""), json!(null), json!(true), json!([15])] {
            assert_eq!(reason(signal(&object(value), "p")), (3, "signal invalid".into()));
        }
        assert_eq!(reason(signal(&object(json!("FOO")), "p")), (5, "no signal is called 'SIGFOO'".into()));
        assert_eq!(reason(signal(&object(json!(1e12)), "p")), (4, "[Errno 22] Invalid argument".into()));
        assert_eq!(reason(signal(&Object::new(), "p")), (3, "message invalid 'p' is missing".into()));
    }
}

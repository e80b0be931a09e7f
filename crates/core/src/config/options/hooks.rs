//! `hooks`, `hooks.POINT` and `hook_timeout`.

use serde_json::{Value, json};

use super::field::{Field as _, store};
use crate::config::{Hook, WatcherConfig, python};
use crate::proto::HookPoint;

/// One hook, as it is written.
pub(super) fn get(watcher: &WatcherConfig, point: &str) -> Option<Value> {
    watcher.hooks.get(&HookPoint::parse(point)?).map(|hook| hook.show().into())
}

/// Every hook: by its point what runs, and the flag.
pub(super) fn get_all(watcher: &WatcherConfig, _: &str) -> Option<Value> {
    let pair = |(point, hook): (&HookPoint, &Hook)| (point.name().to_owned(), json!([hook.run, hook.ignore_failure]));
    Some(Value::Object(watcher.hooks.iter().map(pair).collect()))
}

/// An empty text is not a hook.
pub(super) fn put(watcher: &mut WatcherConfig, point: &str, value: &Value) -> Result<(), String> {
    let point = HookPoint::parse(point).ok_or_else(|| {
        let known = HookPoint::ALL.map(HookPoint::name).join(", ");
        format!("there is no hook {}; there are {known}", python::repr(&point.into()))
    })?;
    if value.as_str().is_some_and(|text| python::trim(text).is_empty()) {
        watcher.hooks.remove(&point);
    } else {
        watcher.hooks.insert(point, Hook::from_value(value)?);
    }
    Ok(())
}

/// Those that are not named stay as they are, as in Circus.
pub(super) fn put_all(watcher: &mut WatcherConfig, _: &str, value: &Value) -> Result<(), String> {
    let hooks = value.as_object().into_iter().flatten();
    hooks.into_iter().try_for_each(|(point, hook)| put(watcher, point, hook))
}

/// Every hook has an end.
pub(super) fn put_timeout(watcher: &mut WatcherConfig, _: &str, value: &Value) -> Result<(), String> {
    match f64::read(value)? {
        seconds if seconds > 0.0 => store(&mut watcher.hook_timeout, value),
        _ => Err(format!("{} is not greater than 0", python::repr(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> WatcherConfig {
        WatcherConfig::new("w", "x", "/")
    }

    #[test]
    fn one_by_one_and_all_at_once() {
        let mut watcher = watcher();
        put(&mut watcher, "before_start", &json!("a.b")).unwrap();
        put_all(&mut watcher, "", &json!({"after_reap": ["exec:x y", true], "before_signal": "c.d"})).unwrap();
        let all =
            json!({"before_start": ["a.b", false], "after_reap": ["exec:x y", true], "before_signal": ["c.d", false]});
        assert_eq!(get_all(&watcher, ""), Some(all));
        assert_eq!(get(&watcher, "after_reap"), Some(json!("exec:x y,True")));
        put(&mut watcher, "after_reap", &json!(" ")).unwrap();
        assert_eq!(get(&watcher, "after_reap"), None);
    }

    #[test]
    fn refusals() {
        let reason = put(&mut watcher(), "before_lunch", &json!("a.b")).unwrap_err();
        assert!(reason.starts_with("there is no hook 'before_lunch'; there are before_start, "), "{reason}");
        assert!(put(&mut watcher(), "before_start", &json!("a b")).is_err());
        assert_eq!(put_timeout(&mut watcher(), "", &json!(0)), Err("0 is not greater than 0".into()));
    }
}

//! The watchers that `start`, `stop` and `restart` are about, on the wire and on the command line.

use serde_json::Value;

use super::{ConsoleOption, Invocation, Kind, PropertySpec, UsageError, console, props, python};
use crate::proto::{Fault, MatchMethod, Object, Selection};

/// The properties of a command that selects watchers.
pub(super) const PROPERTIES: &[PropertySpec] = &[
    PropertySpec::optional("name", Kind::Text, "The watcher's name, or a pattern; all watchers without it."),
    PropertySpec::optional(
        "match",
        Kind::Text,
        "How the name matches: glob (the default), regex (from the start of the name) or simple (the name itself).",
    ),
];

/// circusctl's options of such a command.
pub(super) const OPTIONS: &[ConsoleOption] =
    &[ConsoleOption::value("match", "M", "How NAME matches: glob (the default), regex or simple.")];

/// Reads `name` and `match`.
pub(super) fn decode(properties: &Object) -> Result<Option<Selection>, Fault> {
    let Some(name) = props::optional_text(properties, "name")? else {
        return Ok(None);
    };
    let method = match properties.get("match") {
        None => MatchMethod::Glob,
        Some(method) => method_of(method)?,
    };
    Ok(Some(Selection { name, method }))
}

fn method_of(value: &Value) -> Result<MatchMethod, Fault> {
    match value.as_str() {
        Some("glob") => Ok(MatchMethod::Glob),
        Some("regex") => Ok(MatchMethod::Regex),
        Some("simple") => Ok(MatchMethod::Simple),
        _ => Err(Fault::message(format!("unknown match method {}", python::display(value)))),
    }
}

/// `[NAME] [--match M]` as properties.
pub(super) fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::optional_name(invocation)?;
    if let Some(method) = invocation.value("match") {
        properties.insert("match".into(), method.into());
    }
    Ok(properties)
}

/// Checks a command that selects watchers, on the wire and on the command line. `reply`: one that is shown as ok.
#[cfg(test)]
pub(super) fn check(
    spec: &super::CommandSpec,
    request: impl Fn(Option<Selection>, bool) -> crate::proto::Request,
    reply: Value,
) {
    use serde_json::json;

    use super::testing::{decoded, expect_usage, refused, sent, shown};

    assert_eq!(decoded(spec, json!({})), request(None, false));
    let selection = Some(Selection { name: "w.b".into(), method: MatchMethod::Regex });
    let full = json!({"name": "w.b", "match": "regex", "waiting": true});
    assert_eq!(decoded(spec, full), request(selection, true));
    assert_eq!(refused(spec, json!({"name": "w", "match": "zork"})), (3, "unknown match method zork".into()));
    assert_eq!(refused(spec, json!({"name": 5})), (5, "'name' isn't a string".into()));

    assert_eq!(sent(spec, Invocation::default()), json!({}));
    let full = Invocation::new(["A*"]).with_value("match", "glob").with_flag("waiting");
    assert_eq!(sent(spec, full), json!({"name": "A*", "match": "glob", "waiting": true}));
    expect_usage(spec, &["a", "b"], "Invalid number of arguments");
    assert_eq!(shown(spec, &[], reply), "ok");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(value: Value) -> Result<Option<Selection>, Fault> {
        decode(value.as_object().unwrap())
    }

    #[test]
    fn methods() {
        for (method, expected) in
            [("glob", MatchMethod::Glob), ("regex", MatchMethod::Regex), ("simple", MatchMethod::Simple)]
        {
            let selection = decoded(json!({"name": "w*", "match": method})).unwrap().unwrap();
            assert_eq!(selection, Selection { name: "w*".into(), method: expected });
        }
        assert_eq!(decoded(json!({"name": "w"})).unwrap().unwrap().method, MatchMethod::Glob);
        assert_eq!(decoded(json!({})), Ok(None));
    }

    #[test]
    fn faults() {
        assert_eq!(decoded(json!({"name": "w", "match": "zork"})), Err(Fault::message("unknown match method zork")));
        assert_eq!(decoded(json!({"name": "w", "match": null})), Err(Fault::message("unknown match method None")));
        assert_eq!(decoded(json!({"name": 5})), Err(Fault::command("'name' isn't a string")));
        assert_eq!(decoded(json!({"name": null})), Err(Fault::command("'name' isn't a string")));
        assert_eq!(decoded(json!({"match": "zork"})), Ok(None), "without a name the method is not looked at");
    }
}

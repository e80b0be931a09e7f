//! What can be done, each once: the routes of actions, their roles and their description are made from this table and
//! circusd's own table of commands.

use circus_core::commands::{Action as Console, CommandSpec, Invocation, Role, decode, find};
use circus_core::proto::{Envelope, Object, RequestId};
use serde_json::{Value, json};

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name in paths.
    pub name: &'static str,
    /// The command of circusd.
    pub command: &'static str,
    /// It is about one watcher; else about circusd, or all watchers.
    pub of_watcher: bool,
    /// What it does.
    pub summary: &'static str,
    /// A property that it always has.
    preset: Option<(&'static str, bool)>,
}

const fn one(name: &'static str, summary: &'static str) -> Action {
    Action { name, command: name, of_watcher: true, summary, preset: None }
}

const fn all(name: &'static str, summary: &'static str) -> Action {
    Action { name, command: name, of_watcher: false, summary, preset: None }
}

/// Every action.
pub const ACTIONS: &[Action] = &[
    one("start", "Starts a watcher"),
    one("stop", "Stops a watcher"),
    one("restart", "Stops a watcher and starts it again"),
    one("reload", "Replaces its processes: new ones come before old ones go"),
    Action {
        command: "reload",
        preset: Some(("sequential", true)),
        ..one("rolling-reload", "Replaces its processes, one at a time")
    },
    one("incr", "More processes"),
    one("decr", "Fewer processes"),
    one("signal", "Sends a signal to its processes, or to one of them"),
    one("kill", "Stops its processes, or one of them; they are replaced"),
    one("run", "Runs a watcher that is no service once, now"),
    one("enable", "Lets it start with circusd"),
    one("disable", "Keeps it from starting with circusd"),
    one("set", "Changes its options"),
    one("rm", "Removes it"),
    all("add", "Adds a watcher"),
    all("start", "Starts all watchers"),
    all("stop", "Stops all watchers"),
    all("reload", "Replaces the processes of all watchers"),
    Action {
        command: "reload",
        preset: Some(("sequential", true)),
        ..all("rolling-reload", "The same, one at a time")
    },
    all("restart", "Restarts circusd: it stops all watchers, reads its configuration and starts them again"),
    all("reloadconfig", "Reads the configuration file again and applies what has changed"),
    all("reopenlogs", "Opens the files of all streams again"),
    all("upgrade", "Replaces the program of circusd; workers go on running"),
    all("quit", "Stops all watchers and ends circusd"),
];

/// A request to circusd.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// The command.
    pub command: &'static str,
    /// Its properties.
    pub properties: Object,
}

/// The action of this name.
pub fn named(name: &str, of_watcher: bool) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name && action.of_watcher == of_watcher)
}

impl Action {
    /// What circusd says of its command; `None` where it has no such command, which a test excludes.
    pub fn spec(&self) -> Option<&'static CommandSpec> {
        find(self.command)
    }

    /// What it takes.
    pub fn role(&self) -> Role {
        self.spec().map_or(Role::Admin, |spec| spec.role)
    }

    /// The properties that a client may give: their names, whether they are needed, and what they mean.
    pub fn properties(&self) -> impl Iterator<Item = (&'static str, bool, &'static str)> {
        let preset = self.preset.map(|(name, _)| name);
        let named = self.of_watcher;
        let takes_names = self.name == "add";
        self.spec().into_iter().flat_map(CommandSpec::all_properties).filter_map(move |property| {
            let own = Some(property.name) == preset
                || property.name == "match"
                || property.name == "name" && (named || !takes_names);
            (!own).then_some((property.name, property.required, property.doc))
        })
    }

    /// The request to circusd, from what a client gives. An option's text is read as circusctl reads it.
    ///
    /// # Errors
    /// With the reason, where circusd would not understand it.
    pub fn ready(&self, watcher: Option<&str>, given: Object) -> Result<Ready, String> {
        let spec = self.spec().ok_or_else(|| format!("circusd has no command {}", self.command))?;
        if let Some(key) = given.keys().find(|key| !self.properties().any(|(name, ..)| name == key.as_str())) {
            let known: Vec<_> = self.properties().map(|(name, ..)| name).collect();
            return Err(format!("'{key}' is no property of {}, which takes: {}", self.name, known.join(", ")));
        }
        let mut properties = given;
        if let Some(Value::Object(options)) = properties.get_mut("options") {
            *options = typed(options)?;
        }
        let waits = spec.all_properties().any(|property| property.name == "waiting");
        if waits && !properties.contains_key("waiting") {
            properties.insert("waiting".into(), true.into());
        }
        if let Some(name) = watcher {
            properties.insert("name".into(), name.into());
            // A name is not a pattern here.
            if spec.all_properties().any(|property| property.name == "match") {
                properties.insert("match".into(), "simple".into());
            }
        }
        if let Some((key, value)) = self.preset {
            properties.insert(key.into(), value.into());
        }
        let envelope = Envelope {
            id: RequestId::Absent,
            command: spec.name.to_owned(),
            properties: Some(properties.clone()),
            cast: false,
        };
        decode(&envelope).map_err(|fault| fault.reason)?;
        Ok(Ready { command: spec.name, properties })
    }
}

/// Options whose texts are what they mean.
fn typed(options: &Object) -> Result<Object, String> {
    let Some(Console::Call { message, .. }) = find("set").map(|spec| spec.console.action) else {
        return Ok(options.clone());
    };
    let mut typed = Object::new();
    for (key, value) in options {
        let Value::String(text) = value else {
            typed.insert(key.clone(), value.clone());
            continue;
        };
        let said = message(&Invocation::new(["watcher", key.as_str(), text.as_str()])).map_err(|error| error.0)?;
        typed.insert(key.clone(), said["options"][key].clone());
    }
    Ok(typed)
}

/// The table, for pages.
pub fn listed() -> Value {
    let list: Vec<Value> = ACTIONS
        .iter()
        .map(|action| {
            let properties: Vec<Value> = action
                .properties()
                .map(|(name, required, doc)| json!({"name": name, "required": required, "doc": doc}))
                .collect();
            json!({"name": action.name, "watcher": action.of_watcher, "role": action.role().name(),
                   "summary": action.summary, "properties": properties, "fleet": super::fleet::offers(action)})
        })
        .collect();
    json!(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(name: &str, watcher: Option<&str>, given: Value) -> Result<Value, String> {
        let action = named(name, watcher.is_some()).unwrap();
        let ready = action.ready(watcher, given.as_object().cloned().unwrap())?;
        Ok(json!({ready.command: ready.properties}))
    }

    #[test]
    fn every_action_is_a_command_of_circusd() {
        for action in ACTIONS {
            let spec = action.spec().unwrap();
            assert_eq!(action.role(), spec.role, "{}", action.name);
            assert!(action.role() > Role::Read, "{}", action.name);
        }
    }

    #[test]
    fn names_are_no_patterns() {
        assert_eq!(
            ready("stop", Some("web*"), json!({})).unwrap(),
            json!({"stop": {"waiting": true, "name": "web*", "match": "simple"}})
        );
        assert_eq!(ready("stop", None, json!({"waiting": false})).unwrap(), json!({"stop": {"waiting": false}}));
        assert!(ready("stop", None, json!({"name": "web"})).unwrap_err().contains("'name' is no property"));
        assert!(ready("stop", Some("a"), json!({"match": "glob"})).is_err());
    }

    #[test]
    fn what_circusd_gets() {
        assert_eq!(
            ready("rolling-reload", Some("a"), json!({})).unwrap(),
            json!({"reload": {"waiting": true, "name": "a", "sequential": true}})
        );
        assert_eq!(
            ready("set", Some("a"), json!({"options": {"numprocesses": "3", "copy_env": true, "env": "A=b"}})).unwrap(),
            json!({"set": {"options": {"numprocesses": 3, "copy_env": true, "env": {"A": "b"}}, "waiting": true, "name": "a"}})
        );
        assert_eq!(
            ready("signal", Some("a"), json!({"signum": "HUP", "pid": 7})).unwrap(),
            json!({"signal": {"signum": "HUP", "pid": 7, "name": "a"}})
        );
        let add = ready("add", None, json!({"name": "n", "cmd": "sleep 1", "options": {"numprocesses": "2"}})).unwrap();
        assert_eq!(add["add"]["options"], json!({"numprocesses": 2}));
        for (name, given) in [
            ("set", json!({})),
            ("set", json!({"options": {"numproceses": "3"}})),
            ("set", json!({"options": {"numprocesses": "many"}})),
            ("signal", json!({})),
            ("signal", json!({"signum": "NOSUCH"})),
            ("incr", json!({"nb": "x"})),
            ("incr", json!({"zork": 1})),
        ] {
            assert!(ready(name, Some("a"), given.clone()).is_err(), "{name} {given}");
        }
    }

    #[test]
    fn the_table_for_pages() {
        let listed = listed();
        assert_eq!(listed.as_array().unwrap().len(), ACTIONS.len());
        let upgrade = listed.as_array().unwrap().iter().find(|action| action["name"] == "upgrade").unwrap();
        assert_eq!((&upgrade["role"], &upgrade["properties"][0]["name"]), (&json!("admin"), &json!("binary")));
        assert_eq!((&upgrade["fleet"], &listed[0]["fleet"]), (&json!(false), &json!(true)));
    }
}

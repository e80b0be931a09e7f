//! The operations on a watcher that an operator can request.

use circus_core::proto::Object;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Reload,
    Restart,
    Incr,
    Decr,
}

impl Verb {
    pub(super) const ALL: [Self; 6] = [Self::Start, Self::Stop, Self::Reload, Self::Restart, Self::Incr, Self::Decr];

    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Incr => "incr",
            Self::Decr => "decr",
        }
    }

    pub(super) fn key(self) -> char {
        match self {
            Self::Start => 's',
            Self::Stop => 'x',
            Self::Reload => 'r',
            Self::Restart => 'R',
            Self::Incr => '+',
            Self::Decr => '-',
        }
    }

    pub(super) fn of_key(key: char) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.key() == key)
    }
}

/// A command to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) verb: Verb,
    pub(super) watcher: String,
}

impl Order {
    /// What is asked before it is sent; the watcher has so many processes.
    pub(super) fn question(&self, processes: usize) -> String {
        let name = &self.watcher;
        let them = match processes {
            0 => "no process".to_owned(),
            1 => "1 process".to_owned(),
            many => format!("{many} processes"),
        };
        match self.verb {
            Verb::Start => format!("Start {name}?"),
            Verb::Stop => format!("Stop {name}, which has {them}?"),
            Verb::Reload => format!("Reload {name}: start its successors, then stop its {them}?"),
            Verb::Restart => format!("Restart {name}: stop its {them}, then start again?"),
            Verb::Incr => format!("Add a process to {name}, which has {them}?"),
            Verb::Decr => format!("Stop one process of {name}, which has {them}?"),
        }
    }

    /// The command and the properties of its request. It does not wait: the screen shows what becomes of it.
    pub(super) fn request(&self) -> (&'static str, Object) {
        (self.verb.command(), Object::from_iter([("name".to_owned(), self.watcher.as_str().into())]))
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb.command(), self.watcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use circus_core::commands::COMMANDS;

    #[test]
    fn orders_are_commands_and_have_keys_of_their_own() {
        for verb in Verb::ALL {
            assert!(COMMANDS.iter().any(|spec| spec.name == verb.command()), "{verb:?}");
            assert_eq!(Verb::of_key(verb.key()), Some(verb));
            let order = Order { verb, watcher: "web".into() };
            let question = order.question(3);
            assert!(question.contains("web") && question.ends_with('?') && question.len() < 76, "{question}");
            assert_eq!(order.request().0, verb.command());
        }
        assert_eq!(Verb::of_key('q'), None);
    }
}

//! `incr`

use super::count::Count;
use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, Waiting, console, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "incr",
    summary: "Start more processes of a watcher",
    doc: Doc {
        purpose: "Increases the number of processes of a watcher and starts the new ones. If a command has stopped \
                  the watcher, only the number changes; if the watcher has stopped because the number was 0, it \
                  starts. A singleton keeps its one process.",
        reply: "With waiting, and for a singleton: numprocesses, the number of processes that the watcher now wants.",
        message: r#"{"command": "incr", "properties": {"name": "web", "nb": 2, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "numprocesses": 5}"#,
        example: "incr web 2 --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("nb", Kind::Integer, "How many processes to add; default 1."),
    ],
    waiting: Waiting::Up,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("NAME... [N]", &[], console::name_and_count, show::process_count)
        .naming(console::before_number),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let Count { name, nb, waiting } = Count::decode(properties)?;
    Ok(Request::Incr { name, nb, waiting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_name_and_a_count() {
        crate::commands::count::check(&SPEC, |name, nb, waiting| Request::Incr { name, nb, waiting });
    }
}

//! `decr`

use super::count::Count;
use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, Waiting, console, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "decr",
    summary: "Stop processes of a watcher and lower its numprocesses",
    doc: Doc {
        purpose: "Decreases the number of processes of a watcher, to zero at the lowest, and stops the oldest ones. \
                  circusctl refuses an N that is larger than the number. If the watcher is stopped, only the number \
                  changes. A singleton keeps its one process.",
        reply: "With waiting, and for a singleton: numprocesses, the number of processes that the watcher now wants.",
        message: r#"{"command": "decr", "properties": {"name": "web", "nb": 2, "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "numprocesses": 3}"#,
        example: "decr web 2 --waiting",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::optional("nb", Kind::Integer, "How many processes to stop; default 1."),
    ],
    waiting: Waiting::Done,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("NAME... [N]", &[], console::name_and_count, show::process_count)
        .naming(console::before_number),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let Count { name, nb, waiting } = Count::decode(properties)?;
    Ok(Request::Decr { name, nb, waiting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_name_and_a_count() {
        crate::commands::count::check(&SPEC, |name, nb, waiting| Request::Decr { name, nb, waiting });
    }
}

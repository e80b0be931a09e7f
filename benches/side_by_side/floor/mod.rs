//! The floor: what the machine itself allows. Each of these programs does what a manager of processes cannot avoid, with
//! the least there is, and nothing else: no configuration, no protocol, no decision. They run as processes of their own,
//! started as `side_by_side --floor NAME ARGUMENTS`, so that the comparison measures them as it measures managers.

mod ask;
mod echo;
mod pump;
mod read;
mod spawn;
mod stat;
mod worker;

use crate::outcome::{Outcome, fault};

/// Runs the program that these arguments name.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["spawn", probe, inbox, workers] => spawn::run(probe, inbox, workers.parse()?),
        ["echo", endpoint] => echo::run(endpoint),
        ["ask", endpoint, message] => ask::run(endpoint, message),
        ["pump", probe, inbox, lines, width, file] => pump::run(&["spam", lines, width], probe, inbox, file),
        ["stat", probe, endpoint, workers, rounds] => stat::run(probe, endpoint, workers.parse()?, rounds.parse()?),
        _ => Err(fault(format!("there is no floor like {arguments:?}"))),
    }
}

//! Requests to circusd, sent together, with a short time limit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::graph::{Graph, Memory};
use super::queues;
use super::replies::{self, Replies};
use circus_client::{Client, ClientError, KeyNames, endpoint::reachable};
use circus_core::proto::Object;
use circus_sys::{self as sys, TreeOptions};

/// How long circusd may take, so that munin-node has its answer within a second and a half.
const TIMEOUT: Duration = Duration::from_millis(1200);

/// What circusd says, and what its workers use; nothing of what it does not say in time.
pub(super) fn ask(endpoint: &str, keys: &KeyNames, graphs: &[Graph], memory: Memory) -> Result<Replies, ClientError> {
    let commands = commands(graphs);
    let answers = answers(endpoint, keys, &commands)?;
    let tables = queues::read();
    let proportional = memory == Memory::Proportional && graphs.contains(&Graph::Memory);
    let mut prober = sys::Prober::default();
    let mut look = |pid| prober.tree(pid, TreeOptions { fds: false, proportional });
    Ok(Replies {
        watchers: answers.get("status").and_then(|status| replies::watchers(status, answers.get("stats"), &mut look)),
        sockets: answers
            .get("listsockets")
            .and_then(|answer| replies::sockets(answer, |host, port| queues::waiting(&tables, host, port))),
    })
}

/// What these graphs need.
fn commands(graphs: &[Graph]) -> Vec<&'static str> {
    let needs = |graph: &Graph| match graph {
        Graph::Cpu | Graph::Memory | Graph::Processes => ["status", "stats"].as_slice(),
        Graph::Restarts | Graph::Runs | Graph::Unready => ["status"].as_slice(),
        Graph::Sockets => ["listsockets"].as_slice(),
    };
    let mut commands: Vec<&str> = graphs.iter().flat_map(needs).copied().collect();
    commands.sort_unstable();
    commands.dedup();
    commands
}

fn answers(
    endpoint: &str,
    keys: &KeyNames,
    commands: &[&'static str],
) -> Result<BTreeMap<&'static str, Object>, ClientError> {
    let end = sys::since_boot() + TIMEOUT;
    let mut control = Client::new()?.with_keys(keys.read()?).control(&reachable(endpoint))?;
    for command in commands {
        let verbose = (*command == "status").then(|| ("verbose".to_owned(), true.into()));
        // One that is not sent is not answered.
        let _sent = control.ask(command, command, verbose.into_iter().collect());
    }
    let mut answers = BTreeMap::new();
    while answers.len() < commands.len() {
        let left = end.saturating_sub(sys::since_boot());
        let Some((id, answer)) = control.wait_for_answer(left) else { break };
        if let Some(command) = commands.iter().find(|command| id == **command) {
            answers.insert(*command, answer);
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_asked() {
        assert_eq!(commands(&[Graph::Sockets]), ["listsockets"]);
        assert_eq!(commands(&[Graph::Restarts]), ["status"]);
        assert_eq!(commands(&Graph::ALL), ["listsockets", "stats", "status"]);
    }
}

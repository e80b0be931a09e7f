//! circus-munin from its name and its argument to its exit status.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use super::ask::ask;
use super::graph::{Graph, Memory, config, values};
use super::replies::Replies;
use circus_client::{ClientError, Host, KEY_VARIABLE, KeyNames, SERVER_KEY_VARIABLE};
use circus_core::escape::escaped;
use circus_sys as sys;

const ENDPOINT: &str = "tcp://127.0.0.1:5555";

/// munin-node-configure looks for these lines in the program itself.
const HELP: &str = "\
circus-munin: a plugin for munin-node, which draws what the watchers of a circusd use.

Link it into munin's directory of plugins as circus (all graphs) or as one of
circus_cpu, circus_mem, circus_procs, circus_restarts, circus_runs,
circus_sockets, circus_unready.

usage: circus-munin [fetch|config|autoconf|suggest|--version|--help]

environment (env.NAME in a file of /etc/munin/plugin-conf.d):
  endpoint                 where circusd answers (tcp://127.0.0.1:5555)
  host                     the circusd by its name in hosts.toml (looked for in
                           XDG_CONFIG_HOME or HOME), which has endpoint and keys
  curve_key                the file of our secret key, where circusd asks for keys
  curve_server_key         the file of circusd's public key, or that key
  memory                   rss (shared pages count for each process) or pss (in
                           proportion; as root or the user of the workers)
  warning, FIELD_warning   limits; so do critical and FIELD_critical

#%# family=auto
#%# capabilities=autoconf suggest
";

/// circus-munin, called by this name with these words.
pub fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let called = words.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default();
    let word = words.next().unwrap_or_default();
    let mut env = sys::host().env;
    let host = env.get("host").filter(|name| !name.is_empty()).map(|name| Host::named(name, &env));
    let variable = |name: &str, short: &str| env.get(short).or_else(|| env.get(name)).filter(|value| !value.is_empty());
    let keys = KeyNames {
        own: variable(KEY_VARIABLE, "curve_key").cloned(),
        server: variable(SERVER_KEY_VARIABLE, "curve_server_key").cloned(),
        descriptor: None,
    };
    let keys = match &host {
        Some(Ok(host)) => host.keys(keys, &KeyNames::default()),
        Some(Err(_)) | None => keys,
    };
    if let Some(Ok(host)) = &host {
        env.insert("endpoint".to_owned(), host.endpoint.clone());
    }
    let ask = |endpoint: &str, graphs: &[Graph], memory| match &host {
        Some(Err(error)) => Err(error.clone()),
        Some(Ok(Host { ssh: Some(_), .. })) => {
            Err(ClientError::NoHost("it is behind ssh, and circus-munin makes no tunnel".to_owned()))
        }
        Some(Ok(_)) | None => ask(endpoint, &keys, graphs, memory),
    };
    match answer(name, &word, &env, ask) {
        Ok(text) => {
            // A closed pipe means that the reader has seen enough.
            drop(std::io::stdout().write_all(text.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            drop(writeln!(std::io::stderr(), "{}: {}", escaped(name), escaped(&reason)));
            ExitCode::FAILURE
        }
    }
}

/// What is printed.
fn answer<E: std::fmt::Display>(
    name: &str,
    word: &str,
    env: &BTreeMap<String, String>,
    ask: impl Fn(&str, &[Graph], Memory) -> Result<Replies, E>,
) -> Result<String, String> {
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let endpoint = given("endpoint").map_or(ENDPOINT, String::as_str);
    let graphs = || {
        Graph::named(name).ok_or_else(|| {
            "there is no graph of this name; --help lists the names to link this program under".to_owned()
        })
    };
    let memory = Memory::of(env);
    let replies = |graphs: &[Graph]| ask(endpoint, graphs, memory).map_err(|error| error.to_string());
    match word {
        "" | "fetch" => {
            let graphs = graphs()?;
            let replies = replies(&graphs)?;
            Ok(sections(&graphs, |graph| values(graph, &replies, memory)))
        }
        "config" => {
            let graphs = graphs()?;
            let replies = replies(&graphs)?;
            // munin takes the figures at once where it has said so.
            let dirty = env.get("MUNIN_CAP_DIRTYCONFIG").is_some_and(|value| value == "1");
            let values = |graph| if dirty { values(graph, &replies, memory) } else { String::new() };
            Ok(sections(&graphs, |graph| format!("{}{}", config(graph, &replies, env), values(graph))))
        }
        "autoconf" => Ok(match replies(&[Graph::Restarts]) {
            Ok(Replies { watchers: Some(_), .. }) => "yes\n".to_owned(),
            Ok(_) => format!("no (no answer from {endpoint})\n"),
            Err(reason) => format!("no ({reason})\n"),
        }),
        "suggest" => Ok(Graph::ALL.iter().map(|graph| format!("{}\n", graph.suffix())).collect()),
        "--version" => Ok(concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned()),
        "--help" => Ok(HELP.to_owned()),
        other => Err(format!("unknown word '{other}'; fetch, config, autoconf and suggest are known")),
    }
}

/// The parts of several graphs have different names.
fn sections(graphs: &[Graph], part: impl Fn(Graph) -> String) -> String {
    match graphs {
        [graph] => part(*graph),
        several => {
            several.iter().map(|graph| format!("multigraph circus_{}\n{}", graph.suffix(), part(*graph))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::replies::Watcher;

    fn told(name: &str, word: &str, env: &[(&str, &str)]) -> (Result<String, String>, Vec<String>) {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let asked = RefCell::new(Vec::new());
        let watcher = Watcher { name: "w".into(), restarts: Some(4), ..Watcher::default() };
        let ask = |endpoint: &str, _: &[Graph], _: Memory| {
            asked.borrow_mut().push(endpoint.to_owned());
            if endpoint == "silent" {
                Ok(Replies::default())
            } else if endpoint == "bad" {
                Err("it is bad")
            } else {
                Ok(Replies { watchers: Some(vec![watcher.clone()]), sockets: None })
            }
        };
        let text = answer(name, word, &env, ask);
        (text, asked.into_inner())
    }

    #[test]
    fn words_of_munin() {
        let (text, asked) = told("circus_restarts", "", &[]);
        assert_eq!((text.unwrap().as_str(), asked), ("w.value 4\ntotal.value 4\n", vec![ENDPOINT.to_owned()]));
        let (text, asked) = told("circus_restarts", "config", &[("endpoint", "ipc:///run/c")]);
        assert_eq!(asked, ["ipc:///run/c"]);
        assert!(text.is_ok_and(|text| text.contains("w.type DERIVE\n") && !text.contains(".value")));
        let (text, _) = told("circus_restarts", "config", &[("MUNIN_CAP_DIRTYCONFIG", "1")]);
        assert!(text.is_ok_and(|text| text.ends_with("w.value 4\ntotal.value 4\n")));
        assert_eq!(told("circus", "suggest", &[]).0.unwrap(), "cpu\nmem\nprocs\nrestarts\nruns\nsockets\nunready\n");
    }

    #[test]
    fn all_graphs_at_once() {
        let (text, asked) = told("circus", "fetch", &[]);
        let text = text.unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("multigraph circus_")).count(), 7);
        assert!(text.contains(
            "multigraph circus_restarts\nw.value 4\ntotal.value 4\nmultigraph circus_runs\ntotal.value U\n\
             multigraph circus_sockets\ntotal.value U\n"
        ));
        assert_eq!(asked.len(), 1, "one question for all");
    }

    #[test]
    fn without_circusd() {
        assert_eq!(told("circus_cpu", "autoconf", &[]).0.unwrap(), "yes\n");
        let silent = [("endpoint", "silent")];
        assert_eq!(told("circus_cpu", "autoconf", &silent).0.unwrap(), "no (no answer from silent)\n");
        assert_eq!(told("circus_cpu", "fetch", &silent).0.unwrap(), "total.value U\n");
        assert_eq!(told("circus_cpu", "autoconf", &[("endpoint", "bad")]).0.unwrap(), "no (it is bad)\n");
        assert_eq!(told("circus_cpu", "fetch", &[("endpoint", "bad")]).0, Err("it is bad".into()));
        assert!(told("circus_x", "fetch", &[]).0.is_err() && told("circus", "what", &[]).0.is_err());
    }
}

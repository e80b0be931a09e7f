//! What a watcher needs on the machine, and what in its command is probably not meant as it is written.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Subject;
use super::hook_module::ImportPaths;
use super::program::{DEFAULT_PATH, Search};
use super::shell::shell_word;
use crate::base::CollectOrdered as _;
use crate::config::command::{argv, variable};
use crate::config::expand::expand;
use crate::config::facts::FileKind;
use crate::config::ini::Entry;
use crate::config::nearest::suggestion;
use crate::config::options::{WATCHER_OPTIONS, find};
use crate::config::watcher::Watcher;
use crate::config::words::split;
use crate::config::{Account, Args, HookKind, Problem, Runner, StreamConfig, WatcherConfig};
use crate::proto::HookPoint;

/// Every problem of one watcher or plugin.
pub(super) fn problems(subject: Subject<'_>, watcher: &Watcher<'_>) -> Vec<Problem> {
    let judge = Judge { subject, watcher, config: &watcher.config };
    let mut problems = Vec::new();
    problems.extend(judge.accounts());
    problems.extend(judge.working_dir());
    problems.extend(judge.cgroup());
    problems.extend(judge.program());
    problems.extend(judge.stream_programs());
    problems.extend(judge.hooks());
    if judge.config.plugin.is_none() {
        problems.extend(judge.references());
        problems.extend(judge.unpassed_sockets());
        problems.extend(judge.shell_words());
    }
    problems.extend(judge.comments());
    problems.extend(judge.swallowed_keys());
    problems
}

struct Judge<'a> {
    subject: Subject<'a>,
    watcher: &'a Watcher<'a>,
    config: &'a WatcherConfig,
}

impl Judge<'_> {
    /// A problem with what the machine lacks. A hook that runs before the worker may still bring it.
    fn lacks(&self, key: &str, text: &str) -> Problem {
        let prepared =
            [HookPoint::BeforeStart, HookPoint::BeforeSpawn].iter().any(|p| self.config.hooks.contains_key(p));
        if prepared {
            let text = format!("{text} (unless a hook makes it in time)");
            return self.watcher.warning(key, &text);
        }
        self.watcher.problem(key, text)
    }

    /// The keys as they are written in INI files; JSON has none of its traps.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.subject.ini.entries(self.watcher.section).filter(|entry| entry.json.is_none())
    }

    // -- the machine ---------------------------------------------------------------------------------------------------

    fn accounts(&self) -> Vec<Problem> {
        let facts = self.subject.facts;
        let unknown = |account: &Option<Account>, look_up: &dyn Fn(&str) -> Option<u32>| match account {
            Some(Account::Name(name)) if look_up(name).is_none() => Some(name.clone()),
            Some(Account::Name(_) | Account::Number(_)) | None => None,
        };
        let user = unknown(&self.config.uid, &|name| facts.user(name));
        let group = unknown(&self.config.gid, &|name| facts.group(name));
        let problem = |key, kind, name: String| {
            self.watcher.problem(key, &format!("there is no {kind} '{name}' on this machine"))
        };
        let users = user.map(|name| problem("uid", "user", name));
        users.into_iter().chain(group.map(|name| problem("gid", "group", name))).collect()
    }

    /// The group of this process need not be that of the circusd that will read the file.
    fn cgroup(&self) -> Option<Problem> {
        let reason = self.config.cgroup.then(|| self.subject.facts.cgroup_refusal()).flatten()?;
        Some(self.watcher.warning("cgroup", &format!("a circusd that is started from here starts no worker: {reason}")))
    }

    fn cwd(&self) -> PathBuf {
        Path::new(&self.subject.host.cwd).join(&self.config.working_dir)
    }

    fn working_dir(&self) -> Option<Problem> {
        let directory = self.cwd();
        let shown = directory.display();
        match self.subject.facts.file(&directory) {
            Ok(file) if file.kind != FileKind::Directory => {
                Some(self.watcher.problem("working_dir", &format!("{shown} is not a directory")))
            }
            Ok(_) => None,
            Err(_) => Some(self.lacks("working_dir", &format!("the directory {shown} does not exist"))),
        }
    }

    /// The words that a worker would be started with, as far as its numbers are known.
    fn argv(&self) -> Option<Vec<String>> {
        let sockets = &self.subject.assembled.sockets;
        let numbers: BTreeMap<String, i32> = sockets.iter().map(|socket| socket.name.clone()).zip(3..).collect_map();
        argv(self.config, 1, &numbers).ok()
    }

    /// The worker's PATH; the programs of its virtual environment come first.
    fn path(&self) -> String {
        let path = self.config.env.as_ref().and_then(|env| env.get("PATH")).map_or(DEFAULT_PATH, String::as_str);
        match &self.config.virtualenv {
            Some(root) => format!("{}/bin:{path}", Path::new(&self.subject.host.cwd).join(root).display()),
            None => path.to_owned(),
        }
    }

    fn program(&self) -> Option<Problem> {
        let argv = self.argv()?;
        let (key, program) = match &self.config.executable {
            Some(program) => ("executable", program.clone()),
            None => ("cmd", argv.first()?.clone()),
        };
        // A variable that could not be replaced is reported elsewhere.
        if program.contains("$(circus.") {
            return None;
        }
        let (path, cwd) = (self.path(), self.cwd());
        let search = Search { path: &path, cwd: &cwd, host: self.subject.host, facts: self.subject.facts };
        if let Some(Runner::Builtin(_)) = self.config.plugin.as_ref().map(|plugin| &plugin.runner) {
            let beside = Path::new(&self.subject.host.programs).join(&program);
            // Beside circusd is where it is looked for first.
            search.objection(&beside.to_string_lossy())?;
        }
        // Without its directory, nothing relative to it can be found either.
        if self.working_dir().is_some() && !program.starts_with('/') {
            return None;
        }
        search.objection(&program).map(|text| self.lacks(key, &text))
    }

    /// Programs that run in circusd's own environment.
    fn own_program(&self, words: &[String]) -> Option<String> {
        let host = self.subject.host;
        let path = host.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let search = Search { path, cwd: Path::new(&host.cwd), host, facts: self.subject.facts };
        search.objection(words.first()?)
    }

    fn stream_programs(&self) -> Vec<Problem> {
        let streams = [
            ("stdout_stream.command", &self.config.stdout_stream),
            ("stderr_stream.command", &self.config.stderr_stream),
        ];
        let objection = |stream: &StreamConfig| {
            let command = stream.options.get("command")?.as_str().filter(|_| stream.class == "exec")?;
            self.own_program(&split(command).ok()?)
        };
        let problem = |(key, stream): (&str, &Option<StreamConfig>)| {
            Some(self.watcher.problem(key, &objection(stream.as_ref()?)?))
        };
        streams.into_iter().filter_map(problem).collect()
    }

    fn hooks(&self) -> Vec<Problem> {
        let problem = |(point, hook): (&HookPoint, &crate::config::Hook)| {
            let text = match hook.kind().ok()? {
                HookKind::Command(words) | HookKind::WaitCommand(words) => self.own_program(&words)?,
                HookKind::Python(function) => self.hook_function(&function)?,
                HookKind::WaitTcp { .. } | HookKind::WaitHttp { .. } | HookKind::WaitUnix(_) => return None,
            };
            let key = format!("hooks.{}", point.name());
            // A hook whose failure is ignored keeps nothing from starting.
            Some(if hook.ignore_failure {
                self.watcher.warning(&key, &text)
            } else {
                self.watcher.problem(&key, &text)
            })
        };
        self.config.hooks.iter().filter_map(problem).collect()
    }

    /// A hook that is a Python function, and the interpreter that runs it.
    fn hook_function(&self, function: &str) -> Option<String> {
        let python = self.subject.python();
        if let Some(text) = self.own_program(&[python.to_owned()]) {
            return Some(format!("{text}; see python in [circus]"));
        }
        let cwd = Path::new(&self.subject.host.cwd);
        let variables = [self.config.env.as_ref(), Some(&self.subject.host.env)];
        let paths = variables.into_iter().flatten().filter_map(|env| env.get("PYTHONPATH"));
        let mut known: Vec<PathBuf> = paths
            .flat_map(|paths| paths.split(':'))
            .filter(|path| !path.is_empty())
            .map(|path| cwd.join(path))
            .collect();
        if let Some(root) = &self.config.virtualenv {
            let library = cwd.join(root).join("lib");
            let versions = self.subject.facts.names(&library).into_iter().filter(|name| name.starts_with("python"));
            known.extend(versions.map(|version| library.join(version).join("site-packages")));
        }
        known.extend(self.subject.directory.map(Path::to_owned));
        known.push(cwd.to_owned());
        ImportPaths { subject: self.subject, known }.objection(function)
    }

    // -- the text ------------------------------------------------------------------------------------------------------

    /// The options in which `$(circus.NAME)` is replaced at each start.
    fn texts(&self) -> Vec<(&'static str, &str)> {
        let mut texts = vec![("cmd", self.config.cmd.as_str())];
        match &self.config.args {
            None => {}
            Some(Args::Text(text)) => texts.push(("args", text)),
            Some(Args::List(words)) => texts.extend(words.iter().map(|word| ("args", word.as_str()))),
        }
        texts.extend(self.config.shell_args.iter().map(|text| ("shell_args", text.as_str())));
        texts
    }

    /// References that stay as they are written, as nothing has their name.
    fn references(&self) -> Vec<Problem> {
        let sockets = &self.subject.assembled.sockets;
        let numbers: BTreeMap<String, i32> = sockets.iter().map(|socket| (socket.name.clone(), 3)).collect_map();
        let mut problems = Vec::new();
        for (key, text) in self.texts() {
            let unknown = RefCell::new(Vec::new());
            let _same = expand(text, |name| {
                // The pools are known by their names in lower case, as when a worker starts.
                let is_slot = name
                    .strip_prefix("slot.")
                    .is_some_and(|pool| self.config.slots.values().any(|slots| slots.pool.to_lowercase() == pool));
                if !is_slot && variable(self.config, 1, &numbers, name).is_none() {
                    unknown.borrow_mut().push(name.to_owned());
                }
                None
            });
            problems.extend(unknown.into_inner().iter().map(|name| self.unknown_reference(key, name)));
        }
        for entry in self.entries().filter(|entry| !["cmd", "args", "shell_args"].contains(&entry.key.as_str())) {
            problems.extend(self.unknown_variable(entry));
        }
        problems
    }

    fn unknown_reference(&self, key: &str, name: &str) -> Problem {
        let text = match name.split_once('.') {
            Some(("sockets", socket)) => {
                let hint = suggestion(socket, self.subject.assembled.sockets.iter().map(|known| known.name.as_str()));
                format!("no valid [socket:{socket}] section was found, so $(circus.{name}) stays unchanged{hint}")
            }
            Some(("env", variable)) => {
                let known = self.config.env.iter().flatten().map(|(name, _)| name.as_str());
                let hint = suggestion(variable, known);
                format!(
                    "the watcher's environment has no {}, so $(circus.{name}) stays unchanged{hint}",
                    variable.to_uppercase()
                )
            }
            Some(("slot", pool)) => {
                let hint = suggestion(pool, self.config.slots.values().map(|slots| slots.pool.as_str()));
                format!(
                    "no option slot.* of the watcher names [slots:{pool}], so $(circus.{name}) stays unchanged{hint}"
                )
            }
            _ => {
                let known = WATCHER_OPTIONS.iter().map(|spec| spec.key).chain(["wid"]);
                format!("$(circus.{name}) is unknown, so it stays unchanged{}", suggestion(name, known))
            }
        };
        self.watcher.warning(key, &text)
    }

    /// A `$(circus.env.NAME)` of another option, which is replaced when the file is read.
    fn unknown_variable(&self, entry: &Entry) -> Option<Problem> {
        find(&entry.key)?;
        let copy_env = self.config.copy_env;
        let env = self.subject.environment.of_watcher(&self.config.name, copy_env, &mut Vec::new());
        let unknown = RefCell::new(None);
        let value = env.expand(&entry.value);
        let _same = expand(&value, |name| -> Option<Cow<'_, str>> {
            if name.starts_with("env.") {
                unknown.borrow_mut().get_or_insert(name.to_owned());
            }
            None
        });
        let name = unknown.into_inner()?;
        let variable = name.strip_prefix("env.").unwrap_or(&name).to_uppercase();
        let text = format!("no variable {variable} is known here, so $(circus.{name}) stays unchanged");
        Some(self.watcher.warning(&entry.key, &text))
    }

    /// The command has the number of a socket that the worker does not inherit.
    fn unpassed_sockets(&self) -> Option<Problem> {
        let config = self.config;
        if config.use_sockets || !config.sockets.is_empty() {
            return None;
        }
        let sockets = &self.subject.assembled.sockets;
        let named = crate::config::named_sockets(config);
        let stdin = config.stdin_socket.as_deref().unwrap_or_default();
        let socket = sockets.iter().find(|socket| named.contains(&socket.name) && socket.name != stdin)?;
        let text = format!(
            "$(circus.sockets.{0}) is the number of a descriptor that the worker does not inherit; write use_sockets = \
             yes or sockets = {0}",
            socket.name
        );
        Some(self.watcher.warning("cmd", &text))
    }

    fn shell_words(&self) -> Option<Problem> {
        if self.config.shell {
            return None;
        }
        let known = |text: &str| expand(text, |_| Some(Cow::Borrowed("x"))).into_owned();
        self.texts().into_iter().filter(|(key, _)| *key != "shell_args").find_map(|(key, text)| {
            let is_list = key == "args" && matches!(self.config.args, Some(Args::List(_)));
            let found = shell_word(&known(text)).filter(|_| !is_list)?;
            let text = format!(
                "'{}' {} in a shell only; here it is an argument like any other. Write shell = yes if it is meant",
                found.word, found.meaning
            );
            Some(self.watcher.warning(key, &text))
        })
    }

    /// A ` ;` that ends a command, and a `#` that does not.
    fn comments(&self) -> Vec<Problem> {
        let is_command = |entry: &&Entry| {
            ["cmd", "args", "shell_args"].contains(&entry.key.as_str()) || entry.key.starts_with("hooks.")
        };
        let mut problems = Vec::new();
        for entry in self.entries().filter(is_command) {
            if let Some(comment) = &entry.comment {
                problems.push(self.watcher.warning(&entry.key, &super::cut(comment)));
            }
            let hash = || split(&entry.value).unwrap_or_default().into_iter().find(|word| word == "#");
            if !self.config.shell && entry.value.contains(" # ") && hash().is_some() {
                let text = "'#' begins no comment behind a value: it and all that follows are arguments; write the \
                            comment in a line of its own";
                problems.push(self.watcher.warning(&entry.key, text));
            }
        }
        problems
    }

    /// An indented `key = value` continues the value before it.
    fn swallowed_keys(&self) -> Vec<Problem> {
        let swallowed = |entry: &Entry| {
            let key = entry.value.lines().skip(1).find_map(|line| {
                let (key, _) = line.split_once(['=', ':'])?;
                Some(key.trim()).filter(|key| find(key).is_some()).map(str::to_owned)
            })?;
            let text = format!(
                "the indented line '{key} = ...' continues this value instead of being a key of its own; begin it in \
                 the first column"
            );
            Some(self.watcher.warning(&entry.key, &text))
        };
        self.entries().filter_map(swallowed).collect()
    }
}

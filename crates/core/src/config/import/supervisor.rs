//! `supervisord.conf`: `[program:x]`, `[fcgi-program:x]`, `[eventlistener:x]`, `[group:x]`, `[supervisord]`, servers.
//!
//! Names and defaults are those of supervisor 4.2 (<http://supervisord.org/configuration.html>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::once;

use super::Source;
use super::draft::{Draft, Section};
use crate::base::CollectOrdered as _;

/// The sections of programs, and what they are.
pub(super) const PREFIXES: [(&str, Kind); 3] =
    [("program:", Kind::Program), ("fcgi-program:", Kind::Fcgi), ("eventlistener:", Kind::Listener)];
/// The size at which a file of output is rotated, and how many old ones are kept, unless the file says it.
const MAX_BYTES: u64 = 50 << 20;
const BACKUPS: &str = "10";
/// The priority of a program that has none.
const PRIORITY: i64 = 999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    Fcgi,
    Listener,
}

/// Keys of programs without an equal, and why.
const NO_EQUAL: [(&str, &str); 7] = [
    ("umask", "workers have the umask of circusd: umask in [circus]"),
    ("serverurl", "clients find circusd by CIRCUSCTL_ENDPOINT"),
    ("stdout_capture_maxbytes", "there are no capture blocks in output"),
    ("stderr_capture_maxbytes", "there are no capture blocks in output"),
    ("stdout_events_enabled", "output makes no events; a plugin can read it with the command tail"),
    ("stderr_events_enabled", "output makes no events; a plugin can read it with the command tail"),
    ("socket_owner", "a socket belongs to circusd's user"),
];

/// Keys of `[supervisord]` without an equal, and why.
const NO_EQUAL_IN_ALL: [(&str, &str); 8] = [
    ("minfds", "ulimit -n of circusd, or rlimit_nofile of a watcher"),
    ("minprocs", "ulimit -u of circusd, or rlimit_nproc of a watcher"),
    ("user", "start circusd as this user, or give each watcher an uid"),
    ("directory", "start circusd in this directory, or give each watcher a working_dir"),
    ("identifier", "there is none"),
    ("strip_ansi", "output is kept as it is"),
    ("logfile_maxbytes", "circusd opens its log again when it was moved: see logrotate in docs/recipes.md"),
    ("logfile_backups", "circusd opens its log again when it was moved: see logrotate in docs/recipes.md"),
];

/// A section: its keys in lower case, the last of each name.
struct Table<'t> {
    name: &'t str,
    keys: Vec<(String, String)>,
}

impl Table<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the sections, as Python's configparser does for supervisor.
fn tables(text: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in text.lines() {
        let (content, begins) = (line.trim(), !line.starts_with([' ', '\t']));
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
            && begins
        {
            tables.push(Table { name: name.trim(), keys: Vec::new() });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        let value = |text: &str| without_comment(text).trim().to_owned();
        match (begins, content.split_once(['=', ':'])) {
            (true, Some((key, text))) => {
                let key = key.trim().to_lowercase();
                table.keys.retain(|(known, _)| *known != key);
                table.keys.push((key, value(text)));
            }
            _ => {
                if let Some((_, more)) = table.keys.last_mut() {
                    more.push('\n');
                    more.push_str(&value(content));
                }
            }
        }
    }
    tables
}

/// A value up to a semicolon that a blank stands before.
fn without_comment(text: &str) -> &str {
    let at = [" ;", "\t;"].iter().filter_map(|begin| text.find(begin)).min();
    at.map_or(text, |at| &text[..at])
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "true" | "yes" | "on" | "1" | "t" | "y")
}

/// A number of bytes, with KB, MB or GB behind it.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let units = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let unit = units.iter().find_map(|(end, factor)| Some((text.strip_suffix(end)?, *factor)));
    let (number, factor): (&str, u64) = unit.unwrap_or((&text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// What `%(NAME)s` stands for.
struct Names<'a> {
    known: BTreeMap<&'a str, String>,
    number: u64,
}

/// Text with its `%(NAME)s` replaced: those that are variables of circusd's environment by `$(circus.env.NAME)`, whose
/// dollar stays one where `in_env`.
fn expanded(text: &str, names: &Names<'_>, in_env: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&dollars(before, in_env));
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (name, after) =
            after.strip_prefix('(').and_then(|after| after.split_once(')')).ok_or("a % that begins no %(NAME)s")?;
        let end = after.find(|c: char| c.is_ascii_alphabetic()).ok_or("a %(NAME) without its s or d")?;
        let (format, after) = (&after[..end], &after[end + 1..]);
        match (name.strip_prefix("ENV_"), names.known.get(name)) {
            (Some(variable), _) => out.push_str(&format!("$(circus.env.{variable})")),
            (None, _) if name == "process_num" => {
                let width = format.trim_start_matches('0').parse().unwrap_or(0).min(20);
                out.push_str(&format!("{:0width$}", names.number));
            }
            (None, Some(value)) => out.push_str(&dollars(value, in_env)),
            (None, None) => return Err(format!("%({name})s has no equal")),
        }
        rest = after;
    }
    out.push_str(&dollars(rest, in_env));
    Ok(out)
}

fn dollars(text: &str, in_env: bool) -> Cow<'_, str> {
    if in_env { text.replace('$', "$$").into() } else { text.into() }
}

/// The pairs of `environment`: `A="x,y",B=z`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut pairs, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| format!("'{rest}' is not NAME=VALUE"))?;
        let (mut value, mut quote, mut end) = (String::new(), None, after.len());
        for (at, c) in after.char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, ',') => {
                    end = at;
                    break;
                }
                (None, '\n') => {}
                (_, c) => value.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".into());
        }
        pairs.push((name.trim().to_owned(), value.trim().to_owned()));
        rest = after.get(end + 1..).unwrap_or_default().trim();
    }
    Ok(pairs)
}

pub(super) fn draft(source: &Source<'_>) -> Result<Draft, String> {
    let tables = tables(source.text);
    let mut draft = Draft::default();
    let known = once(("here", source.directory.to_owned())).collect_map();
    let all = Names { known, number: 0 };
    draft.add(circus(&tables, &all));
    if let Some(text) = tables.iter().find(|table| table.name == "supervisord").and_then(|all| all.get("environment")) {
        draft.add(environment("env", text, &all));
    }
    let mut found = false;
    for table in &tables {
        let program = PREFIXES.iter().find_map(|(prefix, kind)| Some((table.name.strip_prefix(prefix)?, *kind)));
        match (program, table.name) {
            (Some((name, kind)), _) => {
                found = true;
                programs(&mut draft, &tables, table, name.trim(), kind, source);
            }
            (None, "supervisord" | "supervisorctl" | "unix_http_server" | "inet_http_server" | "include") => {}
            (None, name) if name.starts_with("group:") => {
                let programs = table.get("programs").unwrap_or_default();
                draft.note(format!(
                    "[{name}]: commands take patterns of names in place of groups. Its programs: {programs}"
                ));
            }
            (None, name) if name.starts_with("rpcinterface:") => {}
            (None, name) => draft.note(format!("[{name}] has no equal")),
        }
    }
    match found || tables.iter().any(|table| table.name == "supervisord") {
        true => Ok(draft),
        false => Err("there is neither [supervisord] nor [program:NAME]".into()),
    }
}

/// What holds for all programs.
fn circus(tables: &[Table<'_>], names: &Names<'_>) -> Section {
    let mut section = Section::new("circus");
    let table = |name: &str| tables.iter().find(|table| table.name == name);
    let get = |table: &Table<'_>, key: &str| {
        table.get(key).map(|value| expanded(value, names, false).unwrap_or_else(|_| value.to_owned()))
    };
    if let Some(server) = table("unix_http_server") {
        if let Some(file) = get(server, "file") {
            let stem = file.strip_suffix(".sock").unwrap_or(&file);
            section.set("endpoint", format!("ipc://{stem}-control.sock"));
            section.set("pubsub_endpoint", format!("ipc://{stem}-events.sock"));
        }
        if let Some(mode) = get(server, "chmod") {
            section.set("endpoint_mode", mode);
        }
        for (key, instead) in [
            ("chown", "endpoint_owner lets one user control the watchers that run as that user"),
            ("username", "ipc_roles says what each user of the machine may do"),
        ] {
            if server.get(key).is_some() {
                section.note(format!("[unix_http_server] {key}: {instead}"));
            }
        }
    }
    if let Some(server) = table("inet_http_server") {
        let port = server.get("port").unwrap_or_default();
        section.note(format!(
            "[inet_http_server] port={port}: circusd speaks no HTTP; other machines need keys (circusctl keygen)"
        ));
    }
    if let Some(files) = table("include").and_then(|include| include.get("files")) {
        section.note(format!("[include] files={files}: import each of them, and write include = FILES here"));
    }
    let Some(all) = table("supervisord") else { return section };
    for (key, option) in [("logfile", "logoutput"), ("pidfile", "pidfile"), ("umask", "umask")] {
        if let Some(value) = get(all, key) {
            section.set(option, value);
        }
    }
    if let Some(level) = all.get("loglevel") {
        let level = match level.to_lowercase().as_str() {
            "warn" => "warning",
            "trace" | "blather" => "debug",
            "critical" | "error" | "info" => level,
            _ => "debug",
        };
        section.set("loglevel", level.to_lowercase());
    }
    for (key, instead) in NO_EQUAL_IN_ALL {
        if let Some(value) = all.get(key) {
            section.note(format!("[supervisord] {key}={value}: {instead}"));
        }
    }
    section
}

fn environment(name: &str, text: &str, names: &Names<'_>) -> Section {
    let mut section = Section::new(name);
    match pairs(text) {
        Err(reason) => section.note(format!("environment={text}: {reason}")),
        Ok(pairs) => {
            for (name, value) in pairs {
                match expanded(&value, names, true) {
                    Ok(value) => section.set(&name, value),
                    Err(reason) => section.note(format!("{name}={value}: {reason}")),
                }
            }
        }
    }
    section
}

/// One program: a watcher, or one for each of its processes where they differ.
fn programs(
    draft: &mut Draft,
    tables: &[Table<'_>],
    table: &Table<'_>,
    program: &str,
    kind: Kind,
    source: &Source<'_>,
) {
    let number = |key: &str, default| table.get(key).and_then(|text| text.trim().parse().ok()).unwrap_or(default);
    let (count, start): (u64, u64) = (number("numprocs", 1), number("numprocs_start", 0));
    let group = tables.iter().filter_map(|table| {
        let list = table.name.starts_with("group:").then(|| table.get("programs")).flatten()?;
        list.split(',').any(|name| name.trim() == program).then(|| table.name.trim_start_matches("group:"))
    });
    let group = group.map(str::trim).next().unwrap_or(program);
    let names = |number: u64, name: &str| Names {
        known: [
            ("here", source.directory.to_owned()),
            ("program_name", program.to_owned()),
            ("group_name", group.to_owned()),
            ("process_name", name.to_owned()),
        ]
        .into_iter()
        .collect_map(),
        number,
    };
    let template = table.get("process_name").unwrap_or("%(program_name)s");
    let differing = ["command", "environment", "directory", "stdout_logfile", "stderr_logfile"];
    let differ = |key: &&str| {
        table.get(key).is_some_and(|value| value.contains("%(process_num)") || value.contains("%(process_name)"))
    };
    let apart = count > 1 && differing.iter().any(differ);
    let members = if apart { start..start.saturating_add(count.min(1000)) } else { start..start + 1 };
    for number in members {
        let named = expanded(template, &names(number, program), false).unwrap_or_else(|_| program.to_owned());
        let wanted = if apart || count == 1 { named.as_str() } else { program };
        let name = draft.watcher_name(wanted);
        let names = names(number, &named);
        if kind == Kind::Fcgi && number == start {
            draft.add(socket(table, program, &names));
        }
        let mut watcher = Section::new(format!("watcher:{name}"));
        if kind == Kind::Listener {
            let (events, command) = (table.get("events").unwrap_or_default(), table.get("command").unwrap_or_default());
            draft.note(format!(
                "[eventlistener:{name}] command={command} events={events}: circusd does not speak supervisor's protocol of \
                 events. A [plugin:{name}] with cmd reads them as lines of JSON: circus-plugin(1)"
            ));
            continue;
        }
        keys(&mut watcher, table, kind, program, &names);
        if !apart && count != 1 {
            watcher.set("numprocesses", count.to_string());
        }
        draft.add(watcher);
        if let Some(text) = table.get("environment") {
            draft.add(environment(&format!("env:{name}"), text, &names));
        }
    }
}

/// The socket of a FastCGI program.
fn socket(table: &Table<'_>, program: &str, names: &Names<'_>) -> Section {
    let mut section = Section::new(format!("socket:{program}"));
    let socket = table.get("socket").unwrap_or_default();
    let socket = expanded(socket, names, false).unwrap_or_else(|_| socket.to_owned());
    match (socket.strip_prefix("unix://"), socket.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':'))) {
        (Some(path), _) => section.set("path", path),
        (None, Some((host, port))) => {
            section.set("host", host);
            section.set("port", port);
        }
        (None, None) => section.note(format!("socket={socket}: neither unix://PATH nor tcp://HOST:PORT")),
    }
    if let Some(backlog) = table.get("socket_backlog") {
        section.set("backlog", backlog);
    }
    if let Some(mode) = table.get("socket_mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()) {
        section.set("umask", format!("{:03o}", 0o777 & !mode));
    }
    section
}

/// The keys of a watcher.
fn keys(watcher: &mut Section, table: &Table<'_>, kind: Kind, program: &str, names: &Names<'_>) {
    let text = |watcher: &mut Section, key: &str| {
        let value = table.get(key)?;
        match expanded(value, names, false) {
            Ok(value) => Some(value),
            Err(reason) => {
                watcher.note(format!("{key}={value}: {reason}"));
                None
            }
        }
    };
    match text(watcher, "command") {
        Some(command) => watcher.set_command(&command),
        None => watcher.note("there is no command"),
    }
    watcher.set("copy_env", "yes");
    for (key, option) in [("directory", "working_dir"), ("user", "uid")] {
        if let Some(value) = text(watcher, key) {
            watcher.set(option, value);
        }
    }
    if kind == Kind::Fcgi {
        watcher.set("stdin_socket", program);
    }
    if table.get("autostart").is_some_and(|value| !is_yes(value)) {
        watcher.set("autostart", "no");
    }
    let restart = table.get("autorestart").unwrap_or("unexpected");
    match restart.to_lowercase().as_str() {
        "unexpected" => {
            watcher.set("respawn", "on-failure");
            watcher.set("success_codes", table.get("exitcodes").unwrap_or("0"));
        }
        value if is_yes(value) => {}
        _ => watcher.set("respawn", "no"),
    }
    if let Some(seconds) = table.get("startsecs") {
        watcher.set("min_uptime", seconds);
    }
    if let Some(retries) = table.get("startretries") {
        watcher.note(format!("startretries={retries}: pauses grow with early exits; the plugin flapping gives up"));
    }
    if let Some(signal) = table.get("stopsignal") {
        watcher.set("stop_signal", signal.to_uppercase());
    }
    watcher.set("graceful_timeout", table.get("stopwaitsecs").unwrap_or("10"));
    // With neither, a stop reaches the program alone here too, and SIGKILL what it has started: kill_mode = mixed.
    match (table.get("stopasgroup").is_some_and(is_yes), table.get("killasgroup")) {
        (true, _) => watcher.set("kill_mode", "group"),
        (false, Some(value)) if !is_yes(value) => watcher.set("kill_mode", "process"),
        (false, _) => {}
    }
    if let Some(priority) = table.get("priority").and_then(|text| text.trim().parse::<i64>().ok()) {
        // Higher ones start first here.
        watcher.set("priority", PRIORITY.saturating_sub(priority).to_string());
    }
    output(watcher, table, "stdout", names);
    if table.get("redirect_stderr").is_some_and(is_yes) {
        output_as(watcher, table, "stdout", "stderr", names);
    } else {
        output(watcher, table, "stderr", names);
    }
    for (key, instead) in NO_EQUAL {
        if let Some(value) = table.get(key) {
            watcher.note(format!("{key}={value}: {instead}"));
        }
    }
    let known = [
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "startsecs",
        "startretries",
        "autorestart",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "redirect_stderr",
        "stdout_logfile",
        "stdout_logfile_maxbytes",
        "stdout_logfile_backups",
        "stdout_syslog",
        "stderr_logfile",
        "stderr_logfile_maxbytes",
        "stderr_logfile_backups",
        "stderr_syslog",
        "environment",
        "directory",
        "socket",
        "socket_backlog",
        "socket_mode",
    ];
    for (key, value) in &table.keys {
        if !known.contains(&key.as_str()) && !NO_EQUAL.iter().any(|(name, _)| name == key) {
            watcher.note(format!("{key}={value}: supervisor has no such key for this program"));
        }
    }
}

fn output(watcher: &mut Section, table: &Table<'_>, stream: &str, names: &Names<'_>) {
    output_as(watcher, table, stream, stream, names);
}

/// Where a stream goes, as the keys of `of` say.
fn output_as(watcher: &mut Section, table: &Table<'_>, of: &str, stream: &str, names: &Names<'_>) {
    let key = |end: &str| format!("{of}_logfile{end}");
    let mut set = |end: &str, value: &str| watcher.set(&format!("{stream}_stream.{end}"), value);
    if table.get(&format!("{of}_syslog")).is_some_and(is_yes) {
        return set("class", "SyslogStream");
    }
    let file = table.get(&key("")).unwrap_or("AUTO");
    match file.to_lowercase().as_str() {
        // A file that supervisor removes again: its only use is supervisorctl tail.
        "auto" => return set("class", "MemoryStream"),
        "none" | "/dev/null" | "" => return watcher.set(&format!("close_child_{stream}"), "yes"),
        "syslog" => return set("class", "SyslogStream"),
        // Its own, as by default.
        "/dev/stdout" | "/dev/fd/1" if stream == "stdout" => return,
        "/dev/stderr" | "/dev/fd/2" if stream == "stderr" => return,
        "/dev/stdout" | "/dev/fd/1" => return set("class", "StdoutStream"),
        _ => {}
    }
    let file = match expanded(file, names, false) {
        Ok(file) => file,
        Err(reason) => return watcher.note(format!("{}={file}: {reason}", key(""))),
    };
    set("class", "FileStream");
    set("filename", &file);
    let size = table.get(&key("_maxbytes")).map_or(Some(MAX_BYTES), bytes).unwrap_or(MAX_BYTES);
    if size > 0 {
        set("max_bytes", &size.to_string());
        set("backup_count", table.get(&key("_backups")).unwrap_or(BACKUPS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> String {
        let source =
            Source { name: "supervisord.conf", text, directory: "/etc/supervisor", cpus: 2, has_env_file: false };
        draft(&source).unwrap().to_string()
    }

    fn has(text: &str, parts: &[&str]) {
        let made = import(text);
        for part in parts {
            assert!(made.contains(part), "{part}\n{made}");
        }
    }

    #[test]
    fn what_a_stop_reaches() {
        let program = |keys: &str| import(&format!("[program:x]\ncommand=x\n{keys}"));
        assert!(program("killasgroup=true\nstopasgroup=true\n").contains("kill_mode = group\n"));
        assert!(program("killasgroup=false\n").contains("kill_mode = process\n"));
        for keys in ["", "killasgroup=true\n", "stopasgroup=false\n"] {
            let made = program(keys);
            assert!(!made.contains("kill_mode") && !made.contains("asgroup"), "{made}");
        }
    }

    #[test]
    fn a_program_as_debian_users_write_it() {
        has(
            "[unix_http_server]\nfile=/var/run/supervisor.sock   ; (the path to the socket file)\nchmod=0700\n\
             [supervisord]\nlogfile=/var/log/supervisor/supervisord.log\npidfile=/var/run/supervisord.pid\n\
             loglevel=warn\nminfds=1024\nchildlogdir=/var/log/supervisor\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = x\n[supervisorctl]\nserverurl=unix:///x\n\
             [include]\nfiles = /etc/supervisor/conf.d/*.conf\n\
             [program:laravel-worker]\nprocess_name=%(program_name)s_%(process_num)02d\n\
             command=php /srv/artisan queue:work redis --sleep=3\nautostart=true\nautorestart=true\nuser=forge\n\
             numprocs=8\nredirect_stderr=true\nstdout_logfile=/srv/worker.log\nstopwaitsecs=3600\nstopasgroup=true\n",
            &[
                "endpoint = ipc:///var/run/supervisor-control.sock\n",
                "endpoint_mode = 0700\n",
                "loglevel = warning\n",
                "# [supervisord] minfds=1024: ",
                "# [include] files=/etc/supervisor/conf.d/*.conf: ",
                "[watcher:laravel-worker]\ncmd = php /srv/artisan queue:work redis --sleep=3\ncopy_env = yes\nuid = forge\n\
                 graceful_timeout = 3600\nkill_mode = group\nstdout_stream.class = FileStream\n\
                 stdout_stream.filename = /srv/worker.log\nstdout_stream.max_bytes = 52428800\n\
                 stdout_stream.backup_count = 10\nstderr_stream.class = FileStream\n\
                 stderr_stream.filename = /srv/worker.log\n",
                "numprocesses = 8\n",
            ],
        );
    }

    #[test]
    fn processes_that_differ_become_watchers() {
        let text = "[program:tornado]\ncommand=python app.py --port=80%(process_num)02d\nnumprocs=2\nnumprocs_start=1\n\
                    process_name=%(program_name)s-80%(process_num)02d\nenvironment=N=\"%(process_num)d\"\npriority=10\n";
        has(
            text,
            &[
                "[watcher:tornado-8001]\ncmd = python app.py --port=8001\n",
                "priority = 989\n",
                "[env:tornado-8001]\nN = 1\n",
                "[watcher:tornado-8002]\ncmd = python app.py --port=8002\n",
                "[env:tornado-8002]\nN = 2\n",
            ],
        );
        assert!(!import(text).contains("numprocesses"));
    }

    #[test]
    fn environments_keep_commas_quotes_and_dollars() {
        has(
            "[program:x]\ncommand=%(ENV_HOME)s/x -c \"a %% b\" ; the comment\n\
             environment=A=\"x,y\",B='$5',HOME=%(ENV_HOME)s/x,\n  C=plain,PATH=\"/opt:%(ENV_PATH)s\"\n\
             directory=%(here)s/x\nstdout_logfile=NONE\nstderr_logfile=/dev/stderr\nautorestart=unexpected\nexitcodes=0,2\n",
            &[
                "cmd = $(circus.env.HOME)/x -c \"a % b\"\n",
                "A = x,y\nB = $$5\nHOME = $(circus.env.HOME)/x\nC = plain\nPATH = /opt:$(circus.env.PATH)\n",
                "working_dir = /etc/supervisor/x\n",
                "respawn = on-failure\nsuccess_codes = 0,2\n",
                "close_child_stdout = yes\n",
            ],
        );
        assert!(!import("[program:x]\ncommand=x\nstderr_logfile=/dev/stderr\n").contains("stderr_stream"));
    }

    #[test]
    fn other_programs_and_what_has_no_equal() {
        has(
            "[fcgi-program:php]\ncommand=php-cgi\nsocket=unix:///run/%(program_name)s.sock\nsocket_mode=0660\n\
             socket_owner=www\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)d\n\
             [fcgi-program:tcp]\ncommand=x\nsocket=tcp://localhost:9002\n\
             [eventlistener:memmon]\ncommand=memmon -a 200MB\nevents=TICK_60\n\
             [group:all]\nprograms=php,tcp\npriority=5\n[program:e]\ncommand=%(host_node_name)s\nnonsense=1\numask=022\n",
            &[
                "[socket:php]\npath = /run/php.sock\numask = 117\n",
                "[watcher:php]\ncmd = php-cgi\ncopy_env = yes\nstdin_socket = php\n",
                "# socket_owner=www: ",
                "[socket:tcp]\nhost = localhost\nport = 9002\n",
                "# [eventlistener:memmon] command=memmon -a 200MB events=TICK_60: ",
                "# [group:all]: ",
                "# command=%(host_node_name)s: %(host_node_name)s has no equal\n# there is no command\n",
                "# umask=022: ",
                "# nonsense=1: ",
            ],
        );
        let source = Source { name: "x", text: "[circus]\n", directory: "/", cpus: 1, has_env_file: false };
        assert!(draft(&source).is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!((bytes("50MB"), bytes("1kb"), bytes("0"), bytes("x")), (Some(50 << 20), Some(1024), Some(0), None));
        assert_eq!(bytes("99999999999999999999GB"), None);
    }
}

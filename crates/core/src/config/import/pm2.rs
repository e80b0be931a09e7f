//! `ecosystem.config.json` of PM2: `{"apps": [{"script": "app.js", ...}]}`.
//!
//! Names and defaults are those of PM2 5 (<https://pm2.keymetrics.io/docs/usage/application-declaration/>).

use serde_json::{Map, Value};

use super::Source;
use super::draft::{Draft, Section};
use crate::config::words;

/// What runs a script, by the end of its name.
const INTERPRETERS: [(&str, &str); 9] = [
    ("js", "node"),
    ("mjs", "node"),
    ("cjs", "node"),
    ("py", "python3"),
    ("sh", "bash"),
    ("rb", "ruby"),
    ("pl", "perl"),
    ("php", "php"),
    ("coffee", "coffee"),
];
/// How long PM2 waits after its signal, in milliseconds.
const KILL_TIMEOUT: f64 = 1600.0;
/// Keys that are read elsewhere than where they are told about.
const READ: [&str; 39] = [
    "name",
    "script",
    "args",
    "cwd",
    "interpreter",
    "exec_interpreter",
    "interpreter_args",
    "node_args",
    "instances",
    "exec_mode",
    "env",
    "env_file",
    "max_memory_restart",
    "cron_restart",
    "autorestart",
    "min_uptime",
    "kill_timeout",
    "treekill",
    "listen_timeout",
    "wait_ready",
    "out_file",
    "output",
    "out_log",
    "error_file",
    "error",
    "err_log",
    "err_file",
    "log",
    "log_file",
    "merge_logs",
    "combine_logs",
    "uid",
    "user",
    "gid",
    "stop_exit_codes",
    "pid_file",
    "pid",
    "vizion",
    "instance_var",
];
/// Keys without an equal, and why.
const NO_EQUAL: [(&str, &str); 10] = [
    ("watch", "the plugin command_reloader, with paths"),
    ("ignore_watch", "see watch"),
    ("max_restarts", "pauses grow with early exits; the plugin flapping gives up"),
    ("restart_delay", "the pause grows with each early exit, up to check_delay of [circus]"),
    ("exp_backoff_restart_delay", "the pause grows with each early exit, up to check_delay of [circus]"),
    ("shutdown_with_message", "there is no channel of messages to Node; stop_signal is sent"),
    ("increment_var", "$(circus.wid) in args has the number of a process"),
    ("source_map_support", "interpreter_args: --enable-source-maps"),
    ("log_type", "output is kept as it is"),
    ("post_update", "deploying is another program's task"),
];

pub(super) fn draft(source: &Source<'_>) -> Result<Draft, String> {
    let value: Value = serde_json::from_str(source.text).map_err(|error| {
        format!(
            "is not JSON: {error}. Of a file in JavaScript, node -p 'JSON.stringify(require(\"./FILE\"))' makes JSON"
        )
    })?;
    let apps: Vec<&Map<String, Value>> = match &value {
        Value::Array(apps) => apps.iter().filter_map(Value::as_object).collect(),
        Value::Object(all) => match all.get("apps") {
            Some(Value::Array(apps)) => apps.iter().filter_map(Value::as_object).collect(),
            Some(Value::Object(app)) => vec![app],
            _ if all.contains_key("script") => vec![all],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if apps.is_empty() {
        return Err("there is no list 'apps' with an application".into());
    }
    let mut draft = Draft::default();
    if value.get("deploy").is_some() {
        draft.note("deploy: deploying is another program's task");
    }
    for app in apps {
        self::app(&mut draft, app, source);
    }
    Ok(draft)
}

/// A value of an application.
struct App<'a>(&'a Map<String, Value>);

impl App<'_> {
    /// The text of the first key that is there.
    fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| match self.0.get(*key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    fn is(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(is) => Some(*is),
            Value::String(text) => Some(text == "true"),
            _ => None,
        }
    }

    /// Words: a list, or a text that is split.
    fn words(&self, keys: &[&str]) -> Vec<String> {
        let value = keys.iter().find_map(|key| self.0.get(*key));
        match value {
            Some(Value::Array(list)) => list.iter().map(shown).collect(),
            Some(Value::String(text)) => {
                words::split(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
            }
            _ => Vec::new(),
        }
    }

    /// A time in seconds: a number of milliseconds, or a text with `s`, `m` or `h`.
    fn seconds(&self, key: &str) -> Option<f64> {
        let text = self.text(&[key])?;
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 0.001)];
        units.iter().find_map(|(end, unit)| Some(text.strip_suffix(end)?.trim().parse::<f64>().ok()? * unit))
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Bytes as PM2 writes them, in whole megabytes: `300M`, `1G`, `1048576`.
fn megabytes(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(['B', 'b']);
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("", 1)];
    let bytes = units.iter().find_map(|(end, unit): &(&str, u64)| {
        text.to_uppercase().strip_suffix(end)?.trim().parse::<u64>().ok()?.checked_mul(*unit)
    })?;
    Some(bytes.div_ceil(1 << 20).max(1))
}

/// One application: its watcher, its variables, and what restarts it.
fn app(draft: &mut Draft, map: &Map<String, Value>, source: &Source<'_>) {
    let app = App(map);
    let script = app.text(&["script"]).unwrap_or_default();
    let file = script.rsplit('/').next().unwrap_or_default();
    let (stem, end) = file.rsplit_once('.').unwrap_or((file, ""));
    let name = draft.watcher_name(&app.text(&["name"]).unwrap_or_else(|| stem.to_owned()));
    let mut watcher = Section::new(format!("watcher:{name}"));

    let interpreter = app.text(&["interpreter", "exec_interpreter"]);
    let interpreter = interpreter.or_else(|| {
        INTERPRETERS.iter().find(|(known, _)| *known == end).map(|(_, interpreter)| (*interpreter).to_owned())
    });
    let mut command: Vec<String> = interpreter.into_iter().filter(|name| name != "none").collect();
    if !command.is_empty() {
        command.extend(app.words(&["interpreter_args", "node_args"]));
    }
    match script.is_empty() {
        true => watcher.note("there is no script"),
        false => {
            command.push(script);
            command.extend(app.words(&["args"]));
            watcher.set_command(&command.iter().map(|word| words::quote(word)).collect::<Vec<_>>().join(" "));
        }
    }
    let directory = match app.text(&["cwd"]) {
        None => source.directory.to_owned(),
        Some(path) if path.starts_with('/') => path,
        Some(path) => format!("{}/{}", source.directory.trim_end_matches('/'), path.trim_start_matches("./")),
    };
    watcher.set("working_dir", directory);
    watcher.set("copy_env", "yes");
    processes(&mut watcher, &app, source.cpus);
    life(&mut watcher, &app);
    output(&mut watcher, &app);
    for (key, option) in [("uid", "uid"), ("user", "uid"), ("gid", "gid"), ("env_file", "env_file")] {
        if let Some(value) = app.text(&[key]) {
            watcher.set(option, value);
        }
    }
    for (key, value) in map {
        let reason = NO_EQUAL.iter().find(|(name, _)| name == key).map(|(_, reason)| *reason);
        match key.strip_prefix("env_") {
            _ if READ.contains(&key.as_str()) => {}
            Some(environment) => watcher.note(format!(
                "{key}: pm2 --env {environment} uses it; make an INI file for each environment: {value}"
            )),
            None => watcher.note(format!("{key}: {value}: {}", reason.unwrap_or("has no equal"))),
        }
    }
    draft.add(watcher);
    if let Some(Value::Object(variables)) = map.get("env") {
        let mut section = Section::new(format!("env:{name}"));
        for (key, value) in variables {
            section.set_variable(key, &shown(value));
        }
        draft.add(section);
    }
    restarts(draft, &app, &name);
}

/// How many processes, and how they share a port.
fn processes(watcher: &mut Section, app: &App<'_>, cpus: usize) {
    let cpus = i64::try_from(cpus).unwrap_or(1).max(1);
    let wanted = app.text(&["instances"]);
    let count = match wanted.as_deref() {
        None => 1,
        Some("max") => cpus,
        Some(text) => match text.parse::<i64>() {
            Ok(count) if count <= 0 => (cpus + count).max(1),
            Ok(count) => count,
            Err(_) => 1,
        },
    };
    if let Some(wanted) = wanted.filter(|text| *text != count.to_string()) {
        watcher.note(format!("instances: {wanted}: on this machine with {cpus} processors {count}"));
    }
    if count > 1 {
        watcher.set("numprocesses", count.to_string());
    }
    let cluster = app.text(&["exec_mode"]).is_some_and(|mode| mode.starts_with("cluster"));
    if cluster {
        watcher.note(
            "exec_mode cluster: Node's cluster shares the port. Here, a [socket:NAME] does, with sockets = NAME:",
        );
        watcher.note("the program then listens on descriptor 3: server.listen({fd: 3})");
    }
    if let Some(variable) = app.text(&["instance_var"]) {
        watcher.note(format!("instance_var: {variable}: $(circus.wid) in args has the number of a process, from 1"));
    }
}

/// When it is restarted and stopped.
fn life(watcher: &mut Section, app: &App<'_>) {
    if app.is("autorestart") == Some(false) {
        watcher.set("respawn", "no");
    } else if let Some(Value::Array(codes)) = app.0.get("stop_exit_codes") {
        watcher.set("respawn", "on-failure");
        watcher.set("success_codes", codes.iter().map(shown).collect::<Vec<_>>().join(", "));
    }
    if let Some(seconds) = app.seconds("min_uptime") {
        watcher.set("min_uptime", seconds.to_string());
    }
    // PM2 sends SIGINT.
    watcher.set("stop_signal", "INT");
    let timeout = app.seconds("kill_timeout").unwrap_or(KILL_TIMEOUT / 1000.0);
    watcher.set("graceful_timeout", timeout.to_string());
    if let Some(tree) = app.is("treekill") {
        watcher.set("kill_mode", if tree { "tree" } else { "process" });
    }
    if app.is("wait_ready") == Some(true) {
        watcher.note("wait_ready: process.send('ready') has no equal; see ready: notify, log:REGEX, http:URL");
    }
    if let Some(seconds) = app.seconds("listen_timeout") {
        watcher.set("ready_timeout", seconds.to_string());
    }
}

/// Where output goes.
fn output(watcher: &mut Section, app: &App<'_>) {
    let both = app.text(&["log_file", "log"]);
    for (stream, keys) in [
        ("stdout", &["out_file", "output", "out_log"][..]),
        ("stderr", &["error_file", "error", "err_file", "err_log"]),
    ] {
        match app.text(keys).or_else(|| both.clone()).as_deref() {
            None => {}
            Some("/dev/null" | "NULL") => watcher.set(&format!("close_child_{stream}"), "yes"),
            Some(file) => {
                watcher.set(&format!("{stream}_stream.class"), "FileStream");
                watcher.set(&format!("{stream}_stream.filename"), file);
            }
        }
    }
}

/// What restarts it by its memory or by the clock.
fn restarts(draft: &mut Draft, app: &App<'_>, name: &str) {
    if let Some(most) = app.text(&["max_memory_restart"]) {
        let mut plugin = Section::new(format!("plugin:memory-of-{name}"));
        match megabytes(&most) {
            Some(megabytes) => {
                plugin.set("use", "circus.plugins.resource_watcher.ResourceWatcher");
                plugin.set("watcher", name);
                plugin.set("max_mem", format!("{megabytes}M"));
                // It has other limits by default, and forgives a few times.
                for (key, value) in [("max_cpu", "0"), ("health_threshold", "0"), ("max_count", "1")] {
                    plugin.set(key, value);
                }
            }
            None => plugin.note(format!("max_memory_restart: {most} is not a size")),
        }
        draft.add(plugin);
    }
    if let Some(schedule) = app.text(&["cron_restart"]).filter(|text| text != "0") {
        let restarter = draft.watcher_name(&format!("restart-{name}"));
        let mut watcher = Section::new(format!("watcher:{restarter}"));
        watcher.set_command(&format!("circusctl restart {name}"));
        watcher.set("kind", "cron");
        watcher.set("schedule", schedule);
        watcher.set("copy_env", "yes");
        watcher.set("respawn", "no");
        draft.add(watcher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source { name: "ecosystem.config.json", text, directory: "/srv/app", cpus: 4, has_env_file: false }
    }

    fn has(text: &str, parts: &[&str]) {
        let made = draft(&source(text)).unwrap().to_string();
        for part in parts {
            assert!(made.contains(part), "{part}\n{made}");
        }
    }

    #[test]
    fn what_a_stop_reaches() {
        for (tree, mode) in [("true", "kill_mode = tree\n"), ("false", "kill_mode = process\n")] {
            has(&format!(r#"{{"apps": [{{"script": "a.js", "treekill": {tree}}}]}}"#), &[mode]);
        }
    }

    #[test]
    fn applications_as_the_documentation_writes_them() {
        has(
            r#"{"apps": [{
                "name": "api", "script": "./server.js", "args": "one 'two three'", "node_args": ["--harmony"],
                "instances": "max", "exec_mode": "cluster", "watch": true, "max_memory_restart": "300M",
                "cron_restart": "0 3 * * *", "env": {"NODE_ENV": "development", "PRICE": "$5", "PORT": 3000},
                "env_production": {"NODE_ENV": "production"}, "kill_timeout": 3000, "min_uptime": "10s",
                "wait_ready": true, "listen_timeout": 8000, "out_file": "out.log", "error_file": "/dev/null",
                "restart_delay": 100, "log_date_format": "YYYY"
            }], "deploy": {"production": {}}}"#,
            &[
                "# deploy: ",
                "[watcher:api]\ncmd = node --harmony ./server.js one 'two three'\nworking_dir = /srv/app\ncopy_env = yes\n\
                 # instances: max: on this machine with 4 processors 4\nnumprocesses = 4\n# exec_mode cluster: ",
                "min_uptime = 10\nstop_signal = INT\ngraceful_timeout = 3\n# wait_ready: ",
                "ready_timeout = 8\nstdout_stream.class = FileStream\nstdout_stream.filename = out.log\n\
                 close_child_stderr = yes\n",
                "# watch: true: ",
                "# env_production: pm2 --env production uses it",
                "# restart_delay: 100: ",
                "# log_date_format: \"YYYY\": has no equal\n",
                "[env:api]\nNODE_ENV = development\nPRICE = $$5\nPORT = 3000\n",
                "[plugin:memory-of-api]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nwatcher = api\nmax_mem = 300M\n",
                "[watcher:restart-api]\ncmd = circusctl restart api\nkind = cron\nschedule = 0 3 * * *\n",
            ],
        );
    }

    #[test]
    fn scripts_of_other_languages_and_programs() {
        has(
            r#"[{"script": "job.py", "cwd": "./jobs", "autorestart": false},
                {"name": "npm run", "script": "npm", "args": ["run", "start"], "instances": -1},
                {"script": "bin/tool", "interpreter": "none", "cwd": "/opt", "stop_exit_codes": [0, 3], "log_file": "a.log"}]"#,
            &[
                "[watcher:job]\ncmd = python3 job.py\nworking_dir = /srv/app/jobs\ncopy_env = yes\nrespawn = no\n",
                "graceful_timeout = 1.6\n",
                "[watcher:npm-run]\ncmd = npm run start\n",
                "numprocesses = 3\n",
                "[watcher:tool]\ncmd = bin/tool\nworking_dir = /opt\n",
                "respawn = on-failure\nsuccess_codes = 0, 3\n",
                "stderr_stream.filename = a.log\n",
            ],
        );
    }

    #[test]
    fn what_is_no_ecosystem_is_refused() {
        for text in ["module.exports = {}", "{}", "{\"apps\": []}", "3"] {
            assert!(draft(&source(text)).is_err(), "{text}");
        }
        assert!(draft(&source("module.exports = {}")).unwrap_err().contains("JavaScript"));
    }

    #[test]
    fn sizes() {
        let all = ["300M", "1G", "2097152", "512K", "x"].map(megabytes);
        assert_eq!(all, [Some(300), Some(1024), Some(2), Some(1), None]);
    }
}

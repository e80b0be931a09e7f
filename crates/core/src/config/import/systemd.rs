//! `NAME.service` of systemd.
//!
//! Keys, quoting and specifiers are those of systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.syntax(7) and
//! systemd.unit(5) of version 252.

use super::Source;
use super::draft::{Draft, Section};
use crate::config::words;

/// The PATH that systemd gives its services.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
/// How long a service has to stop, unless the unit says it.
const STOP: &str = "90";
/// Limits whose names differ by more than their letters' case are none: `LimitNOFILE` is `rlimit_nofile`.
const LIMIT: &str = "Limit";
/// Keys that mean nothing for one service alone, or are read where others are.
const SILENT: [&str; 16] = [
    "CPUAffinity",
    "IOSchedulingClass",
    "IOSchedulingPriority",
    "KillMode",
    "Description",
    "Documentation",
    "DefaultDependencies",
    "WantedBy",
    "RequiredBy",
    "Alias",
    "Also",
    "NotifyAccess",
    "SendSIGHUP",
    "GuessMainPID",
    "StandardInput",
    "DefaultInstance",
];
/// Keys that have something like an equal, and what it is.
const HINTS: [(&str, &str); 14] = [
    ("After", "after = NAME, where that is a watcher too"),
    ("Requires", "requires = NAME, where that is a watcher too"),
    ("BindsTo", "requires = NAME, with propagate = stop"),
    ("Wants", "after = NAME, where that is a watcher too"),
    ("RestartSec", "the pause grows with each early exit, up to check_delay of [circus]"),
    ("StartLimitIntervalSec", "the plugin flapping gives a watcher up"),
    ("StartLimitInterval", "the plugin flapping gives a watcher up"),
    ("StartLimitBurst", "the plugin flapping gives a watcher up"),
    ("UMask", "workers have the umask of circusd: umask in [circus]"),
    ("SyslogIdentifier", "stdout_stream.ident, with stdout_stream.class = SyslogStream"),
    ("PIDFile", "the program has to stay in the foreground"),
    ("Sockets", "a [socket:NAME], and sockets = NAME"),
    ("RuntimeDirectory", "hooks.before_start = exec:mkdir -p /run/NAME"),
    ("StateDirectory", "hooks.before_start = exec:mkdir -p /var/lib/NAME"),
];

/// A key with its value, in the order of the file.
struct Key<'t> {
    section: &'t str,
    name: String,
    value: String,
}

/// Reads the keys: a backslash at the end of a line joins the next one, comments begin a line.
fn keys(text: &str) -> Vec<Key<'_>> {
    let (mut keys, mut section, mut begun): (Vec<Key<'_>>, &str, Option<String>) = (Vec::new(), "", None);
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) || (begun.is_none() && line.trim().is_empty()) {
            continue;
        }
        if begun.is_none()
            && let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        {
            section = name;
            continue;
        }
        let whole = begun.take().map_or_else(|| line.to_owned(), |before| format!("{before} {}", line.trim_start()));
        if let Some(before) = whole.strip_suffix('\\') {
            begun = Some(before.to_owned());
            continue;
        }
        if let Some((name, value)) = whole.split_once('=') {
            keys.push(Key { section, name: name.trim().to_owned(), value: value.trim().to_owned() });
        }
    }
    keys
}

/// A word of a command line, as text and references to variables.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// `${NAME}`, or `$NAME` alone, which may be several words.
    Variable {
        name: String,
        splits: bool,
    },
}

/// Splits a value into words: quotes group, and backslashes escape as in C.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (_, '\\') => {
                let escaped = chars.next().ok_or("a backslash at the end escapes nothing")?;
                let known = match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    's' => ' ',
                    'x' => {
                        let digits: String = chars.by_ref().take(2).collect();
                        u8::from_str_radix(&digits, 16)
                            .map(char::from)
                            .map_err(|_| format!("\\x{digits} is no byte"))?
                    }
                    other => other,
                };
                word.get_or_insert_default().push(known);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(_) => Err("a quote is not closed".into()),
        None => Ok(words),
    }
}

/// The unit whose specifiers are replaced.
struct Unit<'a> {
    name: &'a str,
    user: Option<String>,
}

impl Unit<'_> {
    fn prefix(&self) -> &str {
        let stem = self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem);
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    fn instance(&self) -> &str {
        let stem = self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem);
        stem.split_once('@').map_or("", |(_, instance)| instance)
    }

    /// The text with its specifiers replaced.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('n') => out.push_str(self.name),
                Some('N') => out.push_str(self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem)),
                Some('p' | 'P') => out.push_str(self.prefix()),
                Some('i' | 'I') if !self.instance().is_empty() => out.push_str(self.instance()),
                Some('t') => out.push_str("/run"),
                Some('S') => out.push_str("/var/lib"),
                Some('C') => out.push_str("/var/cache"),
                Some('L') => out.push_str("/var/log"),
                Some('E') => out.push_str("/etc"),
                Some('T') => out.push_str("/tmp"),
                Some('V') => out.push_str("/var/tmp"),
                Some('u') => out.push_str(self.user.as_deref().unwrap_or("root")),
                Some('h') if self.user.as_deref().unwrap_or("root") == "root" => out.push_str("/root"),
                Some('i' | 'I') => {
                    return Err("%i: a template has no instance; name the file NAME@INSTANCE.service".into());
                }
                other => return Err(format!("%{} has no equal", other.map(String::from).unwrap_or_default())),
            }
        }
        Ok(out)
    }
}

/// A command line: what its prefixes say, and its words.
struct Command {
    /// `-`: its failure does not count.
    may_fail: bool,
    words: Vec<Vec<Piece>>,
    /// Prefixes without an equal.
    odd: String,
}

fn pieces(word: &str) -> Vec<Piece> {
    let is_name = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
        return vec![Piece::Variable { name: name.into(), splits: true }];
    }
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), word);
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}')).filter(|(name, _)| is_name(name));
        rest = match (braced, after.strip_prefix('$')) {
            (Some((name, after)), _) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Variable { name: name.into(), splits: false });
                after
            }
            (None, Some(after)) => {
                text.push('$');
                after
            }
            (None, None) => {
                text.push('$');
                after
            }
        };
    }
    text.push_str(rest);
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

fn command(text: &str, unit: &Unit<'_>) -> Result<Command, String> {
    let rest = text.trim_start_matches(['-', '@', ':', '+', '!', '|']);
    let prefixes = &text[..text.len() - rest.len()];
    let mut words = split(rest)?;
    if words.is_empty() {
        return Err("there is no program".into());
    }
    if prefixes.contains('@') && words.len() > 1 {
        words.remove(1);
    }
    let literal = prefixes.contains(':');
    let words = words.iter().map(|word| {
        let word = unit.expand(word)?;
        Ok(if literal { vec![Piece::Text(word)] } else { pieces(&word) })
    });
    let odd = prefixes.chars().filter(|c| matches!(c, '@' | '+' | '!' | '|')).collect();
    Ok(Command { may_fail: prefixes.contains('-'), words: words.collect::<Result<_, String>>()?, odd })
}

impl Command {
    fn has_variables(&self) -> bool {
        self.words.iter().flatten().any(|piece| matches!(piece, Piece::Variable { .. }))
    }

    /// As a line of a shell.
    fn script(&self) -> String {
        let word = |pieces: &Vec<Piece>| {
            let shown = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => words::quote(text),
                Piece::Variable { name, splits: true } => format!("${name}"),
                Piece::Variable { name, splits: false } => format!("\"${{{name}}}\""),
            });
            shown.collect::<String>()
        };
        let line = self.words.iter().map(word).collect::<Vec<_>>().join(" ");
        if self.may_fail { format!("{{ {line} || true; }}") } else { line }
    }
}

/// Commands one after the other, as a line of a shell.
fn in_turn(commands: &[Command]) -> String {
    commands.iter().map(Command::script).collect::<Vec<_>>().join(" && ")
}

/// A time span in seconds: `5min 20s`, `90`. Nothing: no limit.
fn seconds(text: &str) -> Result<Option<f64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let wrong = || format!("{text} is not a time");
    let units = [
        ("us", 1e-6),
        ("usec", 1e-6),
        ("ms", 1e-3),
        ("msec", 1e-3),
        ("", 1.0),
        ("s", 1.0),
        ("sec", 1.0),
        ("second", 1.0),
        ("seconds", 1.0),
        ("m", 60.0),
        ("min", 60.0),
        ("minute", 60.0),
        ("minutes", 60.0),
        ("h", 3600.0),
        ("hr", 3600.0),
        ("hour", 3600.0),
        ("hours", 3600.0),
        ("d", 86400.0),
        ("day", 86400.0),
        ("days", 86400.0),
        ("w", 604_800.0),
        ("week", 604_800.0),
        ("weeks", 604_800.0),
    ];
    let (mut total, mut rest) = (0.0, text.trim());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let after = rest[end..].trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let factor = units.iter().find(|(unit, _)| *unit == &after[..end]).ok_or_else(wrong)?.1;
        total += number * factor;
        rest = after[end..].trim_start();
    }
    Ok(Some(total))
}

/// A limit: a number, one with a suffix, `infinity`; of `SOFT:HARD` the soft one.
fn limit(text: &str) -> Option<String> {
    let text = text.split_once(':').map_or(text, |(soft, _)| soft);
    if text == "infinity" {
        return Some(String::new());
    }
    let factors = [("K", 10), ("M", 20), ("G", 30), ("T", 40), ("", 0)];
    factors.iter().find_map(|(end, shift)| {
        let number = text.strip_suffix(end)?.parse::<u64>().ok()?.checked_mul(1 << shift)?;
        Some(number.to_string())
    })
}

/// Bytes, with K, M, G or T for powers of 1024. A part of the machine's memory is none.
fn size(text: &str) -> Option<String> {
    let number = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    count(number).map(|_| text.to_owned())
}

/// A whole number above nothing.
fn count(text: &str) -> Option<String> {
    text.parse::<u64>().ok().filter(|number| *number > 0).map(|number| number.to_string())
}

/// Percent of one processor, as processors.
fn quota(text: &str) -> Option<String> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (percent >= 1.0).then(|| (percent / 100.0).to_string())
}

/// Which processes a stop reaches. Without a control group, the tree of the worker is what comes nearest to one.
fn kill_mode(watcher: &mut Section, wanted: Option<&str>) {
    match wanted {
        None | Some("control-group") if watcher.has("cgroup") => watcher.set("kill_mode", "cgroup"),
        Some("control-group") => watcher.set("kill_mode", "tree"),
        Some("process") => watcher.set("kill_mode", "process"),
        None | Some("mixed") => {}
        Some(other) => watcher.note(format!("KillMode={other}: a worker that is stopped is ended here")),
    }
}

/// The priority at disks: a class by its name or number, and a level.
fn disks(watcher: &mut Section, class: Option<&str>, level: Option<&str>) {
    let level = level.unwrap_or("4");
    match class {
        None if level == "4" => {}
        None | Some("best-effort" | "2") => watcher.set("ionice", format!("best-effort:{level}")),
        Some("realtime" | "1") => watcher.set("ionice", format!("realtime:{level}")),
        Some("idle" | "3") => watcher.set("ionice", "idle"),
        Some("none" | "0") => {}
        Some(other) => watcher.note(format!("IOSchedulingClass={other}: is no class")),
    }
}

/// The processors: each line adds to those before, and an empty one takes them back.
fn processors(watcher: &mut Section, keys: &[Key<'_>]) {
    let lines = keys.iter().filter(|key| key.name == "CPUAffinity").map(|key| key.value.as_str());
    let all = lines.fold(Vec::new(), |mut all, line| {
        if line.is_empty() {
            all.clear();
        }
        all.extend(line.split([' ', ',', '\t']).filter(|part| !part.is_empty()));
        all
    });
    match all[..] {
        [] => {}
        ["numa"] => watcher.note("CPUAffinity=numa: cpu_affinity takes numbers"),
        _ => watcher.set("cpu_affinity", all.join(",")),
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t")
}

pub(super) fn draft(source: &Source<'_>) -> Result<Draft, String> {
    let keys = keys(source.text);
    if !keys.iter().any(|key| key.section == "Service") {
        return Err("there is no section [Service]".into());
    }
    let last = |name: &str| {
        keys.iter().rev().find(|key| key.name == name && !key.value.is_empty()).map(|key| key.value.as_str())
    };
    let unit = Unit { name: source.name, user: last("User").map(str::to_owned) };
    let mut draft = Draft::default();
    if let Some(description) = last("Description") {
        draft.note(description);
    }
    let stem = source.name.rsplit_once('.').map_or(source.name, |(stem, _)| stem);
    let name = draft.watcher_name(stem.trim_end_matches('@'));
    let watcher = Section::new(format!("watcher:{name}"));
    let mut importer = Importer { unit, watcher, env: Section::new(format!("env:{name}")), several: false };
    importer.start(&keys, last("Type").unwrap_or("simple"));
    importer.hooks(&keys);
    for key in &keys {
        // An empty value takes back what was said before.
        let is_last = last(&key.name) == Some(key.value.as_str());
        importer.key(key, is_last, last("Type").unwrap_or("simple"));
    }
    let Importer { mut watcher, mut env, several, .. } = importer;
    kill_mode(&mut watcher, last("KillMode"));
    if several && !watcher.has("kill_mode") {
        // The shell alone would get the signal, and wait for its command.
        watcher.set("stop_children", "yes");
    }
    disks(&mut watcher, last("IOSchedulingClass"), last("IOSchedulingPriority"));
    processors(&mut watcher, &keys);
    watcher.set("graceful_timeout", STOP);
    if !env.has("PATH") {
        env.set("PATH", PATH);
    }
    draft.add(watcher);
    draft.add(env);
    Ok(draft)
}

struct Importer<'a> {
    unit: Unit<'a>,
    watcher: Section,
    env: Section,
    /// A shell starts one command after the other.
    several: bool,
}

impl Importer<'_> {
    /// The commands of a key; an empty value takes back those before.
    fn commands(&mut self, keys: &[Key<'_>], name: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        for key in keys.iter().filter(|key| key.section == "Service" && key.name == name) {
            if key.value.is_empty() {
                commands.clear();
                continue;
            }
            match command(&key.value, &self.unit) {
                Ok(command) => {
                    if !command.odd.is_empty() {
                        self.watcher.note(format!("{name}={}: the prefix {} has no equal", key.value, command.odd));
                    }
                    commands.push(command);
                }
                Err(reason) => self.watcher.note(format!("{name}={}: {reason}", key.value)),
            }
        }
        commands
    }

    /// The command, and when it is started again.
    fn start(&mut self, keys: &[Key<'_>], kind: &str) {
        let commands = self.commands(keys, "ExecStart");
        match commands.as_slice() {
            [] => self.watcher.note("there is no ExecStart that could be read"),
            [one] if !one.has_variables() && !one.may_fail => self.watcher.set_command(&one.script()),
            [one] if !one.may_fail => {
                // A shell puts the variables in, and then is the program itself.
                self.watcher.set_command(&format!("exec {}", one.script()));
                self.watcher.set("shell", "yes");
            }
            several => {
                self.watcher.set_command(&in_turn(several));
                self.watcher.set("shell", "yes");
                self.several = true;
            }
        }
        match kind {
            "oneshot" => self.watcher.set("kind", "oneshot"),
            "notify" | "notify-reload" => self.watcher.set("ready", "notify"),
            "forking" => self.watcher.note("Type=forking: give the program the option that keeps it in the foreground"),
            "dbus" => self.watcher.note("Type=dbus: a name on the bus shows no readiness here; see ready"),
            _ => {}
        }
        let last = keys.iter().rev().find(|key| key.name == "Restart" && key.section == "Service");
        let restart = last.map_or("no", |key| key.value.as_str());
        match restart {
            _ if kind == "oneshot" => {}
            "always" => {}
            "no" | "" => self.watcher.set("respawn", "no"),
            "on-failure" => self.watcher.set("respawn", "on-failure"),
            other => {
                self.watcher.note(format!("Restart={other}: on-failure comes nearest"));
                self.watcher.set("respawn", "on-failure");
            }
        }
    }

    fn hooks(&mut self, keys: &[Key<'_>]) {
        for (name, hook) in [
            ("ExecStartPre", "before_start"),
            ("ExecStartPost", "after_start"),
            ("ExecStop", "before_stop"),
            ("ExecStopPost", "after_stop"),
        ] {
            let commands = self.commands(keys, name);
            if commands.is_empty() {
                continue;
            }
            let script = in_turn(&commands);
            let plain = commands.len() == 1 && !commands[0].may_fail && !commands[0].has_variables();
            let line = if plain { script } else { format!("sh -c {}", words::quote(&script)) };
            if line.contains("MAINPID") {
                self.watcher.note(format!("{name}: hooks do not know $MAINPID: {line}"));
                continue;
            }
            self.watcher.set(&format!("hooks.{hook}"), format!("exec:{line}"));
        }
        let reload = self.commands(keys, "ExecReload");
        match reload.iter().map(Command::script).collect::<Vec<_>>().as_slice() {
            [] => {}
            [one] if one.contains("kill") && one.contains("HUP") => self.watcher.set("send_hup", "yes"),
            _ => self
                .watcher
                .note(format!("ExecReload: circusctl reload starts new processes instead: {}", in_turn(&reload))),
        }
    }

    fn time(&mut self, option: &str, key: &Key<'_>) {
        match seconds(&key.value) {
            Ok(Some(seconds)) => self.watcher.set(option, seconds.to_string()),
            Ok(None) => self.watcher.note(format!("{}=infinity: {option} has to end; this is a day", key.name)),
            Err(reason) => self.watcher.note(format!("{}: {reason}", key.name)),
        }
        self.watcher.set(option, "86400");
    }

    /// A limit of a control group, which the watcher gets then; nothing where it is none.
    fn share(&mut self, option: &str, key: &Key<'_>, value: Option<String>) {
        match value {
            _ if key.value == "infinity" => {}
            None => self.watcher.note(format!("{}={}: {option} has no equal of it", key.name, key.value)),
            Some(value) => {
                if !self.watcher.has("cgroup") {
                    self.watcher.note("cgroup needs a control group that is delegated to circusd: docs/cgroups.md");
                    self.watcher.set("cgroup", "yes");
                }
                self.watcher.set(option, value);
            }
        }
    }

    /// Any other key. Of those that count once, the last one does.
    fn key(&mut self, key: &Key<'_>, is_last: bool, kind: &str) {
        // Here a percent sign is no specifier.
        let share = match key.name.as_str() {
            "MemoryMax" | "MemoryLimit" => Some(("memory_max", size(&key.value))),
            "MemoryHigh" => Some(("memory_high", size(&key.value))),
            "TasksMax" => Some(("pids_max", count(&key.value))),
            "IOWeight" => Some(("io_weight", count(&key.value))),
            "CPUQuota" => Some(("cpu_max", quota(&key.value))),
            _ => None,
        };
        if let Some((option, value)) = share {
            if is_last && !key.value.is_empty() {
                self.share(option, key, value);
            }
            return;
        }
        let value = match self.unit.expand(&key.value) {
            Ok(value) => value,
            Err(reason) => return self.watcher.note(format!("{}={}: {reason}", key.name, key.value)),
        };
        match key.name.as_str() {
            "Environment" => return self.environment(&key.value),
            "PassEnvironment" => {
                for name in value.split_whitespace() {
                    self.env.set(name, format!("$(circus.env.{name})"));
                }
                return;
            }
            "EnvironmentFile" => return self.environment_file(&value),
            name if name.starts_with("Exec") || matches!(name, "Type" | "Restart") || SILENT.contains(&name) => return,
            _ if value.is_empty() || !is_last => return,
            _ => {}
        }
        let watcher = &mut self.watcher;
        match key.name.as_str() {
            "User" => watcher.set("uid", value),
            "Group" => watcher.set("gid", value),
            "WorkingDirectory" => match value.trim_start_matches('-') {
                "~" => watcher.note("WorkingDirectory=~: write the home of the user as working_dir"),
                path => watcher.set("working_dir", path),
            },
            "TimeoutStopSec" | "TimeoutSec" => self.time("graceful_timeout", key),
            "TimeoutStartSec" if kind.starts_with("notify") => self.time("ready_timeout", key),
            "KillSignal" => watcher.set("stop_signal", value),
            "WatchdogSec" if value == "0" => {}
            "WatchdogSec" => {
                watcher.set("health", "watchdog");
                self.time("health_interval", key);
            }
            "NoNewPrivileges" => watcher.set("no_new_privs", if is_yes(&value) { "yes" } else { "no" }),
            "Nice" => watcher.set("nice", value),
            "OOMScoreAdjust" => watcher.set("oom_score_adj", value),
            "SuccessExitStatus" => {
                let (numbers, others): (Vec<&str>, Vec<&str>) =
                    value.split_whitespace().partition(|word| word.chars().all(|c| c.is_ascii_digit()));
                let codes: Vec<&str> =
                    std::iter::once("0").chain(numbers.into_iter().filter(|code| *code != "0")).collect();
                watcher.set("success_codes", codes.join(", "));
                if !others.is_empty() {
                    watcher.note(format!("SuccessExitStatus={}: success_codes takes numbers alone", others.join(" ")));
                }
            }
            "StandardOutput" | "StandardError" => output(watcher, &key.name, &value),
            name if name.starts_with(LIMIT) => match limit(&value) {
                Some(number) => watcher.set(&format!("rlimit_{}", name[LIMIT.len()..].to_lowercase()), number),
                None => watcher.note(format!("{name}={value}: not a number of processes, bytes or files")),
            },
            name => {
                let hint = HINTS.iter().find(|(known, _)| *known == name).map_or("has no equal", |(_, hint)| hint);
                watcher.note(format!("{name}={value}: {hint}"));
            }
        }
    }

    fn environment(&mut self, value: &str) {
        let words = match split(value) {
            Ok(words) => words,
            Err(reason) => return self.watcher.note(format!("Environment={value}: {reason}")),
        };
        for word in words {
            match (word.split_once('='), self.unit.expand(&word)) {
                (Some(_), Ok(word)) => {
                    let (name, value) = word.split_once('=').unwrap_or((&word, ""));
                    self.env.set_variable(name, value);
                }
                (None, _) => self.watcher.note(format!("Environment={word}: is not NAME=VALUE")),
                (_, Err(reason)) => self.watcher.note(format!("Environment={word}: {reason}")),
            }
        }
    }

    fn environment_file(&mut self, value: &str) {
        let path = value.trim_start_matches('-');
        match () {
            () if path.is_empty() => {}
            () if path.contains(['*', '?', '[']) => {
                self.watcher.note(format!("EnvironmentFile={value}: env_file is one file, without patterns"));
            }
            () if self.watcher.has("env_file") => {
                self.watcher.note(format!("EnvironmentFile={value}: env_file is one file"));
            }
            () => self.watcher.set("env_file", path),
        }
        if value.starts_with('-') {
            self.watcher.note(format!("EnvironmentFile={value}: env_file has to be there"));
        }
    }
}

/// Where a stream goes. By default systemd gives it to the journal, and circusd keeps its own.
fn output(watcher: &mut Section, name: &str, value: &str) {
    let stream = if name == "StandardOutput" { "stdout" } else { "stderr" };
    let file = ["file:", "append:", "truncate:"].iter().find_map(|prefix| value.strip_prefix(prefix));
    match (file, value) {
        (Some(path), _) => {
            watcher.set(&format!("{stream}_stream.class"), "FileStream");
            watcher.set(&format!("{stream}_stream.filename"), path);
        }
        (None, "null") => watcher.set(&format!("close_child_{stream}"), "yes"),
        (None, "syslog") => watcher.set(&format!("{stream}_stream.class"), "SyslogStream"),
        (None, "journal" | "journal+console") => watcher.set(&format!("{stream}_stream.class"), "JournalStream"),
        (None, "inherit") => {}
        (None, other) => watcher.note(format!("{name}={other}: has no equal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(name: &str, text: &str) -> String {
        let source = Source { name, text, directory: "/etc/systemd/system", cpus: 2, has_env_file: false };
        draft(&source).unwrap().to_string()
    }

    fn has(name: &str, text: &str, parts: &[&str]) {
        let made = import(name, text);
        for part in parts {
            assert!(made.contains(part), "{part}\n{made}");
        }
    }

    #[test]
    fn a_service_with_variables_as_debian_has_it() {
        has(
            "ssh.service",
            "[Unit]\nDescription=OpenBSD Secure Shell server\nAfter=network.target auditd.service\n\
             ConditionPathExists=!/etc/ssh/sshd_not_to_be_run\n\n[Service]\nEnvironmentFile=-/etc/default/ssh\n\
             ExecStartPre=/usr/sbin/sshd -t\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\nExecReload=/usr/sbin/sshd -t\n\
             ExecReload=/bin/kill -HUP $MAINPID\nKillMode=process\nRestart=on-failure\nRestartPreventExitStatus=255\n\
             Type=notify\nRuntimeDirectory=sshd\n\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n",
            &[
                "# OpenBSD Secure Shell server\n",
                "[watcher:ssh]\ncmd = exec /usr/sbin/sshd -D $SSHD_OPTS\nshell = yes\nready = notify\nrespawn = on-failure\n\
                 hooks.before_start = exec:/usr/sbin/sshd -t\n# ExecReload: ",
                "# After=network.target auditd.service: after = NAME",
                "# ConditionPathExists=!/etc/ssh/sshd_not_to_be_run: has no equal\n",
                "env_file = /etc/default/ssh\n# EnvironmentFile=-/etc/default/ssh: ",
                "kill_mode = process\n",
                "# RestartPreventExitStatus=255: has no equal\n",
                "graceful_timeout = 90\n",
                "[env:ssh]\nPATH = /usr/local/sbin:",
            ],
        );
    }

    #[test]
    fn priorities_and_limits_are_options() {
        let unit = |keys: &str| format!("[Service]\nExecStart=/bin/app\n{keys}");
        has(
            "app.service",
            &unit(
                "Nice=-5\nOOMScoreAdjust=500\nIOSchedulingClass=realtime\nIOSchedulingPriority=2\nCPUAffinity=9\n\
                 CPUAffinity=\nCPUAffinity=0 2\nCPUAffinity=4-6,8\nNoNewPrivileges=yes\nKillMode=control-group\n",
            ),
            &["nice = -5\noom_score_adj = 500\nno_new_privs = yes\nkill_mode = tree\nionice = realtime:2\n\
                 cpu_affinity = 0,2,4-6,8\n"],
        );
        has(
            "app.service",
            &unit("MemoryMax=2G\nMemoryHigh=1536M\nCPUQuota=150%\nTasksMax=64\nIOWeight=200\n"),
            &["# cgroup needs a control group that is delegated to circusd: docs/cgroups.md\ncgroup = yes\n\
                 memory_max = 2G\nmemory_high = 1536M\ncpu_max = 1.5\npids_max = 64\nio_weight = 200\n\
                 kill_mode = cgroup\n"],
        );
        for (keys, part) in [
            ("MemoryMax=20%\n", "# MemoryMax=20%: memory_max has no equal of it\n"),
            ("CPUQuota=0.5%\n", "# CPUQuota=0.5%: cpu_max has no equal of it\n"),
            ("CPUAffinity=numa\n", "# CPUAffinity=numa: "),
            ("IOSchedulingClass=3\n", "ionice = idle\n"),
            ("IOSchedulingPriority=7\n", "ionice = best-effort:7\n"),
            ("KillMode=none\n", "# KillMode=none: "),
            ("ExecStart=/bin/other\nType=oneshot\n", "stop_children = yes\n"),
        ] {
            has("app.service", &unit(keys), &[part]);
        }
        let nothing = import("app.service", &unit("MemoryMax=infinity\nTasksMax=infinity\nKillMode=mixed\n"));
        assert!(!nothing.contains("cgroup") && !nothing.contains("kill_mode"), "{nothing}");
        // The two are not for one watcher.
        let both = import("app.service", &unit("ExecStart=/bin/other\nType=oneshot\nKillMode=control-group\n"));
        assert!(both.contains("kill_mode = tree") && !both.contains("stop_children"), "{both}");
    }

    #[test]
    fn quotes_escapes_lines_and_specifiers() {
        has(
            "app@one.service",
            "[Service]\nExecStart=\nExecStart=-/bin/x ignored\nExecStart=\nExecStart=/usr/bin/app --name=%i \\\n\
             # a comment between\n    \"two words\" 'a\\x20b' \\\n    100%% $$5\n\
             Environment=\"A=b c\" 'PRICE=$5' D=%p\nEnvironment=E=f\nUser=www\nGroup=www\nWorkingDirectory=-/srv/%p\n\
             LimitNOFILE=65536:524288\nLimitCORE=infinity\nLimitMEMLOCK=64M\nTimeoutStopSec=1min 30s\nWatchdogSec=10\n\
             KillSignal=SIGINT\nKillMode=mixed\nSuccessExitStatus=143 SIGTERM\nStandardOutput=append:/var/log/app.log\n\
             StandardError=null\nNoNewPrivileges=true\nRestart=always\nProtectSystem=full\nPassEnvironment=LANG\nPATH=x\n",
            &[
                "[watcher:app-one]\ncmd = /usr/bin/app --name=one 'two words' 'a b' 100% '$5'\n",
                "uid = www\ngid = www\nworking_dir = /srv/app\nrlimit_nofile = 65536\nrlimit_core = \nrlimit_memlock = 67108864\n\
                 graceful_timeout = 90\nhealth = watchdog\nhealth_interval = 10\nstop_signal = SIGINT\n\
                 success_codes = 0, 143\n# SuccessExitStatus=SIGTERM: ",
                "stdout_stream.class = FileStream\nstdout_stream.filename = /var/log/app.log\nclose_child_stderr = yes\n\
                 no_new_privs = yes\n# ProtectSystem=full: has no equal\n",
                "[env:app-one]\nA = b c\nPRICE = $$5\nD = app\nE = f\nLANG = $(circus.env.LANG)\n",
            ],
        );
        assert!(!import("x.service", "[Service]\nExecStart=x\nRestart=always\n").contains("respawn"));
    }

    #[test]
    fn services_that_run_once_and_commands_in_turn() {
        has(
            "setup.service",
            "[Service]\nType=oneshot\nExecStartPre=-/bin/mkdir /x\nExecStartPre=/bin/y ${A}b\nExecStart=/bin/a\n\
             ExecStart=/bin/b $C\nExecStop=/bin/kill $MAINPID\nExecStart=!/bin/c\n",
            &[
                "cmd = /bin/a && /bin/b $C && /bin/c\nshell = yes\nkind = oneshot\n",
                "stop_children = yes\n",
                "hooks.before_start = exec:sh -c '{ /bin/mkdir /x || true; } && /bin/y \"${A}\"b'\n",
                "# ExecStop: hooks do not know $MAINPID: ",
                "# ExecStart=!/bin/c: the prefix ! has no equal\n",
            ],
        );
        has(
            "nginx.service",
            "[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStart=/usr/sbin/nginx\n\
             ExecReload=/bin/kill -s HUP $MAINPID\nTimeoutStopSec=infinity\nRestart=on-abnormal\nExecStart=%H\n",
            &[
                "# Type=forking: ",
                "# PIDFile=/run/nginx.pid: ",
                "send_hup = yes\n",
                "graceful_timeout = 86400\n",
                "# Restart=on-abnormal: on-failure comes nearest\n",
                "# ExecStart=%H: %H has no equal\n",
            ],
        );
        assert!(
            draft(&Source {
                name: "a.socket",
                text: "[Socket]\nListenStream=1\n",
                directory: "/",
                cpus: 1,
                has_env_file: false
            })
            .is_err()
        );
    }

    #[test]
    fn times_limits_and_words() {
        assert_eq!(
            ["5min 20s", "90", "1h", "500ms", "infinity"].map(|text| seconds(text).unwrap()),
            [Some(320.0), Some(90.0), Some(3600.0), Some(0.5), None]
        );
        assert!(seconds("soon").is_err() && seconds("5 parsecs").is_err());
        assert_eq!(
            [limit("1G"), limit("infinity"), limit("x")],
            [Some("1073741824".into()), Some(String::new()), None]
        );
        assert!(split("'a").is_err() && split("a\\").is_err() && split("\\xzz").is_err());
        assert_eq!(pieces("$A$B"), [Piece::Text("$A$B".into())]);
    }
}

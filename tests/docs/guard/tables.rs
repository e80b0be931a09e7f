//! The generated tables of `docs/`, as the library's own tables have them.

use circus::commands::{COMMANDS, CommandSpec, synopsis};
use circus::config::options::{CIRCUS_OPTIONS, Effect, OptionSpec, SOCKET_OPTIONS, Setting, Support, WATCHER_OPTIONS};

use crate::compatibility;

/// A generated block: the page it stands in, its name, its text.
pub(crate) struct Block {
    pub(crate) page: &'static str,
    pub(crate) name: &'static str,
    pub(crate) body: String,
}

/// Every block that is generated.
pub(crate) fn blocks() -> Vec<Block> {
    let block = |page, name, body| Block { page, name, body };
    vec![
        block("docs/commands.md", "commands", commands(COMMANDS)),
        block("docs/options.md", "watcher options", watcher_options(WATCHER_OPTIONS)),
        block("docs/options.md", "circus options", settings(CIRCUS_OPTIONS)),
        block("docs/options.md", "socket options", settings(SOCKET_OPTIONS)),
        block("docs/compatibility.md", "compatibility", compatibility::block()),
    ]
}

fn commands(specs: &[CommandSpec]) -> String {
    let rows = specs.iter().map(|spec| {
        let words = code(&synopsis(spec).replace(" [--waiting]", ""));
        let waits = if spec.waiting.is_offered() { "yes" } else { "" };
        [words, spec.summary.to_owned(), waits.to_owned()]
    });
    table(["command", "what it does", "`--waiting`"], rows)
}

fn watcher_options(specs: &[OptionSpec]) -> String {
    let rows = specs.iter().map(|spec| {
        let meaning = meaning(spec.doc, spec.support);
        let changed = match spec.effect {
            _ if matches!(spec.support, Support::Refused(_)) => "",
            Effect::Nothing => "keeps the workers",
            Effect::Numprocesses => "starts or stops workers",
            Effect::Reload => "replaces the workers",
            Effect::Stream => "reopens the stream",
        };
        [code(spec.key), measured(spec), default(spec.default), meaning, changed.to_owned()]
    });
    table(["option", "type", "default", "meaning", "`set`"], rows)
}

fn settings<C>(settings: &[Setting<C>]) -> String {
    let rows = settings.iter().map(|setting| {
        let meaning = meaning(setting.doc, setting.support);
        [code(setting.key), setting.kind.describe().to_owned(), default(setting.default), meaning]
    });
    table(["option", "type", "default", "meaning"], rows)
}

fn meaning(doc: &str, support: Support) -> String {
    match support {
        Support::Works => doc.to_owned(),
        Support::Ignored(reason) => format!("{doc} *Accepted, but it {reason}.*"),
        Support::Refused(reason) => format!("{doc} *Refused: \"{reason}\".*"),
    }
}

/// The type, and what a number counts.
fn measured(spec: &OptionSpec) -> String {
    match (spec.kind.describe(), spec.unit) {
        (kind, "") => kind.to_owned(),
        (kind, unit) if kind.contains(unit) => kind.to_owned(),
        (kind, unit) => format!("{kind} of {unit}"),
    }
}

fn default(text: &str) -> String {
    if text.is_empty() { String::new() } else { code(text) }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A table of Markdown.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let cell = |text: String| text.replace('|', "\\|").replace("<", "&lt;");
    let head = line(&head.map(str::to_owned));
    let rule = line(&[(); N].map(|()| "---".to_owned()));
    let rows: String = rows.map(|row| line(&row.map(cell))).collect();
    format!("{head}{rule}{rows}")
}

/// What has no documentation: names of which one of the texts is missing or is no sentence.
pub(crate) fn undocumented<'a>(items: impl Iterator<Item = (&'a str, Vec<&'a str>)>) -> Vec<String> {
    let is_bad = |text: &&str| text.trim().len() < 10 || !text.trim_end().ends_with(['.', '?', '!']);
    let bad = items.filter_map(|(name, texts)| texts.iter().any(is_bad).then(|| name.to_owned()));
    bad.map(|name| format!("{name}: is not documented in full sentences")).collect()
}

/// Every command and option with the texts that it must have.
pub(crate) fn documented() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let commands = COMMANDS.iter().map(|spec| {
        let properties = spec.all_properties().map(|property| property.doc);
        (spec.name, [spec.doc.purpose, spec.doc.reply].into_iter().chain(properties).collect())
    });
    let watchers = WATCHER_OPTIONS.iter().map(|spec| (spec.key, vec![spec.doc]));
    let circus = CIRCUS_OPTIONS.iter().map(|setting| (setting.key, vec![setting.doc]));
    let sockets = SOCKET_OPTIONS.iter().map(|setting| (setting.key, vec![setting.doc]));
    commands.chain(watchers).chain(circus).chain(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let rows = [["a|b".to_owned(), "c".to_owned()]];
        assert_eq!(table(["x", "y"], rows.into_iter()), "| x | y |\n| --- | --- |\n| a\\|b | c |\n");
    }

    #[test]
    fn every_entry_has_its_row() {
        for Block { name, body: text, .. } in blocks().into_iter().filter(|block| block.name != "compatibility") {
            let keys: Vec<&str> = match name {
                "commands" => COMMANDS.iter().map(|spec| spec.name).collect(),
                "watcher options" => WATCHER_OPTIONS.iter().map(|spec| spec.key).collect(),
                "circus options" => CIRCUS_OPTIONS.iter().map(|setting| setting.key).collect(),
                _ => SOCKET_OPTIONS.iter().map(|setting| setting.key).collect(),
            };
            assert_eq!(text.lines().count(), keys.len() + 2, "{name}");
            for (line, key) in text.lines().skip(2).zip(keys) {
                assert!(line.starts_with(&format!("| `{key}")), "{line}");
            }
        }
    }

    #[test]
    fn what_is_refused_says_so() {
        assert_eq!(meaning("A.", Support::Refused("not yet")), "A. *Refused: \"not yet\".*");
        assert_eq!(meaning("A.", Support::Ignored("has no effect")), "A. *Accepted, but it has no effect.*");
    }

    #[test]
    fn missing_documentation_is_found() {
        let items = [("good", vec!["Says what it is."]), ("empty", vec![""]), ("half", vec!["Says it.", "a thing"])];
        let found = undocumented(items.into_iter());
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("empty:") && found[1].starts_with("half:"));
    }
}

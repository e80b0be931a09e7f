//! Help, put together from the table.

use super::{COMMANDS, CommandSpec, ConsoleOption};

/// A command's form on the command line: `incr NAME... [N] [--waiting]`.
pub fn synopsis(spec: &CommandSpec) -> String {
    let mut words = vec![spec.name.to_owned()];
    if !spec.console.form.is_empty() {
        words.push(spec.console.form.to_owned());
    }
    words.extend(spec.all_options().map(|option| format!("[{}]", briefly(option))));
    words.join(" ")
}

/// As short as it can be written.
fn briefly(option: &ConsoleOption) -> String {
    let name = option.short.map_or_else(|| format!("--{}", option.name), |letter| format!("-{letter}"));
    match option.value {
        Some(value) => format!("{name} {value}"),
        None => name,
    }
}

/// In every way it can be written.
fn spelled(option: &ConsoleOption) -> String {
    let letter = option.short.map_or_else(String::new, |letter| format!("-{letter}, "));
    match option.value {
        Some(value) => format!("{letter}--{} {value}", option.name),
        None => format!("{letter}--{}", option.name),
    }
}

/// Everything about one command.
pub fn command_help(spec: &CommandSpec) -> String {
    let doc = &spec.doc;
    let mut out = format!("{}\n{}\n\n{}\n", spec.summary, "=".repeat(spec.summary.len()), filled(doc.purpose, 0));
    section(&mut out, "Command line", &format!("    circusctl {}\n", synopsis(spec)));
    let options = entries(spec.all_options().map(|option| (spelled(option), option.doc.to_owned())));
    section(&mut out, "Options", &options);
    section(&mut out, "Message", &format!("    {}\n", doc.message));
    let properties = spec.all_properties().map(|property| {
        let need = if property.required { ", required" } else { "" };
        (property.name.to_owned(), format!("({}{need}) {}", property.kind.describe(), property.doc))
    });
    section(&mut out, "Properties", &entries(properties));
    section(&mut out, "Reply", &format!("    {}\n\n{}\n", doc.answer, filled(doc.reply, 0)));
    section(&mut out, "Example", &format!("    $ circusctl {}\n", doc.example));
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        out.push_str(&format!("\n{title}\n{}\n\n{body}", "-".repeat(title.len())));
    }
}

/// Terms and their descriptions, a paragraph each.
fn entries(items: impl Iterator<Item = (String, String)>) -> String {
    items.map(|(term, text)| format!("    {term}\n{}\n", filled(&text, 8))).collect()
}

/// A line for each command: its name and summary.
pub fn command_list() -> String {
    COMMANDS.iter().map(|spec| format!("  {:<21} {}\n", spec.name, spec.summary)).collect()
}

/// Text in lines of at most 79 columns, each indented.
fn filled(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= 79 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find;

    #[test]
    fn the_synopsis_shows_words_and_options() {
        let shown = |name| synopsis(find(name).unwrap());
        assert_eq!(shown("numwatchers"), "numwatchers");
        assert_eq!(shown("incr"), "incr NAME... [N] [--waiting]");
        assert_eq!(shown("kill"), "kill NAME... [PID] [--signum S] [--graceful_timeout T] [--waiting]");
    }

    #[test]
    fn help_has_every_section_and_narrow_prose() {
        let help = command_help(find("decr").unwrap());
        let begin = "Stop processes of a watcher and lower its numprocesses\n======================================================\n\n";
        assert!(help.starts_with(begin), "{help}");
        for part in [
            "    circusctl decr NAME... [N] [--waiting]\n",
            "    name\n        (string, required) The watcher's name.\n",
            "    waiting\n        (boolean) Answer when",
        ] {
            assert!(help.contains(part), "{part}");
        }
        assert!(!help.contains("role"), "nothing tells clients apart by roles: {help}");
        let wide = help.lines().filter(|line| line.len() > 79 && !line.contains('{')).count();
        assert_eq!(wide, 0, "{help}");
    }

    #[test]
    fn the_list_has_a_line_for_each_command() {
        let list = command_list();
        assert_eq!(list.lines().count(), COMMANDS.len());
        assert!(list.contains("  add                   Add a watcher\n"));
        assert!(list.contains("  listsockets           List the managed sockets\n"));
    }
}

//! Help, put together from the table.

use super::{COMMANDS, CommandSpec, ConsoleOption};

/// A command's form on the command line: `incr NAME [N] [--waiting]`.
pub fn synopsis(spec: &CommandSpec) -> String {
    let mut words = vec![spec.name.to_owned()];
    if !spec.console.form.is_empty() {
        words.push(spec.console.form.to_owned());
    }
    words.extend(spec.all_options().map(|option| format!("[{}]", spelled(option))));
    words.join(" ")
}

fn spelled(option: &ConsoleOption) -> String {
    match option.value {
        Some(value) => format!("--{} {value}", option.name),
        None => format!("--{}", option.name),
    }
}

/// Everything about one command.
pub fn command_help(spec: &CommandSpec) -> String {
    let doc = &spec.doc;
    let mut out = format!("{}\n{}\n\n{}\n", spec.summary, "=".repeat(spec.summary.len()), doc.purpose);
    let options = entries(spec.all_options().map(|option| (spelled(option), option.doc.to_owned())));
    section(&mut out, "Command line", &format!("    circusctl {}\n{options}", synopsis(spec)));
    section(&mut out, "Message", &format!("    {}\n", doc.message));
    let properties = spec.all_properties().map(|property| {
        let need = if property.required { ", required" } else { "" };
        (property.name.to_owned(), format!("({}{need}) {}", property.kind.describe(), property.doc))
    });
    section(&mut out, "Properties", &entries(properties));
    section(&mut out, "Reply", &format!("    {}\n\n{}\n", doc.answer, doc.reply));
    section(&mut out, "Example", &format!("    $ circusctl {}\n", doc.example));
    section(&mut out, "Role", &format!("A client needs the role {}.\n", spec.role.name()));
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        out.push_str(&format!("\n{title}\n{}\n\n{body}", "-".repeat(title.len())));
    }
}

/// Terms and their descriptions, a paragraph each.
fn entries(items: impl Iterator<Item = (String, String)>) -> String {
    items.map(|(term, text)| format!("    {term}\n        {text}\n")).collect()
}

/// A line for each command: its name and summary.
pub fn command_list() -> String {
    COMMANDS.iter().map(|spec| format!("  {:<21} {}\n", spec.name, spec.summary)).collect()
}

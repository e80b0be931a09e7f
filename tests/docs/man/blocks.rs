//! The generated parts of the pages about programs and files.

use circus::commands::{COMMANDS, CommandSpec, ConsoleOption, synopsis};
use circus::config::options::{
    CIRCUS_OPTIONS, Effect, Kind, OptionSpec, SOCKET_OPTIONS, Setting, Support, WATCHER_OPTIONS,
};
use circus::config::{BUILTINS, Builtin, PLUGIN_KEYS, PluginKey};
use circus_ctl::GLOBAL_OPTIONS;

use crate::examples;
use crate::roff::{bold, entry, example, form, italic, line, nested_example};

/// The options of circusd.
pub(crate) fn arguments(mut command: clap::Command) -> String {
    // Only then it knows of --help.
    command.build();
    let arguments = command.get_arguments().filter_map(|argument| {
        let long = argument.get_long()?;
        let help = argument.get_help()?.to_string();
        let takes_value = argument.get_action().takes_values();
        let value = argument.get_value_names().and_then(|names| names.first()).filter(|_| takes_value);
        let term = match value {
            Some(value) => format!("{} {}", bold(&format!("--{long}")), italic(value)),
            None => bold(&format!("--{long}")),
        };
        Some(entry(&term, &line(&sentence(&help))))
    });
    arguments.collect()
}

/// Help texts are no sentences, manuals are made of them.
fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// The options of circusctl itself.
pub(crate) fn console_options() -> String {
    GLOBAL_OPTIONS.iter().map(|option| entry(&spelled(option), &line(&sentence(option.doc)))).collect()
}

fn spelled(option: &ConsoleOption) -> String {
    let letter = option.short.map_or_else(String::new, |letter| format!("{}, ", bold(&format!("-{letter}"))));
    match option.value {
        Some(value) => format!("{letter}{} {}", bold(&format!("--{}", option.name)), italic(value)),
        None => format!("{letter}{}", bold(&format!("--{}", option.name))),
    }
}

/// The commands of circusctl.
pub(crate) fn console_commands() -> String {
    COMMANDS.iter().map(console_command).collect()
}

fn console_command(spec: &CommandSpec) -> String {
    let options: String =
        spec.all_options().map(|option| entry(&spelled(option), &line(&sentence(option.doc)))).collect();
    let options = if options.is_empty() { options } else { format!(".RS 4\n{options}.RE\n") };
    let about = format!(".RS 4\n{}.RE\n", line(spec.doc.purpose));
    let shown = example(&format!("circusctl {}", spec.doc.example));
    format!(".SS {}\n{}\n{about}{options}{shown}", spec.name, form(&synopsis(spec)))
}

/// The options of `[watcher:NAME]`.
pub(crate) fn watcher_options() -> String {
    WATCHER_OPTIONS.iter().map(watcher_option).collect()
}

fn watcher_option(spec: &OptionSpec) -> String {
    let mut body = meaning(spec.doc, spec.support);
    if !matches!(spec.support, Support::Refused(_)) {
        body.push_str(&line(match spec.effect {
            Effect::Nothing => "Changing it with set needs no new workers.",
            Effect::Numprocesses => "Changing it with set starts or stops workers.",
            Effect::Reload => "Changing it with set replaces the workers.",
            Effect::Stream => "Changing it with set reopens the stream.",
        }));
        body.push_str(&match examples::written(spec) {
            Some((key, value)) => nested_example(&format!("{key} = {value}")),
            None if spec.kind == Kind::Env => {
                nested_example(&format!("circusctl set web {} {}", spec.key, spec.example))
            }
            None => nested_example(&format!("{{\"{}\": {}}}", spec.key, spec.example)),
        });
    }
    entry(&term(spec.key, spec.kind, spec.unit, spec.default), &body)
}

/// The options of `[circus]`.
pub(crate) fn circus_options() -> String {
    settings(CIRCUS_OPTIONS)
}

/// The options of `[socket:NAME]`.
pub(crate) fn socket_options() -> String {
    settings(SOCKET_OPTIONS)
}

fn settings<C>(settings: &[Setting<C>]) -> String {
    let entries = settings.iter().map(|setting| {
        let mut body = meaning(setting.doc, setting.support);
        if setting.support == Support::Works {
            body.push_str(&nested_example(&format!("{} = {}", setting.key, setting.example)));
        }
        entry(&term(setting.key, setting.kind, "", setting.default), &body)
    });
    entries.collect()
}

/// An option's name, type and default.
fn term(key: &str, kind: Kind, unit: &str, default: &str) -> String {
    let kind = match kind.describe() {
        kind if unit.is_empty() || kind.contains(unit) => kind.to_owned(),
        kind => format!("{kind} of {unit}"),
    };
    let default = if default.is_empty() { String::new() } else { format!("; default {}", bold(default)) };
    format!("{} ({}{default})", bold(key), italic(&kind))
}

fn meaning(doc: &str, support: Support) -> String {
    match support {
        Support::Works => line(doc),
        Support::Ignored(reason) => line(&format!("{doc} Accepted, but it {reason}.")),
        Support::Refused(reason) => line(&format!("{doc} Refused: {reason}.")),
    }
}

/// The plugins that come with circusd.
pub(crate) fn plugins() -> String {
    BUILTINS.iter().map(plugin).collect()
}

fn plugin(builtin: &Builtin) -> String {
    let mut out = format!(".SS {}\n{}", builtin.name, line(builtin.about));
    if let Some(class) = builtin.class {
        out.push_str(&line(&format!("In Circus it is {class}.")));
    }
    out.extend(builtin.keys.iter().map(plugin_key));
    out
}

/// The keys of every plugin.
pub(crate) fn plugin_keys() -> String {
    PLUGIN_KEYS.iter().map(plugin_key).collect()
}

fn plugin_key(key: &PluginKey) -> String {
    let default = if key.default.is_empty() { String::new() } else { format!(" (default {})", bold(key.default)) };
    entry(&format!("{}{default}", bold(key.name)), &line(key.doc))
}

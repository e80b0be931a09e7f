//! The fixed texts of circusctl.

use std::time::Duration;

use super::globals::GLOBAL_OPTIONS;
use super::{Exit, Outcome};
use circus_client::ClientError;
use circus_core::commands::{self, CommandSpec, UsageError};

/// The first line of help and of every syntax error.
pub(super) const USAGE: &str = "usage: circusctl [options] command [args]";

/// `circusctl VERSION`
pub(super) const VERSION: &str = concat!("circusctl ", env!("CARGO_PKG_VERSION"));

// The wording is Circus's: scripts and people look for it.
const TIMED_OUT: &str = "\
Timed out.
A time out usually happens in one of those cases:

#1 The Circus daemon could not be reached.
#2 The Circus daemon took too long to perform the operation

For #1, make sure you are hitting the right place
by checking your --endpoint option.

For #2, if you are not expecting a result to
come back, increase your timeout option value
(particularly with waiting switches)
";

/// An abstract endpoint has no file whose mode says which users may connect: circusd takes no connection of others there.
const ABSTRACT: &str = " At an abstract endpoint circusd answers its own user and root alone.";

/// What is said where there is no reply.
pub(super) fn no_reply(error: &ClientError, endpoint: &str, limit: Option<Duration>) -> String {
    match error {
        ClientError::Timeout { limit, .. } => format!(
            "{TIMED_OUT}\n{endpoint} was reached, but did not answer within {} s. --timeout waits longer; the command \
             may still be carried out.{}\n",
            limit.as_secs_f64(),
            if endpoint.starts_with("ipc://@") { ABSTRACT } else { "" }
        ),
        // A limit was given, and the whole of it was waited.
        ClientError::Unreachable { .. } if limit.is_some() => format!("{TIMED_OUT}\n{error}. {ANOTHER}\n"),
        ClientError::Unreachable { .. } => format!("error: {error}. {ANOTHER}\n"),
        ClientError::Interrupted { .. } | ClientError::Barred { .. } | ClientError::NoKeys(_) => {
            format!("error: {error}.\n")
        }
        ClientError::Garbled { .. } | ClientError::Unusable(_) | ClientError::NoTunnel(_) | ClientError::NoHost(_) => {
            unusable(endpoint, error)
        }
    }
}

/// What is said when an endpoint cannot be used at all.
pub(super) fn unusable(endpoint: &str, error: &ClientError) -> String {
    match error {
        ClientError::Unusable(reason) => {
            format!("error: cannot use the endpoint {endpoint}: {reason}. {ANOTHER}\n")
        }
        ClientError::NoTunnel(_) | ClientError::NoHost(_) => format!("error: {error}\n"),
        ClientError::Barred { .. } | ClientError::NoKeys(_) => format!("error: {error}.\n"),
        error => format!("error: {error}. {ANOTHER}\n"),
    }
}

const ANOTHER: &str = "--endpoint or CIRCUSCTL_ENDPOINT names another one.";

/// The help of circusctl itself.
pub(super) fn help() -> String {
    let mut out =
        format!("{USAGE}\n\ncircusctl: controls a running circusd\n\nCommands:\n{}", commands::command_list());
    for (name, summary) in [
        ("completion", "Print the completion script for bash, fish or zsh"),
        ("help", "Show the help of a command, or this"),
        super::import::SUMMARY,
        super::keygen::SUMMARY,
        ("schema", "Print the JSON schema of a configuration in JSON or TOML"),
    ] {
        out.push_str(&format!("  {name:<21} {summary}\n"));
    }
    out.push_str("\noptions:\n");
    for option in GLOBAL_OPTIONS {
        let term = match option.value {
            Some(value) => format!("--{} {value}", option.name),
            None => format!("--{}", option.name),
        };
        out.push_str(&format!("  {term:<25} {}\n", option.doc));
    }
    out.push_str(
        "\nOptions may stand before or after the command, '--' before a name that begins with a dash. Most commands \
        take\nseveral names, and patterns such as 'web*'. 'circusctl help COMMAND' explains a command; without a \
        command\ncircusctl reads commands from its input.\n\nexit status:\n  0  done\n  1  wrong arguments, no \
        connection to circusd, or no answer in time\n  2  an unknown command or option\n  3  circusd refused the \
        command, or the command failed (with --waiting)\n",
    );
    out
}

/// What a syntax error prints; it was found in the options of this command.
pub(super) fn syntax(reason: &str, spec: Option<&CommandSpec>) -> String {
    let usage = spec.map_or_else(|| USAGE.to_owned(), usage);
    format!("{usage}\ncircusctl: error: {reason}\n")
}

/// What is said of arguments that a command cannot take.
pub(super) fn usage_error(spec: &CommandSpec, error: &UsageError) -> Outcome {
    Outcome::failed(Exit::Failure, format!("{error}\n{}\n", usage(spec)))
}

fn usage(spec: &CommandSpec) -> String {
    format!("usage: circusctl {}", commands::synopsis(spec))
}

#[cfg(test)]
mod tests {
    use circus_client::endpoint::Trouble;

    use super::*;

    #[test]
    fn missing_reply_keeps_text_and_names_endpoint() {
        let endpoint = "tcp://127.0.0.1:5555".to_owned();
        let limit = Duration::from_secs(7);
        let timeout = ClientError::Timeout { endpoint: endpoint.clone(), limit };
        let refused = ClientError::Unreachable { endpoint, trouble: Some(Trouble::Refused) };
        for (error, ours) in [
            (&timeout, "tcp://127.0.0.1:5555 was reached, but did not answer within 7 s. --timeout waits longer"),
            (&refused, "cannot connect to tcp://127.0.0.1:5555: connection refused: no circusd listens there. --"),
        ] {
            let text = no_reply(error, "tcp://127.0.0.1:5555", Some(limit));
            assert!(text.starts_with("Timed out.\nA time out usually happens in one of those cases:\n\n#1 "), "{text}");
            assert!(text.contains("(particularly with waiting switches)\n\n"), "{text}");
            assert!(text.contains(ours), "{text}");
        }
        assert!(!no_reply(&timeout, "ipc:///run/c", None).contains("abstract"));
        let closed = no_reply(&timeout, "ipc://@c", None);
        assert!(
            closed.ends_with(" At an abstract endpoint circusd answers its own user and root alone.\n"),
            "{closed}"
        );
        let at_once = no_reply(&refused, "tcp://127.0.0.1:5555", None);
        assert!(at_once.starts_with("error: cannot connect to tcp://127.0.0.1:5555: connection refused"), "{at_once}");
    }

    #[test]
    fn help_lists_commands_and_options() {
        let text = help();
        assert!(text.starts_with(
            "usage: circusctl [options] command [args]\n\ncircusctl: controls a running circusd\n\nCommands:\n  add "
        ));
        for option in GLOBAL_OPTIONS {
            assert!(text.contains(&format!("  --{}", option.name)), "{}", option.name);
        }
    }
}

//! The fixed texts of circusctl.

use std::time::Duration;

use super::CallError;
use super::globals::GLOBAL_OPTIONS;
use circus_core::commands;

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

/// What is said where there is no reply.
pub(super) fn no_reply(error: &CallError, endpoint: &str, timeout: Duration) -> String {
    let seconds = timeout.as_secs();
    match error {
        CallError::TimedOut => format!(
            "{TIMED_OUT}\n{endpoint} was reached, but did not answer within {seconds} s. --timeout waits longer; the \
             command may still be carried out.\n"
        ),
        CallError::Unreachable => format!(
            "{TIMED_OUT}\nno connection to {endpoint} within {seconds} s. Is circusd running there? {ANOTHER}\n"
        ),
        CallError::Failed(_) | CallError::NoTunnel(_) => unusable(endpoint, error),
    }
}

/// What is said when an endpoint cannot be used at all.
pub(super) fn unusable(endpoint: &str, error: &CallError) -> String {
    match error {
        CallError::NoTunnel(reason) => format!("error: --ssh: {reason}\n"),
        error => format!("error: cannot use the endpoint {endpoint}: {error}. {ANOTHER}\n"),
    }
}

const ANOTHER: &str = "--endpoint or CIRCUSCTL_ENDPOINT names another one.";

/// The help of circusctl itself.
pub(super) fn help() -> String {
    let mut out = format!("{USAGE}\n\nControls a Circus daemon\n\nCommands:\n{}\noptions:\n", commands::command_list());
    for option in GLOBAL_OPTIONS {
        let term = match option.value {
            Some(value) => format!("--{} {value}", option.name),
            None => format!("--{}", option.name),
        };
        out.push_str(&format!("  {term:<25} {}\n", option.doc));
    }
    out.push_str(
        "\nOptions may stand before or after the command. 'circusctl help COMMAND' tells all about a command;\n",
    );
    out.push_str("without a command circusctl reads commands from its input.\n");
    out
}

/// What a syntax error prints.
pub(super) fn syntax(reason: &str) -> String {
    format!("{USAGE}\ncircusctl: error: {reason}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_reply_keeps_the_known_text_and_names_the_endpoint() {
        for (error, ours) in [
            (
                CallError::TimedOut,
                "tcp://127.0.0.1:5555 was reached, but did not answer within 5 s. --timeout waits longer",
            ),
            (CallError::Unreachable, "no connection to tcp://127.0.0.1:5555 within 5 s. Is circusd running there?"),
        ] {
            let text = no_reply(&error, "tcp://127.0.0.1:5555", Duration::from_secs(5));
            assert!(text.starts_with("Timed out.\nA time out usually happens in one of those cases:\n\n#1 "), "{text}");
            assert!(text.contains("(particularly with waiting switches)\n\n"), "{text}");
            assert!(text.contains(ours), "{text}");
        }
    }

    #[test]
    fn help_lists_commands_and_options() {
        let text = help();
        assert!(
            text.starts_with(
                "usage: circusctl [options] command [args]\n\nControls a Circus daemon\n\nCommands:\n  add "
            )
        );
        for option in GLOBAL_OPTIONS {
            assert!(text.contains(&format!("  --{}", option.name)), "{}", option.name);
        }
    }
}

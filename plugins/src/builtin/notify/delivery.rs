//! How a message reaches a person: a command that reads it, or a POST.
#![expect(clippy::disallowed_methods, reason = "it runs the command of the section, in the plugin's own process")]

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use circus_core::config::split_words;
use circus_plugin_sdk::Settings;
use ureq::Agent;

use crate::support::http_agent::agent;

/// What is kept of what a command that fails says.
const LONGEST_COMPLAINT: u64 = 1000;

/// See the module.
pub(super) enum Delivery {
    Command { argv: Vec<String>, timeout: Duration },
    Post { agent: Agent, url: String, content_type: String },
}

impl Delivery {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let timeout = settings.seconds("timeout")?;
        match (settings.text("command"), settings.text("url")) {
            (None, None) => Err("either command or url is needed".into()),
            (Some(_), Some(_)) => Err("either command or url is needed, and not both".into()),
            (Some(command), None) => {
                let argv = split_words(command).map_err(|error| format!("command {error}"))?;
                Ok(Self::Command { argv, timeout })
            }
            (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                let content_type = settings.needed("content_type")?.to_owned();
                Ok(Self::Post { agent: agent(timeout), url: url.to_owned(), content_type })
            }
            (None, Some(url)) => Err(format!("url: '{url}' begins neither with http:// nor with https://")),
        }
    }

    /// Whether values in the message are to be escaped.
    pub(super) fn takes_json(&self) -> bool {
        matches!(self, Self::Post { content_type, .. } if content_type.contains("json"))
    }

    /// Delivers a message. Says why it could not.
    pub(super) fn deliver(&self, text: &str) -> Option<String> {
        match self {
            Self::Command { argv, timeout } => run(argv, text, *timeout).err(),
            Self::Post { agent, url, content_type } => match agent.post(url).content_type(content_type).send(text) {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
                Err(error) => Some(error.to_string()),
            },
        }
    }
}

/// Runs a command with a text as its standard input. It may take so long.
fn run(argv: &[String], text: &str, timeout: Duration) -> Result<(), String> {
    let Some((program, args)) = argv.split_first() else { return Err("the command is empty".into()) };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read is none the worse; a pipe holds any message that is not absurd.
        drop(input.write_all(text.as_bytes()));
    }
    let ended = wait(&mut child, timeout);
    let status = match ended {
        Some(status) => status,
        None => {
            drop(child.kill());
            drop(child.wait());
            return Err(format!("the command took longer than {} s", timeout.as_secs_f64()));
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut complaint = Vec::new();
    if let Some(errors) = child.stderr.take() {
        drop(errors.take(LONGEST_COMPLAINT).read_to_end(&mut complaint));
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&complaint).trim()))
}

fn wait(child: &mut Child, timeout: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < timeout => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_that_hangs_is_ended() {
        let argv = ["sh", "-c", "exec sleep 1000"].map(str::to_owned);
        let error = run(&argv, "text", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error, "the command took longer than 0.05 s");
        assert!(
            run(&["/nonexistent".to_owned()], "", Duration::from_secs(1)).unwrap_err().starts_with("/nonexistent: ")
        );
    }
}

//! circusctl from its command line to its exit status: the edge of the program.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use circus_client::{HOST_VARIABLE, KeyNames};

use crate::{AutoComplete, Environment, Look, Network, Streams, run};

/// circusctl.
pub fn main() -> ExitCode {
    let environment = environment();
    let mut streams =
        Streams { input: &mut io::stdin().lock(), output: &mut io::stdout().lock(), errors: &mut io::stderr().lock() };
    let mut network = match Network::new() {
        Ok(network) => network,
        Err(error) => {
            let _ = writeln!(streams.errors, "circusctl: error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(std::env::args_os().skip(1), environment, &mut streams, &mut network) {
        Ok(exit) => ExitCode::from(exit.code()),
        // The reader of our output has closed it: it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error fails too, the error cannot be reported.
            let _ = writeln!(streams.errors, "circusctl: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What circusctl takes from its surroundings.
#[expect(clippy::disallowed_methods, reason = "the edge of the program: the environment is read here and nowhere else")]
fn environment() -> Environment {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let auto_complete = variable("AUTO_COMPLETE").map(|_| AutoComplete {
        words: variable("COMP_WORDS").unwrap_or_default(),
        word: variable("COMP_CWORD").and_then(|number| number.trim().parse().ok()).unwrap_or_default(),
    });
    let colour = variable("NO_COLOR").is_none() && variable("TERM").is_none_or(|term| term != "dumb");
    Environment {
        endpoint: variable("CIRCUSCTL_ENDPOINT"),
        host: variable(HOST_VARIABLE),
        keys: KeyNames::of_environment(variable),
        id_prefix: random_id(),
        interactive: io::stdin().is_terminal() && io::stdout().is_terminal(),
        look: Look {
            tables: io::stdout().is_terminal(),
            colour: colour && io::stdout().is_terminal(),
            coloured_errors: colour && io::stderr().is_terminal(),
        },
        auto_complete,
    }
}

/// 128 bits that no other client draws; the standard library seeds its hashers from the kernel.
fn random_id() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

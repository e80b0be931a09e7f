//! circusctl: controls a Circus daemon.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::process::ExitCode;

use circus::ctl::{self, CallError, Connector, Environment, Streams, Subscription, Transport};

fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: the environment is read here and nowhere else"
    )]
    let endpoint = std::env::var("CIRCUSCTL_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    let environment = Environment { endpoint, id_prefix: random_id() };
    let mut streams =
        Streams { input: &mut io::stdin().lock(), output: &mut io::stdout().lock(), errors: &mut io::stderr().lock() };
    match ctl::run(std::env::args_os().skip(1), environment, &mut streams, &mut Network) {
        Ok(exit) => ExitCode::from(exit.code()),
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error fails too, there is nobody left to tell.
            let _ = writeln!(streams.errors, "circusctl: error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// 128 bits that no other client draws; the standard library seeds its hashers from the kernel.
fn random_id() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

/// ZeroMQ. Its sockets come with `net::dealer`; until then every endpoint is refused, with this reason.
struct Network;

const NOT_YET: &str = "this build cannot speak ZeroMQ yet";

impl Connector for Network {
    fn control(&mut self, _endpoint: &str) -> Result<Box<dyn Transport>, CallError> {
        Err(CallError::Failed(NOT_YET.into()))
    }

    fn subscribe(&mut self, _endpoint: &str, _topics: &[String]) -> Result<Box<dyn Subscription>, CallError> {
        Err(CallError::Failed(NOT_YET.into()))
    }
}

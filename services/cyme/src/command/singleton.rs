//! `cyme singleton`: a command that one machine of the fleet runs, under a lease that its branch takes at the broker.

use std::process::ExitCode;
use std::time::Duration;

use circus_celery::singleton::{self, Lease, Taken, Terms};
use serde_json::Value;
use tokio::time::Instant;

use super::{Branch, Call, Failure, REFUSED, USAGE, segment};
use crate::core::Random;

/// How long a lease is taken for, in seconds.
const LIFE: u64 = 30;
/// How long the branch may take.
const ANSWER: Duration = Duration::from_secs(8);
/// The word that the program starts itself with, to become the command.
pub(super) const BECOME: &str = "singleton-become";

const TERMS: Terms = Terms {
    program: "cyme",
    variable: "CYME_LEASE",
    become_word: BECOME,
    renew: Duration::from_secs(5),
    again: Duration::from_secs(2),
    ask_before: Duration::from_secs(12),
    end_before: Duration::from_secs(2),
};

/// Becomes a command that ends with the process that has started it.
pub(super) fn become_command(words: &[String]) -> Failure {
    Failure(REFUSED, singleton::become_command(words))
}

/// Runs a command while this machine has the lease.
pub(super) fn run(branch: Branch, words: &[String]) -> Result<ExitCode, Failure> {
    let [name, command @ ..] = words else { return Err(Failure(USAGE, "singleton needs a name".into())) };
    if command.is_empty() {
        return Err(Failure(USAGE, "singleton needs a command: cyme singleton NAME -- COMMAND".into()));
    }
    let holder = Random::new(crate::seed()).uuid();
    let lease = OfBranch { branch, path: format!("/leases/{}/", segment(name)), holder };
    TERMS.run(&lease, name, command).map_err(|error| Failure(REFUSED, error.to_string()))
}

/// The lease, as this process asks its branch for it.
#[derive(Clone)]
struct OfBranch {
    branch: Branch,
    path: String,
    holder: String,
}

impl OfBranch {
    fn call(&self, method: &'static str) -> Call {
        let params = vec![("holder".into(), self.holder.clone()), ("life".into(), LIFE.to_string())];
        Call { method, path: self.path.clone(), params }
    }
}

impl Lease for OfBranch {
    async fn take(&self, _held: Option<u64>) -> Result<Option<Taken>, String> {
        let begun = Instant::now();
        let (branch, call) = (self.branch.clone(), self.call("POST"));
        let asked = tokio::task::spawn_blocking(move || branch.send_within(&call, ANSWER)).await;
        let (status, body) = asked.map_err(|error| error.to_string())??;
        match (status, serde_json::from_str::<Value>(&body).unwrap_or_default()["number"].as_u64()) {
            (200, Some(number)) => Ok(Some(Taken { number, until: begun + Duration::from_secs(LIFE) })),
            (409, _) => Ok(None),
            (status, _) => Err(super::refusal(status, &body)),
        }
    }

    async fn give_back(&self) {
        let (branch, call) = (self.branch.clone(), self.call("DELETE"));
        drop(tokio::task::spawn_blocking(move || branch.send_within(&call, Duration::from_secs(2))).await);
    }
}

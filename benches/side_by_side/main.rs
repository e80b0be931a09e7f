//! circusd beside other managers of processes, and beside the least that the machine allows: one run, each manager in turn.
//! docs/benchmarks.md says how to run it.

mod args;
#[path = "../../tests/docs/guard/block.rs"]
mod block;
mod client;
mod clock;
mod comparison;
mod floor;
mod harness;
mod inbox;
mod outcome;
mod output;
mod peers;
mod proc;
mod report;
mod work;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything else: the floor must not carry what the comparison needs.
    let mut arguments = std::env::args().skip(1);
    let ended = if arguments.next().as_deref() == Some("--floor") {
        floor::run(&arguments.collect::<Vec<_>>()).map(|()| true)
    } else {
        comparison::run(&args::Args::parse())
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}

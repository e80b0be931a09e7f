//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::work::Work;

/// Compares circusd with other managers of processes, and with the least that the machine allows, in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench side_by_side --")]
pub(crate) struct Args {
    /// How many workers; several numbers show how costs grow.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "175")]
    pub(crate) workers: Vec<usize>,

    /// How often everything is measured, each manager in turn.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: usize,

    /// Only this work.
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    pub(crate) only: Vec<Work>,

    /// Only these peers, each a name or NAME=PATH; '' for none.
    #[arg(long, value_name = "PEER", value_delimiter = ',', default_value = "circus,supervisord,s6")]
    pub(crate) with: Vec<String>,

    /// A Python environment in which peers are looked for before PATH.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) venv: Option<PathBuf>,

    /// How many seconds managers are watched while idle, and while they tell statistics.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) idle: f64,

    /// How many round trips of `status`.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) pings: usize,

    /// How many workers are killed one by one.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) kills: usize,

    /// How many lines each of four workers prints.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) lines: usize,

    /// Measure this circusd instead of the one that was just built; circusctl is taken from beside it.
    #[arg(long, value_name = "PATH")]
    pub(crate) circusd: Option<PathBuf>,

    /// Where the figures, the tables and the pictures go.
    #[arg(long, value_name = "FOLDER", default_value = "target/side_by_side")]
    pub(crate) out: PathBuf,

    /// Write the tables into docs/benchmarks.md and the pictures beside this program's source.
    #[arg(long)]
    pub(crate) write: bool,

    /// Fail where a goal is missed.
    #[arg(long)]
    pub(crate) strict: bool,

    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

//! What is left of a run: figures, tables, pictures.

use std::fs;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::block::with_block;
use crate::outcome::{Outcome, fault};
use crate::peers::{FLOOR, OURS};
use crate::report::{Curves, Dots, Machine, Samples, comparison, curves, dots, growth, json, judge};

/// Everything that one run found.
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    pub(crate) samples: Samples,
    pub(crate) sizes: Vec<usize>,
    /// The floor, we, and the others.
    pub(crate) subjects: Vec<String>,
    pub(crate) missing: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) rounds: usize,
}

/// This machine, now.
pub(crate) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    Machine { kernel, date, ..Machine::read(&read("/proc/cpuinfo"), &read("/proc/meminfo"), &read("/proc/loadavg")) }
}

/// How the processors have spent their time.
pub(crate) fn ticks() -> String {
    fs::read_to_string("/proc/stat").unwrap_or_default()
}

impl Findings {
    fn subjects(&self) -> Vec<&str> {
        self.subjects.iter().map(String::as_str).collect()
    }

    /// The sentence above a table.
    fn caption(&self, about: &str) -> String {
        let missing: String = self.missing.iter().map(|missing| format!(" Not there: {missing}.")).collect();
        let rounds = match self.rounds {
            1 => "one round".to_owned(),
            rounds => format!("median of {rounds} rounds (least..most)"),
        };
        format!("{about}; {rounds}. {}.{missing}\n\n", self.machine.told())
    }

    /// A table for each number of workers, by the name of its block in docs/benchmarks.md.
    fn tables(&self) -> Vec<(String, String)> {
        if self.sizes.len() > 1 {
            let table = growth(&self.samples, &self.sizes, OURS, FLOOR).unwrap_or_default();
            return vec![(
                "growth".to_owned(),
                self.caption("circusd, beside the floor with as many workers") + &table,
            )];
        }
        let tables = self.sizes.iter().map(|workers| {
            let table = comparison(&self.samples, *workers, &self.subjects());
            ("side by side".to_owned(), self.caption(&format!("{workers} workers")) + &table)
        });
        tables.collect()
    }

    fn pictures(&self) -> Outcome<Vec<(&'static str, String)>> {
        if self.sizes.len() > 1 {
            let picture = Curves { samples: &self.samples, sizes: &self.sizes, ours: OURS, floor: FLOOR };
            return Ok(vec![("growth.svg", curves(&picture)?)]);
        }
        let draw =
            |workers: &usize| dots(&Dots { samples: &self.samples, workers: *workers, subjects: &self.subjects() });
        self.sizes.iter().map(|workers| Ok(("side_by_side.svg", draw(workers)?))).collect()
    }
}

/// Prints the tables, and writes everything.
pub(crate) fn write(findings: &Findings, args: &Args) -> Outcome<()> {
    fs::create_dir_all(&args.out)?;
    let verdicts: Vec<_> =
        findings.sizes.iter().map(|size| (*size, judge(&findings.samples, *size, OURS, FLOOR))).collect();
    let json = json(&findings.machine, &findings.samples, &verdicts, &findings.failures);
    fs::write(args.out.join("side_by_side.json"), serde_json::to_string_pretty(&json)? + "\n")?;
    let tables = findings.tables();
    let text: String = tables.iter().map(|(_, table)| format!("{table}\n")).collect();
    fs::write(args.out.join("side_by_side.md"), &text)?;
    let pictures = findings.pictures()?;
    for (name, picture) in &pictures {
        fs::write(args.out.join(name), picture)?;
    }
    print!("{text}");
    findings.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("figures, tables and pictures are in {}", args.out.display());
    if args.write { bless(&tables, &pictures) } else { Ok(()) }
}

/// The table of docs/benchmarks.md, and the pictures that it shows.
fn bless(tables: &[(String, String)], pictures: &[(&str, String)]) -> Outcome<()> {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let page: PathBuf = top.join("docs/benchmarks.md");
    let mut text = fs::read_to_string(&page)?;
    for (name, table) in tables {
        text =
            with_block(&text, name, table).ok_or_else(|| fault(format!("docs/benchmarks.md has no block '{name}'")))?;
    }
    fs::write(&page, text)?;
    for (name, picture) in pictures {
        fs::write(top.join("benches/side_by_side").join(name), picture)?;
    }
    Ok(())
}

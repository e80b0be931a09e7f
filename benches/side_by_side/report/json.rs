//! Everything that was measured, for programs.

use serde_json::{Map, Value, json};

use super::goal::Verdict;
use super::machine::Machine;
use super::sample::Samples;
use super::summary::Summary;

/// The machine, every value of every round with its summary, the verdicts for each number of workers, and what failed.
pub(crate) fn json(
    machine: &Machine,
    samples: &Samples,
    verdicts: &[(usize, Vec<Verdict>)],
    failures: &[String],
) -> Value {
    let verdicts = verdicts.iter().flat_map(|(workers, verdicts)| verdicts.iter().map(|one| verdict(*workers, one)));
    json!({
        "machine": {
            "date": machine.date, "processor": machine.processor, "cores": machine.cores,
            "memory_gib": machine.memory_gib, "kernel": machine.kernel, "load": machine.load, "stolen": machine.stolen,
        },
        "figures": figures(samples),
        "goals": verdicts.collect::<Vec<Value>>(),
        "failures": failures,
    })
}

fn figures(samples: &Samples) -> Vec<Value> {
    let figures = samples.iter().filter_map(|(key, values)| {
        let Summary { median, least, most, count } = Summary::of(values)?;
        let name = key.figure.words().key;
        Some(json!({
            "workers": key.workers, "subject": key.subject, "figure": name,
            "median": median, "min": least, "max": most, "n": count, "values": values,
        }))
    });
    figures.collect()
}

fn verdict(workers: usize, verdict: &Verdict) -> Value {
    let mut object = Map::new();
    object.insert("workers".into(), json!(workers));
    object.insert("figure".into(), json!(verdict.figure.words().key));
    object.insert("ours".into(), json!(verdict.ours));
    object.insert("ratio".into(), json!(verdict.ratio));
    object.insert("limit".into(), json!(verdict.limit));
    object.insert("holds".into(), json!(verdict.holds));
    Value::Object(object)
}

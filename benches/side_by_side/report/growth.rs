//! How figures grow with the number of workers: of us, and beside it the floor's.

use super::figure::Figure;
use super::sample::Samples;
use super::table::markdown;

const COLUMNS: &[Figure] = &[Figure::StartAll, Figure::RespawnP50, Figure::Storm, Figure::StatusP50, Figure::StatsCpu];

/// A row a number of workers. `None` where fewer than two numbers were tried.
pub(crate) fn growth(samples: &Samples, sizes: &[usize], ours: &str, floor: &str) -> Option<String> {
    if sizes.len() < 2 {
        return None;
    }
    let head = std::iter::once("workers".to_owned()).chain(COLUMNS.iter().map(|figure| title(*figure)));
    let head = head.chain(["memory, MiB".to_owned(), "of it for each worker more, KiB".to_owned()]).collect();
    let rows = sizes.iter().enumerate().map(|(at, workers)| {
        let costs = COLUMNS.iter().map(|figure| told(samples, *workers, *figure, ours, floor));
        let memory = samples.median(*workers, ours, Figure::Memory);
        let before = at.checked_sub(1).and_then(|before| sizes.get(before));
        let more = before.and_then(|before| each(samples, *before, *workers, ours));
        let tell = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        std::iter::once(workers.to_string()).chain(costs).chain([tell(memory), tell(more)]).collect()
    });
    Some(markdown(head, rows))
}

fn title(figure: Figure) -> String {
    let words = figure.words();
    if figure.per_worker() {
        format!("{}, {} a worker", words.title, thousandth(words.unit))
    } else {
        format!("{}, {}", words.title, words.unit)
    }
}

fn thousandth(unit: &str) -> String {
    unit.replacen("ms", "us", 1)
}

/// What one worker costs, or the figure as a whole where it is about one worker anyway.
pub(super) fn cost(samples: &Samples, workers: usize, figure: Figure, subject: &str) -> Option<f64> {
    let median = samples.median(workers, subject, figure)?;
    Some(if figure.per_worker() { median * 1000.0 / workers as f64 } else { median })
}

fn told(samples: &Samples, workers: usize, figure: Figure, ours: &str, floor: &str) -> String {
    let digits = if figure.per_worker() { 0 } else { figure.words().digits };
    let Some(us) = cost(samples, workers, figure, ours) else { return String::new() };
    match cost(samples, workers, figure, floor) {
        Some(floor) => format!("{us:.digits$} ({:.2} x floor)", us / floor),
        None => format!("{us:.digits$}"),
    }
}

/// KiB of memory for each worker more, from one number of workers to the next.
fn each(samples: &Samples, few: usize, many: usize, ours: &str) -> Option<f64> {
    let grown = samples.median(many, ours, Figure::Memory)? - samples.median(few, ours, Figure::Memory)?;
    (many > few).then(|| grown * 1024.0 / (many - few) as f64)
}

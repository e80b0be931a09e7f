//! The comparison, as a table of Markdown.

use super::figure::Figure;
use super::goal::judge;
use super::sample::Samples;
use super::summary::Summary;

/// A row a figure, a column a manager: the median, and the least and the most where rounds differ. The first subject is the
/// floor and the second is us.
pub(crate) fn comparison(samples: &Samples, workers: usize, subjects: &[&str]) -> String {
    let verdicts = match subjects {
        [floor, ours, ..] => judge(samples, workers, ours, floor),
        _ => Vec::new(),
    };
    let rows = Figure::ALL.iter().filter_map(|figure| {
        let summaries: Vec<Option<Summary>> =
            subjects.iter().map(|subject| samples.summary(workers, subject, *figure)).collect();
        summaries.iter().any(Option::is_some).then(|| {
            let words = figure.words();
            let title =
                if words.unit.is_empty() { words.title.into() } else { format!("{}, {}", words.title, words.unit) };
            let cells = summaries.iter().map(|summary| summary.map_or(String::new(), |one| one.told(words.digits)));
            let verdict = verdicts.iter().find(|verdict| verdict.figure == *figure);
            let goal = verdict.map_or(String::new(), super::goal::Verdict::told);
            std::iter::once(title).chain(cells).chain([goal]).collect()
        })
    });
    let head = std::iter::once("").chain(subjects.iter().copied()).chain(["goal"]).map(str::to_owned).collect();
    markdown(head, rows)
}

pub(super) fn markdown(head: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---{}|\n", "|---:".repeat(head.len().saturating_sub(2)) + "|---");
    line(&head) + &rule + &rows.map(|row| line(&row)).collect::<String>()
}

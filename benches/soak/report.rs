//! What is left of a run: a table, a picture, and every look.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::look::Look;
use crate::trouble::Done;
use crate::verdict::{self, Course, Verdict, points, quantile};
use crate::{Args, Outcome};

/// A row of the table, and for some a part of the picture.
struct Figure {
    name: &'static str,
    of: fn(&Look) -> Option<f64>,
    digits: usize,
    drawn: bool,
}

const FIGURES: &[Figure] = &[
    Figure { name: "memory (RSS), KiB", of: verdict::memory, digits: 0, drawn: true },
    Figure { name: "open descriptors", of: verdict::descriptors, digits: 0, drawn: true },
    Figure { name: "timers of the core", of: verdict::timers, digits: 0, drawn: true },
    Figure { name: "state of an upgrade, KiB", of: verdict::state, digits: 1, drawn: false },
    Figure { name: "children", of: verdict::children, digits: 0, drawn: false },
    Figure { name: "answer to numwatchers, ms", of: verdict::answer, digits: 2, drawn: true },
];

/// Writes soak.md, soak.svg and samples.csv.
pub(crate) fn write(folder: &Path, args: &Args, looks: &[Look], done: &Done, verdicts: &[Verdict]) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("soak.md"), table(args, looks, done, verdicts)?)?;
    std::fs::write(folder.join("samples.csv"), samples(looks)?)?;
    Ok(std::fs::write(folder.join("soak.svg"), picture(looks)?)?)
}

fn table(args: &Args, looks: &[Look], done: &Done, verdicts: &[Verdict]) -> Outcome<String> {
    let mut text = String::new();
    let Done { reloads, upgrades, floods, files, watchers, deaths, starts } = done;
    let minutes = looks.last().map_or(0.0, |look| look.at.as_secs_f64() / 60.0);
    writeln!(
        text,
        "{minutes:.1} minutes, {} crashes a second: {deaths} deaths and {starts} starts were told to a subscriber; \
         {reloads} reloads, {upgrades} upgrades, {floods} floods of 200 000 lines, {files} changes of the file there and \
         back, {watchers} watchers added and removed.\n",
        args.crashes
    )?;
    writeln!(
        text,
        "| | n | first quarter | last quarter | least | most | change an hour |\n|---|---:|---:|---:|---:|---:|---:|"
    )?;
    for Figure { name, of, digits, .. } in FIGURES {
        let Course { n, early, late, least, most, each_hour } = Course::of(&points(looks, of));
        writeln!(
            text,
            "| {name} | {n} | {early:.digits$} | {late:.digits$} | {least:.digits$} | {most:.digits$} | {each_hour:+.1} |"
        )?;
    }
    let answers = || looks.iter().filter_map(verdict::answer);
    let (p50, p99, n) = (quantile(answers(), 0.5), quantile(answers(), 0.99), answers().count());
    writeln!(
        text,
        "\nAnswers to `numwatchers` took {p50:.2} ms (p50) and {p99:.2} ms (p99), n = {n}; {} questions met an upgrade and \
         were asked again.\n",
        looks.len() - n
    )?;
    verdicts.iter().try_for_each(|verdict| writeln!(text, "- {verdict}"))?;
    Ok(text)
}

fn samples(looks: &[Look]) -> Outcome<String> {
    let mut text = "seconds,rss_kib,descriptors,children,answer_us,timers,state_bytes\n".to_owned();
    for Look { at, memory, descriptors, children, answer, kept, .. } in looks {
        let seconds = at.as_secs_f64();
        let answer = answer.map(|answer| answer.as_micros().to_string()).unwrap_or_default();
        let (timers, bytes) =
            kept.map_or_else(Default::default, |kept| (kept.timers.to_string(), kept.bytes.to_string()));
        writeln!(text, "{seconds:.1},{memory},{descriptors},{children},{answer},{timers},{bytes}")?;
    }
    Ok(text)
}

fn picture(looks: &[Look]) -> Outcome<String> {
    let drawn: Vec<&Figure> = FIGURES.iter().filter(|figure| figure.drawn).collect();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 760)).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, figure) in root.split_evenly((drawn.len(), 1)).iter().zip(drawn) {
            let points = points(looks, figure.of).into_iter().map(|(hours, value)| (hours * 60.0, value));
            let points = thinned(points.collect());
            let end = points.last().map_or(1.0, |point| point.0.max(0.1));
            let most = points.iter().map(|point| point.1).fold(1.0, f64::max) * 1.15;
            let mut chart = ChartBuilder::on(area)
                .caption(figure.name, ("sans-serif", 15))
                .margin(8)
                .x_label_area_size(28)
                .y_label_area_size(64)
                .build_cartesian_2d(0.0..end, 0.0..most)?;
            chart.configure_mesh().disable_x_mesh().x_desc("minutes").y_labels(4).draw()?;
            chart.draw_series(LineSeries::new(points, RGBColor(31, 119, 180).stroke_width(1)))?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// The highest and the lowest of each of at most so many stretches: what stands out is still seen.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const STRETCHES: usize = 300;
    let length = points.len().div_ceil(STRETCHES).max(1);
    let extremes = |stretch: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut both: Vec<(f64, f64)> =
            stretch.iter().min_by(by_value).into_iter().chain(stretch.iter().max_by(by_value)).copied().collect();
        both.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        both.dedup();
        both
    };
    points.chunks(length).flat_map(extremes).collect()
}

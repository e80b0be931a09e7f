//! Each manager in multiples of the floor: a line a figure, a dot a manager, further to the right the worse.

use plotters::prelude::*;

use super::colour::{COLOURS, Drawn, FAINT};
use crate::report::{Bound, Figure, GOALS, Samples};

const SHOWN: &[Figure] = &[
    Figure::StartAll,
    Figure::RespawnP50,
    Figure::Storm,
    Figure::StatusP50,
    Figure::Requests,
    Figure::LogRate,
    Figure::LogCpu,
    Figure::StatsCpu,
];

/// The picture of one number of workers.
pub(crate) struct Dots<'s> {
    pub(crate) samples: &'s Samples,
    pub(crate) workers: usize,
    /// The floor, us, and the others.
    pub(crate) subjects: &'s [&'s str],
}

impl Dots<'_> {
    /// How many times worse than the floor: more time, or less done.
    fn worse(&self, subject: &str, figure: Figure) -> Option<f64> {
        let floor = self.samples.median(self.workers, self.subjects.first()?, figure)?;
        let ratio = self.samples.median(self.workers, subject, figure)? / floor;
        let ratio = if is_yield(figure) { 1.0 / ratio } else { ratio };
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }

    /// Figures that at least one manager has, with the height at which each is drawn.
    fn lines(&self) -> Vec<(Figure, f64)> {
        let has = |figure: &&Figure| self.subjects.iter().any(|subject| self.worse(subject, **figure).is_some());
        let shown: Vec<Figure> = SHOWN.iter().filter(has).copied().collect();
        let heights = (0..shown.len()).rev().map(|at| at as f64 + 0.5);
        shown.into_iter().zip(heights).collect()
    }
}

fn is_yield(figure: Figure) -> bool {
    matches!(figure, Figure::Requests | Figure::LogRate)
}

/// Where our goal stands.
fn goal(figure: Figure) -> Option<f64> {
    GOALS.iter().find(|goal| goal.figure == figure).and_then(|goal| match goal.bound {
        Bound::Times(times) => Some(times),
        Bound::Share(share) => Some(1.0 / share),
        Bound::Most { .. } => None,
    })
}

/// Draws it, with a stroke where our goal is.
pub(crate) fn dots(picture: &Dots<'_>) -> Drawn {
    let lines = picture.lines();
    let values =
        lines.iter().flat_map(|(figure, _)| picture.subjects.iter().filter_map(|one| picture.worse(one, *figure)));
    let most = values.fold(10.0, f64::max) * 1.3;
    let mut svg = String::new();
    {
        let size = (900, 130 + 36 * u32::try_from(lines.len())?);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("times the floor, {} workers; a stroke is the goal", picture.workers), ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(290)
            .build_cartesian_2d((0.5..most).log_scale(), 0.0..lines.len() as f64)?;
        chart.configure_mesh().disable_mesh().y_labels(0).x_label_formatter(&ToString::to_string).draw()?;
        for (figure, height) in &lines {
            chart.draw_series([PathElement::new([(0.5, *height), (most, *height)], FAINT)])?;
            let stroke =
                goal(*figure).map(|goal| PathElement::new([(goal, height - 0.3), (goal, height + 0.3)], COLOURS[1]));
            chart.draw_series(stroke)?;
            let (_, from_top) = chart.backend_coord(&(1.0, *height));
            let title = figure.words().title.replace('`', "");
            root.draw(&Text::new(title, (14, from_top - 7), ("sans-serif", 13)))?;
        }
        for (subject, colour) in picture.subjects.iter().zip(COLOURS) {
            let points = lines.iter().filter_map(|(figure, height)| Some((picture.worse(subject, *figure)?, *height)));
            let drawn = points.map(|point| Circle::new(point, 5, colour.filled()));
            let legend = move |(x, y)| Circle::new((x + 10, y), 5, colour.filled());
            chart.draw_series(drawn)?.label(*subject).legend(legend);
        }
        chart.configure_series_labels().border_style(FAINT).background_style(WHITE).draw()?;
        root.present()?;
    }
    Ok(svg)
}

//! Two pictures: everybody in multiples of the floor, and what one worker costs as their number grows.

use std::error::Error;

use plotters::prelude::*;

use super::figure::Figure;
use super::goal::{Bound, GOALS};
use super::growth::value;
use super::sample::Samples;

type Drawn = Result<String, Box<dyn Error>>;

const COLOURS: [RGBColor; 6] = [
    RGBColor(90, 90, 90),
    RGBColor(200, 60, 30),
    RGBColor(40, 110, 180),
    RGBColor(60, 150, 70),
    RGBColor(150, 90, 170),
    BLACK,
];

/// What is drawn in multiples of the floor.
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

/// The picture of growth.
pub(crate) struct Curves<'s> {
    pub(crate) samples: &'s Samples,
    pub(crate) sizes: &'s [usize],
    pub(crate) ours: &'s str,
    pub(crate) floor: &'s str,
}

impl Dots<'_> {
    /// How much worse than the floor: more time, or less done.
    fn worse(&self, subject: &str, figure: Figure) -> Option<f64> {
        let floor = self.samples.median(self.workers, self.subjects.first()?, figure)?;
        let ratio = self.samples.median(self.workers, subject, figure)? / floor;
        let ratio = if is_yield(figure) { 1.0 / ratio } else { ratio };
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }
}

fn is_yield(figure: Figure) -> bool {
    matches!(figure, Figure::Requests | Figure::LogRate)
}

/// Where the goal of a figure stands in that picture.
fn goal(figure: Figure) -> Option<f64> {
    GOALS.iter().find(|goal| goal.figure == figure).and_then(|goal| match goal.bound {
        Bound::Times(times) => Some(times),
        Bound::Share(share) => Some(1.0 / share),
        Bound::Most { .. } => None,
    })
}

/// A line a figure, a dot a manager, to the right of 1 by how much it is worse than the floor; a stroke is our goal.
pub(crate) fn dots(picture: &Dots<'_>) -> Drawn {
    let shown: Vec<Figure> = SHOWN
        .iter()
        .copied()
        .filter(|figure| picture.subjects.iter().any(|one| picture.worse(one, *figure).is_some()))
        .collect();
    let all = shown.iter().flat_map(|figure| picture.subjects.iter().filter_map(|one| picture.worse(one, *figure)));
    let most = all.fold(10.0, f64::max) * 1.3;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 120 + 40 * u32::try_from(shown.len())?)).into_drawing_area();
        root.fill(&WHITE)?;
        let rows = 0.0..shown.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("times the floor, {} workers (logarithmic)", picture.workers), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(32)
            .y_label_area_size(300)
            .build_cartesian_2d((0.5..most).log_scale(), rows)?;
        let title = |at: &f64| at.fract().abs().lt(&0.01).then(|| shown.get(*at as usize)).flatten();
        chart.configure_mesh().disable_y_mesh().y_labels(0).x_label_formatter(&|x| format!("{x}")).draw()?;
        let _ = title;
        for (row, figure) in shown.iter().enumerate() {
            let y = shown.len() as f64 - row as f64 - 0.5;
            let label = Text::new(
                figure.words().title,
                (0.5, y),
                ("sans-serif", 13).into_font().transform(FontTransform::None),
            );
            let style = ("sans-serif", 13).into_font();
            let _ = (label, style);
            chart.draw_series([PathElement::new([(0.5, y), (most, y)], RGBColor(225, 225, 225))])?;
            if let Some(goal) = goal(*figure) {
                chart.draw_series([PathElement::new(
                    [(goal, y - 0.35), (goal, y + 0.35)],
                    COLOURS[1].stroke_width(2),
                )])?;
            }
            let (_, from_top) = chart.backend_coord(&(1.0, y));
            root.draw(&Text::new(figure.words().title.replace('`', ""), (14, from_top - 7), ("sans-serif", 13)))?;
        }
        for (subject, colour) in picture.subjects.iter().zip(COLOURS) {
            let points = shown.iter().enumerate().filter_map(|(row, figure)| {
                Some((picture.worse(subject, *figure)?, shown.len() as f64 - row as f64 - 0.5))
            });
            let drawn = points.map(|point| Circle::new(point, 5, colour.filled()));
            chart
                .draw_series(drawn)?
                .label(*subject)
                .legend(move |(x, y)| Circle::new((x + 10, y), 5, colour.filled()));
        }
        chart.configure_series_labels().border_style(RGBColor(200, 200, 200)).background_style(WHITE).draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// Of each figure that is paid by worker two lines, ours and the floor's: flat is what they should be.
pub(crate) fn curves(picture: &Curves<'_>) -> Drawn {
    let (Some(first), Some(last)) = (picture.sizes.first(), picture.sizes.last()) else { return Ok(String::new()) };
    let shown: Vec<Figure> = Figure::ALL.iter().copied().filter(|figure| figure.per_worker()).collect();
    let line = |figure: Figure, subject: &str| -> Vec<(f64, f64)> {
        let points = picture
            .sizes
            .iter()
            .filter_map(|size| Some((*size as f64, value(picture.samples, *size, figure, subject)?)));
        points.collect()
    };
    // One worker alone bears the whole start of the manager; it would flatten all the others.
    let most = shown.iter().flat_map(|figure| line(*figure, picture.ours)).filter(|point| point.0 > 1.0);
    let most = most.map(|point| point.1).fold(1.0, f64::max) * 1.6;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("microseconds for each worker, as workers become more", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((*first as f64..*last as f64 * 1.1).log_scale(), 0.0..most)?;
        chart.configure_mesh().x_desc("workers (logarithmic)").y_desc("us a worker").draw()?;
        for (figure, colour) in shown.into_iter().zip(&COLOURS[1..]) {
            for (subject, width) in [(picture.ours, 3), (picture.floor, 1)] {
                let style = colour.stroke_width(width);
                let points = line(figure, subject).into_iter().filter(|point| point.1 <= most);
                chart
                    .draw_series(LineSeries::new(points, style))?
                    .label(format!("{subject}: {}", figure.words().title))
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            }
        }
        chart.configure_series_labels().border_style(RGBColor(200, 200, 200)).background_style(WHITE).draw()?;
        root.present()?;
    }
    Ok(svg)
}

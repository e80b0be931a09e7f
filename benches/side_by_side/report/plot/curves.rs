//! What one worker costs as their number grows: flat is what these lines should be.

use plotters::prelude::*;

use super::colour::{COLOURS, Drawn, FAINT};
use crate::report::growth::cost;
use crate::report::{Figure, Samples};

/// The picture of growth.
pub(crate) struct Curves<'s> {
    pub(crate) samples: &'s Samples,
    pub(crate) sizes: &'s [usize],
    pub(crate) ours: &'s str,
    pub(crate) floor: &'s str,
}

impl Curves<'_> {
    fn line(&self, figure: Figure, subject: &str) -> Vec<(f64, f64)> {
        let point = |size: &usize| Some((*size as f64, cost(self.samples, *size, figure, subject)?));
        self.sizes.iter().filter_map(point).collect()
    }

    /// One worker alone bears the whole start of its manager; it would press all the others to the ground.
    fn most(&self, figures: &[Figure]) -> f64 {
        let points = figures.iter().flat_map(|figure| self.line(*figure, self.ours));
        points.filter(|point| point.0 > 1.0).map(|point| point.1).fold(1.0, f64::max) * 1.8
    }
}

/// Draws of each figure that is paid by worker two lines, ours (thick) and the floor's.
pub(crate) fn curves(picture: &Curves<'_>) -> Drawn {
    let figures: Vec<Figure> = Figure::ALL.iter().copied().filter(|figure| figure.per_worker()).collect();
    let least = picture.sizes.iter().min().map_or(1.0, |size| *size as f64);
    let last = picture.sizes.iter().max().map_or(10.0, |size| *size as f64 * 1.1);
    let most = picture.most(&figures);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("microseconds for each worker, as workers become more", ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((least..last).log_scale(), 0.0..most)?;
        chart.configure_mesh().disable_x_mesh().x_desc("workers").y_desc("us a worker").draw()?;
        for (figure, colour) in figures.into_iter().zip(COLOURS.into_iter().skip(1)) {
            for (subject, width) in [(picture.ours, 3), (picture.floor, 1)] {
                let style = colour.stroke_width(width);
                let points = picture.line(figure, subject).into_iter().filter(|point| point.1 <= most);
                let legend = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style);
                let label = format!("{subject}: {}", figure.words().title);
                chart.draw_series(LineSeries::new(points, style))?.label(label).legend(legend);
            }
        }
        chart.configure_series_labels().border_style(FAINT).background_style(WHITE).draw()?;
        root.present()?;
    }
    Ok(svg)
}

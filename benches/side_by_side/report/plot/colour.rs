//! What both pictures look like.

use std::error::Error;

use plotters::style::RGBColor;

/// A picture as SVG.
pub(super) type Drawn = Result<String, Box<dyn Error>>;

/// The floor, we, and the others.
pub(super) const COLOURS: [RGBColor; 5] = [
    RGBColor(110, 110, 110),
    RGBColor(200, 60, 30),
    RGBColor(40, 110, 180),
    RGBColor(60, 150, 70),
    RGBColor(150, 90, 170),
];

pub(super) const FAINT: RGBColor = RGBColor(215, 215, 215);

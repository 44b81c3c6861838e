//! What came of a comparison, as a picture.

use std::path::Path;

use plotters::prelude::*;

use crate::rig::median;

const WIDTH: u32 = 820;
/// Of the names on the left.
const NAMES: i32 = 330;
const TOP: i32 = 40;
const BAR: i32 = 22;
const PITCH: i32 = 34;

/// One contender: its name, and the orders a second of each of its turns.
pub struct Bar {
    pub name: String,
    pub rates: Vec<f64>,
    pub ours: bool,
}

/// Draws a bar for each median, and a line from the least to the largest.
pub fn draw(file: &Path, title: &str, bars: &[Bar]) {
    let rows = u32::try_from(bars.len()).unwrap();
    let height = u32::try_from(TOP).unwrap() + rows * u32::try_from(PITCH).unwrap() + 10;
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).unwrap();
    root.draw(&Text::new(title.to_owned(), (10, 12), ("sans-serif", 15))).unwrap();
    let largest = bars.iter().flat_map(|bar| &bar.rates).copied().fold(0.0, f64::max);
    let scale = (f64::from(WIDTH) - f64::from(NAMES) - 90.0) / largest;
    for (row, bar) in bars.iter().enumerate() {
        let at = |rate: f64| NAMES + pixels(rate * scale);
        let top = TOP + PITCH * i32::try_from(row).unwrap();
        let (middle, value) = (top + BAR / 2, median(&bar.rates));
        let low = bar.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let high = bar.rates.iter().copied().fold(0.0, f64::max);
        let colour = if bar.ours { RGBColor(31, 119, 180) } else { RGBColor(170, 170, 170) };
        root.draw(&Text::new(bar.name.clone(), (10, middle - 6), ("sans-serif", 13))).unwrap();
        root.draw(&Rectangle::new([(NAMES, top), (at(value), top + BAR)], colour.filled())).unwrap();
        root.draw(&PathElement::new(vec![(at(low), middle), (at(high), middle)], BLACK)).unwrap();
        root.draw(&Text::new(format!("{value:.0}/s"), (at(high) + 8, middle - 6), ("sans-serif", 13))).unwrap();
    }
    root.present().unwrap();
}

#[expect(clippy::cast_possible_truncation, reason = "a place in a picture")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

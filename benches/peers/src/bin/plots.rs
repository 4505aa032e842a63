//! Draws what `rows` measured: `plots POINTS.json DIRECTORY`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use laneway_peers::report::grouped;
use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Point {
    plot: String,
    series: String,
    x: f64,
    ns: Spread,
}

#[derive(Deserialize)]
struct Spread {
    median: f64,
    p10: f64,
    p90: f64,
}

const TITLES: [(&str, &str, &str); 5] = [
    (
        "lanes",
        "Cost of a task against the number of lanes",
        "lanes",
    ),
    (
        "queued",
        "Cost of a task against the length of its queue",
        "queued tasks",
    ),
    (
        "active",
        "Cost of a task beside others that are active",
        "active tasks",
    ),
    (
        "group",
        "Cost of a task against the number of lanes in its group",
        "lanes in the group",
    ),
    (
        "chain",
        "Cost of a task against the number of sessions in front of one lane",
        "sessions",
    ),
];

/// Told apart also by whoever sees few colours.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(90, 160, 60),
    RGBColor(230, 140, 0),
    RGBColor(120, 60, 160),
    RGBColor(60, 60, 60),
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [points, directory] = args.as_slice() else {
        return Err("usage: plots POINTS.json DIRECTORY".into());
    };
    let points: Vec<Point> = serde_json::from_str(&fs::read_to_string(points)?)?;
    fs::create_dir_all(directory)?;
    for (plot, title, axis) in TITLES {
        let mut series: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
        for point in points.iter().filter(|point| point.plot == plot) {
            series.entry(&point.series).or_default().push(point);
        }
        if !series.is_empty() {
            draw(
                &Path::new(directory).join(format!("{plot}.svg")),
                title,
                axis,
                &series,
            )?;
        }
    }
    Ok(())
}

fn draw(
    path: &Path,
    title: &str,
    axis: &str,
    series: &BTreeMap<&str, Vec<&Point>>,
) -> Result<(), Box<dyn Error>> {
    let all = || series.values().flatten();
    let widest = all().map(|point| point.x).fold(1.0, f64::max);
    let lowest = all().map(|point| point.ns.median).fold(f64::MAX, f64::min);
    let highest = all().map(|point| point.ns.median).fold(1.0, f64::max);
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area);
    chart
        .caption(title, ("sans-serif", 22))
        .margin(16)
        .margin_right(40)
        .x_label_area_size(48)
        .y_label_area_size(84);
    let x = Decades(0.8, widest * 1.25);
    // Where one side is far off, only a logarithm shows both.
    if highest / lowest > 30.0 {
        let (bottom, top) = (lowest.log10().floor(), (highest * 1.5).log10().ceil());
        let y = Decades(10_f64.powf(bottom), 10_f64.powf(top));
        lines(chart.build_cartesian_2d(x, y)?, axis, series)?;
    } else {
        lines(
            chart.build_cartesian_2d(x, 0.0..highest * 1.6)?,
            axis,
            series,
        )?;
    }
    area.present()?;
    Ok(())
}

fn lines<'a, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<Decades, Y>>,
    axis: &str,
    series: &BTreeMap<&str, Vec<&Point>>,
) -> Result<(), Box<dyn Error>>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64> + 'a,
{
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(220, 220, 220))
        .x_desc(axis)
        .y_desc("nanoseconds per task, median; bars from the 10th to the 90th percentile")
        .y_label_formatter(&|ns| whole(*ns))
        .x_label_formatter(&|count| whole(*count))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 14))
        .draw()?;
    let seen = chart.y_range();
    for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let middle = points.iter().map(|point| (point.x, point.ns.median));
        let name = name.replace('`', "");
        chart
            .draw_series(LineSeries::new(middle.clone(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 16, y + 4)], colour.filled()));
        chart.draw_series(middle.map(|at| Circle::new(at, 4, colour.filled())))?;
        chart.draw_series(points.iter().map(|point| {
            let ends =
                [point.ns.p10, point.ns.p90].map(|ns| (point.x, ns.clamp(seen.start, seen.end)));
            PathElement::new(ends, colour.stroke_width(1))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// A logarithmic axis with a mark at every power of ten.
#[derive(Clone)]
struct Decades(f64, f64);

impl ValueFormatter<f64> for Decades {
    fn format(value: &f64) -> String {
        whole(*value)
    }
}

impl Ranged for Decades {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value / self.0).ln() / (self.1 / self.0).ln();
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        (0..12)
            .map(|power| 10_f64.powi(power))
            .filter(|mark| (self.0..=self.1).contains(mark))
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0..self.1
    }
}

fn whole(value: f64) -> String {
    grouped(value.round() as u64)
}

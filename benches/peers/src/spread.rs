//! A figure is a median, and how far apart the rounds were.

use serde::Serialize;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub p10: f64,
    pub p90: f64,
}

impl Spread {
    /// # Panics
    ///
    /// Of nothing.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (low, high) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            low + (high - low) * place.fract()
        };
        Self {
            median: at(0.5),
            p10: at(0.1),
            p90: at(0.9),
        }
    }

    pub const fn exact(value: f64) -> Self {
        Self {
            median: value,
            p10: value,
            p90: value,
        }
    }
}

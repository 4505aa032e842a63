//! What lanes do, as numbers for the recorder of the `metrics` facade.
//!
//! A lane's *meter* adds up what its engine says (its counts, and the facts that it
//! writes down for the log of events), under the lane's lock and a leaf of its own.
//! What has changed goes to the recorder afterwards, with no lock held: that is user
//! code (S13), and one that panics goes unheard (S14). Gauges go there as
//! differences, so that those of a pattern are the sums over its lanes, and nothing
//! walks over lanes to make them.
//!
//! The handles of a recorder are kept by *series*: one for each lane that is configured
//! by its name, and one for each pattern, however many lanes are made of it. Without the
//! feature, all of these are types without values.
//!
//! | file | subject |
//! |---|---|
//! | `names` | what there is, and what it means |
//! | `series` | from differences to the recorder |
//! | `meter` | from one lane to differences |
//! | `off` | none of that |

#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "metrics")]
mod names;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod series;

#[cfg(feature = "metrics")]
pub(crate) use meter::{EventMeter, Meter, Meters};
#[cfg(not(feature = "metrics"))]
pub(crate) use off::{EventMeter, Meter, Meters};

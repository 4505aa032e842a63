//! With the feature `replay`, what was played is decided once more, event for event.

#[cfg(feature = "replay")]
mod replayed {
    use laneway::replay::Recording;
    use laneway::{Lanes, LanesBuilder};

    /// With a log that soon lets go of what is in it.
    pub(crate) fn recorded(lanes: LanesBuilder) -> LanesBuilder {
        lanes.events(16).recording(1 << 20)
    }

    pub(crate) fn reproduces(lanes: &Lanes) {
        let mut saved = Vec::new();
        lanes.save_recording(&mut saved).expect("it is recorded");
        let recording = Recording::read(&saved[..]).expect("it is whole");
        let replayed = recording
            .replay()
            .unwrap_or_else(|error| panic!("not as it was: {error}"));
        let published = lanes.snapshot().events.map(|events| events.published);
        assert_eq!(Some(replayed.events().len() as u64), published);
    }
}

#[cfg(not(feature = "replay"))]
mod replayed {
    use laneway::{Lanes, LanesBuilder};

    pub(crate) const fn recorded(lanes: LanesBuilder) -> LanesBuilder {
        lanes
    }

    pub(crate) const fn reproduces(_: &Lanes) {}
}

pub(crate) use replayed::{recorded, reproduces};

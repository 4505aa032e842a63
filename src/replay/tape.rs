//! What is kept of a recording until it is saved.

use std::ops::Range;

use crate::engine::{Fact, Input, News};
use crate::sync::Arc;

/// Inputs, and where the facts that came of them are: in the log, which has them anyway,
/// or here, if they are to go from there before they were saved. Of a tape that is full,
/// those are kept that came first, since nothing can be made of others.
#[derive(Debug)]
pub(crate) struct Tape {
    capacity: usize,
    inputs: Vec<Kept>,
    /// The room of those that were saved last, since new memory costs more than what
    /// is written to it.
    room: Vec<Kept>,
    /// The first fact that is yet to be saved.
    unsaved: u64,
    /// Those from there on that the log has let go of, which follow each other.
    spilled: Vec<Noted>,
    /// The parts that are being saved, and the same of their facts.
    saving: Vec<(Range<u64>, Vec<Noted>)>,
    /// The first fact for which there was no room.
    end: Option<u64>,
    missed: u64,
    /// How many parts of it were saved before, or are being saved.
    parts: u64,
}

/// An input, the lane that it was told to, and the next fact by then.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) before: u64,
    pub(super) lane: u64,
    pub(super) input: Input,
}

/// A fact, of which lane, and what that is called.
pub(crate) type Noted = (u64, Arc<str>, Fact);

/// What was recorded since the last time, while it is saved.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its number, from 0 on.
    pub(super) number: u64,
    pub(super) inputs: Vec<Kept>,
    /// By their numbers.
    pub(crate) facts: Range<u64>,
    pub(super) missed: u64,
}

impl Tape {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inputs: Vec::new(),
            room: Vec::new(),
            unsaved: 0,
            spilled: Vec::new(),
            saving: Vec::new(),
            end: None,
            missed: 0,
            parts: 0,
        }
    }

    /// What a lane was told, and has come to: its facts are the next ones, from this
    /// number on.
    #[inline]
    pub(crate) fn take(&mut self, next: u64, lane: u64, news: &mut News) {
        let facts = news.facts().len();
        // Mostly none are kept beside the facts.
        let told = news.inputs();
        if self.admits(next, told.len(), facts) && !told.is_empty() {
            self.take_inputs(next, lane, told);
        }
    }

    #[cold]
    fn take_inputs(&mut self, next: u64, lane: u64, told: &mut Vec<(usize, Input)>) {
        self.inputs
            .extend(told.drain(..).map(|(passed, input)| Kept {
                before: next + passed as u64,
                lane,
                input,
            }));
    }

    pub(crate) fn input(&mut self, next: u64, lane: u64, input: Input) {
        if self.admits(next, 1, 0) {
            let before = next;
            self.inputs.push(Kept {
                before,
                lane,
                input,
            });
        }
    }

    /// A fact comes that nobody was told anything for.
    pub(crate) fn fact(&mut self, next: u64) {
        self.admits(next, 0, 1);
    }

    /// Whether there is room for so many inputs and facts.
    #[inline]
    fn admits(&mut self, next: u64, inputs: usize, facts: usize) -> bool {
        let kept = self.inputs.len() as u64 + (next - self.unsaved);
        let more = (inputs + facts) as u64;
        if self.missed == 0 && kept + more <= self.capacity as u64 {
            return true;
        }
        self.end.get_or_insert(next);
        self.missed += more;
        false
    }

    /// Where a fact is to go that the log lets go of, if it is yet to be saved, or is being
    /// saved.
    #[inline]
    pub(crate) fn place_of(&mut self, seq: u64) -> Option<&mut Vec<Noted>> {
        if seq >= self.unsaved {
            return self
                .end
                .is_none_or(|end| seq < end)
                .then_some(&mut self.spilled);
        }
        let mut saving = self.saving.iter_mut();
        let part = saving.find(|(facts, _)| facts.contains(&seq));
        part.map(|(_, spilled)| spilled)
    }

    /// What there is so far; it goes on without it.
    pub(crate) fn begin_part(&mut self, next: u64) -> Part {
        let facts = self.unsaved..self.end.unwrap_or(next);
        self.unsaved = facts.end;
        self.parts += 1;
        self.saving
            .push((facts.clone(), std::mem::take(&mut self.spilled)));
        Part {
            number: self.parts - 1,
            inputs: std::mem::replace(&mut self.inputs, std::mem::take(&mut self.room)),
            facts,
            missed: self.missed,
        }
    }

    /// Those of a part that the log has let go of, from this one on.
    pub(crate) fn spilled(&self, part: &Part, from: u64) -> &[Noted] {
        let mut saving = self.saving.iter();
        let spilled = saving.find(|(facts, _)| *facts == part.facts);
        let skip = usize::try_from(from - part.facts.start).unwrap_or(usize::MAX);
        spilled
            .and_then(|(_, spilled)| spilled.get(skip..))
            .unwrap_or_default()
    }

    /// It is dealt with, and so much of it was not saved. Returns what nobody needs any
    /// more.
    #[must_use = "drop it outside the lock"]
    pub(crate) fn end_part(&mut self, part: &mut Part, lost: u64) -> Option<Vec<Noted>> {
        self.missed += lost;
        self.room = std::mem::take(&mut part.inputs);
        let mut saving = self.saving.iter();
        let which = saving.position(|(facts, _)| *facts == part.facts)?;
        Some(self.saving.swap_remove(which).1)
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::engine::What;

    #[test]
    fn s15_the_room_of_what_was_saved_is_used_again_and_holds_nothing() {
        let mut tape = Tape::new(100);
        for _ in 0..2 {
            (0..100).for_each(|_| tape.input(0, 1, Input::Retired));
            let mut part = tape.begin_part(0);
            assert_eq!(part.inputs.len(), 100);
            part.inputs.clear();
            assert!(tape.end_part(&mut part, 0).unwrap().is_empty());
        }
        assert!(tape.inputs.is_empty() && tape.room.is_empty());
        assert!(tape.inputs.capacity() >= 100 && tape.room.capacity() >= 100);
    }

    fn a_fact() -> Noted {
        (1, Arc::from("main"), Fact::of_lane(What::Closed))
    }

    /// The log lets go of these; how many of them are kept.
    fn spill(tape: &mut Tape, seqs: Range<u64>) -> usize {
        let mut kept = 0;
        for seq in seqs {
            if let Some(place) = tape.place_of(seq) {
                place.push(a_fact());
                kept += 1;
            }
        }
        kept
    }

    #[test]
    fn s15_facts_are_kept_for_as_long_as_their_part_needs_them() {
        let mut tape = Tape::new(100);
        assert_eq!(spill(&mut tape, 0..3), 3);
        let mut first = tape.begin_part(10);
        let mut second = tape.begin_part(15);
        let mut third = tape.begin_part(15);
        assert_eq!(spill(&mut tape, 3..8), 5);
        assert_eq!(tape.spilled(&first, 0).len(), 8);
        assert_eq!(tape.spilled(&first, 6).len(), 2);
        assert_eq!(tape.spilled(&first, 8).len(), 0);
        assert_eq!(tape.spilled(&first, 9).len(), 0);
        // Whichever ends first, the others have theirs.
        assert_eq!(
            tape.end_part(&mut second, 0).map(|gone| gone.len()),
            Some(0)
        );
        assert_eq!(spill(&mut tape, 8..18), 2 + 3);
        assert_eq!(tape.spilled(&first, 8).len(), 2);
        assert_eq!(tape.end_part(&mut third, 0).map(|gone| gone.len()), Some(0));
        let fourth = tape.begin_part(19);
        assert_eq!(
            (fourth.facts.clone(), tape.spilled(&fourth, 15).len()),
            (15..19, 3)
        );
        assert_eq!(
            tape.end_part(&mut first, 0).map(|gone| gone.len()),
            Some(10)
        );
        assert_eq!(spill(&mut tape, 18..19), 1);
        assert_eq!(tape.spilled(&fourth, 15).len(), 4);
        assert!(tape.spilled.is_empty());
    }

    #[test]
    fn s15_of_one_that_is_full_no_more_is_kept() {
        let mut tape = Tape::new(3);
        tape.fact(0);
        tape.input(1, 1, Input::Retired);
        tape.fact(1);
        assert!(tape.place_of(1).is_some());
        tape.fact(2);
        // It may be small, and there was no room before.
        tape.input(3, 1, Input::Retired);
        assert!(tape.place_of(1).is_some() && tape.place_of(2).is_none());
        let mut part = tape.begin_part(3);
        assert_eq!((part.facts.clone(), part.missed), (0..2, 2));
        part.inputs.clear();
        assert!(tape.end_part(&mut part, 0).unwrap().is_empty());
        tape.fact(3);
        assert!(tape.place_of(1).is_none() && tape.place_of(3).is_none());
        assert_eq!(tape.begin_part(4).missed, 3);
    }

    #[test]
    fn an_input_is_as_small_as_the_docs_say() {
        assert!(size_of::<Kept>() <= 160, "{}", size_of::<Kept>());
    }
}

//! What the soak itself knows of one lane: who sits in it, and what was done
//! to it.

use std::sync::Arc;

use laneway::TaskContext;

use crate::case::Case;
use crate::sync::{Count, Mutex, SeqCst, lock};

/// What may end a task that did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Clear,
    CancelAll,
    Reset,
    Drain,
    Close,
}

pub(crate) type Stamps = [u64; 5];

/// What a lane is like, for as long as its scheduler lives.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) name: String,
    pub(crate) width: usize,
    /// It has room for more orphans than the soak makes, so that every hung
    /// task must be reclaimed in time.
    pub(crate) roomy: bool,
    pub(crate) resizable: bool,
    pub(crate) resettable: bool,
    /// A stalled task of this lane runs on, and its result counts.
    pub(crate) lets_run_on: bool,
    /// It is in the group.
    pub(crate) shares: bool,
}

#[derive(Debug)]
struct Sitter {
    number: u64,
    cx: TaskContext,
    /// Of its last grant that was seen here.
    fence: u64,
}

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) traits: Traits,
    /// The greatest limit that was ever set.
    pub(crate) widest: Count,
    /// Odd while a limit is being set.
    pub(crate) resizes: Count,
    stamps: [Count; 5],
    /// Verbs that were begun and are not through.
    speaking: [Count; 5],
    seats: Mutex<Vec<Sitter>>,
    /// The greatest fence of a holder that has ended, in any scheduler.
    ended: Arc<Count>,
}

impl Book {
    pub(crate) fn new(traits: Traits, ended: Arc<Count>) -> Self {
        Self {
            widest: Count::new(traits.width as u64),
            resizes: Count::default(),
            stamps: Default::default(),
            speaking: Default::default(),
            seats: Mutex::default(),
            traits,
            ended,
        }
    }

    /// Says that a verb is about to be spoken, and then that it was.
    pub(crate) fn begin(&self, verb: Verb) {
        self.speaking[verb as usize].fetch_add(1, SeqCst);
        self.stamps[verb as usize].fetch_add(1, SeqCst);
    }

    pub(crate) fn finish(&self, verb: Verb) {
        self.speaking[verb as usize].fetch_sub(1, SeqCst);
    }

    /// A verb may have met a task if its stamp is another than before the task
    /// came, or if it was being spoken then.
    pub(crate) fn stamps(&self) -> Stamps {
        std::array::from_fn(|verb| self.stamps[verb].load(SeqCst))
    }

    /// To be called after [`stamps`](Self::stamps), lest a verb that begins in
    /// between be missed.
    pub(crate) fn speaking(&self) -> Stamps {
        std::array::from_fn(|verb| self.speaking[verb].load(SeqCst))
    }

    pub(crate) fn ended_fence(&self) -> u64 {
        self.ended.load(SeqCst)
    }

    /// A task that was let in sits down, and looks round.
    fn sit(self: &Arc<Self>, cx: &TaskContext, case: &Case, floor: u64) -> Seat {
        let mut seats = lock(&self.seats);
        let fence = self.look_round(&seats, cx, case, floor).unwrap_or(0);
        seats.push(Sitter {
            number: case.number,
            cx: cx.clone(),
            fence,
        });
        drop(seats);
        Seat {
            book: Arc::clone(self),
            number: case.number,
            fence,
        }
    }

    /// What a holder of a slot here sees; its fence, if it still is one.
    fn look_round(
        &self,
        seats: &[Sitter],
        cx: &TaskContext,
        case: &Case,
        floor: u64,
    ) -> Option<u64> {
        let (name, proof) = (&self.traits.name, case.proof());
        let others = || seats.iter().filter(|other| other.number != case.number);
        // All who sit here were granted before this moment. Whoever is current
        // after it was so throughout: they held their slots at once.
        let holders: Vec<u64> = others()
            .filter(|other| other.cx.is_current())
            .map(|other| other.fence)
            .collect();
        let fence = cx.fence_in(name)?;
        if !cx.is_current() {
            return Some(fence);
        }
        let widest = self.widest.load(SeqCst);
        proof.check("S1", (holders.len() as u64) < widest, || {
            format!("{case} with fence {fence} joins {holders:?} in lane {name}, whose limit was never over {widest}")
        });
        proof.check("S11", fence > floor, || {
            format!("{case} has fence {fence} in lane {name}; one that had ended there before had {floor}")
        });
        let alone = self.traits.width == 1 && !self.traits.resizable;
        let repeated = holders.contains(&fence);
        let late = alone && others().any(|other| other.fence >= fence);
        proof.check("S11", !repeated && !late, || {
            let all: Vec<u64> = others().map(|other| other.fence).collect();
            format!("{case} has fence {fence} in lane {name}, beside {all:?}")
        });
        Some(fence)
    }
}

/// Where a task that was let in sits: in each of its lanes.
#[derive(Debug)]
pub(crate) struct Seats(Vec<Seat>);

impl Seats {
    /// To be called where its body begins.
    pub(crate) fn take(cx: &TaskContext, case: &Case) -> Self {
        let proof = case.proof();
        if let Some(fault) = case.kind.fault() {
            proof.fault(fault);
        }
        proof.ran.fetch_add(1, SeqCst);
        let runs = case.starts(cx);
        proof.check("S2", runs == 1, || format!("{case} ran {runs} times"));
        let places = case.places.iter();
        Self(
            places
                .map(|place| place.book.sit(cx, case, place.fence_floor))
                .collect(),
        )
    }

    /// It is back from a wait without its slots, and looks round once more.
    pub(crate) fn look_again(&mut self, cx: &TaskContext, case: &Case) {
        for seat in &mut self.0 {
            let mut seats = lock(&seat.book.seats);
            // Where it kept its slot, it has the fence that it had.
            let floor = seat.fence.saturating_sub(1);
            let Some(fence) = seat.book.look_round(&seats, cx, case, floor) else {
                continue;
            };
            seat.fence = fence;
            for sitter in seats
                .iter_mut()
                .filter(|sitter| sitter.number == case.number)
            {
                sitter.fence = fence;
            }
        }
    }
}

/// Dropped with the task's future, before its slot may go on.
#[derive(Debug)]
struct Seat {
    book: Arc<Book>,
    number: u64,
    fence: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.book.ended.fetch_max(self.fence, SeqCst);
        let left = {
            let mut seats = lock(&self.book.seats);
            let at = seats.iter().position(|sitter| sitter.number == self.number);
            at.map(|at| seats.swap_remove(at))
        };
        drop(left);
    }
}

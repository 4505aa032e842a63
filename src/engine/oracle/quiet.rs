//! When a lane that does not move must say so, and when it must not (S16).

use std::time::Duration;

use super::life::Life;
use super::model::Model;
use super::sim::{Event, Sim, Token};
use crate::engine::{Blocked, Time};

const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Quiet {
    warn_after: Duration,
    /// The last dispatch, or the first arrival since the lane last moved; later
    /// arrivals are no reason to be silent for longer.
    blocked_from: Option<Time>,
    /// The latest sign of life of anybody who held a slot.
    last_sign: Time,
    /// When somebody else last spoke for this lane, or a pause was about to
    /// end by itself.
    excused: Time,
    warnings: u32,
    last_warning: Time,
    /// Arrivals since the last warning.
    suppressed: u64,
}

impl Quiet {
    pub(super) const fn new(now: Time, warn_after: Duration) -> Self {
        Self {
            warn_after,
            blocked_from: None,
            last_sign: now,
            excused: now,
            warnings: 0,
            last_warning: now,
            suppressed: 0,
        }
    }

    /// Somebody comes to wait.
    pub(super) fn queued(&mut self, now: Time) {
        if self.blocked_from.is_none() {
            self.begin(Some(now));
        }
        self.suppressed += u64::from(self.warnings > 0);
    }

    /// Another time is worth a word: it counts from where it counted, and what
    /// was said of the old one is forgotten.
    pub(super) fn set_anew(&mut self, warn_after: Duration) {
        if warn_after != self.warn_after {
            self.warn_after = warn_after;
            self.begin(self.blocked_from);
        }
    }

    /// Somebody came and found a slot.
    pub(super) fn started(&mut self) {
        self.begin(None);
    }

    fn begin(&mut self, from: Option<Time>) {
        self.blocked_from = from;
        self.warnings = 0;
        self.suppressed = 0;
    }

    /// One event, in order. `model` has heard of it, too.
    pub(super) fn saw(
        &mut self,
        now: Time,
        event: &Event,
        sim: &Sim,
        model: &Model,
        lives: &[Life],
    ) {
        self.look(now, sim, model, lives);
        match event {
            Event::Granted(_) => self.begin((model.queued() > 0).then_some(now)),
            // A place that is passed on moves nothing.
            Event::Lost(task) | Event::Unclaimed(task) | Event::Withdrawn(task)
                if model.queued() == 0 && had_slot(&lives[*task as usize]) =>
            {
                self.begin(None);
            }
            Event::Entered(_) => self.queued(now),
            Event::Looked(blocked) => self.looked(now, blocked, sim, model, lives),
            _ => {}
        }
    }

    /// Somebody lets go of a slot.
    pub(super) fn vacated(&mut self, model: &Model) {
        if model.queued() == 0 {
            self.begin(None);
        }
    }

    fn looked(&mut self, now: Time, said: &Blocked, sim: &Sim, model: &Model, lives: &[Life]) {
        let from = self.blocked_from.expect("S16: it is not blocked");
        let blocked_for = now.since(from);
        assert!(blocked_for >= self.warn_after, "S16: too early");
        let signs = model.holders();
        let last_sign = signs.map(|token| sign(now, token, sim, lives)).max();
        let moves = last_sign.is_some_and(|at| now.since(at) < self.warn_after);
        let resumes = model.paused && model.resumes_at.is_some();
        let right = Blocked {
            by: model.blocked_by(),
            healthy: moves || resumes || sim.root_speaks,
            blocked_for,
            active: model.active(),
            max_concurrent: model.max_concurrent,
            queued: model.queued(),
            suppressed: self.suppressed,
        };
        assert_eq!(*said, right, "S16");
        if !said.healthy {
            let gap = now.since(self.last_warning);
            assert!(
                self.warnings == 0 || gap >= self.step(),
                "S16: repeats back off: {gap:?} after {} warnings",
                self.warnings
            );
            self.warnings += 1;
            self.last_warning = now;
            self.suppressed = 0;
        }
    }

    /// How long it is silent after the last warning.
    fn step(&self) -> Duration {
        let doubled = self.warn_after * (1 << self.warnings.saturating_sub(1).min(12));
        doubled.min(LONGEST.max(self.warn_after))
    }

    /// Notes what excuses a lane that does not move.
    pub(super) fn look(&mut self, now: Time, sim: &Sim, model: &Model, lives: &[Life]) {
        for token in model.holders() {
            let sign = sign(now, token, sim, lives);
            self.last_sign = self.last_sign.max(sign);
        }
        if sim.root_speaks || model.paused && model.resumes_at.is_some() {
            self.excused = now;
        }
    }

    /// The driver has come: a lane that had to warn by now has.
    pub(super) fn check_in_time(&self, now: Time, model: &Model) {
        let Some(from) = self.blocked_from.filter(|_| model.queued() > 0) else {
            return;
        };
        let mut due = from.max(self.last_sign).max(self.excused) + self.warn_after;
        if self.warnings > 0 {
            due = due.max(self.last_warning + self.step());
        }
        assert!(
            now < due,
            "S16: blocked, silent, and it does not warn: {self:?}"
        );
    }
}

/// It is a place that somebody gave up, or a parked task had no slot.
const fn had_slot(life: &Life) -> bool {
    !life.keeps && !life.away
}

/// The last sign of life of a holder as it was then. One that came for its slot
/// only later in the same operation had shown none since it was submitted.
fn sign(now: Time, token: Token, sim: &Sim, lives: &[Life]) -> Time {
    let sign = sim.tasks[token as usize].facts.active_at;
    if sign <= now {
        return sign;
    }
    // It gave a later one since, and only some are kept.
    let life = &lives[token as usize];
    let kept = [life.enqueued, life.gathered, life.back];
    let before = kept.into_iter().filter(|sign| *sign <= now);
    before.max().unwrap_or(life.enqueued)
}

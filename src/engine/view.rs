//! What can be asked of a lane without changing it.

use super::effects::BlockedBy;
use super::group::Gate;
use super::lane::{Lane, Mode, Settings, Tally};
use super::pace::Pace;
use super::queue::First;
use super::slab::Key;
use super::task::Record;
use super::time::Time;

impl<P: Clone> Lane<P> {
    pub(crate) fn record(&self, key: Key) -> Option<&Record<P>> {
        self.tasks.get(key)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (Key, &Record<P>)> {
        self.tasks.iter()
    }

    pub(crate) fn holders(&self) -> &[Key] {
        &self.holders
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) const fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) const fn active(&self) -> usize {
        self.holders.len()
    }

    pub(crate) const fn orphans(&self) -> usize {
        self.orphans
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) const fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(crate) const fn mode(&self) -> Mode {
        match self.mode {
            Mode::Draining { .. } if self.closed => Mode::Closed,
            mode => mode,
        }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed || matches!(self.mode, Mode::Shutdown)
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Paused, and for a while only.
    pub(crate) const fn resumes_by_itself(&self) -> bool {
        self.resume_at.is_some()
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When a task is looked at next.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn moment(&self, key: Key) -> Option<Time> {
        let at = self.tasks.get(key)?.moment();
        Some(at).filter(|at| *at < Time::FAR)
    }

    /// The memory it holds on to, in entries of all its tables.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn footprint(&self) -> usize {
        let holders = self.holders.capacity();
        let tables = self.tasks.footprint() + self.queue.footprint() + self.timers.footprint();
        tables + holders
    }

    /// The fence that the next grant gets (S11).
    pub(crate) const fn next_fence(&self) -> u64 {
        self.fence
    }

    /// Nobody holds a slot or waits for one. A lane is left to those who wait for
    /// somebody without a slot, but not once they were asked to end with it.
    pub(crate) fn is_idle(&self) -> bool {
        let left = match self.mode {
            Mode::Shutdown => self.parked == 0,
            _ => true,
        };
        self.holders.is_empty() && self.waiters() == 0 && self.quiet == 0 && left
    }

    pub(crate) fn max_orphans(&self) -> usize {
        self.settings
            .max_orphans
            // At least one: a lane that is paused by setting it to zero must
            // not keep its phantoms for ever (S8).
            .unwrap_or_else(|| self.settings.max_concurrent.max(1))
    }

    /// Why waiters wait; `None` where there are none.
    pub(crate) fn blocked_by(&self) -> Option<BlockedBy> {
        if self.waiters() == 0 {
            None
        } else if self.paused || self.settings.max_concurrent == 0 {
            Some(BlockedBy::Paused)
        } else if let Gate::Full(by) = self.gate
            && self.has_free_slot()
        {
            Some(by)
        } else {
            Some(BlockedBy::MaxConcurrent)
        }
    }

    /// Its first waiter, if that could start for all that this lane has to
    /// say. As of the latest time seen, or of now.
    pub(super) fn first(&self, now: Option<Time>) -> Option<First> {
        let now = now.map_or(self.clock, |now| self.clock.max(now));
        let may_start = self.has_free_slot();
        let in_queue = || self.queue.first(&self.tasks, now, self.settings.aging);
        may_start.then(|| in_queue().or_else(|| self.first_at_door(now)))?
    }
}

//! What happened in a lane, in its order, for whoever keeps a log of it.
//!
//! A fact is written down where it becomes true, so that the order in which they
//! stand is the order in which they came to be. The shell takes them out before
//! it releases the lock. A lane without a journal pays one branch for each.

use std::sync::Arc;

use super::effects::{Effect, Effects, Notice, Reclaim, Recovery};
use super::entry::Released;
use super::fact::{Ahead, Came, Fact, More, Told, What};
use super::id::TaskId;
#[cfg(feature = "replay")]
use super::input::Input;
use super::lane::Lane;
use super::slab::Key;
#[cfg(feature = "replay")]
use super::task::Spec;
use super::task::{End, Facts, Gone, State};
use super::time::{Span, Time};

/// What was written down since the shell took it out last.
#[derive(Debug)]
pub(crate) struct Journal<P> {
    pub(super) names: Names<P>,
    pub(super) news: News,
    /// With the inputs.
    #[cfg(feature = "replay")]
    pub(super) records: bool,
    /// That of the task that was recorded last.
    #[cfg(feature = "replay")]
    pub(super) spec: Option<Box<Spec>>,
}

/// Facts, in their order. Their places stay, so that one is made where it is read.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(super) places: Vec<Fact>,
    pub(super) len: usize,
    /// What was told to the lane, each with how many facts stood before it.
    #[cfg(feature = "replay")]
    pub(super) inputs: Vec<(usize, Input)>,
}

/// What the shell calls a task: only the shell knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<P> {
    pub(crate) id: fn(&P) -> TaskId,
    /// What there is to say beside its key, which the shell may not know yet.
    pub(crate) more: fn(&P) -> Option<Box<More>>,
}

/// How many places are kept from one input to the next.
const KEEP: usize = 64;

impl<P: Clone> Lane<P> {
    /// From now on what happens is written down.
    pub(crate) fn keep_journal(&mut self, names: Names<P>, inputs: bool) {
        #[cfg(not(feature = "replay"))]
        let _ = inputs;
        self.journal = Some(Box::new(Journal {
            names,
            news: News::default(),
            #[cfg(feature = "replay")]
            records: inputs,
            #[cfg(feature = "replay")]
            spec: None,
        }));
    }

    #[inline]
    pub(crate) const fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// What was written down since it was cleared last, if anything was.
    #[inline]
    pub(crate) fn news(&mut self) -> Option<&mut News> {
        let news = &mut self.journal.as_deref_mut()?.news;
        news.is_any().then_some(news)
    }

    /// Of a task that there is.
    #[inline]
    pub(super) fn note(&mut self, now: Time, key: Key, what: impl FnOnce() -> What) {
        if self.has_journal() {
            let at = self.clock.max(now);
            self.write(at, key, what());
        }
    }

    /// The same, where the input says nothing of the time; what the shell alone
    /// knows of a task is noted like this, too.
    pub(crate) fn note_untimed(&mut self, key: Key, what: impl FnOnce() -> What) {
        if self.has_journal() {
            self.write(Time::FAR, key, what());
        }
    }

    pub(super) fn note_taken(&mut self, now: Time, key: Key, detached: bool) {
        let orphans = self.orphans;
        self.note(now, key, || What::Taken { detached, orphans });
    }

    /// Its caller is told, which happens once; a slot beside a task's own has none,
    /// and where it was taken that is all there is to say.
    pub(super) fn note_settled(&mut self, now: Time, key: Key, end: End) {
        self.note(now, key, || What::told(end));
    }

    /// Of the lane.
    pub(crate) fn note_lane(&mut self, now: Option<Time>, what: impl FnOnce() -> What) {
        if let Some(journal) = &mut self.journal {
            let at = now.map_or(Time::FAR, |now| self.clock.max(now));
            journal.news.push(at, Key::NOBODY, None, what());
        }
    }

    /// Of a task that found its slot free: made in its place, since most are.
    #[inline(never)]
    pub(super) fn write_start(&mut self, now: Time, key: Key, waited: Span, fence: u64, held: u32) {
        let record = self.tasks.get(key);
        if let (Some(journal), Some(record)) = (&mut self.journal, record) {
            let more = (journal.names.more)(&record.payload);
            let ahead = Ahead {
                queued: 0,
                active: held,
            };
            journal.news.next(now, key, more).becomes(What::Dispatched {
                at_once: true,
                waited,
                fence,
                ahead,
            });
        }
    }

    #[inline(never)]
    fn write(&mut self, at: Time, key: Key, what: What) {
        // A place that is kept is no task.
        let record = self.tasks.get(key).filter(|record| !record.keeps);
        if let (Some(journal), Some(record)) = (&mut self.journal, record) {
            let more = (journal.names.more)(&record.payload);
            journal.push(at, key, more, what);
        }
    }

    /// It has reported progress since it was last looked at, which is nothing that
    /// anybody else would learn.
    #[inline]
    pub(super) fn note_moved(&mut self, now: Time, key: Key, facts: &Facts) {
        if self.has_journal() && facts.reported {
            self.write_moved(now, key, facts);
        }
    }

    #[cold]
    fn write_moved(&mut self, now: Time, key: Key, facts: &Facts) {
        let Some(record) = self.tasks.get_mut(key) else {
            return;
        };
        let last = record.last_sign(facts);
        let known = record.late.as_deref().map_or(Time::START, |late| late.seen);
        if last > known.max(record.started) {
            record.late.get_or_insert_default().seen = last;
            let idle = now.since(last);
            self.write(now, key, What::Moved { idle });
        }
    }

    /// A runner let go of a task. `told` is how its caller is told that it ended,
    /// if it was not told before.
    #[inline]
    pub(crate) fn note_release(
        &mut self,
        now: Time,
        key: Key,
        released: &Released<P>,
        told: Told,
        completed: bool,
    ) {
        let now = self.advance(now);
        match released {
            Released::Unknown => {}
            // Most tasks end like this.
            Released::Held(gone) if told.end.is_none() && gone.is_plain() => {
                self.write_done(now, key, gone, told.panicked, told.ran);
            }
            Released::Held(gone) | Released::Orphan(gone) => {
                let held = matches!(released, Released::Held(_));
                self.write_release(now, key, gone, held, told, completed);
            }
        }
    }

    /// Of a task that completed: made in its place, as it is at its start.
    #[inline(never)]
    fn write_done(&mut self, now: Time, key: Key, gone: &Gone<P>, panicked: bool, ran: Span) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let more = (journal.names.more)(&gone.payload);
        let place = journal.news.next(now, key, more);
        if place.tag.is_part() {
            return place.becomes(What::Left);
        }
        place.becomes(What::Settled {
            end: None,
            panicked,
            holds: false,
            ran,
        });
    }

    fn write_release(
        &mut self,
        now: Time,
        key: Key,
        gone: &Gone<P>,
        held: bool,
        told: Told,
        completed: bool,
    ) {
        let Some(journal) = self.journal.as_mut().filter(|_| !gone.keeps) else {
            return;
        };
        let more = (journal.names.more)(&gone.payload);
        let part = more.as_deref().is_some_and(More::is_part);
        let last = !gone.is_told() && (held || !part);
        if last && !part {
            let what = What::Settled {
                end: told.end,
                panicked: told.panicked,
                holds: false,
                ran: told.ran,
            };
            if held {
                journal.news.push(now, key, more, what);
                return;
            }
            journal.news.push(now, key, more.clone(), what);
        }
        let what = match held {
            true => What::Left,
            false if !last && !part && gone.is_late(completed) => What::LateCompletion,
            false => What::OrphanGone,
        };
        journal.news.push(now, key, more, what);
    }

    /// What a reclaim has come to; in a group that is known once the group has
    /// decided.
    #[cold]
    pub(crate) fn note_reclaim(&mut self, task: &P, end: End, how: Reclaim, came: &Recovery<P>) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let recovery = match came {
            Recovery::Dispatched(next) => Recovery::Dispatched((journal.names.id)(next)),
            Recovery::NobodyWaiting => Recovery::NobodyWaiting,
            Recovery::StillBlocked(by) => Recovery::StillBlocked(*by),
        };
        let what = What::Reclaimed(Box::new(Came { end, how, recovery }));
        let (key, more) = ((journal.names.id)(task).key, (journal.names.more)(task));
        journal.push(self.clock, key, more, what);
    }

    /// The same for all that are among these effects.
    pub(crate) fn note_reclaims(&mut self, effects: &Effects<P>) {
        for effect in effects.iter() {
            if let Effect::Report(Notice::Reclaimed {
                task,
                end,
                how,
                recovery,
                ..
            }) = effect
            {
                self.note_reclaim(task, *end, *how, recovery);
            }
        }
    }

    /// What the task that was just parked waits for.
    pub(crate) fn note_waits_for(&mut self, text: Arc<str>) {
        let facts = self
            .journal
            .iter_mut()
            .flat_map(|journal| journal.news.facts());
        let parked = facts.rev().find_map(|fact| match &mut fact.what {
            What::Parked { what, .. } => Some(what),
            _ => None,
        });
        if let Some(what) = parked {
            *what = Some(text);
        }
    }

    /// Whether its caller is yet to be told how it ended.
    pub(crate) fn is_open(&self, key: Key) -> bool {
        let record = self.tasks.get(key);
        record.is_some_and(|record| !record.said().told)
    }
}

impl<P> Journal<P> {
    /// Of a part nobody is told that it ended.
    #[inline]
    fn push(&mut self, at: Time, key: Key, more: Option<Box<More>>, what: What) {
        let place = self.news.next(at, key, more);
        let told = matches!(what, What::Settled { .. }) && place.tag.is_part();
        place.becomes(if told { What::Left } else { what });
    }
}

impl News {
    fn push(&mut self, at: Time, key: Key, more: Option<Box<More>>, what: What) {
        self.next(at, key, more).becomes(what);
    }

    /// The next one, of which what happened is yet to be written. It is made in its
    /// place: one that is made field by field and then moved makes the processor wait,
    /// which costs as much as all the rest of it.
    #[inline(always)]
    fn next(&mut self, at: Time, key: Key, more: Option<Box<More>>) -> &mut Fact {
        if self.len == self.places.len() {
            self.places.push(Fact::BLANK);
        }
        let place = &mut self.places[self.len];
        self.len += 1;
        place.is_of(at, key, more);
        place
    }

    #[inline]
    const fn is_any(&self) -> bool {
        self.len > 0 || self.has_inputs()
    }

    #[cfg(not(feature = "replay"))]
    #[inline]
    const fn has_inputs(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn facts(&mut self) -> &mut [Fact] {
        &mut self.places[..self.len]
    }

    /// They were read, and may have been exchanged for others, which are dropped.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.is_plain() {
            self.len = 0;
        } else {
            self.clear_all();
        }
    }

    /// There is one light fact and no input, as it mostly is.
    #[inline]
    fn is_plain(&mut self) -> bool {
        !self.has_inputs() && matches!(self.facts(), [fact] if !fact.is_heavy())
    }

    #[cold]
    fn clear_all(&mut self) {
        for fact in self.facts() {
            if fact.is_heavy() {
                *fact = Fact::BLANK;
            }
        }
        self.len = 0;
        if self.places.len() > KEEP {
            self.places = Vec::new();
        }
        #[cfg(feature = "replay")]
        self.clear_inputs(KEEP);
    }
}

impl<P> Gone<P> {
    /// There is nothing to say of it but how it ended.
    #[inline]
    fn is_plain(&self) -> bool {
        !self.keeps && !self.is_told()
    }

    /// It has a value, and nobody to have it.
    fn is_late(&self, completed: bool) -> bool {
        completed && self.end() != Some(End::Completed) && self.state == State::Orphan
    }
}

//! What happened in a lane, in its order, for whoever keeps a log of it.
//!
//! A fact is written down where it becomes true, so that the order in which they
//! stand is the order in which they came to be. The shell takes them out before
//! it releases the lock. A lane without a journal pays one branch for each.

use std::sync::Arc;
use std::time::Duration;

use super::effects::{Blocked, Effect, Effects, Notice, Reclaim, Recovery};
use super::entry::Released;
use super::id::TaskId;
#[cfg(feature = "replay")]
use super::implied::Implied;
#[cfg(feature = "replay")]
use super::input::Input;
use super::lane::Lane;
use super::queue::Priority;
use super::slab::Key;
#[cfg(feature = "replay")]
use super::task::Spec;
use super::task::{End, Facts, Gone, State};
use super::time::{Span, Time};
use super::vocabulary::Reason;

/// What was written down since the shell took it out last.
#[derive(Debug)]
pub(crate) struct Journal<P> {
    pub(super) names: Names<P>,
    pub(super) news: News,
    /// With the inputs.
    #[cfg(feature = "replay")]
    pub(super) records: bool,
    /// What is known to be granted to those who come.
    #[cfg(feature = "replay")]
    pub(super) granted: Option<Box<Spec>>,
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

/// Something that happened, to a task or to the lane. It is small, since many of them
/// are kept, and one is made on the shortest of paths: what is rare is in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// [`Time::FAR`] where the input said nothing of the time.
    pub(crate) at: Time,
    pub(crate) tag: Tag,
    pub(crate) what: What,
}

/// What a task is called, for as long as somebody reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Its key in pieces, beside which there is room for what is implied. No task's where
    /// it is about the lane.
    seq: u64,
    index: u32,
    #[cfg(feature = "replay")]
    pub(super) implied: Implied,
    more: Option<Box<More>>,
}

/// What most tasks do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: Option<Arc<str>>,
    /// It is no task, but this one's slot in another lane, or its place in line for one.
    pub(crate) part_of: Option<TaskId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    // Of a task that comes. Each begins with one of these, or is dispatched at
    // once.
    Queued(Ahead),
    AtDoor(Ahead),
    PutOff {
        window: Duration,
    },
    /// It comes to the queue, from the door or after its quiet window.
    LetIn,
    Dispatched {
        /// It found the slot free.
        at_once: bool,
        waited: Span,
        fence: u64,
        ahead: Ahead,
    },
    /// Nobody came for the grant (S20).
    Unclaimed,
    Rejoined,
    /// It has all the slots that it needs.
    Gathered,
    Raised {
        priority: Priority,
    },
    WaitExceeded {
        waited: Duration,
        ahead: Ahead,
    },
    // Of one that runs.
    /// It has moved since it was last looked at.
    Moved {
        idle: Duration,
    },
    Note(Arc<str>),
    PhaseBegun(Arc<str>),
    PhaseOver(Arc<str>),
    NeverReports {
        elapsed: Duration,
    },
    /// A stall that nothing else is done about.
    OnlyReported(Box<End>),
    Parked {
        /// Only the shell knows.
        what: Option<Arc<str>>,
        until: Time,
        /// It gave its slot here back.
        leaves: bool,
    },
    Outwaited,
    /// It has a slot here again, which its stand-in had.
    Regained,
    Unparked,
    // Of one that is ended.
    Asked {
        reason: Reason,
        grace: Duration,
    },
    GraceOver {
        reason: Reason,
    },
    TeardownBegun,
    Taken {
        detached: bool,
        orphans: usize,
    },
    TakeRefused {
        orphans: usize,
        max_orphans: usize,
    },
    /// What a reclaim has come to (S17).
    Reclaimed(Box<Came>),
    /// Its caller is told; the last word of every task, and said once (S2).
    Settled {
        /// `None`: it completed.
        end: Option<Box<End>>,
        panicked: bool,
        /// Its slot stays held: nobody can stop its runner.
        holds: bool,
        /// How long it had its slot, where its runner let go of it.
        ran: Span,
    },
    /// It has nothing here any more, and its caller is told elsewhere or was
    /// told before.
    Left,
    LateCompletion,
    OrphanGone,
    OrphanForgotten,
    // Of the lane.
    Made,
    Paused {
        until: Option<Time>,
    },
    Resumed,
    Limited {
        max_concurrent: usize,
    },
    SetAnew,
    Draining {
        deadline: Time,
    },
    DrainOver,
    Closed,
    Shutdown,
    Blocked(Box<Blocked>),
    /// A bug of ours was found in it, and mended.
    Repaired {
        faults: usize,
    },
    Deadlock {
        circle: Arc<str>,
        refused: bool,
    },
    Retired,
}

/// How the caller of a task is told that it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Told {
    /// `None`: it completed.
    pub(crate) end: Option<Box<End>>,
    pub(crate) panicked: bool,
    /// How long it had its slot; endless where it had none.
    pub(crate) ran: Span,
}

/// A reclaim, and whether it helped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) end: End,
    pub(crate) how: Reclaim,
    pub(crate) recovery: Recovery<TaskId>,
}

/// Waiters and holders ahead of a task when it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) queued: u32,
    pub(crate) active: u32,
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
            granted: None,
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
        self.note(now, key, || What::told(end, false));
    }

    /// Its caller is told by its runner, if nobody did before, and that may be when
    /// nothing is known of it here any more.
    pub(crate) fn note_end(&mut self, key: Key, end: End) {
        if let Some(record) = self.tasks.get_mut(key)
            && !std::mem::replace(&mut record.say().told, true)
        {
            self.note_untimed(key, || What::told(end, false));
        }
    }

    /// Of the lane.
    pub(crate) fn note_lane(&mut self, now: Option<Time>, what: impl FnOnce() -> What) {
        if let Some(journal) = &mut self.journal {
            let at = now.map_or(Time::FAR, |now| self.clock.max(now));
            journal.news.push(at, NOBODY, None, what());
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
            journal.push(at, Tag::new(key, more), what);
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
    /// if it was not told before. Returns whether what comes of it says all of that.
    #[inline]
    pub(crate) fn note_release(
        &mut self,
        now: Time,
        key: Key,
        released: &Released<P>,
        told: Told,
        completed: bool,
    ) -> bool {
        let at = self.advance(now);
        match released {
            // Most tasks end like this.
            Released::Held(gone) if told.end.is_none() && gone.is_plain() => {
                let says = completed && at == now;
                self.write_done(at, key, gone, told.panicked, told.ran, says)
            }
            Released::Held(gone) | Released::Orphan(gone) => {
                let held = matches!(released, Released::Held(_));
                self.write_release(at, key, gone, held, told, completed);
                false
            }
            Released::Unknown => false,
        }
    }

    /// Of a task that completed: made in its place, as it is at its start. It implies what
    /// was told where that is all there was to it, and it was no part of another.
    #[inline(never)]
    fn write_done(
        &mut self,
        now: Time,
        key: Key,
        gone: &Gone<P>,
        panicked: bool,
        ran: Span,
        says: bool,
    ) -> bool {
        let Some(journal) = &mut self.journal else {
            return false;
        };
        let more = (journal.names.more)(&gone.payload);
        let place = journal.news.next(now, key, more);
        if place.tag.is_part() {
            place.becomes(What::Left);
            return false;
        }
        #[cfg(feature = "replay")]
        if says {
            place.tag.implied = Implied::Done;
        }
        place.becomes(What::Settled {
            end: None,
            panicked,
            holds: false,
            ran,
        });
        says
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
        let tag = Tag::new(key, more);
        let part = tag.is_part();
        let last = !gone.is_told() && (held || !part);
        if last && !part {
            let what = What::Settled {
                end: told.end,
                panicked: told.panicked,
                holds: false,
                ran: told.ran,
            };
            if held {
                journal.news.push(now, key, tag.more, what);
                return;
            }
            journal.news.push(now, key, tag.more.clone(), what);
        }
        let what = match held {
            true => What::Left,
            false if !last && !part && gone.is_late(completed) => What::LateCompletion,
            false => What::OrphanGone,
        };
        journal.push(now, tag, what);
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
        journal.push(self.clock, Tag::new(key, more), what);
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

impl From<End> for Told {
    fn from(end: End) -> Self {
        let (end, panicked) = (What::boxed(end), false);
        let ran = Span::ENDLESS;
        Self { end, panicked, ran }
    }
}

impl What {
    /// Its caller is told, and its slot is free.
    fn told(end: End, panicked: bool) -> Self {
        Self::Settled {
            end: Self::boxed(end),
            panicked,
            holds: false,
            ran: Span::ENDLESS,
        }
    }

    pub(super) fn boxed(end: End) -> Option<Box<End>> {
        match end {
            End::Completed => None,
            end => Some(Box::new(end)),
        }
    }
}

impl Fact {
    /// What is left where one was taken.
    pub(crate) const BLANK: Self = Self {
        at: Time::FAR,
        tag: Tag::LANE,
        what: What::Left,
    };

    /// In a place in which nothing heavy stood.
    #[inline(always)]
    fn becomes(&mut self, what: What) {
        std::mem::forget(std::mem::replace(&mut self.what, what));
    }

    /// It has something in a box, or shares it.
    #[inline]
    const fn is_heavy(&self) -> bool {
        let light = matches!(
            self.what,
            What::Dispatched { .. }
                | What::Queued(_)
                | What::Settled { end: None, .. }
                | What::Left
        );
        self.tag.more.is_some() || !light
    }
}

/// No task's.
const NOBODY: Key = Key {
    index: u32::MAX,
    seq: 0,
};

impl Tag {
    const LANE: Self = Self::new(NOBODY, None);

    const fn new(key: Key, more: Option<Box<More>>) -> Self {
        Self {
            seq: key.seq,
            index: key.index,
            #[cfg(feature = "replay")]
            implied: Implied::Nothing,
            more,
        }
    }

    #[inline]
    pub(crate) const fn key(&self) -> Key {
        let Self { seq, index, .. } = *self;
        Key { index, seq }
    }

    /// Of the lane, and no task.
    pub(crate) const fn of_lane() -> Self {
        Self::LANE
    }

    /// Of this lane; `None` where it is about the lane itself.
    pub(crate) fn task(&self, lane: u64) -> Option<TaskId> {
        let key = self.key();
        let own = (key.seq > 0).then_some(TaskId { lane, key });
        self.more().and_then(|more| more.part_of).or(own)
    }

    pub(crate) fn is_part(&self) -> bool {
        self.more().is_some_and(|more| more.part_of.is_some())
    }

    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }
}

impl<P> Journal<P> {
    #[inline]
    fn push(&mut self, at: Time, tag: Tag, what: What) {
        let told = matches!(what, What::Settled { .. }) && tag.is_part();
        let what = if told { What::Left } else { what };
        self.news.push(at, tag.key(), tag.more, what);
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
        place.at = at;
        place.tag.seq = key.seq;
        place.tag.index = key.index;
        #[cfg(feature = "replay")]
        {
            place.tag.implied = Implied::Nothing;
        }
        // What stood there is [light](Fact::is_heavy), and has nothing to be dropped.
        std::mem::forget(std::mem::replace(&mut place.tag.more, more));
        place
    }

    #[inline]
    const fn is_any(&self) -> bool {
        #[cfg(feature = "replay")]
        if self.has_inputs() {
            return true;
        }
        self.len > 0
    }

    #[inline]
    pub(crate) fn facts(&mut self) -> &mut [Fact] {
        &mut self.places[..self.len]
    }

    /// They were read, and may have been exchanged for others, which are dropped.
    #[inline]
    pub(crate) fn clear(&mut self) {
        #[cfg(feature = "replay")]
        let is_heavy = self.has_inputs();
        #[cfg(not(feature = "replay"))]
        let is_heavy = false;
        match self.facts() {
            // As it mostly is.
            [fact] if !(is_heavy || fact.is_heavy()) => self.len = 0,
            _ => self.clear_all(),
        }
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

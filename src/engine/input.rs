//! An input of the engine, as it is recorded.

use std::sync::Arc;
use std::time::Duration;

use super::fact::More;
use super::id::TaskId;
use super::journal::Journal;
use super::recorder::{Comer, Step, inputs};
use super::{
    Effects, End, Entry, Facts, Holders, Key, Lane, Leftover, News, Priority, Reason, Settings,
    Spec, Time, Told, What,
};

/// What a task is called, as far as it is known when it comes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Label {
    name: Option<String>,
    key: Option<String>,
    /// The number of its lane, and its key there.
    part_of: Option<(u64, Key)>,
}

impl Label {
    pub(crate) fn part_of(&self) -> Option<TaskId> {
        self.part_of.map(|(lane, key)| TaskId { lane, key })
    }
}

/// What the shell adds to the facts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Note(String),
    PhaseBegun(String),
    PhaseOver(String),
    Deadlock { circle: String, refused: bool },
}

/// How a lane stood when it was made, since all did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Stood {
    pub(crate) paused: bool,
    pub(crate) drains: Option<(Time, bool, Leftover)>,
    pub(crate) closed: bool,
}

macro_rules! input {
    (
        [$($with:ident $with_method:ident($($wv:ident: $wvt:ty),*; $($wr:ident: $wrt:ty),*) -> $with_out:ty;)*]
        [$($variant:ident $method:ident($($v:ident: $vt:ty),*; $($r:ident: $rt:ty),*) -> $out:ty;)*]
    ) => {
        /// An input. What is not listed here is in the list of
        /// [`recorder`](super::recorder).
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Input {
            Made {
                name: String,
                settings: Settings,
                fence: u64,
                stood: Stood,
            },
            Retired,
            /// Of those who come from now on.
            Spec(Spec),
            Come {
                now: Time,
                /// `None`: it was refused.
                key: Option<Key>,
                label: Option<Box<Label>>,
                entry: Entry,
                comer: Comer,
            },
            Release { key: Key, completed: bool },
            NoteRelease { now: Time, key: Key, told: Told, completed: bool },
            SettleRelease { now: Time },
            /// How long they had waited is not part of it.
            Clear { now: Time, end: End },
            Said { key: Option<Key>, said: Said },
            /// Of the task that is parked next.
            WaitsFor { text: String },
            InGroup(Step),
            /// Of a group, by its number, and of no lane.
            Budget { group: u64, budget: usize },
            $($with { $($wv: $wvt,)* $($wr: Box<<$wrt as ToOwned>::Owned>,)* },)*
            $($variant { $($v: $vt,)* $($r: Box<<$rt as ToOwned>::Owned>,)* },)*
        }

        impl Input {
            /// Does it once more, if it is one of the list.
            pub(crate) fn repeat<P: Clone>(&self, lane: &mut Lane<P>, effects: &mut Effects<P>) {
                match self {
                    $(Self::$with { $($wv,)* $($wr,)* } => {
                        ignore(lane.$with_method($(Clone::clone($wv),)* $($wr,)* effects));
                    })*
                    $(Self::$variant { $($v,)* $($r,)* } => {
                        ignore(lane.$method($(Clone::clone($v),)* $($r,)*));
                    })*
                    _ => {}
                }
            }
        }
    };
}

inputs!(input);

impl<P> Lane<P> {
    /// Where inputs are written down.
    #[inline]
    pub(super) fn recorded(&mut self) -> Option<&mut News> {
        let journal = self.journal.as_deref_mut()?;
        journal.records.then_some(&mut journal.news)
    }

    /// Where inputs are written down, how many facts stand before the next.
    #[inline]
    pub(super) fn facts_so_far(&self) -> Option<usize> {
        let journal = self.journal.as_deref()?;
        journal.records.then_some(journal.news.len)
    }

    /// Written down where it is not that of the task before, as it mostly is.
    #[inline]
    pub(super) fn write_spec(&mut self, before: usize, spec: &Spec) {
        let journal = self.journal.as_deref_mut();
        if let Some(journal) = journal.filter(|it| it.spec.as_deref() != Some(spec)) {
            journal.write_spec(before, spec);
        }
    }

    /// Of a newcomer, who got this key.
    #[inline(always)]
    pub(super) fn write_come(
        &mut self,
        before: usize,
        how: Comer,
        now: Time,
        entry: Entry,
        key: Option<Key>,
    ) {
        let plainly = how == Comer::Plain;
        let news = self.recorded().filter(|_| plainly);
        if !news.is_some_and(|news| news.implies_come(before, now, key, entry)) {
            self.write_comer(before, how, now, entry, key);
        }
    }

    #[cold]
    fn write_comer(
        &mut self,
        before: usize,
        comer: Comer,
        now: Time,
        entry: Entry,
        key: Option<Key>,
    ) {
        let Some(journal) = self.journal.as_deref_mut() else {
            return;
        };
        let record = key.and_then(|key| self.tasks.get(key));
        let more = record.and_then(|record| (journal.names.more)(&record.payload));
        let input = Input::Come {
            now,
            key,
            label: more.as_deref().map(|more| Box::new(Label::from(more))),
            entry,
            comer,
        };
        journal.news.inputs.push((before, input));
    }

    /// Somebody was released, and its caller told, if that is known.
    #[inline]
    pub(super) fn write_released(
        &mut self,
        before: usize,
        key: Key,
        completed: bool,
        told: Option<(Time, Told)>,
    ) {
        let plainly = told.as_ref().filter(|_| completed).map(|(now, _)| *now);
        if let Some(news) = self.recorded()
            && !plainly.is_some_and(|now| news.implies_done(before, now))
        {
            news.write_released(before, key, completed, told);
        }
    }
}

impl<P> Journal<P> {
    #[cold]
    fn write_spec(&mut self, before: usize, spec: &Spec) {
        self.spec = Some(Box::new(spec.clone()));
        self.news.inputs.push((before, Input::Spec(spec.clone())));
    }
}

impl News {
    #[cold]
    fn write_released(
        &mut self,
        before: usize,
        key: Key,
        completed: bool,
        told: Option<(Time, Told)>,
    ) {
        let release = Input::Release { key, completed };
        self.inputs.push((before, release));
        if let Some((now, told)) = told {
            let noted = Input::NoteRelease {
                now,
                key,
                told,
                completed,
            };
            self.inputs.push((before, noted));
        }
    }

    pub(super) fn write_input(&mut self, input: Input) {
        self.inputs.push((self.len, input));
    }

    /// It belongs to the one that was written down last, and is to be known by then.
    pub(super) fn write_input_ahead(&mut self, input: Input) {
        if let Some((at, last)) = self.inputs.pop() {
            self.inputs.extend([(at, input), (at, last)]);
        }
    }

    pub(super) const fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// They were read.
    pub(super) fn clear_inputs(&mut self, keep: usize) {
        self.inputs.clear();
        if self.inputs.capacity() > keep {
            self.inputs = Vec::new();
        }
    }

    /// What was told to the lane, each with how many of the facts stand before it.
    pub(crate) fn inputs(&mut self) -> &mut Vec<(usize, Input)> {
        &mut self.inputs
    }
}

fn ignore<T>(_: T) {}

impl Said {
    pub(super) fn of(what: &What) -> Self {
        let text = |text: &Arc<str>| String::from(&**text);
        match what {
            What::PhaseBegun(name) => Self::PhaseBegun(text(name)),
            What::PhaseOver(name) => Self::PhaseOver(text(name)),
            What::Deadlock { circle, refused } => Self::Deadlock {
                circle: text(circle),
                refused: *refused,
            },
            What::Note(note) => Self::Note(text(note)),
            other => Self::Note(format!("{other:?}")),
        }
    }

    pub(crate) fn what(&self) -> What {
        match self {
            Self::Note(text) => What::Note(Arc::from(&**text)),
            Self::PhaseBegun(name) => What::PhaseBegun(Arc::from(&**name)),
            Self::PhaseOver(name) => What::PhaseOver(Arc::from(&**name)),
            Self::Deadlock { circle, refused } => What::Deadlock {
                circle: Arc::from(&**circle),
                refused: *refused,
            },
        }
    }
}

impl From<&More> for Label {
    fn from(more: &More) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(String::from);
        Self {
            name: text(&more.name),
            key: text(&more.key),
            part_of: more.part_of.map(|id| (id.lane, id.key)),
        }
    }
}

impl From<&Label> for More {
    fn from(label: &Label) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        Self {
            name: text(&label.name),
            key: text(&label.key),
            part_of: label.part_of(),
        }
    }
}

/// Who was cleared had waited for so long.
pub(crate) fn having_waited(end: End, waited: Duration) -> End {
    match end {
        End::CancelledQueued { reason, .. } => End::CancelledQueued { reason, waited },
        End::Cleared { .. } => End::Cleared { waited },
        End::Returned { .. } => End::Returned { waited },
        End::Shutdown { .. } => End::Shutdown { waited },
        End::SchedulerDropped { .. } => End::SchedulerDropped { waited },
        other => other,
    }
}

//! The engine's inputs, and a lane whose inputs can be recorded.
//!
//! A [`Recorder`] is a lane that can be read as one, and changed only through the
//! methods here. Where its journal keeps inputs, each is written down, with how many
//! facts stood before it, unless the fact that comes of it says it all (`implied`); so a
//! journal holds all that the engine needs to decide the same again, and what it decided.

use std::sync::Arc;
use std::time::Duration;

use super::audit::Drift;
#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
use super::faults::Fault;
use super::{
    Accepted, Blocked, Effects, End, Entry, Facts, Holders, Key, Lane, Leftover, Names, News,
    Older, Priority, Reason, Refused, Released, Settings, Spec, Time, Told, Verdict, What,
};

#[cfg(feature = "replay")]
use super::input::{Input, Said};

/// See the module.
#[derive(Debug)]
pub(crate) struct Recorder<P> {
    lane: Lane<P>,
}

impl<P> std::ops::Deref for Recorder<P> {
    type Target = Lane<P>;

    #[inline(always)]
    fn deref(&self) -> &Lane<P> {
        &self.lane
    }
}

/// The inputs that are all data. `$v` is given by value, `$r` by reference.
macro_rules! inputs {
    ($with:ident) => {
        $with! {
            // With effects.
            [
                SetMaxConcurrent set_max_concurrent(now: Time, max_concurrent: usize;) -> ();
                SetAnew set_anew(now: Time, settings: Settings;) -> ();
                Resume resume(now: Time;) -> ();
                Shutdown shutdown(now: Time;) -> ();
                SettleDrain settle_drain(now: Time; leaving: [Key]) -> ();
                SettledAll settled_all(;) -> ();
                Withdraw withdraw(now: Time, key: Key, end: End;) -> ();
                CallOff call_off(now: Time, key: Key, end: End;) -> ();
                Cancel cancel(now: Time, key: Key, reason: Reason, withdrawn: bool; spec: Spec, facts: Facts) -> bool;
                Tell tell(now: Time, key: Key, end: End;) -> ();
                ResetOne reset_one(now: Time, key: Key, withdrawn: bool; facts: Facts) -> bool;
                Dispatch dispatch(now: Time;) -> Option<Key>;
                LetIn let_in(now: Time;) -> ();
                Prolong prolong(now: Time, key: Key, window: Duration;) -> ();
                Rejoin rejoin(now: Time, key: Key; spec: Spec) -> ();
                Tick tick(now: Time;) -> ();
                Judge judge(now: Time, key: Key; spec: Spec, facts: Facts) -> Verdict;
                Unclaim unclaim(now: Time, key: Key;) -> ();
                Take take(now: Time, key: Key; facts: Facts) -> ();
                Detach detach(now: Time, key: Key; spec: Spec, facts: Facts) -> bool;
                RefuseTake refuse_take(now: Time, key: Key, bound: usize, orphans: usize;) -> ();
                EndActive end_active(now: Time, key: Key, end: End; spec: Spec, facts: Facts) -> ();
                Park park(now: Time, key: Key, until: Time, leaves: bool;) -> bool;
                KeepSlot keep_slot(;) -> ();
                WatchOver watch_over(;) -> ();
                Mend mend(now: Time;) -> ();
                Audit audit(now: Time;) -> Vec<Drift>;
            ]
            // Without.
            [
                Pause pause(until: Option<Time>;) -> ();
                Close close(;) -> ();
                StartDraining start_draining(deadline: Time, admit_descendants: bool, queued: Leftover;) -> ();
                HoldForDrain hold_for_drain(;) -> ();
                ForgetOrphan forget_orphan(key: Key;) -> Option<P>;
                Raise raise(key: Key, priority: Priority;) -> bool;
                LookBy look_by(key: Key, at: Time;) -> ();
                BurnSeq burn_seq(;) -> u64;
                Claimed claimed(now: Time, key: Key;) -> ();
                Gathers gathers(key: Key; spec: Spec) -> ();
                Gathered gathered(now: Time, key: Key;) -> ();
                BeginTeardown begin_teardown(now: Time, key: Key; spec: Spec) -> bool;
                MayLeave may_leave(;) -> Result<(), usize>;
                StopWaiting stop_waiting(now: Time, key: Key;) -> ();
                Unpark unpark(now: Time, key: Key;) -> ();
                ComeBack come_back(key: Key, stand_in: Key;) -> Option<P>;
                LookAgain look_again(now: Time;) -> ();
                JudgeBlocked judge_blocked(now: Time, holders: Holders;) -> Option<Blocked>;
                NoteRepaired note_repaired(faults: usize;) -> ();
            ]
        }
    };
}
#[cfg(feature = "replay")]
pub(super) use inputs;

macro_rules! methods {
    (
        [$($with:ident $with_method:ident($($wv:ident: $wvt:ty),*; $($wr:ident: $wrt:ty),*) -> $with_out:ty;)*]
        [$($variant:ident $method:ident($($v:ident: $vt:ty),*; $($r:ident: $rt:ty),*) -> $out:ty;)*]
    ) => {
        #[expect(clippy::too_many_arguments, reason = "as many as the lane's own have")]
        impl<P: Clone> Recorder<P> {
            $(
                #[inline]
                pub(crate) fn $with_method(
                    &mut self,
                    $($wv: $wvt,)* $($wr: &$wrt,)*
                    effects: &mut Effects<P>,
                ) -> $with_out {
                    #[cfg(feature = "replay")]
                    self.record(|| Input::$with {
                        $($wv: Clone::clone(&$wv),)* $($wr: Box::new($wr.to_owned()),)*
                    });
                    self.lane.$with_method($($wv,)* $($wr,)* effects)
                }
            )*
            $(
                #[inline]
                pub(crate) fn $method(&mut self, $($v: $vt,)* $($r: &$rt,)*) -> $out {
                    #[cfg(feature = "replay")]
                    self.record(|| Input::$variant {
                        $($v: Clone::clone(&$v),)* $($r: Box::new($r.to_owned()),)*
                    });
                    self.lane.$method($($v,)* $($r,)*)
                }
            )*
        }
    };
}

inputs!(methods);

/// What happens to a lane as one of a group; the group decides, and this says when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum Step {
    Join {
        /// By its number.
        group: u64,
        budget: usize,
        reserved: Vec<usize>,
        share: u32,
    },
    Part,
    Enter,
    Leave,
    Visit {
        now: Time,
    },
    Verify,
    /// It is only read, which changes nothing that the next entry would not.
    Look,
}

/// In which way a task comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(rename_all = "snake_case"))]
pub(crate) enum Comer {
    Plain,
    Quiet {
        window: Duration,
    },
    /// In the place that was kept for it.
    Placed {
        kept: Key,
    },
    /// For the slot of a parked task.
    Back {
        task: Key,
    },
    /// In the place of others; of the holder, where they are not named.
    Instead {
        older: Option<Vec<Key>>,
    },
    /// For a place, and no slot.
    Reserve,
}

impl<P: Clone> Recorder<P> {
    pub(crate) const fn new(settings: Settings, fence: u64) -> Self {
        let lane = Lane::new(settings, fence);
        Self { lane }
    }

    /// From now on what happens is written down; where this says so, with the
    /// inputs.
    pub(crate) fn keep_journal(&mut self, names: Names<P>, inputs: bool) {
        self.lane.keep_journal(names, inputs);
    }

    #[inline(always)]
    pub(crate) fn submit(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
    ) -> Result<Accepted, Refused> {
        let submit = |lane: &mut Lane<P>| lane.submit(now, task, spec, entry);
        self.come(now, spec, entry, || Comer::Plain, submit, key_of)
    }

    pub(crate) fn submit_quiet(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        window: Duration,
    ) -> Result<Accepted, Refused> {
        let submit = |lane: &mut Lane<P>| lane.submit_quiet(now, task, spec, entry, window);
        self.come(now, spec, entry, || Comer::Quiet { window }, submit, key_of)
    }

    pub(crate) fn submit_for(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        kept: Key,
        effects: &mut Effects<P>,
    ) -> (Result<Accepted, Refused>, Option<P>) {
        let submit = |lane: &mut Lane<P>| lane.submit_for(now, task, spec, entry, kept, effects);
        let how = || Comer::Placed { kept };
        self.come(now, spec, entry, how, submit, |(came, _)| key_of(came))
    }

    pub(crate) fn submit_back(
        &mut self,
        now: Time,
        stand_in: P,
        spec: &Spec,
        entry: Entry,
        task: Key,
    ) -> Result<Accepted, Refused> {
        let submit = |lane: &mut Lane<P>| lane.submit_back(now, stand_in, spec, entry, task);
        self.come(now, spec, entry, || Comer::Back { task }, submit, key_of)
    }

    pub(crate) fn submit_instead(
        &mut self,
        now: Time,
        task: P,
        spec: &Spec,
        entry: Entry,
        older: Older<'_>,
        effects: &mut Effects<P>,
    ) -> Result<(Accepted, Vec<Key>), Refused> {
        let submit =
            |lane: &mut Lane<P>| lane.submit_instead(now, task, spec, entry, older, effects);
        let how = || {
            let older = match older {
                Older::These(keys) => Some(keys.to_vec()),
                Older::Holders => None,
            };
            Comer::Instead { older }
        };
        self.come(now, spec, entry, how, submit, |came| {
            came.as_ref().ok().map(|(accepted, _)| accepted.key())
        })
    }

    pub(crate) fn reserve(
        &mut self,
        now: Time,
        comer: P,
        spec: &Spec,
        entry: Entry,
    ) -> Result<(Key, bool), Refused> {
        let reserve = |lane: &mut Lane<P>| lane.reserve(now, comer, spec, entry);
        self.come(
            now,
            spec,
            entry,
            || Comer::Reserve,
            reserve,
            |came| came.as_ref().ok().map(|(key, _)| *key),
        )
    }

    /// `told` says when it is, and how the caller of the task is told; it is asked if that
    /// is written down.
    #[inline]
    pub(crate) fn release(
        &mut self,
        key: Key,
        completed: bool,
        told: impl FnOnce(&Released<P>) -> Option<(Time, Told)>,
    ) -> Released<P> {
        let released = self.lane.release(key, completed);
        if self.lane.has_journal() {
            self.note_release(key, completed, &released, told(&released));
        }
        released
    }

    #[inline]
    fn note_release(
        &mut self,
        key: Key,
        completed: bool,
        released: &Released<P>,
        told: Option<(Time, Told)>,
    ) {
        #[cfg(feature = "replay")]
        let recorded = self
            .lane
            .facts_so_far()
            .map(|before| (before, told.clone()));
        if let Some((now, told)) = told {
            self.lane.note_release(now, key, released, told, completed);
        }
        #[cfg(feature = "replay")]
        if let Some((before, told)) = recorded {
            self.lane.write_released(before, key, completed, told);
        }
    }

    /// Of what was released last.
    pub(crate) fn settle_release(
        &mut self,
        now: Time,
        released: &Released<P>,
        effects: &mut Effects<P>,
    ) {
        #[cfg(feature = "replay")]
        self.record(|| Input::SettleRelease { now });
        self.lane.settle_release(now, released, effects);
    }

    pub(crate) fn clear(
        &mut self,
        now: Time,
        effects: &mut Effects<P>,
        end: impl Fn(Duration) -> End,
    ) -> usize {
        #[cfg(feature = "replay")]
        self.record(|| Input::Clear {
            now,
            end: end(Duration::ZERO),
        });
        self.lane.clear(now, effects, end)
    }

    /// What a task said of itself.
    pub(crate) fn note_untimed(&mut self, key: Key, what: impl FnOnce() -> What) {
        if self.lane.has_journal() {
            let what = what();
            #[cfg(feature = "replay")]
            self.record(|| Input::Said {
                key: Some(key),
                said: Said::of(&what),
            });
            self.lane.note_untimed(key, || what);
        }
    }

    /// What the shell found out about the lane.
    pub(crate) fn note_lane(&mut self, what: impl FnOnce() -> What) {
        if self.lane.has_journal() {
            let what = what();
            #[cfg(feature = "replay")]
            self.record(|| Input::Said {
                key: None,
                said: Said::of(&what),
            });
            self.lane.note_lane(None, || what);
        }
    }

    /// Right after it was parked.
    pub(crate) fn note_waits_for(&mut self, text: Arc<str>) {
        #[cfg(feature = "replay")]
        if let Some(news) = self.lane.recorded() {
            let text = String::from(&*text);
            news.write_input_ahead(Input::WaitsFor { text });
        }
        self.lane.note_waits_for(text);
    }

    /// The lane, for the group that it is in, which is about to do this with it.
    pub(crate) fn in_group(&mut self, step: Step) -> &mut Lane<P> {
        #[cfg(feature = "replay")]
        if step != Step::Look {
            self.record(|| Input::InGroup(step));
        }
        #[cfg(not(feature = "replay"))]
        drop(step);
        &mut self.lane
    }

    /// After [`Step::Verify`], which says that this comes.
    pub(crate) fn note_reclaims(&mut self, effects: &Effects<P>) {
        self.lane.note_reclaims(effects);
    }

    // What comes of these is no fact.

    pub(crate) const fn want_idle(&mut self) {
        self.lane.want_idle();
    }

    #[inline]
    pub(crate) fn rearm(&mut self) -> Option<Time> {
        self.lane.rearm()
    }

    #[inline]
    pub(crate) fn news(&mut self) -> Option<&mut News> {
        self.lane.news()
    }

    #[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
    pub(crate) fn plant(&mut self, fault: Fault) {
        self.lane.plant(fault);
    }

    #[cfg(feature = "replay")]
    #[inline]
    fn record(&mut self, input: impl FnOnce() -> Input) {
        if let Some(news) = self.lane.recorded() {
            news.write_input(input());
        }
    }

    /// Somebody comes in this way, and gets a key, or none. `how` is asked if that is recorded.
    #[inline(always)]
    fn come<R>(
        &mut self,
        now: Time,
        spec: &Spec,
        entry: Entry,
        how: impl FnOnce() -> Comer,
        come: impl FnOnce(&mut Lane<P>) -> R,
        key: impl FnOnce(&R) -> Option<Key>,
    ) -> R {
        #[cfg(feature = "replay")]
        let before = self.lane.facts_so_far();
        let came = come(&mut self.lane);
        #[cfg(feature = "replay")]
        if let Some(before) = before {
            self.lane.write_spec(before, spec);
            self.lane.write_come(before, how(), now, entry, key(&came));
        }
        #[cfg(not(feature = "replay"))]
        let _ = (now, spec, entry, how, key);
        came
    }
}

fn key_of(came: &Result<Accepted, Refused>) -> Option<Key> {
    came.as_ref().ok().map(Accepted::key)
}

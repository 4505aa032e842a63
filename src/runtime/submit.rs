//! How a task comes to its lane, and waits for its slot.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::cell::TaskCell;
use super::domain::{Engine, cancel_locked};
use super::edge::{self, Edge};
use super::job::Waiting;
use super::links::Links;
use super::perform::{launch, runtime_gone};
use super::reserve::Kept;
use super::wakers::guarded;
use super::word::Word;
use super::{current, deadlock, inherit, spans, spare};
use crate::config::OnFull;
use crate::engine::{Accepted, End, Entry, IfFull, Key, Older, Reason, Refused, State, Time};
use crate::error::Cycle;
use crate::host::Handle;
use crate::options::{OnBusy, Options, Refusal, resolve};
use crate::plan::Terms;
use crate::sync::Arc;
use crate::{Lane, TaskId};

/// What is submitted: somebody who comes for the slot, or a body that is
/// launched when there is one.
pub(crate) enum Comer<'a> {
    Present {
        at_once: bool,
    },
    /// Somebody who comes for a place in the queue, and no slot.
    Keeper,
    Detached {
        body: &'a mut dyn FnMut(Handle) -> Waiting,
        blocking: bool,
    },
}

/// Checks, resolves and submits. An error means that nothing was queued.
#[inline]
pub(crate) fn submit(
    lane: &Lane,
    mut options: Option<Box<Options>>,
    comer: Comer<'_>,
) -> Result<Arc<TaskCell>, Refusal> {
    let domain = &lane.domain;
    if let Some(options) = &options {
        options.check().map_err(Refusal::Invalid)?;
    }
    let timeout = lane.timeout();
    if let Some(timeout) = timeout {
        timeout
            .check()
            .map_err(|invalid| Refusal::Invalid(invalid.into()))?;
    }
    let Some(runtime) = domain.shared.enter_runtime() else {
        return Err(Refusal::NoRuntime);
    };
    let spec = if options.is_none() && timeout.is_none() {
        domain.terms.changed().map(|terms| Arc::clone(&terms.base))
    } else {
        let (timeout, options) = (timeout.copied().unwrap_or_default(), options.as_deref());
        let resolve = |terms: &Terms| resolve(&terms.config, timeout, options);
        let mut granted = domain.terms.with(resolve);
        let chain = options.and_then(|options| options.chain.as_deref());
        for lane in chain.into_iter().flatten().skip(1) {
            granted = granted.tighter(&lane.domain.terms.with(resolve));
        }
        Some(Arc::new(granted))
    };
    let mut entry = Entry {
        present: true,
        at_once: false,
        descendant: false,
        part: false,
        waited: options.as_ref().map_or_else(Default::default, |o| o.waited),
        if_full: IfFull::Refuse,
    };
    let parent = current::task();
    let mut task = spare::take();
    let cell = Arc::get_mut(&mut task).expect("a spare cell is nobody's");
    cell.begin(domain.clone(), spec, options.as_deref_mut(), parent);
    cell.submitted_on(runtime.id());
    // Who is polled can wait at the door.
    let is_polled = matches!(comer, Comer::Present { .. } | Comer::Keeper);
    let keeps = matches!(comer, Comer::Keeper);
    match comer {
        Comer::Present { at_once } => entry.at_once = at_once,
        Comer::Keeper => {}
        Comer::Detached { body, blocking } => {
            entry.present = false;
            cell.bind(blocking, body(runtime.clone()));
        }
    }
    let when_full = |terms: &Terms| terms.config.when_full();
    if is_polled && domain.terms.with(when_full) == OnFull::Wait {
        entry.if_full = IfFull::Wait;
    }
    if let Some(options) = &mut options
        && let Some(lanes) = options.chain.take()
        && lanes.len() > 1
    {
        // It is claimed when it has all its slots, and not by this call.
        entry.present = false;
        let at_once = entry.at_once || options.on_busy == OnBusy::Reject;
        cell.link(Links::to(lanes, at_once));
    }
    domain.shared.keys.note(&task);
    let mut outcome = come(&task, entry, options.as_deref(), keeps);
    if let Err(Refused::Draining {
        admit_descendants: true,
    }) = outcome
        && descends_from_drain(&task)
    {
        entry.descendant = true;
        outcome = come(&task, entry, options.as_deref(), keeps);
    }
    if let Err(refused) = outcome {
        task.settle(End::CancelledQueued {
            reason: Reason::User,
            waited: entry.waited,
        });
        return Err(Refusal::Refused(task.id(), refused));
    }
    if let Some(signal) = options.and_then(|options| options.cancel_on) {
        watch(&task, &runtime, signal);
    }
    // Whoever settled what was bound to the runtime, as that went, may have been here
    // before the task was (S7).
    if let Some(home) = task.bound()
        && domain.shared.has_gone(home)
    {
        runtime_gone(&domain.shared, home);
    }
    Ok(task)
}

#[inline]
fn come(
    task: &Arc<TaskCell>,
    entry: Entry,
    options: Option<&Options>,
    keeps: bool,
) -> Result<(), Refused> {
    match options {
        None => enter(task, entry),
        Some(options) => come_as_told(task, entry, options, keeps),
    }
}

fn come_as_told(
    task: &Arc<TaskCell>,
    mut entry: Entry,
    options: &Options,
    keeps: bool,
) -> Result<(), Refused> {
    if keeps {
        return reserve(task, entry);
    }
    entry.at_once |= options.on_busy == OnBusy::Reject;
    if options.kept.is_some() {
        // However it comes, it is not refused for its own place.
        entry.if_full = IfFull::Enter;
    }
    match &options.kept {
        kept if task.letter().is_some() => enter_offered(task, entry, kept.as_ref(), options.quiet),
        _ if options.on_busy == OnBusy::Supersede => enter_instead(task, entry),
        Some(kept) => enter_kept(task, entry, kept),
        None => enter(task, entry),
    }
}

/// One submission, and the launch of a body whose slot was free.
#[inline]
fn enter(task: &Arc<TaskCell>, entry: Entry) -> Result<(), Refused> {
    let now = task.now();
    let accepted = task.domain().act(|engine, _| {
        let accepted = engine.submit(now, Arc::clone(task), task.spec(), entry);
        take_place(engine, task, now, entry, accepted);
        accepted
    })?;
    begin(task, entry, accepted);
    Ok(())
}

/// The same, in the place that was kept for it.
fn enter_kept(task: &Arc<TaskCell>, entry: Entry, kept: &Kept) -> Result<(), Refused> {
    let now = task.now();
    let accepted = task.domain().act(|engine, effects| {
        let (spec, key) = (task.spec(), kept.key());
        let came = engine.submit_for(now, Arc::clone(task), spec, entry, key, effects);
        // Its reservation has it, so that it is not dropped here.
        let (accepted, _reserved) = came;
        take_place(engine, task, now, entry, accepted);
        accepted
    })?;
    begin(task, entry, accepted);
    Ok(())
}

/// The same, with a message that somebody may take while it waits.
fn enter_offered(
    task: &Arc<TaskCell>,
    entry: Entry,
    kept: Option<&Kept>,
    quiet: Option<Duration>,
) -> Result<(), Refused> {
    let (now, spec) = (task.now(), task.spec());
    let domain = task.domain();
    // Dropped outside the lock.
    let mut seen = Vec::new();
    let accepted = domain.act(|engine, effects| {
        let admitted = engine.admits(entry.descendant);
        let waits = |older: &TaskCell| {
            let record = engine.record(older.slot_key());
            let waits = record.is_some_and(|r| r.state.waits() || r.state == State::Granted);
            admitted.is_ok() && waits
        };
        if let Some((older, quiet)) = domain.offers.merge(task, waits, &mut seen) {
            refuse(engine, task);
            if let Some(window) = quiet {
                engine.prolong(now, older, window, effects);
            }
            return Err(Refused::Merged);
        }
        let cell = Arc::clone(task);
        let (accepted, _reserved) = match (quiet, kept) {
            (Some(window), _) => (engine.submit_quiet(now, cell, spec, entry, window), None),
            (None, Some(kept)) => engine.submit_for(now, cell, spec, entry, kept.key(), effects),
            (None, None) => (engine.submit(now, cell, spec, entry), None),
        };
        take_place(engine, task, now, entry, accepted);
        if let Ok(Accepted::Queued { .. }) = accepted {
            domain.offers.put(task);
        }
        accepted
    })?;
    domain.offers.announce(task);
    begin(task, entry, accepted);
    Ok(())
}

/// The same, in the place of older tasks.
fn enter_instead(task: &Arc<TaskCell>, entry: Entry) -> Result<(), Refused> {
    let now = task.now();
    let domain = task.domain();
    let (accepted, older) = domain.act(|engine, effects| {
        // Looked for in here, so that of two that come at once, the later one
        // finds the other. Dropped outside: some may be of other lanes.
        let sharers = task.key().map(|key| domain.shared.keys.tasks(key));
        let of_this_lane = |task: &&Arc<TaskCell>| Arc::ptr_eq(task.domain(), domain);
        let older: Option<Vec<Key>> = sharers.as_ref().map(|sharers| {
            let sharers = sharers.iter().filter(of_this_lane);
            sharers.map(|task| task.slot_key()).collect()
        });
        let older = older.as_deref().map_or(Older::Holders, Older::These);
        let task_of = Arc::clone(task);
        let came = engine.submit_instead(now, task_of, task.spec(), entry, older, effects);
        let (accepted, holders) = match came {
            Ok((accepted, holders)) => (Ok(accepted), holders),
            Err(refused) => (Err(refused), Vec::new()),
        };
        take_place(engine, task, now, entry, accepted);
        for key in holders {
            cancel_locked(engine, now, key, Reason::Superseded, effects);
        }
        (accepted, sharers)
    });
    drop(older);
    begin(task, entry, accepted?);
    Ok(())
}

/// A place is asked for, and no slot.
fn reserve(task: &Arc<TaskCell>, entry: Entry) -> Result<(), Refused> {
    let now = task.now();
    task.domain().act(
        |engine, _| match engine.reserve(now, Arc::clone(task), task.spec(), entry) {
            Ok((key, placed)) => {
                task.enter_lane(key);
                if placed {
                    task.word.set(Word::Running);
                }
                Ok(())
            }
            Err(refused) => {
                refuse(engine, task);
                Err(refused)
            }
        },
    )
}

/// The task learns where it is, before anybody else can.
#[inline(always)]
pub(super) fn take_place(
    engine: &mut Engine,
    task: &TaskCell,
    now: Time,
    entry: Entry,
    accepted: Result<Accepted, Refused>,
) {
    match accepted {
        Ok(Accepted::Queued { key }) => task.enter_lane(key),
        Ok(Accepted::Started { key, fence }) => {
            task.enter_lane(key);
            let word = if entry.present {
                Word::Running
            } else {
                Word::Granted
            };
            task.granted(fence, now, word);
        }
        Err(_) => refuse(engine, task),
    }
}

/// It has an id like any other.
fn refuse(engine: &mut Engine, task: &TaskCell) {
    task.enter_lane(Key {
        index: u32::MAX,
        seq: engine.burn_seq(),
    });
}

#[inline]
fn begin(task: &Arc<TaskCell>, entry: Entry, accepted: Accepted) {
    match accepted {
        Accepted::Started { .. } if !entry.present => launch(task),
        Accepted::Started { .. } => {}
        Accepted::Queued { .. } => inherit::behind(task.domain(), task.spec().priority),
    }
}

/// Whether some ancestor is active in a lane that lets its descendants pass.
pub(crate) fn descends_from_drain(task: &TaskCell) -> bool {
    let mut ancestor = task.shared.lock().parent.clone();
    while let Some(current) = ancestor {
        let links = current.links().map(|links| links.held());
        let beside = links.iter().flatten().map(|link| &**link);
        // It may have given back another of its slots.
        let mut cells = std::iter::once(&*current).chain(beside);
        if cells.any(|cell| cell.holds() && cell.domain().admits_descendants()) {
            return true;
        }
        ancestor = current.shared.lock().parent.clone();
    }
    false
}

/// Polls a `cancel_on` future until it completes or its task is settled.
fn watch(
    task: &Arc<TaskCell>,
    runtime: &Handle,
    mut signal: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    let (domain, key) = (task.domain().clone(), task.slot_key());
    let watcher = runtime.spawn(async move {
        // One that panics has no caller to panic into, and is no signal (S14).
        let poll = |cx: &mut Context<'_>| {
            guarded("a cancel_on future", || signal.as_mut().poll(cx))
                .map_or(Poll::Ready(false), |poll| poll.map(|()| true))
        };
        if poll_fn(poll).await {
            domain.cancel(key, Reason::Signal);
        }
    });
    let mut parts = task.shared.lock();
    if parts.is_settled() {
        drop(parts);
        watcher.abort();
    } else {
        parts.rare().watcher = Some(watcher.abort_handle());
    }
}

/// The name of the lane that an end is about: its task's own, or the one that
/// refused it.
pub(super) fn lane_of(task: &TaskCell, end: &End) -> Arc<str> {
    let refused = match end {
        End::Refused { lane, .. } => task.links().and_then(|links| links.name_of(*lane)),
        _ => None,
    };
    refused.unwrap_or_else(|| Arc::clone(&task.domain().name))
}

/// Somebody in line for a slot, polled by whoever waits.
///
/// Dropped before it has the slot, it leaves the queue as if it had never
/// joined, and passes on a grant that it had not come for (S12, S20).
#[derive(Default)]
pub(crate) struct Admission {
    task: Option<Arc<TaskCell>>,
    /// To the task, from the one that awaits it.
    edge: Option<Edge>,
    /// It is for a place, and not for a slot.
    keeps: bool,
    /// Whoever waits with this need not.
    pub(super) loose: bool,
}

/// Why a task in line has no slot in the end.
pub(crate) enum NoSlot {
    Refused(Refusal),
    /// What it is about, which task, and how that ended.
    Ended(Arc<str>, TaskId, End),
    WouldDeadlock(TaskId, Cycle),
}

impl Admission {
    pub(crate) fn for_a_place() -> Self {
        Self {
            task: None,
            edge: None,
            keeps: true,
            loose: false,
        }
    }

    /// Joins the queue at the first poll.
    pub(crate) fn poll(
        &mut self,
        lane: &Lane,
        options: &mut Option<Box<Options>>,
        cx: &Context<'_>,
    ) -> Poll<Result<Arc<TaskCell>, NoSlot>> {
        let fresh = self.task.is_none();
        let task = match &self.task {
            Some(task) => task,
            None => {
                let comer = if self.keeps {
                    Comer::Keeper
                } else {
                    Comer::Present { at_once: false }
                };
                self.loose |= options.as_ref().is_some_and(|options| options.loose);
                let task = submit(lane, options.take(), comer).map_err(NoSlot::Refused)?;
                self.task.insert(task)
            }
        };
        loop {
            match task.word.get() {
                Word::Running => break,
                Word::Granted => {
                    let links = task.links();
                    if links.is_some_and(|links| links.poll(task, cx).is_pending()) {
                        return self.wait(lane, fresh);
                    }
                    if task.word.shift(Word::Granted, Word::Running) {
                        // Idle counts from here, not from a grant that was
                        // made while nobody looked.
                        task.stir(task.now());
                        lane.domain.shared.drive_here();
                        break;
                    }
                }
                Word::Queued => {
                    task.set_runner(cx.waker());
                    // The grant may have come between the two.
                    if task.word.get() == Word::Queued {
                        return self.wait(lane, fresh);
                    }
                }
                Word::Asleep => {
                    // It was no wait while nobody polled it, and begins anew.
                    self.edge = None;
                    rejoin(task);
                }
                Word::Done | Word::Expired | Word::Cancelled => {
                    task.set_runner(cx.waker());
                    let Some(end) = task.settled() else {
                        return Poll::Pending;
                    };
                    // Its slot may have been taken before this first look at
                    // it, and then it is an orphan that nobody else lets go
                    // of (S10).
                    task.domain().release(task, false, end.reason());
                    let (lane, id) = (lane_of(task, &end), task.id());
                    let told = deadlock::told(task, &end);
                    self.task = None;
                    self.edge = None;
                    return Poll::Ready(Err(match told {
                        Some(cycle) => NoSlot::WouldDeadlock(id, cycle),
                        None => NoSlot::Ended(lane, id, end),
                    }));
                }
            }
        }
        let task = self.task.take().expect("it is in line until now");
        Poll::Ready(Ok(task))
    }

    fn wait(&mut self, lane: &Lane, fresh: bool) -> Poll<Result<Arc<TaskCell>, NoSlot>> {
        if let Some(task) = &self.task {
            // Who only wants a place kept is no task.
            if fresh && !self.keeps {
                spans::queue(task);
            }
            edge::renew(&mut self.edge, task, wait_of_its_own(self.loose));
        }
        lane.domain.shared.drive_here();
        Poll::Pending
    }

    /// The caller still waits for the task, which runs now.
    pub(crate) fn renew_edge(&mut self, task: &Arc<TaskCell>) {
        edge::renew(&mut self.edge, task, wait_of_its_own(self.loose));
    }

    /// It is polled by another task than the last time.
    pub(crate) fn cut_edge_of_another(&mut self) {
        if self.edge.as_ref().is_some_and(|edge| !edge.starts_here()) {
            self.edge = None;
        }
    }

    /// The wait is over.
    pub(crate) fn cut_edge(&mut self) {
        self.edge = None;
    }

    pub(crate) fn task(&self) -> Option<&Arc<TaskCell>> {
        self.task.as_ref()
    }
}

const fn wait_of_its_own(loose: bool) -> edge::Kind {
    edge::Kind {
        owned: true,
        shared: false,
        loose,
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            give_up(&task, Reason::Dropped);
        }
    }
}

/// Back into the queue, at its old place (S20).
pub(crate) fn rejoin(task: &Arc<TaskCell>) {
    let now = task.now();
    let key = task.slot_key();
    task.domain().act(|engine, effects| {
        // It may have been settled this very moment, and then it is known no more,
        // and the settlement ends it whether it sleeps or is in line.
        if task.word.shift(Word::Asleep, Word::Queued) {
            engine.rejoin(now, key, task.spec(), effects);
        }
    });
}

/// Nobody will come for this task's slot any more.
pub(crate) fn give_up(task: &Arc<TaskCell>, reason: Reason) {
    super::domain::withdraw(task);
    let since = task.domain().release(task, false, reason).since;
    task.settle(if reason == Reason::RuntimeShutdown {
        End::RuntimeShutdown
    } else {
        let waited = since.map_or_else(Default::default, |since| task.now().since(since));
        End::CancelledQueued { reason, waited }
    });
}

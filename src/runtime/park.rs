//! Waiting for somebody, while the clocks stand still, and without the slots
//! that others could use meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::cell::TaskCell;
use super::deadlock;
use super::edge::{self, Kind};
use super::inherit;
use super::links::{drop_link, held_in, lanes_of};
use super::parts::Rare;
use super::spans::{self, Spanned};
use super::spare;
use super::submit::{give_up, rejoin, take_place};
use super::wakers::{Ticket, wake_all};
use super::word::Word;
use crate::TaskContext;
use crate::engine::{Accepted, Entry, IfFull, Reason, Time};
use crate::error::WaitingError;
use crate::snapshot::ParkedSnapshot;
use crate::sync::Arc;
use crate::timeout::check_limit;

/// How long a task waits for somebody that sets no limit.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is kept of a task while it is parked.
pub(crate) struct Parking {
    what: Arc<str>,
    since: Time,
    limit: Duration,
    /// Since when it waits for nobody any more, but for its slots.
    over: Option<Time>,
    /// Whose slot is to be got back, the next one last: a link, or the task
    /// itself.
    away: Vec<Gone>,
    /// Comes for the next of them.
    stand_in: Option<Arc<TaskCell>>,
    span: Spanned,
}

impl Parking {
    fn waits(&self, now: Time) -> bool {
        self.over.is_none() && now < self.since + self.limit
    }

    /// Up to when it waited for somebody.
    fn waited_until(&self, now: Time) -> Time {
        let limit = self.since + self.limit;
        self.over.unwrap_or_else(|| now.min(limit))
    }

    fn end(&mut self, now: Time) {
        self.over = Some(self.waited_until(now));
    }
}

#[derive(Clone)]
enum Gone {
    Own,
    Link(Arc<TaskCell>),
}

impl Gone {
    fn cell<'a>(&'a self, task: &'a Arc<TaskCell>) -> &'a Arc<TaskCell> {
        match self {
            Self::Own => task,
            Self::Link(link) => link,
        }
    }
}

/// A wait for somebody that is being described; made by
/// [`TaskContext::waiting`].
#[derive(Debug)]
#[must_use = "a task waits with `on`"]
pub struct Waiting {
    cx: TaskContext,
    what: Arc<str>,
    limit: Duration,
    release: Vec<String>,
}

impl Waiting {
    pub(super) const fn of(cx: TaskContext, what: Arc<str>) -> Self {
        Self {
            cx,
            what,
            limit: LIMIT,
            release: Vec::new(),
        }
    }

    /// How long it may take; 24 hours unless told. After that the wait ends with
    /// [`WaitingError::LimitPassed`].
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Gives the slots of these lanes back meanwhile. All others are kept. The
    /// task must hold them, and one is only given back with all that come after
    /// it in the task's chain.
    pub fn release<N: AsRef<str>>(mut self, lanes: impl IntoIterator<Item = N>) -> Self {
        let names = lanes.into_iter().map(|lane| lane.as_ref().to_owned());
        self.release.extend(names);
        self
    }

    /// Waits for this future, as part of the task.
    pub const fn on<Fut: Future>(self, future: Fut) -> Parked<Fut> {
        Parked {
            wait: self,
            stage: Stage::Fresh,
            future: Some(future),
            ready: None,
            ticket: Ticket::NONE,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// Parked until then at the latest.
    Waits(Time),
    /// What it waited for is there, and the slots are to be got back.
    ComesBack,
    Over,
}

pin_project! {
    /// A task that waits for somebody; made by [`Waiting::on`].
    ///
    /// The first poll parks the task. When the future is ready, or the limit has
    /// passed, the task gets back the slots that it gave up, in the order of its
    /// chain and each with a new fence, and only then this is ready. It comes
    /// back to the place in line that it had when it came first, which is ahead
    /// of everybody who came later, and neither a full queue nor a drain nor a
    /// close refuses it.
    ///
    /// # Errors
    ///
    /// [`WaitingError`]. All but [`LimitPassed`](WaitingError::LimitPassed) are
    /// given at the first poll, and then nothing was given back; but a task that is
    /// over by the time at which its wait is, or was asked to end while a slot of it
    /// was away, has [`NotActive`](WaitingError::NotActive) then.
    ///
    /// A way back that closes a circle of tasks that wait for each other is
    /// refused: the task is asked to end, with
    /// [`Reason::WouldDeadlock`](crate::Reason::WouldDeadlock), and told `NotActive`.
    ///
    /// # Cancel safety
    ///
    /// A task that is asked to end while it waits has its grace, without the slots
    /// that it gave back: the wait goes on if it is polled on, and may be dropped.
    ///
    /// Dropped, the wait is over, and what the future was is lost. The task's
    /// slots are not back by that: whatever of this poll is left runs without
    /// them, and [`is_current`](TaskContext::is_current) says so. After that the
    /// task is not polled before it has them; one that is told to end meanwhile
    /// is dropped as it is. A [`Slot`](crate::Slot), which
    /// nobody polls, does not get them back.
    ///
    /// # Panics
    ///
    /// If it is polled again after it gave its result.
    #[must_use = "futures do nothing unless polled"]
    pub struct Parked<Fut: Future> {
        wait: Waiting,
        stage: Stage,
        #[pin]
        future: Option<Fut>,
        ready: Option<Result<Fut::Output, WaitingError>>,
        ticket: Ticket,
    }

    impl<Fut: Future> PinnedDrop for Parked<Fut> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let task = this.wait.cx.cell();
            task.deregister(Rare::signal, this.ticket);
            if matches!(*this.stage, Stage::Waits(_) | Stage::ComesBack) {
                forsake(task);
            }
        }
    }
}

impl<Fut: Future> Future for Parked<Fut> {
    type Output = Result<Fut::Output, WaitingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let task = this.wait.cx.cell();
        if *this.stage == Stage::Fresh {
            match park(task, this.wait) {
                Ok(until) => *this.stage = Stage::Waits(until),
                Err(error) => {
                    *this.stage = Stage::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
        // For the limit, and for whoever polls this elsewhere than in the task.
        task.register(Rare::signal, this.ticket, cx.waker());
        // It may have come here from another runtime (S8).
        task.domain().shared.drive_here();
        if let Stage::Waits(until) = *this.stage {
            let future = this.future.as_mut().as_pin_mut();
            let ready = match future.map(|future| future.poll(cx)) {
                Some(Poll::Ready(value)) => Ok(value),
                _ if until <= task.now() => Err(WaitingError::LimitPassed {
                    what: Arc::clone(&this.wait.what),
                    limit: this.wait.limit,
                }),
                _ => return Poll::Pending,
            };
            this.future.set(None);
            *this.ready = Some(ready);
            *this.stage = Stage::ComesBack;
            stop_waiting(task);
        }
        if *this.stage == Stage::ComesBack {
            if !is_parked(task) {
                *this.stage = Stage::Over;
                return Poll::Ready(Err(WaitingError::NotActive));
            }
            ready!(poll_back(task, cx));
            *this.stage = Stage::Over;
            if !task.is_current() {
                // Nobody is to take what follows for something that has its slots.
                return Poll::Ready(Err(WaitingError::NotActive));
            }
        }
        Poll::Ready(this.ready.take().expect("a wait gives its result once"))
    }
}

impl<Fut: Future> std::fmt::Debug for Parked<Fut> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parked")
            .field("what", &self.wait.what)
            .finish_non_exhaustive()
    }
}

/// Parks the task, and says until when; or nothing is changed.
fn park(task: &Arc<TaskCell>, wait: &Waiting) -> Result<Time, WaitingError> {
    check_limit("the limit of a wait", Some(wait.limit))?;
    let held = task.links().map(|links| links.held()).unwrap_or_default();
    let mut slots = vec![Gone::Own];
    slots.extend(held.into_iter().map(Gone::Link));
    let leaving = slots.split_off(first_to_leave(task, &slots, &wait.release)?);
    if let Some(what) = waits_for(task) {
        return Err(WaitingError::AlreadyParked { what });
    }
    let active = task.word.get() == Word::Running && task.is_current();
    if !active || task.asked().is_some() {
        return Err(WaitingError::NotActive);
    }
    let now = task.now();
    begin(task, wait, now)?;
    let counted = leaving.iter().try_for_each(|gone| {
        let domain = gone.cell(task).domain();
        let may = domain.act(|engine, _| engine.may_leave());
        may.map_err(|max_parked| (Arc::clone(&domain.name), max_parked))
    });
    if let Err((lane, max_parked)) = counted {
        for gone in &leaving {
            let domain = gone.cell(task).domain();
            if domain.name == lane {
                break;
            }
            domain.act(|engine, effects| engine.keep_slot(effects));
        }
        abandon(task);
        return Err(WaitingError::TooMany { lane, max_parked });
    }
    let until = now + wait.limit;
    if !leaving.iter().any(|gone| matches!(gone, Gone::Own)) && !stop(task, now, until, false) {
        for gone in &leaving {
            let domain = gone.cell(task).domain();
            domain.act(|engine, effects| engine.keep_slot(effects));
        }
        abandon(task);
        return Err(WaitingError::NotActive);
    }
    for gone in leaving.into_iter().rev() {
        let cell = gone.cell(task);
        if stop(cell, now, until, true) {
            cell.left();
            if let Some(parking) = &mut task.shared.lock().rare().parked {
                parking.away.push(gone);
            }
        } else {
            // It was asked to end this very moment, and all of the task with it.
            cell.domain()
                .act(|engine, effects| engine.keep_slot(effects));
        }
    }
    let span = spans::parked(task, &wait.what);
    if let Some(parking) = &mut task.shared.lock().rare().parked {
        parking.span = span;
    }
    Ok(until)
}

/// From where on its slots are given back.
fn first_to_leave(
    task: &Arc<TaskCell>,
    slots: &[Gone],
    release: &[String],
) -> Result<usize, WaitingError> {
    let name = |slot: &Gone| Arc::clone(&slot.cell(task).domain().name);
    let names: Vec<Arc<str>> = slots.iter().map(name).collect();
    for lane in release {
        if !names.iter().any(|name| **name == **lane) {
            return Err(WaitingError::NotHeld {
                lane: lane.clone(),
                held: names,
            });
        }
    }
    let leaves = |name: &&Arc<str>| release.iter().any(|lane| **lane == ***name);
    let first = names.iter().position(|name| leaves(&name));
    let first = first.unwrap_or(names.len());
    if let Some(kept) = names[first..].iter().find(|name| !leaves(name)) {
        return Err(WaitingError::OutOfOrder {
            lane: Arc::clone(&names[first]),
            kept: Arc::clone(kept),
        });
    }
    Ok(first)
}

fn begin(task: &TaskCell, wait: &Waiting, now: Time) -> Result<(), WaitingError> {
    let mut parts = task.shared.lock();
    let rare = parts.rare();
    if let Some(parking) = &rare.parked {
        let what = Arc::clone(&parking.what);
        return Err(WaitingError::AlreadyParked { what });
    }
    rare.parked = Some(Box::new(Parking {
        what: Arc::clone(&wait.what),
        since: now,
        limit: wait.limit,
        over: None,
        away: Vec::new(),
        stand_in: None,
        span: Spanned::NONE,
    }));
    task.set_linked();
    Ok(())
}

/// The clocks of one slot stand still from now on.
fn stop(cell: &TaskCell, now: Time, until: Time, leaves: bool) -> bool {
    let until = if cell.principal().is_some() {
        // The limit is looked after where the task itself is.
        Time::FAR
    } else {
        until
    };
    let key = cell.slot_key();
    cell.domain().act(|engine, effects| {
        let parked = engine.park(now, key, until, leaves, effects);
        if parked && leaves {
            cell.lose();
        }
        if parked && engine.has_journal() {
            let what = what_for(cell.principal().map_or(cell, |task| &**task));
            what.into_iter()
                .for_each(|what| engine.note_waits_for(what));
        }
        parked
    })
}

/// Gets the slots back. Ready when they are there and the clocks go on, or when
/// there is nothing to get back.
pub(super) fn poll_back(task: &Arc<TaskCell>, cx: &Context<'_>) -> Poll<()> {
    loop {
        let parked = {
            let parts = task.shared.lock();
            let parking = parts.peek().and_then(|rare| rare.parked.as_deref());
            parking.map(|parking| (parking.away.last().cloned(), parking.stand_in.clone()))
        };
        // It is to end, and has its grace for that, with the slots that it has. Whoever
        // asked it to has abandoned the rest, and so it is asked after that.
        if let Some(asked) = task.asked() {
            if asked.drop_now && task.is_adrift() {
                // Its runner ends it, without one more poll.
                return Poll::Pending;
            }
            abandon(task);
            task.set_adrift(false);
            return Poll::Ready(());
        }
        let Some((gone, stand_in)) = parked else {
            task.set_adrift(false);
            return Poll::Ready(());
        };
        let Some(gone) = gone else {
            go_on(task);
            return Poll::Ready(());
        };
        let cell = gone.cell(task);
        let goes_on = match stand_in {
            None => send(task, cell),
            Some(stand_in) => step_back(task, cell, &stand_in, cx),
        };
        // Whoever ends the task wakes it for that. Whoever let go of what it gave back
        // does not, and it goes on as it is.
        if !goes_on && is_parked(task) {
            return Poll::Pending;
        }
    }
}

/// One step on the way back to the slot of this cell. False if somebody else has the
/// next one.
fn step_back(
    task: &Arc<TaskCell>,
    cell: &TaskCell,
    stand_in: &Arc<TaskCell>,
    cx: &Context<'_>,
) -> bool {
    match stand_in.word.get() {
        Word::Granted => {
            stand_in.word.shift(Word::Granted, Word::Running);
            true
        }
        Word::Running => take_over(task, cell, stand_in),
        Word::Asleep => {
            rejoin(stand_in);
            deadlock::waits_again(stand_in);
            true
        }
        Word::Queued => {
            stand_in.set_runner(cx.waker());
            // The grant may have come between the two.
            stand_in.word.get() != Word::Queued
        }
        Word::Done | Word::Expired | Word::Cancelled => false,
    }
}

/// Sends a stand-in for the slot of this cell. False if it was refused.
fn send(task: &Arc<TaskCell>, cell: &TaskCell) -> bool {
    let domain = cell.domain();
    let mut stand_in = spare::take();
    let fresh = Arc::get_mut(&mut stand_in).expect("a spare cell is nobody's");
    let spec = Arc::new(task.spec().of_link());
    fresh.begin(domain.clone(), Some(spec), None, None);
    fresh.stand_for(Arc::clone(task), None);
    if !set_stand_in(task, Some(Arc::clone(&stand_in))) {
        return false;
    }
    edge::tie(task, &stand_in, Kind::default());
    let entry = Entry {
        present: true,
        at_once: false,
        descendant: false,
        part: true,
        waited: Duration::ZERO,
        if_full: IfFull::Enter,
    };
    let (now, of) = (task.now(), cell.slot_key());
    let accepted = domain.act(|engine, _| {
        let came = Arc::clone(&stand_in);
        let accepted = engine.submit_back(now, came, stand_in.spec(), entry, of);
        take_place(engine, &stand_in, now, entry, accepted);
        accepted
    });
    match accepted {
        Ok(_) if is_sent(task, &stand_in) => {
            inherit::begin(&held_in(task), &stand_in);
            inherit::behind(domain, stand_in.spec().priority);
            // Whoever abandoned it meanwhile ended what had not begun.
            if !is_sent(task, &stand_in) {
                inherit::end(&lanes_of(task), &stand_in);
            }
            deadlock::wait_begins(task, &stand_in);
            return true;
        }
        // Whoever abandoned it found it in no line.
        Ok(Accepted::Started { .. } | Accepted::Queued { .. }) => drop_link(&stand_in, false),
        Err(_) => {
            set_stand_in(task, None);
        }
    }
    let _others = edge::untie(task, &stand_in, false);
    false
}

fn is_sent(task: &TaskCell, stand_in: &Arc<TaskCell>) -> bool {
    let parts = task.shared.lock();
    let parking = parts.peek().and_then(|rare| rare.parked.as_deref());
    let current = parking.and_then(|parking| parking.stand_in.as_ref());
    current.is_some_and(|current| Arc::ptr_eq(current, stand_in))
}

fn set_stand_in(task: &TaskCell, stand_in: Option<Arc<TaskCell>>) -> bool {
    let mut parts = task.shared.lock();
    let parking = parts.peek_mut().and_then(|rare| rare.parked.as_deref_mut());
    let old = parking.map(|parking| std::mem::replace(&mut parking.stand_in, stand_in));
    drop(parts);
    old.is_some()
}

/// The stand-in has a slot, which is the cell's from now on. False if the task
/// is being ended.
fn take_over(task: &Arc<TaskCell>, cell: &TaskCell, stand_in: &Arc<TaskCell>) -> bool {
    let (key, of) = (cell.slot_key(), stand_in.slot_key());
    let gone = cell.domain().act(|engine, _| {
        let gone = engine.come_back(key, of);
        if gone.is_some() {
            cell.regain(stand_in.fence());
            engine.unpark(cell.now(), key);
        }
        gone
    });
    let back = gone.is_some();
    {
        let mut parts = task.shared.lock();
        if let Some(parking) = parts.peek_mut().and_then(|rare| rare.parked.as_deref_mut()) {
            parking.stand_in = None;
            if back {
                parking.away.pop();
            }
        }
    }
    if edge::untie(task, stand_in, false) {
        deadlock::waits_change(task);
    }
    inherit::end(&lanes_of(task), stand_in);
    if !back {
        drop_link(stand_in, false);
        return false;
    }
    // Whoever waits for it to leave goes on with the cell.
    stand_in.lose();
    stand_in.left();
    if std::ptr::eq(cell, &**task) {
        // What was offered meanwhile is for its inboxes again.
        wake_all(task.shared.lock().take(Rare::signal));
    }
    true
}

/// It has all its slots: its clocks go on.
fn go_on(task: &TaskCell) {
    let now = task.now();
    task.stir(now);
    let key = task.slot_key();
    task.domain().act(|engine, _| engine.unpark(now, key));
    task.set_adrift(false);
    let parked = task.shared.lock().rare().parked.take();
    drop(parked);
}

/// Nobody waits any more, and the task goes on without what it waited for: its
/// runner sees to its slots.
fn forsake(task: &Arc<TaskCell>) {
    if task.word.get() != Word::Running {
        return;
    }
    let nothing_away = {
        let parts = task.shared.lock();
        let parking = parts.peek().and_then(|rare| rare.parked.as_deref());
        match parking {
            Some(parking) => parking.away.is_empty(),
            None => return,
        }
    };
    if nothing_away {
        go_on(task);
        return;
    }
    stop_waiting(task);
    if task.is_by_hand() {
        // Nobody is to stand in line for one that nobody polls (S20).
        recall(task);
        return;
    }
    task.set_adrift(true);
    task.wake_runner();
}

/// Its stand-in leaves the line.
fn recall(task: &TaskCell) {
    let stand_in = {
        let mut parts = task.shared.lock();
        let parking = parts.peek_mut().and_then(|rare| rare.parked.as_deref_mut());
        parking.and_then(|parking| parking.stand_in.take())
    };
    if let Some(stand_in) = stand_in {
        dismiss(task, &stand_in);
    }
}

fn dismiss(task: &TaskCell, stand_in: &Arc<TaskCell>) {
    let _others = edge::untie(task, stand_in, false);
    inherit::end(&lanes_of(task), stand_in);
    give_up(stand_in, Reason::Dropped);
}

/// It waits for nobody from now on, but for its slots.
fn stop_waiting(task: &TaskCell) {
    let (now, key) = (task.now(), task.slot_key());
    if let Some(parking) = &mut task.shared.lock().rare().parked {
        parking.end(now);
    }
    task.stir(now);
    task.domain().act(|engine, _| engine.stop_waiting(now, key));
}

/// It is to end, and comes back for nothing any more. A wait with all its slots goes
/// on for as long as it has grace.
pub(super) fn abandon_what_is_away(task: &TaskCell) {
    let now = task.now();
    let waited = waited_until(task, now);
    let any = {
        let mut parts = task.shared.lock();
        let parking = parts.peek_mut().and_then(|rare| rare.parked.as_deref_mut());
        let Some(parking) = parking else { return };
        parking.end(now);
        !parking.away.is_empty()
    };
    if let Some(until) = waited {
        // That was no silence; what follows is, and whoever awaits it may stall (S8).
        task.stir(until);
    }
    if any {
        abandon(task);
    }
}

/// The task is over, or was not parked after all.
pub(super) fn abandon(task: &TaskCell) {
    let parking = {
        let mut parts = task.shared.lock();
        parts.peek_mut().and_then(|rare| rare.parked.take())
    };
    if let Some(stand_in) = parking.and_then(|mut parking| parking.stand_in.take()) {
        dismiss(task, &stand_in);
    }
}

/// Its limit has passed.
pub(super) fn wake(task: &TaskCell) {
    let waiting = task.shared.lock().take(Rare::signal);
    wake_all(waiting);
    task.wake_runner();
}

/// Up to when it is known to have waited for somebody, if it has not come back since.
pub(super) fn waited_until(task: &TaskCell, now: Time) -> Option<Time> {
    let parts = task.shared.lock();
    let parking = parts.peek()?.parked.as_deref()?;
    parking.over.is_none().then(|| parking.waited_until(now))
}

/// What it is parked for, and waits for still, or for its slots.
fn waits_for(task: &TaskCell) -> Option<Arc<str>> {
    let parts = task.shared.lock();
    let parking = parts.peek()?.parked.as_deref()?;
    // A slot by hand whose wait was dropped waits for nothing, and nothing brings it back.
    let waits = parking.over.is_none() || parking.stand_in.is_some();
    waits.then(|| Arc::clone(&parking.what))
}

fn what_for(task: &TaskCell) -> Option<Arc<str>> {
    let parts = task.shared.lock();
    let parking = parts.peek()?.parked.as_deref()?;
    Some(Arc::clone(&parking.what))
}

fn is_parked(task: &TaskCell) -> bool {
    let parts = task.shared.lock();
    parts.peek().is_some_and(|rare| rare.parked.is_some())
}

pub(crate) fn snapshot(task: &TaskCell, now: Time) -> Option<ParkedSnapshot> {
    let parts = task.shared.lock();
    let parking = parts.peek()?.parked.as_deref()?;
    let name = |gone: &Gone| match gone {
        Gone::Own => task.domain().name.to_string(),
        Gone::Link(link) => link.domain().name.to_string(),
    };
    Some(ParkedSnapshot {
        what: parking.what.to_string(),
        waits: parking.waits(now),
        waited: parking.waited_until(now).since(parking.since),
        limit: parking.limit,
        released: parking.away.iter().rev().map(name).collect(),
    })
}

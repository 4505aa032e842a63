//! A task that needs slots of several lanes: how it comes to them, one after
//! the other, and gives them back.
//!
//! The task itself is in its first lane, and what it is granted is looked after
//! there. For each of the others it has a *link*: a cell of its own, which waits
//! in that lane and holds a slot of it like any task, and stands for its
//! principal. While the links are gathered, the task is granted but cannot be
//! claimed: whoever ends it finds an unclaimed grant, and takes that back.
//! Whatever ends a link ends its principal, and the other way round.

use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::domain::Domain;
use super::drain::hand_back;
use super::edge::{self, Kind};
use super::release::ended;
use super::submit::{give_up, rejoin, take_place};
use super::word::Word;
use super::{deadlock, inherit, park, runner, spare};
use crate::Lane;
use crate::config::OnFull;
use crate::engine::{Accepted, End, Entry, IfFull, Mode, Reason, Refused};
use crate::sync::{Arc, Mutex};

/// The slots of a task beside its own.
pub(crate) struct Links {
    /// Its own is the first.
    lanes: Arc<[Lane]>,
    /// Rather than wait anywhere, it is refused.
    at_once: bool,
    stand: Mutex<Stand>,
}

#[derive(Default)]
struct Stand {
    gathers: bool,
    /// Counts how often they were let go of, so that whoever came on behalf of
    /// an earlier grant finds out.
    round: u64,
    held: Vec<Arc<TaskCell>>,
    /// The one that is in line.
    line: Option<Arc<TaskCell>>,
}

/// What became of an attempt to get the next slot.
enum Step {
    /// It was free.
    Held,
    InLine,
    /// It was refused, or the task is past it. Either way the task is being
    /// ended, or sleeps.
    Over,
}

impl Links {
    pub(super) fn to(lanes: Arc<[Lane]>, at_once: bool) -> Self {
        Self {
            lanes,
            at_once,
            stand: Mutex::new(Stand::default()),
        }
    }

    /// Whether the task needs slots before it can be claimed, and somebody sees to
    /// them. One that sleeps in line has nobody who would come. For one that is
    /// not polled whoever grants it a slot goes on to the next, and may be late:
    /// were that passed on, nobody would come to rejoin.
    pub(super) fn gather(&self, task: &TaskCell) -> bool {
        if task.bound().is_some() {
            return !self.is_complete();
        }
        let stand = self.stand.lock();
        let sleeps = |link: &Arc<TaskCell>| link.word.get() == Word::Asleep;
        stand.gathers && !stand.line.as_ref().is_some_and(sleeps)
    }

    pub(super) fn are_current(&self) -> bool {
        let stand = self.stand.lock();
        stand.held.iter().all(|link| link.is_current())
    }

    /// The fence of the slot that it holds in this lane.
    pub(super) fn fence_in(&self, lane: &str) -> Option<u64> {
        let stand = self.stand.lock();
        let of_lane = |link: &&Arc<TaskCell>| link.holds() && &*link.domain().name == lane;
        let link = stand.held.iter().find(of_lane)?;
        Some(link.fence())
    }

    /// The names of its lanes, in their order.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let name = |lane: &Lane| Arc::clone(&lane.domain.name);
        self.lanes.iter().map(name).collect()
    }

    pub(super) fn name_of(&self, serial: u64) -> Option<Arc<str>> {
        let of_serial = |lane: &&Lane| lane.domain.serial == serial;
        let lane = self.lanes.iter().find(of_serial)?;
        Some(Arc::clone(&lane.domain.name))
    }

    pub(super) fn held(&self) -> Vec<Arc<TaskCell>> {
        self.stand.lock().held.clone()
    }

    /// For a task that is polled. Ready when it can be claimed, or is past it:
    /// its word says which.
    pub(super) fn poll(&self, task: &Arc<TaskCell>, cx: &Context<'_>) -> Poll<()> {
        let round = self.stand_up(task);
        loop {
            if task.word.get() != Word::Granted {
                return Poll::Ready(());
            }
            let line = self.stand.lock().line.clone();
            let Some(link) = line else {
                match self.step(task, round) {
                    None => {
                        self.complete(task, round);
                        return Poll::Ready(());
                    }
                    Some(Step::Over) => return Poll::Ready(()),
                    Some(Step::Held | Step::InLine) => continue,
                }
            };
            match link.word.get() {
                Word::Granted => {
                    if link.word.shift(Word::Granted, Word::Running) {
                        self.hold(task, &link);
                    }
                }
                Word::Asleep => {
                    rejoin(&link);
                    deadlock::waits_again(&link);
                }
                word => {
                    link.set_runner(cx.waker());
                    task.set_runner(cx.waker());
                    // The grant, or the end of the task, may have come between.
                    if link.word.get() == word && task.word.get() == Word::Granted {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// For a task that is not polled yet: as far as it gets without waiting.
    fn advance(&self, task: &Arc<TaskCell>, round: u64) {
        loop {
            // Whoever ends it moves its word and then lets go of its links: so
            // this comes after `round` was read.
            if task.word.get() != Word::Granted {
                return;
            }
            match self.step(task, round) {
                Some(Step::Held) => {}
                Some(Step::InLine | Step::Over) => return,
                None => {
                    if self.complete(task, round) {
                        // As it is, even if what it gathered was passed on just
                        // now: its runner finds that out, and rejoins (S20).
                        let body = task.shared.lock().body.take();
                        body.launch(task);
                    }
                    return;
                }
            }
        }
    }

    fn stand_up(&self, task: &TaskCell) -> u64 {
        let (fresh, round) = {
            let mut stand = self.stand.lock();
            (!std::mem::replace(&mut stand.gathers, true), stand.round)
        };
        if fresh {
            let key = task.slot_key();
            task.domain()
                .act(|engine, _| engine.gathers(key, task.spec()));
        }
        if task.word.get() != Word::Granted {
            // Its grant was passed on, and whoever let its links go may have been
            // before this.
            self.stand.lock().gathers = false;
        }
        round
    }

    /// Joins the line of the next lane. `None` where all slots are held.
    fn step(&self, task: &Arc<TaskCell>, round: u64) -> Option<Step> {
        let held = self.stand.lock().held.len();
        let lane = self.lanes.get(held + 1)?;
        let mut link = spare::take();
        let cell = Arc::get_mut(&mut link).expect("a spare cell is nobody's");
        let spec = Arc::new(task.spec().of_link());
        cell.begin(lane.domain.clone(), Some(spec), None, None);
        cell.stand_for(Arc::clone(task), task.bound());
        {
            let mut stand = self.stand.lock();
            if stand.round != round {
                return Some(Step::Over);
            }
            stand.line = Some(Arc::clone(&link));
        }
        edge::tie(task, &link, Kind::default());
        let accepted = self.submit(task, &link);
        let (ours, gone_on) = {
            let mut stand = self.stand.lock();
            let ours = is(stand.line.as_ref(), &link);
            // Whoever granted it, as it had hardly joined, goes on with the task.
            let gone_on = stand.held.iter().any(|held| Arc::ptr_eq(held, &link));
            if ours && !matches!(accepted, Ok(Accepted::Queued { .. })) {
                stand.line = None;
                if accepted.is_ok() {
                    stand.held.push(Arc::clone(&link));
                }
            }
            (ours, gone_on)
        };
        match accepted {
            Ok(Accepted::Queued { .. }) if gone_on => return Some(Step::InLine),
            Ok(Accepted::Queued { .. }) if ours => {
                inherit::begin(&held_in(task), &link);
                inherit::behind(link.domain(), link.spec().priority);
                deadlock::gathers(task);
                // It may be in line no more, and whoever saw to that ended what
                // had not begun.
                if !is(self.stand.lock().line.as_ref(), &link) {
                    inherit::end(&self.domains(), &link);
                }
                return Some(Step::InLine);
            }
            Ok(Accepted::Started { .. }) if ours => {
                let _others = edge::untie(task, &link, false);
                return Some(Step::Held);
            }
            Ok(_) => {
                // Its task was let go of meanwhile, and whoever did that found
                // it in no line.
                let _others = edge::untie(task, &link, false);
                drop_link(&link, false);
            }
            Err(why) => {
                let _others = edge::untie(task, &link, false);
                let serial = lane.domain.serial;
                task.domain().end(task, End::Refused { lane: serial, why });
            }
        }
        Some(Step::Over)
    }

    fn submit(&self, task: &TaskCell, link: &Arc<TaskCell>) -> Result<Accepted, Refused> {
        let domain = link.domain();
        let waits = domain.terms.with(|terms| terms.config.when_full()) == OnFull::Wait;
        let entry = Entry {
            present: true,
            at_once: self.at_once,
            descendant: false,
            // Whoever winds down both lanes waits for this task.
            part: task.domain().read(|engine| engine.mode() != Mode::Open),
            waited: std::time::Duration::ZERO,
            if_full: if waits { IfFull::Wait } else { IfFull::Refuse },
        };
        let now = link.now();
        domain.act(|engine, _| {
            let accepted = engine.submit(now, Arc::clone(link), link.spec(), entry);
            take_place(engine, link, now, entry, accepted);
            accepted
        })
    }

    /// The link in line has its slot. False if its task was let go of.
    fn hold(&self, task: &TaskCell, link: &Arc<TaskCell>) -> bool {
        let ours = {
            let mut stand = self.stand.lock();
            let ours = is(stand.line.as_ref(), link);
            if ours {
                stand.line = None;
                stand.held.push(Arc::clone(link));
            }
            ours
        };
        let _others = edge::untie(task, link, false);
        inherit::end(&self.domains(), link);
        if !ours {
            drop_link(link, false);
        }
        ours
    }

    fn domains(&self) -> Vec<Arc<Domain>> {
        let domain = |lane: &Lane| Arc::clone(&lane.domain);
        self.lanes.iter().map(domain).collect()
    }

    /// All slots are held: the task can be claimed, and its time starts now.
    fn complete(&self, task: &TaskCell, round: u64) -> bool {
        let now = task.now();
        task.stir(now);
        task.domain().act(|engine, _| {
            if task.word.get() != Word::Granted {
                return false;
            }
            let mut stand = self.stand.lock();
            let ours = stand.round == round;
            if ours {
                stand.gathers = false;
                engine.gathered(now, task.slot_key());
                task.restart(now);
            }
            ours
        })
    }

    /// Takes from the task what it has beside its own slot, to be given back.
    fn take(&self) -> Gathered {
        let mut stand = self.stand.lock();
        stand.round += 1;
        stand.gathers = false;
        let (line, held) = (stand.line.take(), std::mem::take(&mut stand.held));
        // The task may wait for such a slot again before it has been given back, and
        // that is no circle.
        line.iter().chain(&held).for_each(|link| link.dismiss());
        Gathered { line, held }
    }

    /// Gives back all slots but the task's own, the last one first.
    fn give_back(&self, task: &TaskCell, gathered: Gathered, completed: bool) {
        if let Some(link) = gathered.line {
            let _others = edge::untie(task, &link, false);
            inherit::end(&self.domains(), &link);
            give_up(&link, Reason::Dropped);
        }
        for link in gathered.held.into_iter().rev() {
            drop_link(&link, completed);
        }
    }
}

/// What a task had gathered when it was taken from it.
#[derive(Default)]
pub(super) struct Gathered {
    line: Option<Arc<TaskCell>>,
    held: Vec<Arc<TaskCell>>,
}

/// The lanes whose slots a task holds, or gave back for a while.
pub(super) fn lanes_of(task: &TaskCell) -> Vec<Arc<Domain>> {
    let links = task.links().map(|links| links.held()).unwrap_or_default();
    let links = links.iter().map(|link| Arc::clone(link.domain()));
    std::iter::once(Arc::clone(task.domain()))
        .chain(links)
        .collect()
}

/// Those whose slots it holds now.
pub(crate) fn held_in(task: &TaskCell) -> Vec<Arc<Domain>> {
    let links = task.links().map(|links| links.held()).unwrap_or_default();
    let cells = std::iter::once(task).chain(links.iter().map(|link| &**link));
    let held = cells.filter(|cell| cell.holds());
    held.map(|cell| Arc::clone(cell.domain())).collect()
}

/// Gives back whatever a task has beside its own slot.
#[cold]
pub(super) fn let_go(task: &TaskCell, completed: bool) {
    park::abandon(task);
    if let Some(links) = task.links() {
        links.give_back(task, links.take(), completed);
    }
}

/// A link whose slot is not needed any more, or never was.
pub(super) fn drop_link(link: &Arc<TaskCell>, completed: bool) {
    link.word.shift(Word::Granted, Word::Running);
    link.word.shift(Word::Running, Word::Done);
    runner::let_go(Arc::clone(link), ended(completed), completed);
}

fn is(line: Option<&Arc<TaskCell>>, link: &Arc<TaskCell>) -> bool {
    line.is_some_and(|line| Arc::ptr_eq(line, link))
}

/// A cell has its slot. Says whether that is not enough to launch its task, or
/// it is none.
#[inline]
pub(super) fn begin(cell: &Arc<TaskCell>) -> bool {
    if let Some(task) = cell.principal() {
        granted(task, cell);
        return true;
    }
    match cell.links() {
        // One that is polled gathers them itself.
        Some(links) if cell.bound().is_some() && !links.is_complete() => {
            let round = links.stand_up(cell);
            links.advance(cell, round);
            true
        }
        _ => false,
    }
}

impl Links {
    fn is_complete(&self) -> bool {
        let stand = self.stand.lock();
        stand.held.len() + 1 == self.lanes.len() && !stand.gathers
    }
}

/// A link has its slot: its task goes on to the next, or its runner does.
fn granted(task: &Arc<TaskCell>, link: &Arc<TaskCell>) {
    if link.bound().is_none() {
        link.wake_runner();
        return;
    }
    let Some(links) = task.links() else { return };
    let round = links.stand.lock().round;
    if link.word.shift(Word::Granted, Word::Running) && links.hold(task, link) {
        links.advance(task, round);
    }
}

/// A grant is passed on that nobody came for (S20), and all that was gathered for
/// it. Where its lane is locked: what the task gathers once it is granted again is
/// not to be given back for this.
pub(super) fn unclaim(cell: &TaskCell) -> Gathered {
    cell.links().map(|links| links.take()).unwrap_or_default()
}

/// The rest of that, once the lane is free.
pub(super) fn unclaimed(cell: &Arc<TaskCell>, gathered: Gathered) {
    if let Some(task) = cell.principal() {
        // Nobody polls it, so that nobody will come for what it has either.
        task.domain().unclaim(task);
    } else if let Some(links) = cell.links() {
        links.give_back(cell, gathered, false);
    }
}

/// A holder was asked to end: whatever it is part of, or has, ends with it.
pub(super) fn asked(cell: &Arc<TaskCell>) {
    if cell.is_dismissed() {
        return;
    }
    let end = || {
        let key = cell.slot_key();
        let end = cell.domain().read(|engine| engine.record(key)?.end());
        end.unwrap_or_else(|| End::Cancelled {
            reason: cell.asked().map_or(Reason::User, |asked| asked.reason),
            elapsed: cell.now().since(cell.started()),
        })
    };
    if let Some(task) = cell.principal() {
        task.domain().end(task, end());
    } else if cell.is_linked() {
        // It comes back for nothing any more, and has no slot to be taken where it
        // gave that back (S10).
        let held = come_back_to_nothing(cell);
        if !held.is_empty() {
            let end = end();
            for link in held {
                link.domain().end(&link, end);
                // Between the two it may have given that back.
                link.domain().release_if_away(&link, false);
            }
        }
    }
}

/// Nobody waits any more for what a task gave back, and no lane counts on it for that.
/// Gives what it has beside its own slot.
pub(super) fn come_back_to_nothing(task: &TaskCell) -> Vec<Arc<TaskCell>> {
    park::abandon_what_is_away(task);
    let mut held = task.links().map(|links| links.held()).unwrap_or_default();
    let completed = task.word.get() == Word::Done;
    held.retain(|link| !link.domain().release_if_away(link, completed));
    held
}

/// The engine settled a cell that its lane knows nothing of any more, or whose
/// slot it took.
pub(super) fn settled(cell: &Arc<TaskCell>, end: End) {
    if cell.is_dismissed() {
        return;
    }
    if let Some(task) = cell.principal() {
        let end = match end {
            End::Returned { waited } => {
                // By the lane to which it would be submitted again, or the one
                // that drains.
                let _awaited = hand_back(task.domain(), task, waited)
                    || hand_back(cell.domain(), task, waited);
                End::Refused {
                    lane: cell.domain().serial,
                    why: Refused::Draining {
                        admit_descendants: false,
                    },
                }
            }
            end => end,
        };
        task.domain().end(task, end);
    } else if cell.is_linked() {
        let key = cell.slot_key();
        if cell.domain().read(|engine| engine.record(key).is_none()) {
            let_go(cell, false);
        }
    }
}

/// Somebody vouches for an orphan, and so for it in all lanes that count it (S10);
/// `insists` where its own slot is gone. Says whether it was one anywhere here.
pub(crate) fn forget(task: &TaskCell, insists: bool) -> bool {
    let held = task.links().map(|links| links.held()).unwrap_or_default();
    let mut any = false;
    for link in held {
        let (domain, key, now) = (link.domain(), link.slot_key(), link.now());
        let facts = super::facts::at_hand(&link);
        let forgotten = domain.act(|engine, effects| {
            if insists {
                // It is about to be taken, or was not for a bound.
                link.word.shift(Word::Running, Word::Cancelled);
                if engine.reset_one(now, key, false, &facts, effects) {
                    let _ = domain.shared.orphans.reserve(true);
                    engine.dispatch(now, effects);
                    engine.settled_all(effects);
                }
            }
            engine.forget_orphan(key)
        });
        if forgotten.is_some() {
            domain.shared.orphans.release();
            any = true;
        }
    }
    any
}

/// The slot of a task was taken from it. Where it runs on without, it does so
/// without the others, too ([`OnStall::Detach`](crate::OnStall::Detach)).
pub(super) fn lost(cell: &Arc<TaskCell>) {
    let Some(links) = cell.links() else { return };
    if !cell.runs_without() {
        return;
    }
    // It comes back for nothing any more, and what it gave back is not lost by this.
    park::abandon(cell);
    for link in &links.held() {
        if !link.domain().release_if_away(link, false) {
            detach(link);
        }
    }
}

/// The same for one of the others. At a bound of orphans it stays held, and is tried
/// again (S10).
fn detach(link: &Arc<TaskCell>) {
    let (domain, key) = (link.domain(), link.slot_key());
    let orphans = &domain.shared.orphans;
    let reserved = orphans.reserve(false);
    let (now, facts) = (link.now(), super::facts::at_hand(link));
    let detached = domain.act(|engine, effects| {
        let (own, most) = (engine.orphans(), engine.max_orphans());
        let refused = match reserved {
            true => (own >= most).then_some((most, own)),
            false => Some((orphans.bound(), orphans.bound())),
        };
        if let Some((bound, orphans)) = refused {
            engine.refuse_take(now, key, bound, orphans, effects);
            return false;
        }
        engine.detach(now, key, link.spec(), &facts, effects)
    });
    if reserved && !detached {
        orphans.release();
    }
}

/// The slot of a link is looked at. Says whether it is one that its task runs on
/// without.
pub(super) fn detached(link: &Arc<TaskCell>) -> bool {
    let runs_without = link.holds() && link.principal().is_some_and(|task| task.runs_without());
    if runs_without {
        detach(link);
    }
    runs_without
}

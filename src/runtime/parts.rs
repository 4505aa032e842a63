//! What is kept of a task under its own small lock: wakers, and values of the
//! user's. No user code runs while it is locked, and nobody locks a domain
//! meanwhile.

use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

use super::cell::TaskCell;
use super::job::Waiting;
use super::links::Links;
use super::park::Parking;
use super::spans::Spanned;
use super::standing::Probe;
use super::teardown::Hook;
use super::wakers::{Wakers, drop_guarded, wake_all};
use crate::engine::{End, Time};
use crate::error::Cycle;
use crate::host::{AbortHandle, Handle};
use crate::options::OnWait;
use crate::sync::Arc;

pub(crate) struct Parts {
    /// Whoever polls it, to be woken for a grant or an ask.
    pub(crate) runner: Option<Waker>,
    /// Whoever awaits its handle.
    pub(crate) joiner: Option<Waker>,
    settled: Settled,
    /// What is launched when it has its slot.
    pub(crate) body: Waiting,
    /// The task that submitted it.
    pub(crate) parent: Option<Arc<TaskCell>>,
    rare: Option<Box<Rare>>,
}

/// How it ended; most by themselves, and those need no memory for it.
enum Settled {
    No,
    Completed,
    Otherwise(Box<End>),
}

/// What most tasks never have.
#[derive(Default)]
pub(crate) struct Rare {
    signal: Wakers,
    leavers: Wakers,
    last_id: u64,
    pub(crate) on_wait: Option<OnWait>,
    pub(crate) watcher: Option<AbortHandle>,
    pub(crate) note: Option<Arc<str>>,
    pub(crate) phases: Vec<OpenPhase>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) children: HashMap<u64, Option<AbortHandle>>,
    /// Teardown has begun: whatever is spawned now is aborted at once.
    pub(crate) ending: bool,
    /// Where hooks can run when their task was dropped outside its runner.
    pub(crate) home: Option<Handle>,
    /// But for the phase, which is found where the phases are.
    pub(crate) limits: Limits,
    /// The children in whose results it is pending, by their address.
    pub(crate) awaits: HashMap<usize, Awaited>,
    /// Its slots in other lanes than its own.
    pub(crate) links: Option<Arc<Links>>,
    /// It waits for somebody.
    pub(crate) parked: Option<Box<Parking>>,
    /// What was known when it was probed last.
    pub(super) probe: Option<Box<Probe>>,
    /// It was not to wait for its slot: whoever waited for it would have closed
    /// this.
    pub(crate) circle: Option<Cycle>,
    /// That of its wait or, of a slot by hand, of its holder's time.
    pub(crate) span: Spanned,
}

pub(crate) struct Awaited {
    pub(crate) task: Arc<TaskCell>,
    /// It is part of its parent's future, and ends with that.
    pub(crate) owned: bool,
    /// Others may wait for it, too.
    pub(crate) shared: bool,
    /// By how many futures: a shared task has many handles.
    pub(crate) times: usize,
    /// By how many of them that may be given up.
    pub(crate) loosely: usize,
    /// Of all waits, the newer one has the greater.
    pub(crate) serial: u64,
    /// The wait is refused, and its futures are yet to be polled.
    pub(crate) refused: Option<Cycle>,
}

impl Awaited {
    /// Its parent need not wait for it.
    pub(crate) const fn is_loose(&self) -> bool {
        self.loosely > 0 || self.refused.is_some()
    }
}

/// What a task was granted, or set itself, while it ran.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    /// The ceiling of the innermost phase that has one.
    pub(crate) phase: Option<Duration>,
    pub(crate) deadline: Option<Time>,
    /// Until when its silence was extended.
    pub(crate) extended: Option<Time>,
    /// By when its slot is taken from it, once it was asked to end.
    pub(crate) take_at: Option<Time>,
}

#[derive(Clone, Debug)]
pub(crate) struct OpenPhase {
    pub(crate) id: u64,
    pub(crate) text: Arc<str>,
    pub(crate) silence: Option<Duration>,
    /// The note that this phase's name stands in front of.
    pub(crate) outer_note: Option<Arc<str>>,
}

impl Parts {
    pub(crate) const fn new() -> Self {
        Self {
            runner: None,
            joiner: None,
            settled: Settled::No,
            body: Waiting::NOBODY,
            parent: None,
            rare: None,
        }
    }

    /// For the next task; whoever would have been woken for this one is
    /// returned.
    #[must_use = "drop them outside the lock"]
    pub(crate) fn clear(&mut self) -> (Option<Waker>, Option<Waker>) {
        self.settled = Settled::No;
        (self.runner.take(), self.joiner.take())
    }

    /// Only the first call counts (S2), and says so.
    pub(crate) fn settle(&mut self, end: End) -> bool {
        let first = !self.is_settled();
        if first {
            self.settled = match end {
                End::Completed => Settled::Completed,
                end => Settled::Otherwise(Box::new(end)),
            };
        }
        first
    }

    pub(crate) fn settled(&self) -> Option<End> {
        match &self.settled {
            Settled::No => None,
            Settled::Completed => Some(End::Completed),
            Settled::Otherwise(end) => Some(**end),
        }
    }

    pub(crate) const fn is_settled(&self) -> bool {
        !matches!(self.settled, Settled::No)
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn peek(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(crate) fn peek_mut(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    #[must_use = "wake them outside the lock"]
    pub(crate) fn take(&mut self, which: fn(&mut Rare) -> &mut Wakers) -> Vec<Waker> {
        self.peek_mut()
            .map_or_else(Vec::new, |rare| which(rare).take())
    }

    /// What a settlement takes out, to be seen to outside the lock.
    pub(crate) fn end(&mut self) -> Ended {
        let joiner = self.joiner.take();
        let (mut others, mut on_wait, mut watcher) = (Vec::new(), None, None);
        let mut span = Spanned::NONE;
        if let Some(rare) = self.peek_mut() {
            others = rare.signal.take();
            others.extend(rare.leavers.take());
            on_wait = rare.on_wait.take();
            watcher = rare.watcher.take();
            span = rare.span.take();
        }
        Ended {
            joiner,
            others,
            watcher,
            span,
            values: (self.body.take(), on_wait),
            parent: self.parent.take(),
        }
    }
}

impl Rare {
    pub(crate) const fn signal(&mut self) -> &mut Wakers {
        &mut self.signal
    }

    pub(crate) const fn leavers(&mut self) -> &mut Wakers {
        &mut self.leavers
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut phases = self.phases.iter().rev();
        Limits {
            phase: phases.find_map(|phase| phase.silence),
            ..self.limits
        }
    }

    /// Names a phase or a child of this task.
    pub(crate) const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// See [`Parts::end`].
pub(crate) struct Ended {
    joiner: Option<Waker>,
    others: Vec<Waker>,
    watcher: Option<AbortHandle>,
    span: Spanned,
    values: (Waiting, Option<OnWait>),
    parent: Option<Arc<TaskCell>>,
}

impl Ended {
    pub(crate) fn carry_out(mut self, end: &End) {
        self.span.close(end);
        if let Some(watcher) = self.watcher {
            watcher.abort();
        }
        wake_all(self.joiner);
        wake_all(self.others);
        if !self.values.0.is_nobody() || self.values.1.is_some() {
            drop_guarded(self.values);
        }
        drop(self.parent);
    }
}

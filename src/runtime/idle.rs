//! Waiting for a lane, or for those who are active in it now.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::cell::TaskCell;
use super::domain::DomainRef;
use super::parts::Rare;
use super::wakers::{Ticket, drop_guarded};
use crate::error::WaitActiveError;
use crate::host;
use crate::sync::Arc;

/// Resolves when nobody is queued or active; orphans are not waited for.
pub(crate) struct Idle {
    domain: DomainRef,
    ticket: Ticket,
}

impl Idle {
    pub(crate) fn new(domain: &DomainRef) -> Self {
        Self {
            domain: domain.clone(),
            ticket: Ticket::default(),
        }
    }
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let fresh = cx.waker().clone();
        let old = this.domain.idle.lock().register(&mut this.ticket, fresh);
        drop_guarded(old);
        // After the registration, so that the last release is not missed.
        let idle = this.domain.act(|engine, _| {
            let idle = engine.is_idle();
            if !idle {
                engine.want_idle();
            }
            idle
        });
        if idle {
            return Poll::Ready(());
        }
        this.domain.shared.drive_here();
        Poll::Pending
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let old = self.domain.idle.lock().remove(&self.ticket);
        drop_guarded(old);
    }
}

/// A lane that is not idle; `None` if there was a moment at which all of them
/// were.
///
/// They are looked at one after another, and a task may pass from one that was
/// not looked at yet to one that was. So they are looked at twice: if nothing
/// was submitted or granted in between, each was idle all the time between its two
/// looks, and all of them between the two rounds.
pub(crate) fn first_busy<'a>(
    domains: impl Iterator<Item = &'a DomainRef> + Clone,
) -> Option<&'a DomainRef> {
    let look = |domain: &DomainRef| {
        domain.read(|engine| {
            let tally = engine.tally();
            // Whoever comes back to its slot was submitted long ago.
            engine.is_idle().then_some((tally.submitted, tally.started))
        })
    };
    let mut seen = Vec::new();
    for domain in domains.clone() {
        match look(domain) {
            Some(counts) => seen.push(counts),
            None => return Some(domain),
        }
    }
    let mut again = domains.zip(seen);
    let changed = again.find(|(domain, counts)| look(domain) != Some(*counts));
    changed.map(|(domain, _)| domain)
}

/// Waits for those who hold a slot now, and not for those who come after.
pub(crate) async fn wait_active(
    domains: &[DomainRef],
    timeout: Duration,
) -> Result<(), WaitActiveError> {
    let mut holders: Vec<Arc<TaskCell>> = Vec::new();
    for domain in domains {
        domain.read(|engine| {
            let keys = engine.holders().iter();
            let records = keys.filter_map(|key| engine.record(*key));
            holders.extend(records.map(|record| Arc::clone(&record.payload)));
        });
    }
    // Outside the locks: whom a task has beside itself may be let go of here.
    let behind: Vec<_> = holders
        .iter()
        .filter_map(|holder| stood_for(holder))
        .collect();
    holders.extend(behind);
    let Some(clock) = domains.first().map(|domain| domain.shared.clock) else {
        return Ok(());
    };
    let began = clock.now();
    let all = async {
        for task in &holders {
            left(task).await;
        }
    };
    host::timeout(timeout, all)
        .await
        .map_err(|_| WaitActiveError {
            still_active: holders.iter().filter(|task| task.holds()).count(),
            waited: clock.now().since(began),
        })
}

/// Whose slot that of a stand-in is going to be.
fn stood_for(stand_in: &TaskCell) -> Option<Arc<TaskCell>> {
    let task = stand_in.principal()?;
    let here = |cell: &Arc<TaskCell>| cell.domain().serial == stand_in.domain().serial;
    let links = task.links().map(|links| links.held()).unwrap_or_default();
    let cell = std::iter::once(Arc::clone(task)).chain(links).find(here)?;
    // A link that holds its slot is the cell itself.
    (!std::ptr::eq(&*cell, stand_in)).then_some(cell)
}

async fn left(task: &TaskCell) {
    struct Leaving<'a> {
        task: &'a TaskCell,
        ticket: Ticket,
    }
    impl Drop for Leaving<'_> {
        fn drop(&mut self) {
            self.task.deregister(Rare::leavers, &self.ticket);
        }
    }
    let mut leaving = Leaving {
        task,
        ticket: Ticket::default(),
    };
    poll_fn(|cx| {
        if task.holds() {
            task.register(Rare::leavers, &mut leaving.ticket, cx.waker());
        }
        if !task.holds() {
            return Poll::Ready(());
        }
        task.domain().shared.drive_here();
        Poll::Pending
    })
    .await;
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use std::cell::RefCell;
    use std::task::Waker;

    use super::*;
    use crate::{LaneConfig, Lanes};

    /// Each is back before the other leaves, so that one is always there; and who is
    /// looked at is always the one that is not.
    #[tokio::test]
    async fn s7_two_that_come_back_by_turns_are_at_no_moment_idle() {
        let names = ["a", "b"];
        let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
        let lanes = lanes.build().unwrap();
        let both = names.map(|name| lanes.lane(name).unwrap());
        let slots = both.each_ref().map(|lane| lane.try_acquire().unwrap());
        let mut noop = Context::from_waker(Waker::noop());
        let mut park = |at: usize| {
            let wait = slots[at].context().waiting("x").release([names[at]]);
            let mut asked = false;
            let answer = poll_fn(move |_| match std::mem::replace(&mut asked, true) {
                false => Poll::Pending,
                true => Poll::Ready(()),
            });
            let mut wait = Box::pin(wait.on(answer));
            assert!(wait.as_mut().poll(&mut noop).is_pending());
            wait
        };
        let away = RefCell::new((0, park(0)));
        let park = RefCell::new(park);
        let turn = |_: &&DomainRef| {
            let mut away = away.borrow_mut();
            let mut noop = Context::from_waker(Waker::noop());
            assert!(away.1.as_mut().poll(&mut noop).is_ready(), "it is back");
            let other = 1 - away.0;
            *away = (other, park.borrow_mut()(other));
        };
        // Before the first look one turn too many, and so it is the other's lane.
        let domains = both.each_ref().map(|lane| lane.domain.clone());
        let looks = domains.iter().rev().inspect(turn);
        assert!(first_busy(looks).is_some(), "S7");
    }
}

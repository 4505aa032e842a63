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
/// was submitted in between, each was idle all the time between its two looks,
/// and all of them between the two rounds.
pub(crate) fn first_busy(domains: &[DomainRef]) -> Option<&DomainRef> {
    let look = |domain: &DomainRef| {
        domain.read(|engine| engine.is_idle().then(|| engine.tally().submitted))
    };
    let mut seen = Vec::with_capacity(domains.len());
    for domain in domains {
        match look(domain) {
            Some(submitted) => seen.push(submitted),
            None => return Some(domain),
        }
    }
    let again = domains.iter().zip(seen);
    let mut changed = again.filter(|(domain, submitted)| look(domain) != Some(*submitted));
    changed.next().map(|(domain, _)| domain)
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

//! What happens between the future's end and the slot's: children aborted,
//! hooks run, all of it bounded.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cell::TaskCell;
use super::wakers::{drop_guarded, guarded};
use super::{current, links, log};
use crate::engine::Reason;
use crate::sync::{Arc, Ordering};

pub(crate) type HookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type Hook = Box<dyn FnOnce(Reason) -> HookFuture + Send>;

/// A task's hooks, the last registered first, and the end of its children.
///
/// The slot stays held meanwhile, so that a child process is reaped before its
/// successor starts; the engine's timer ends it where it does not end.
pub(crate) struct Teardown {
    task: Option<Arc<TaskCell>>,
    reason: Reason,
    running: Option<HookFuture>,
}

impl Teardown {
    /// `None` where there is nothing to do.
    #[inline]
    pub(crate) fn begin(task: &Arc<TaskCell>, reason: Reason) -> Option<Self> {
        task.has_teardown().then(|| Self::of(task, reason))
    }

    fn of(task: &Arc<TaskCell>, reason: Reason) -> Self {
        let now = task.now();
        let key = task.slot_key();
        task.domain()
            .act(|engine, _| engine.begin_teardown(now, key, task.spec()));
        // Nobody comes for what it stands in line for, and whoever is behind it is not
        // to wait for its hooks (S5).
        for link in links::come_back_to_nothing(task) {
            // It comes back with the task's own, and so after the hooks.
            let key = link.slot_key();
            link.domain()
                .act(|engine, _| engine.begin_teardown(now, key, link.spec()));
        }
        abort_children(task);
        Self {
            task: Some(Arc::clone(task)),
            reason,
            running: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(task) = self.task.clone() else {
            return Poll::Ready(());
        };
        // Before anything is looked at, so that no end of ours is missed.
        task.set_runner(cx.waker());
        loop {
            if task.teardown_is_over() {
                log::teardown_cut_short(&task);
                self.abandon();
                return Poll::Ready(());
            }
            match &mut self.running {
                Some(hook) => {
                    let poll = current::enter(&mut self.task, || {
                        guarded("a defer hook", || hook.as_mut().poll(cx))
                    });
                    if poll == Some(Poll::Pending) {
                        return Poll::Pending;
                    }
                    drop_guarded(self.running.take());
                    task.hooks.fetch_sub(1, Ordering::AcqRel);
                }
                None => match pop_hook(&task) {
                    Some(hook) => {
                        let reason = self.reason;
                        self.running = current::enter(&mut self.task, || {
                            guarded("a defer hook", || hook(reason))
                        });
                        if self.running.is_none() {
                            task.hooks.fetch_sub(1, Ordering::AcqRel);
                        }
                    }
                    None if children_gone(&task) => return Poll::Ready(()),
                    None => return Poll::Pending,
                },
            }
        }
    }

    fn abandon(&mut self) {
        drop_guarded(self.running.take());
        if let Some(task) = &self.task {
            discard_hooks(task);
        }
    }
}

/// Ends a task whose runner cannot wait: it was dropped, or it is a thread.
/// Hooks run on the runtime where they were registered, and the slot is held
/// until they are through.
pub(crate) fn finish_detached(task: &Arc<TaskCell>, reason: Reason, completed: bool) {
    let Some(teardown) = Teardown::begin(task, reason) else {
        super::runner::let_go(Arc::clone(task), reason, completed);
        return;
    };
    continue_detached(task, teardown, reason, completed);
}

pub(crate) fn continue_detached(
    task: &Arc<TaskCell>,
    teardown: Teardown,
    reason: Reason,
    completed: bool,
) {
    let finish = Finish {
        task: Arc::clone(task),
        teardown: Some(teardown),
        reason,
        completed,
    };
    let home = task.shared.lock().rare().home.clone();
    match home {
        // A runtime that is shutting down drops it on the spot, and its own
        // destructor does what can still be done.
        Some(home) => drop(home.spawn(finish)),
        None => drop(finish),
    }
}

struct Finish {
    task: Arc<TaskCell>,
    teardown: Option<Teardown>,
    reason: Reason,
    completed: bool,
}

impl Future for Finish {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(teardown) = &mut self.teardown {
            std::task::ready!(teardown.poll(cx));
            self.teardown = None;
            super::runner::let_go(Arc::clone(&self.task), self.reason, self.completed);
        }
        Poll::Ready(())
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(mut teardown) = self.teardown.take() {
            log::teardown_lost(&self.task);
            teardown.abandon();
            super::runner::let_go(Arc::clone(&self.task), self.reason, self.completed);
        }
    }
}

fn children_gone(task: &TaskCell) -> bool {
    let parts = task.shared.lock();
    parts.peek().is_none_or(|rare| rare.children.is_empty())
}

fn pop_hook(task: &TaskCell) -> Option<Hook> {
    task.shared.lock().peek_mut()?.hooks.pop()
}

pub(crate) fn discard_hooks(task: &TaskCell) {
    let hooks = match task.shared.lock().peek_mut() {
        Some(rare) => std::mem::take(&mut rare.hooks),
        None => return,
    };
    for hook in hooks {
        drop_guarded(hook);
    }
}

fn abort_children(task: &TaskCell) {
    let children = {
        let mut parts = task.shared.lock();
        let rare = parts.rare();
        rare.ending = true;
        let children = rare.children.values();
        children.filter_map(Clone::clone).collect::<Vec<_>>()
    };
    for child in children {
        child.abort();
    }
}

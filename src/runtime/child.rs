//! Parts of a task that run on tokio beside it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::cell::TaskCell;
use super::{current, deadlock};
use crate::host::{self, Handle, JoinHandle};
use crate::sync::{Arc, Ordering};

pub(crate) fn spawn<Fut>(task: &Arc<TaskCell>, future: Fut) -> JoinHandle<Fut::Output>
where
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    let home = Handle::try_current().ok();
    task.children.fetch_add(1, Ordering::AcqRel);
    let id = {
        let mut parts = task.shared.lock();
        let rare = parts.rare();
        let id = rare.next_id();
        rare.children.insert(id, None);
        rare.home = rare.home.take().or(home);
        id
    };
    let joined = host::spawn(Child {
        future,
        task: Some(Arc::clone(task)),
        guard: Guard {
            task: Arc::clone(task),
            id,
        },
    });
    // It may be over by now, and then it is not on the list any more.
    let mut parts = task.shared.lock();
    let settled = parts.is_settled();
    let rare = parts.rare();
    let ending = rare.ending || settled;
    if let Some(handle) = rare.children.get_mut(&id) {
        *handle = Some(joined.abort_handle());
    }
    drop(parts);
    if ending {
        joined.abort();
    }
    joined
}

pin_project! {
    struct Child<Fut> {
        // First, so that it is gone before the guard says so.
        #[pin]
        future: Fut,
        task: Option<Arc<TaskCell>>,
        guard: Guard,
    }
}

impl<Fut: Future> Future for Child<Fut> {
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        let this = self.project();
        let polled = current::enter(this.task, || this.future.poll(cx));
        if let Some(task) = this.task {
            deadlock::after_part(task, &polled);
        }
        polled
    }
}

struct Guard {
    task: Arc<TaskCell>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.shared.lock().rare().children.remove(&self.id);
        self.task.children.fetch_sub(1, Ordering::AcqRel);
        // Its teardown may be waiting for just this.
        self.task.wake_runner();
    }
}

//! What the shell adds to the journal of a lane: what tasks are called, how they
//! ended, and what they say of themselves.

use super::cell::{Labels, TaskCell};
use super::word::Word;
use crate::engine::{End, Gone, More, Names, Reason, Released, Span, Time, Told, What};
use crate::sync::Arc;

/// Notes what a task says of itself, in the turn of its lane: between its grant
/// and its end, if that is when it was said.
#[inline]
pub(super) fn note(task: &TaskCell, what: impl FnOnce() -> What) {
    if task.domain().shared.hub.is_some() {
        let key = task.slot_key();
        task.domain()
            .act(|engine, _| engine.note_untimed(key, what));
    }
}

/// When a task was released, and how its caller is told that it ended, in the words of
/// [`let_go`](super::runner::let_go).
#[inline(never)]
pub(super) fn told(
    task: &TaskCell,
    released: &Released<Arc<TaskCell>>,
    completed: bool,
    reason: Reason,
) -> Option<(Time, Told)> {
    let now = task.now();
    let (Released::Held(gone) | Released::Orphan(gone)) = released else {
        return None;
    };
    let ran = match gone.state {
        state if state.waits() => Span::ENDLESS,
        _ => Span::between(task.started(), now),
    };
    if completed && task.word.get() == Word::Done {
        let (end, panicked) = (None, reason == Reason::Panicked);
        return Some((now, Told { end, panicked, ran }));
    }
    let told = gone.ended();
    let end = told.unwrap_or_else(|| by_reason(task, gone, now, reason));
    Some((now, Told { ran, ..end.into() }))
}

#[cold]
fn by_reason(task: &TaskCell, gone: &Gone<Arc<TaskCell>>, now: Time, reason: Reason) -> End {
    match reason {
        Reason::RuntimeShutdown => End::RuntimeShutdown,
        reason if gone.state.waits() => {
            let waited = now.since(gone.since);
            End::CancelledQueued { reason, waited }
        }
        reason => {
            let elapsed = now.since(task.started());
            End::Cancelled { reason, elapsed }
        }
    }
}

/// What tasks are called in the log.
pub(super) const NAMES: Names<Arc<TaskCell>> = Names {
    id: |cell| cell.id(),
    more,
};

/// The same where nobody reads the log: what counts tasks is only to know what is none.
pub(super) const NAMELESS: Names<Arc<TaskCell>> = Names {
    id: NAMES.id,
    more: |cell| {
        let part_of = Some(cell.labels()?.part_of()?);
        Some(Box::new(More {
            part_of,
            ..More::default()
        }))
    },
};

fn more(cell: &Arc<TaskCell>) -> Option<Box<More>> {
    labelled(cell, cell.labels()?)
}

#[cold]
fn labelled(cell: &Arc<TaskCell>, own: &Labels) -> Option<Box<More>> {
    let labels = cell.whose().labels();
    let more = More {
        name: labels.and_then(|labels| labels.name.clone()),
        key: labels.and_then(|labels| labels.key.clone()),
        part_of: own.part_of(),
    };
    (more != More::default()).then(|| Box::new(more))
}

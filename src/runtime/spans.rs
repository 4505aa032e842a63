//! The spans of a task: how long it waited, how long it ran, and how that
//! ended.
//!
//! `queue` from the submission until its runner comes for the slot, if it had to
//! wait; from there on `run` or, of a slot by hand, `held`; in that, `parked`
//! while it waits for somebody. `queue` and `run` lie beside each other in the
//! span that was current at the submission, and `run` follows from `queue`. A
//! span around both would be a third that tells nothing of its own, and a task
//! that finds its slot free has just the one. So each of them has all that is
//! known of the task.
//!
//! A subscriber is user code: it is called with no lock held (S13), and one that
//! panics costs nothing (S14).

use std::time::Duration;

use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::{Level, Span, dispatcher};

use super::cell::TaskCell;
use super::wakers::quietly;
use super::word::Word;
use crate::clock::Clock;
use crate::engine::{End, Reason, Time};

/// A span, where somebody listens to it. One word: most programs have no
/// subscriber, and a task should not be larger for one.
#[derive(Default)]
pub(crate) struct Spanned(Option<Box<Inner>>);

struct Inner {
    span: Span,
    line: Option<Line>,
}

/// Of a wait: since when, and in which span it was begun.
struct Line {
    since: Time,
    submitter: Spanned,
}

/// How a wait ends that was not in vain.
const DISPATCHED: &str = "dispatched";

/// Whether anybody may listen. One load: most programs have no subscriber, or
/// one for warnings.
#[inline]
fn is_heard() -> bool {
    Level::INFO <= LevelFilter::current()
}

macro_rules! of_task {
    ($name:literal, $task:ident, $waited:expr, in $parent:ident) => {
        tracing::info_span!(
            target: "laneway", parent: $parent, $name,
            lane = &*$task.domain().name, task = %$task.id(),
            name = $task.name(), key = $task.key(), priority = $task.spec().priority.word(),
            waited_ms = $waited, outcome = Empty, reason = Empty, otel.status_code = Empty,
        )
    };
}

/// The span that is current, for a task that runs elsewhere than it is
/// submitted.
#[inline]
pub(crate) fn submitter() -> Spanned {
    if is_heard() {
        Spanned::of(Span::current)
    } else {
        Spanned::NONE
    }
}

/// The task has to wait. Called by its submitter.
#[inline]
pub(crate) fn queue(task: &TaskCell) {
    if is_heard() {
        begin_queue(task);
    }
}

/// Its runner has come for the slot.
#[inline]
pub(crate) fn run(task: &TaskCell, submitter: Spanned) -> Spanned {
    if is_heard() {
        begin_run(task, &submitter)
    } else {
        Spanned::NONE
    }
}

/// The same, where its submitter is its runner.
#[inline]
pub(crate) fn run_here(task: &TaskCell) -> Spanned {
    run(task, submitter())
}

/// Somebody has come for a slot by hand. What they do is no part of it.
#[inline]
pub(crate) fn hold(task: &TaskCell) {
    if is_heard() {
        begin_hold(task);
    }
}

/// The task waits for somebody, in whatever span it is polled.
pub(crate) fn parked(task: &TaskCell, what: &str) -> Spanned {
    let parked = || {
        tracing::info_span!(
            target: "laneway", "parked", lane = &*task.domain().name, task = %task.id(), what,
        )
    };
    if is_heard() {
        Spanned::of(parked)
    } else {
        Spanned::NONE
    }
}

#[cold]
fn begin_queue(task: &TaskCell) {
    let submitter = submitter();
    let queue = |parent| of_task!("queue", task, Empty, in parent);
    let mut span = submitter.around(queue);
    if let Some(inner) = &mut span.0 {
        let since = task.now();
        inner.line = Some(Line { since, submitter });
    }
    keep(task, span, true);
}

#[cold]
fn begin_run(task: &TaskCell, submitter: &Spanned) -> Spanned {
    begin(
        task,
        submitter,
        |waited, parent| of_task!("run", task, waited, in parent),
    )
}

#[cold]
fn begin_hold(task: &TaskCell) {
    let held = begin(
        task,
        &submitter(),
        |waited, parent| of_task!("held", task, waited, in parent),
    );
    keep(task, held, false);
}

/// The wait is over, if there was one, and the next span follows.
fn begin(
    task: &TaskCell,
    submitter: &Spanned,
    span: impl Fn(Option<i64>, Option<Id>) -> Span,
) -> Spanned {
    let mut queue = {
        let mut parts = task.shared.lock();
        let rare = parts.peek_mut();
        rare.map_or(Spanned::NONE, |rare| rare.span.take())
    };
    let line = queue.0.as_ref().and_then(|queue| queue.line.as_ref());
    let waited = line.map(|line| millis(task.now().since(line.since)));
    let submitter = line.map_or(submitter, |line| &line.submitter);
    let begun = submitter.around(|parent| span(waited, parent));
    if let (Some(begun), Some(queue)) = (begun.span(), queue.span()) {
        quietly(|| begun.follows_from(queue));
    }
    queue.close_as(DISPATCHED, None);
    begun
}

/// With the task, until its runner comes or it is settled.
fn keep(task: &TaskCell, mut span: Spanned, waits: bool) {
    if span.0.is_none() {
        return;
    }
    let mut parts = task.shared.lock();
    let settled = parts.settled();
    // Whoever comes for the slot moves the word, and looks here then.
    let came = waits && matches!(task.word.get(), Word::Running | Word::Done);
    if settled.is_none() && !came {
        span = std::mem::replace(&mut parts.rare().span, span);
    }
    drop(parts);
    match settled {
        Some(end) if !came => span.close(&end),
        _ => span.close_as(DISPATCHED, None),
    }
}

impl Spanned {
    pub(crate) const NONE: Self = Self(None);

    fn of(span: impl FnOnce() -> Span) -> Self {
        let span = || Some(span()).filter(|span| !span.is_disabled());
        let inner = |span| Box::new(Inner { span, line: None });
        Self(quietly(span).flatten().map(inner))
    }

    /// Makes a span in this one, with the subscriber that knows it: this thread
    /// may have another.
    fn around(&self, span: impl Fn(Option<Id>) -> Span) -> Self {
        let known = |(id, subscriber): (&Id, &_)| {
            let span = || span(Some(id.clone()));
            dispatcher::with_default(subscriber, span)
        };
        let known = || self.span()?.with_subscriber(known);
        Self::of(|| known().unwrap_or_else(|| span(None)))
    }

    fn span(&self) -> Option<&Span> {
        self.0.as_ref().map(|inner| &inner.span)
    }

    #[must_use = "drop it outside the lock"]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Runs code that does not panic, in the span.
    #[inline]
    pub(crate) fn within<R>(&self, code: impl FnOnce() -> R) -> R {
        let Some(span) = self.span() else {
            return code();
        };
        let entered = quietly(|| span.enter());
        let output = code();
        quietly(|| drop(entered));
        output
    }

    /// The task was settled.
    #[inline]
    pub(crate) fn close(&mut self, end: &End) {
        if self.0.is_some() {
            self.close_as(end.outcome(), Some(end.reason()));
        }
    }

    /// Its runner is through with it.
    #[inline]
    pub(crate) fn close_for(&mut self, reason: Reason) {
        if self.0.is_some() {
            self.close_as(reason.outcome(), Some(reason));
        }
    }

    #[cold]
    fn close_as(&mut self, outcome: &'static str, reason: Option<Reason>) {
        let Some(inner) = &self.0 else { return };
        quietly(|| {
            let span = &inner.span;
            if let Some(Line { since, .. }) = inner.line {
                span.record("waited_ms", millis(Clock.now().since(since)));
            }
            span.record("outcome", outcome);
            if outcome == "cancelled"
                && let Some(reason) = reason
            {
                span.record("reason", display(reason));
            }
            // What OpenTelemetry calls an error; a task that was called off is none.
            if matches!(outcome, "panicked" | "stalled" | "timed_out") {
                span.record("otel.status_code", "ERROR");
            }
        });
        *self = Self::NONE;
    }
}

impl Drop for Spanned {
    #[inline]
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            let Inner { span, line } = *inner;
            quietly(|| drop(span));
            drop(line);
        }
    }
}

/// Signed, since OpenTelemetry knows no other integers.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

//! Named stretches of a task.

use std::time::Duration;

use super::cell::TaskCell;
use super::journal;
use super::parts::OpenPhase;
use crate::engine::What;
use crate::error::InvalidDuration;
use crate::sync::Arc;
use crate::timeout::check_limit;

/// A named stretch of a task, until it is dropped; made by
/// [`TaskContext::phase`](crate::TaskContext::phase).
///
/// Phases nest: of those that are open, the innermost with a ceiling counts.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
/// # let main = lanes.lane("main")?;
/// use std::time::Duration;
/// use laneway::{InvalidDuration, TaskError};
///
/// let minute = Duration::from_secs(60);
/// let silent = async |cx: laneway::TaskContext| {
///     let phase = cx.phase("bash: cargo test").silence(20 * minute)?;
///     tokio::time::sleep(15 * minute).await;          // silent, and allowed to be
///     drop(phase);
///     tokio::time::sleep(15 * minute).await;          // silent, and not
///     Ok::<_, InvalidDuration>(())
/// };
/// let stalled = main.task().stall_ceiling(minute).run(silent).await;
/// let Err(TaskError::Stalled { elapsed, .. }) = stalled else { panic!("{stalled:?}") };
/// assert_eq!(elapsed, 16 * minute);
/// # Ok(()) }
/// ```
#[must_use = "the phase ends when its guard is dropped"]
#[derive(Debug)]
pub struct Phase {
    task: Arc<TaskCell>,
    id: u64,
}

impl Phase {
    pub(crate) fn enter(task: &Arc<TaskCell>, text: Arc<str>) -> Self {
        journal::note(task, || What::PhaseBegun(Arc::clone(&text)));
        let id = {
            let mut parts = task.shared.lock();
            let parts = parts.rare();
            let id = parts.next_id();
            let outer_note = parts.note.replace(Arc::clone(&text));
            parts.phases.push(OpenPhase {
                id,
                text,
                silence: None,
                outer_note,
            });
            id
        };
        task.report_progress();
        Self {
            task: Arc::clone(task),
            id,
        }
    }

    /// How long the task may make no progress while it is in this phase, in
    /// place of its stall ceiling and idle timeout. Its budget goes on. Saying so is
    /// progress: it counts from here, however long the phase has lasted.
    ///
    /// # Errors
    ///
    /// [`InvalidDuration`] for zero, and for longer than the clock can hold;
    /// the phase is over then.
    pub fn silence(self, ceiling: Duration) -> Result<Self, InvalidDuration> {
        check_limit("the silence of a phase", Some(ceiling))?;
        // Before the ceiling is there to see: it may be shorter than the silence so far.
        self.task.report_progress();
        let opened = {
            let mut parts = self.task.shared.lock();
            let parts = parts.rare();
            let open = parts.phases.iter_mut().find(|phase| phase.id == self.id);
            open.map(|phase| phase.silence = Some(ceiling))
        };
        if opened.is_some() {
            // It may be tighter than what the timer was set for.
            let (key, at) = (self.task.slot_key(), self.task.now() + ceiling);
            self.task.domain().act(|engine, _| engine.look_by(key, at));
        }
        Ok(self)
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        let left = {
            let mut parts = self.task.shared.lock();
            let parts = parts.rare();
            let at = parts.phases.iter().position(|phase| phase.id == self.id);
            at.map(|at| {
                let phase = parts.phases.remove(at);
                // Its name stands behind that of the next one in, if that outlives it.
                let is_its = |note: &Option<Arc<str>>| {
                    let text = &phase.text;
                    note.as_ref().is_some_and(|note| Arc::ptr_eq(note, text))
                };
                let inner = parts.phases.get_mut(at).map(|inner| &mut inner.outer_note);
                let mut notes = inner.into_iter().chain([&mut parts.note]);
                if let Some(note) = notes.find(|note| is_its(note)) {
                    note.clone_from(&phase.outer_note);
                }
                phase
            })
        };
        if let Some(phase) = left {
            journal::note(&self.task, || What::PhaseOver(phase.text));
        }
        self.task.report_progress();
        // What applies from now on may be tighter than the phase was.
        let ceiling = self.task.spec().silence(true).map(|(ceiling, _)| ceiling);
        if let Some(limit) = self.task.limits().phase.or(ceiling) {
            let (key, at) = (self.task.slot_key(), self.task.now() + limit);
            self.task.domain().act(|engine, _| engine.look_by(key, at));
        }
    }
}

//! A session at the desk: how a message comes to be a turn, or part of one.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Chain, ChainError, OnBusy, Priority, Reason, TaskBuilder, TaskError};

use crate::desk::Desk;
use crate::journal::{Unfinished, Waiting};
use crate::session::Session;
use crate::turn::{self, Begin, Message};

/// The lane that all turns share.
pub(crate) const MAIN: &str = "main";

#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) desk: Arc<Desk>,
    pub(crate) session: Arc<Session>,
}

/// What a queued turn is for: a drain hands it back.
#[derive(Debug)]
pub(crate) enum Waits {
    Message(Waiting),
    Turn(Unfinished),
}

/// Why there is no turn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTurn {
    #[error(transparent)]
    Lanes(#[from] ChainError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl Talk {
    /// A message for the turn under way, if that takes it, or the next turn.
    pub(crate) async fn offer(self, text: String, waited: Duration) -> Result<(), NoTurn> {
        let chain = self.chain()?;
        let waits = Waits::Message(Waiting::new(&self.session.name, &text));
        let task = self.describe(&chain, waits).waited(waited);
        let offered = task.offer(Message(text), async move |cx, message| {
            turn::run(&cx, &self, Begin::With(message)).await;
        });
        offered.await?;
        Ok(())
    }

    /// A turn that steers none: with `Supersede`, the one under way makes room for
    /// it.
    pub(crate) async fn begin(
        self,
        begin: Begin,
        waits: Waits,
        on_busy: OnBusy,
    ) -> Result<(), NoTurn> {
        let chain = self.chain()?;
        let task = self.describe(&chain, waits).on_busy(on_busy);
        let turn = task.spawn(async move |cx| turn::run(&cx, &self, begin).await);
        Ok(turn.await?)
    }

    /// A turn holds the slot of its session, and one of `main`.
    fn chain(&self) -> Result<Chain, ChainError> {
        self.desk.lanes.chain([self.session.lane().as_str(), MAIN])
    }

    fn describe<'a>(&self, chain: &'a Chain, waits: Waits) -> TaskBuilder<'a> {
        chain
            .task()
            .key(self.session.lane())
            .priority(Priority::Foreground)
            .meta(waits)
    }

    /// To whoever looks at the session.
    pub(crate) fn tell(&self, line: impl Display) {
        let name = &self.session.name;
        self.desk.console.say(format_args!("{name} {line}"));
    }

    /// What became of a message, where it came to no turn.
    pub(crate) fn tell_outcome(&self, outcome: Result<(), NoTurn>) {
        match outcome {
            Ok(()) => {}
            // The drain hands it back, or the turn under way was put away.
            Err(NoTurn::Task(
                TaskError::Draining { .. }
                | TaskError::Cancelled {
                    reason: Reason::Draining,
                    ..
                },
            )) => self.tell("is kept for later"),
            Err(error) => self.tell(format_args!("no turn: {error}")),
        }
    }
}

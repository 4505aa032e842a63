//! A session at the desk: how a message comes to be a turn, or part of one.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use laneway::{
    Chain, ChainError, OfferHandle, OnBusy, Priority, TaskBuilder, TaskError, TaskHandle,
};

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

impl Talk {
    /// A message for the turn under way, if that takes it, or the next turn.
    pub(crate) fn offer(
        self,
        text: String,
        waited: Duration,
    ) -> Result<OfferHandle<()>, ChainError> {
        let chain = self.chain()?;
        let waits = Waits::Message(Waiting::new(&self.session.name, &text));
        let task = self.describe(&chain, waits).waited(waited);
        Ok(task.offer(Message(text), async move |cx, message| {
            turn::run(&cx, &self, Begin::With(message)).await;
        }))
    }

    /// A turn that steers none: with `Supersede`, the one under way makes room for
    /// it.
    pub(crate) fn begin(
        self,
        begin: Begin,
        waits: Waits,
        on_busy: OnBusy,
    ) -> Result<TaskHandle<()>, ChainError> {
        let chain = self.chain()?;
        let task = self.describe(&chain, waits).on_busy(on_busy);
        Ok(task.spawn(async move |cx| turn::run(&cx, &self, begin).await))
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

    /// Waits for what became of a message, and says so where it came to no turn.
    pub(crate) async fn follow<T>(
        self,
        submitted: Result<impl Future<Output = Result<T, TaskError>>, ChainError>,
    ) {
        match submitted {
            Ok(turn) => {
                if let Err(error) = turn.await {
                    self.tell_no_turn(&error);
                }
            }
            Err(error) => self.tell(format_args!("no turn: {error}")),
        }
    }

    pub(crate) fn tell_no_turn(&self, error: &TaskError) {
        match error {
            TaskError::Draining { .. } => self.tell("is kept for later"),
            error => self.tell(format_args!("no turn: {error}")),
        }
    }
}

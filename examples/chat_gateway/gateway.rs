//! From a line to the lanes: who says what to which session, and what becomes of
//! it when the gateway stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Descendants, Drain, Lane, LaneConfig, Lanes, OnBusy, Reason, TaskError};

use crate::approvals::Approvals;
use crate::console::{Command, Console};
use crate::desk::{Desk, Waits};
use crate::journal::{Journal, Waiting};
use crate::providers::Providers;
use crate::turn::{Begin, Message};

/// How long a message is put off for what its sender may still be typing.
const TYPING: Duration = Duration::from_secs(1);

/// How long a turn waits for leave.
const LEAVE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(crate) struct Gateway {
    desk: Arc<Desk>,
    inbound: Lane,
}

impl Gateway {
    /// Begins where the journal ends.
    pub(crate) fn start(console: Console, journal: Journal) -> anyhow::Result<Self> {
        let lanes = Providers::lanes(Lanes::builder())
            .pattern("session:*", LaneConfig::new(1))
            .lane("main", LaneConfig::new(3).stall_ceiling(LEAVE))
            .lane("inbound", LaneConfig::new(64).queue_capacity(256))
            .build()?;
        let inbound = lanes.lane("inbound")?;
        let approvals = Approvals::after(journal.approvals);
        let desk = Arc::new(Desk::new(lanes, console, approvals, journal.sessions)?);
        let gateway = Self { desk, inbound };
        for turn in journal.turns {
            let session = turn.session.clone();
            let waits = Waits::Turn(turn.clone());
            gateway.begin(&session, Begin::Again(turn), waits, OnBusy::Queue);
        }
        for message in journal.messages {
            let session = gateway.desk.session(&message.session);
            let waited = Duration::from_millis(message.waited);
            let offered = Arc::clone(&gateway.desk).offer(session, message.text, waited);
            gateway.watch(&message.session, offered);
        }
        Ok(gateway)
    }

    pub(crate) fn obey(&self, command: Command) {
        match command {
            Command::Say { session, text } => self.hear(&session, text),
            Command::Interrupt { session, text } if text.is_empty() => {
                let session = self.desk.session(&session);
                self.desk.lanes.cancel_key(&session.lane(), Reason::User);
            }
            Command::Interrupt { session, text } => {
                let waits = Waits::Message(Waiting::new(&session, &text));
                let begin = Begin::With(Message(text));
                self.begin(&session, begin, waits, OnBusy::Supersede);
            }
            Command::Decide { number, granted } => {
                if !self.desk.approvals.decide(number, granted) {
                    self.desk.console.say("nobody waits for that");
                }
            }
            Command::Lanes => {
                for lane in self.desk.lanes.snapshot().lanes {
                    self.desk.show(&lane);
                }
            }
        }
    }

    /// Lets turns finish, and writes down what has not by then.
    pub(crate) async fn stop(self, within: Duration) -> Journal {
        self.desk.console.say("draining");
        // What is typed and queued still runs, and what runs may ask a provider.
        let drain = Drain::within(within).descendants(Descendants::Admit);
        let report = self.desk.lanes.drain(drain).await;
        let mut journal = Journal {
            sessions: self.desk.said(),
            messages: Vec::new(),
            turns: self.desk.take_unfinished(),
            approvals: self.desk.approvals.asked(),
        };
        for task in report.returned {
            let waits = task.meta.as_ref().and_then(|meta| meta.downcast_ref());
            match waits {
                Some(Waits::Message(message)) => journal.messages.push(Waiting {
                    waited: u64::try_from(task.waited.as_millis()).unwrap_or(u64::MAX),
                    ..message.clone()
                }),
                Some(Waits::Turn(turn)) => journal.turns.push(turn.clone()),
                // It waited for `main`, and its turn is put away.
                None => {}
            }
        }
        journal
    }

    /// Whoever types two lines in one go says one thing.
    fn hear(&self, session: &str, text: String) {
        let join = |all, more: String| format!("{all} {more}");
        let (desk, of) = (Arc::clone(&self.desk), self.desk.session(session));
        let typed = self
            .inbound
            .task()
            .key(session)
            .debounce(TYPING, text, join, {
                async move |_, text| desk.offer(of, text, Duration::ZERO).await
            });
        self.watch(session, async move {
            match typed.await.as_deref() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(anyhow::anyhow!("{error}")),
                Err(error) => Err(anyhow::anyhow!("{error}")),
            }
        });
    }

    fn begin(&self, session: &str, begin: Begin, waits: Waits, on_busy: OnBusy) {
        let (desk, of) = (Arc::clone(&self.desk), self.desk.session(session));
        self.watch(session, desk.begin(of, begin, waits, on_busy));
    }

    /// Somebody is told what became of it.
    fn watch(
        &self,
        session: &str,
        done: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let (desk, session) = (Arc::clone(&self.desk), self.desk.session(session));
        tokio::spawn(async move {
            match done.await {
                Ok(()) => {}
                Err(error) => match error.downcast_ref() {
                    Some(TaskError::Draining { .. }) => desk.tell(&session, "is kept for later"),
                    _ => desk.tell(&session, format_args!("not answered: {error}")),
                },
            }
        });
    }
}

//! From a line to the lanes: who says what to which session, and what becomes of
//! it when the gateway stops.

use std::sync::Arc;
use std::time::Duration;

use laneway::{Descendants, Drain, Lane, LaneConfig, Lanes, OnBusy, Reason, TaskError};
use tokio::task::JoinSet;

use crate::approvals::{Approvals, key};
use crate::console::{Command, Console};
use crate::desk::Desk;
use crate::journal::{Journal, Waiting};
use crate::providers::Providers;
use crate::talk::{MAIN, NoTurn, Talk, Waits};
use crate::turn::{Begin, Message};

#[derive(Debug)]
pub(crate) struct Gateway {
    desk: Arc<Desk>,
    inbound: Lane,
    typing: Duration,
    /// Whoever is yet to be told what became of what was said.
    callers: JoinSet<()>,
}

impl Gateway {
    /// Begins where the journal ends.
    pub(crate) fn start(
        console: Console,
        typing: Duration,
        journal: Journal,
    ) -> anyhow::Result<Self> {
        let lanes = Providers::lanes(Lanes::builder())
            .pattern("session:*", LaneConfig::new(1))
            .lane(MAIN, LaneConfig::new(3))
            .lane("inbound", LaneConfig::new(64).queue_capacity(256))
            .build()?;
        let inbound = lanes.lane("inbound")?;
        let approvals = Approvals::after(journal.approvals);
        let desk = Arc::new(Desk::new(lanes, console, approvals, journal.sessions)?);
        let callers = JoinSet::new();
        let mut gateway = Self {
            desk,
            inbound,
            typing,
            callers,
        };
        for turn in journal.turns {
            let session = turn.session.clone();
            let waits = Waits::Turn(turn.clone());
            gateway.begin(&session, Begin::Again(turn), waits, OnBusy::Queue);
        }
        for message in journal.messages {
            gateway.deliver(message);
        }
        Ok(gateway)
    }

    pub(crate) fn obey(&mut self, command: Command) {
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
                let resumed = self.desk.lanes.resume_waitpoint(&key(number), granted);
                if let Err(error) = resumed {
                    self.desk.console.say(error);
                }
            }
            Command::Lanes => {
                let snapshot = self.desk.lanes.snapshot();
                for lane in &snapshot.lanes {
                    self.desk.show(lane);
                }
                for open in &snapshot.waitpoints {
                    let line = format_args!("  {}: open for {:.0?}", open.key, open.age);
                    self.desk.console.say(line);
                }
            }
        }
    }

    /// Lets turns finish, and writes down what has not by then.
    pub(crate) async fn stop(mut self, within: Duration) -> Journal {
        self.desk.console.say("draining");
        // What is typed and queued still runs, and what runs may ask a provider.
        let drain = Drain::within(within).descendants(Descendants::Admit);
        let report = self.desk.lanes.drain(drain).await;
        while self.callers.join_next().await.is_some() {}
        let (turns, messages) = self.desk.left_over();
        let mut journal = Journal {
            sessions: self.desk.said(),
            messages,
            turns,
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
                None => {}
            }
        }
        journal
    }

    /// Whoever types two lines in one go says one thing.
    fn hear(&mut self, session: &str, text: String) {
        let (talk, of) = (self.talk(session), self.talk(session));
        let waiting = Waiting::new(session, &text);
        let join = |all, more: String| format!("{all} {more}");
        let typed = self.inbound.task().key(session).debounce(
            self.typing,
            text,
            join,
            async move |_, text| {
                let outcome = talk.clone().offer(text, Duration::ZERO).await;
                talk.tell_outcome(outcome);
            },
        );
        self.callers.spawn(async move {
            let told = typed.await;
            if let Err(TaskError::Draining { .. }) = told {
                of.desk.keep(waiting);
            }
            of.tell_outcome(told.map(drop).map_err(NoTurn::from));
        });
    }

    /// A message that waited before the gateway was started.
    fn deliver(&mut self, message: Waiting) {
        let talk = self.talk(&message.session);
        let waited = Duration::from_millis(message.waited);
        self.callers.spawn(async move {
            let outcome = talk.clone().offer(message.text, waited).await;
            talk.tell_outcome(outcome);
        });
    }

    fn begin(&mut self, session: &str, begin: Begin, waits: Waits, on_busy: OnBusy) {
        let talk = self.talk(session);
        self.callers.spawn(async move {
            let outcome = talk.clone().begin(begin, waits, on_busy).await;
            talk.tell_outcome(outcome);
        });
    }

    fn talk(&self, session: &str) -> Talk {
        Talk {
            session: self.desk.session(session),
            desk: Arc::clone(&self.desk),
        }
    }
}

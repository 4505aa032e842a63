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
use crate::sync::{Mutex, lock};
use crate::talk::{MAIN, Talk, Waits};
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
            .pattern("session:*", LaneConfig::new(1).queue_capacity(16))
            .lane(MAIN, LaneConfig::new(3))
            .lane("inbound", LaneConfig::new(1))
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
        let (talk, caller) = (self.talk(session), self.talk(session));
        let waiting = Waiting::new(session, &text);
        let join = |all, more: String| format!("{all} {more}");
        let typed = self.inbound.task().key(session).debounce(
            self.typing,
            text,
            join,
            async move |_, text| Mutex::new(Some(talk.offer(text, Duration::ZERO))),
        );
        self.callers.spawn(async move {
            match typed.await {
                // One of those that were joined follows it.
                Ok(offered) => {
                    let offered = lock(&offered).take();
                    if let Some(offered) = offered {
                        caller.follow(offered).await;
                    }
                }
                Err(error) => {
                    if let TaskError::Draining { .. } = error {
                        caller.desk.keep(waiting);
                    }
                    caller.tell_no_turn(&error);
                }
            }
        });
    }

    /// A message that waited before the gateway was started.
    fn deliver(&mut self, message: Waiting) {
        let talk = self.talk(&message.session);
        let waited = Duration::from_millis(message.waited);
        let offered = talk.clone().offer(message.text, waited);
        self.callers.spawn(talk.follow(offered));
    }

    fn begin(&mut self, session: &str, begin: Begin, waits: Waits, on_busy: OnBusy) {
        let talk = self.talk(session);
        let turn = talk.clone().begin(begin, waits, on_busy);
        self.callers.spawn(talk.follow(turn));
    }

    fn talk(&self, session: &str) -> Talk {
        Talk {
            session: self.desk.session(session),
            desk: Arc::clone(&self.desk),
        }
    }
}

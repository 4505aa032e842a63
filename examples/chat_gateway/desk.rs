//! What all turns have in common, and how one comes to run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Chain, ChainError, LaneNameError, LaneSnapshot, Lanes, OnBusy, Priority, TaskError};

use crate::approvals::Approvals;
use crate::console::Console;
use crate::journal::{Unfinished, Waiting};
use crate::providers::Providers;
use crate::session::{Said, Session};
use crate::sync::{Mutex, lock};
use crate::turn::{self, Begin, Message, shorten};

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) lanes: Lanes,
    pub(crate) providers: Providers,
    pub(crate) approvals: Approvals,
    pub(crate) console: Console,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    put_away: Mutex<Vec<Unfinished>>,
    kept: Mutex<Vec<Waiting>>,
}

/// The lane that all turns share.
pub(crate) const MAIN: &str = "main";

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

impl Desk {
    pub(crate) fn new(
        lanes: Lanes,
        console: Console,
        approvals: Approvals,
        said: BTreeMap<String, Vec<Said>>,
    ) -> Result<Self, LaneNameError> {
        let session = |(name, said)| Arc::new(Session::new(name, said));
        let sessions = said.into_iter().map(session);
        let by_name = |session: Arc<Session>| (session.name.clone(), session);
        Ok(Self {
            providers: Providers::new(&lanes, console.clone())?,
            approvals,
            console,
            lanes,
            sessions: Mutex::new(sessions.map(by_name).collect()),
            put_away: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    pub(crate) fn session(&self, name: &str) -> Arc<Session> {
        let mut sessions = lock(&self.sessions);
        let session = || Arc::new(Session::new(name.to_owned(), Vec::new()));
        Arc::clone(sessions.entry(name.to_owned()).or_insert_with(session))
    }

    /// A message for the turn under way, if that takes it, or the next turn.
    pub(crate) async fn offer(
        self: Arc<Self>,
        session: Arc<Session>,
        text: String,
        waited: Duration,
    ) -> Result<(), NoTurn> {
        let chain = self.chain(&session)?;
        let waits = Waits::Message(Waiting::new(&session.name, &text));
        let offered = chain
            .task()
            .name(shorten(&text))
            .key(session.lane())
            .priority(Priority::Foreground)
            .meta(waits)
            .waited(waited)
            .offer(Message(text), async move |cx, message| {
                turn::run(&cx, &self, &session, Begin::With(message)).await;
            });
        offered.await?;
        Ok(())
    }

    /// A turn that steers none: with `Supersede`, the one under way makes room for
    /// it.
    pub(crate) async fn begin(
        self: Arc<Self>,
        session: Arc<Session>,
        begin: Begin,
        waits: Waits,
        on_busy: OnBusy,
    ) -> Result<(), NoTurn> {
        let chain = self.chain(&session)?;
        let turn = chain
            .task()
            .key(session.lane())
            .priority(Priority::Foreground)
            .meta(waits)
            .on_busy(on_busy)
            .spawn(async move |cx| turn::run(&cx, &self, &session, begin).await);
        turn.await?;
        Ok(())
    }

    /// A turn holds the slot of its session, and one of `main`.
    fn chain(&self, session: &Session) -> Result<Chain, ChainError> {
        self.lanes.chain([session.lane().as_str(), MAIN])
    }

    /// What became of a submission, where it came to no turn.
    pub(crate) fn tell_outcome(&self, session: &Session, outcome: Result<(), NoTurn>) {
        match outcome {
            Ok(()) => {}
            Err(NoTurn::Task(TaskError::Draining { .. })) => {
                self.tell(session, "is kept for later")
            }
            Err(error) => self.tell(session, format_args!("no turn: {error}")),
        }
    }

    /// For the journal.
    pub(crate) fn put_away(&self, turn: Unfinished) {
        lock(&self.put_away).push(turn);
    }

    pub(crate) fn keep(&self, message: Waiting) {
        lock(&self.kept).push(message);
    }

    pub(crate) fn take_kept(&self) -> Vec<Waiting> {
        std::mem::take(&mut *lock(&self.kept))
    }

    pub(crate) fn take_unfinished(&self) -> Vec<Unfinished> {
        std::mem::take(&mut *lock(&self.put_away))
    }

    pub(crate) fn said(&self) -> BTreeMap<String, Vec<Said>> {
        let sessions = lock(&self.sessions);
        let said = sessions
            .values()
            .map(|session| (session.name.clone(), session.said()));
        said.collect()
    }

    /// To whoever looks at a session.
    pub(crate) fn tell(&self, session: &Session, line: impl Display) {
        self.console.say(format_args!("{} {line}", session.name));
    }

    /// Who runs in a lane, who waits, and why.
    pub(crate) fn show(&self, lane: &LaneSnapshot) {
        let (name, active, queued) = (&lane.name, lane.active.len(), lane.queued.len());
        if active + queued == 0 {
            return;
        }
        let mut line = format!("  {name}: {active} of {} slots", lane.max_concurrent);
        for note in lane.active.iter().filter_map(|task| task.note.as_ref()) {
            line += &format!(", {note}");
        }
        if let Some(by) = lane.blocked_by {
            line += &format!("; {queued} wait: {by}");
        }
        self.console.say(line);
    }
}

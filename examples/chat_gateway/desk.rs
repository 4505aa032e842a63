//! What all turns have in common, and how one comes to run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Lane, LaneNameError, LaneSnapshot, Lanes, OnBusy, Priority, TaskContext};

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
    main: Lane,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    put_away: Mutex<Vec<Unfinished>>,
}

/// What a queued turn is for: a drain hands it back.
#[derive(Debug)]
pub(crate) enum Waits {
    Message(Waiting),
    Turn(Unfinished),
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
            main: lanes.lane("main")?,
            lanes,
            sessions: Mutex::new(sessions.map(by_name).collect()),
            put_away: Mutex::default(),
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
    ) -> anyhow::Result<()> {
        let lane = self.lanes.lane(&session.lane())?;
        let meta = Waits::Message(Waiting::new(&session.name, &text));
        let (desk, of) = (Arc::clone(&self), Arc::clone(&session));
        let offered = lane
            .task()
            .name(shorten(&text))
            .key(session.lane())
            .priority(Priority::Foreground)
            .meta(meta)
            .waited(waited)
            .offer(Message(text), async move |cx, message| {
                desk.take_turn(cx, of, Begin::With(message)).await
            });
        offered.await?;
        Ok(())
    }

    /// A turn that nobody steers into another: with `Supersede`, the one under way
    /// makes room for it.
    pub(crate) async fn begin(
        self: Arc<Self>,
        session: Arc<Session>,
        begin: Begin,
        meta: Waits,
        on_busy: OnBusy,
    ) -> anyhow::Result<()> {
        let lane = self.lanes.lane(&session.lane())?;
        let (desk, of) = (Arc::clone(&self), Arc::clone(&session));
        lane.task()
            .key(session.lane())
            .priority(Priority::Foreground)
            .meta(meta)
            .on_busy(on_busy)
            .spawn(async move |cx| desk.take_turn(cx, of, begin).await)
            .await?;
        Ok(())
    }

    /// With the session's slot held: waits for one of `main`, and holds both.
    async fn take_turn(self: Arc<Self>, cx: TaskContext, session: Arc<Session>, begin: Begin) {
        let turn = self.main.task().priority(Priority::Foreground);
        let ran = turn
            .run(async |_| turn::run(&cx, &self, &session, begin).await)
            .await;
        if let Err(error) = ran {
            self.tell(&session, format_args!("no turn: {error}"));
        }
    }

    /// For the journal.
    pub(crate) fn put_away(&self, turn: Unfinished) {
        lock(&self.put_away).push(turn);
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

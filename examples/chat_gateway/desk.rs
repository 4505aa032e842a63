//! What all sessions have in common.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use laneway::{LaneNameError, LaneSnapshot, Lanes};

use crate::approvals::Approvals;
use crate::console::Console;
use crate::journal::{Unfinished, Waiting};
use crate::providers::Providers;
use crate::session::{Said, Session};
use crate::sync::{Mutex, lock};

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) lanes: Lanes,
    pub(crate) providers: Providers,
    pub(crate) approvals: Approvals,
    pub(crate) console: Console,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    /// For the journal.
    unfinished: Mutex<Vec<Unfinished>>,
    waiting: Mutex<Vec<Waiting>>,
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
            unfinished: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    pub(crate) fn session(&self, name: &str) -> Arc<Session> {
        let mut sessions = lock(&self.sessions);
        let session = || Arc::new(Session::new(name.to_owned(), Vec::new()));
        Arc::clone(sessions.entry(name.to_owned()).or_insert_with(session))
    }

    pub(crate) fn said(&self) -> BTreeMap<String, Vec<Said>> {
        let sessions = lock(&self.sessions);
        let said = |session: &Arc<Session>| (session.name.clone(), session.said());
        sessions.values().map(said).collect()
    }

    /// A turn that goes on with the next start.
    pub(crate) fn put_away(&self, turn: Unfinished) {
        lock(&self.unfinished).push(turn);
    }

    /// A message that is delivered with the next start.
    pub(crate) fn keep(&self, message: Waiting) {
        lock(&self.waiting).push(message);
    }

    pub(crate) fn left_over(&self) -> (Vec<Unfinished>, Vec<Waiting>) {
        let unfinished = mem::take(&mut *lock(&self.unfinished));
        (unfinished, mem::take(&mut *lock(&self.waiting)))
    }

    /// Who runs in a lane, who waits, and why.
    pub(crate) fn show(&self, lane: &LaneSnapshot) {
        let (active, queued) = (lane.active.len(), lane.queued.len());
        if active + queued + lane.parked.len() == 0 {
            return;
        }
        let mut line = format!("  {}: {active} of {} slots", lane.name, lane.max_concurrent);
        for task in &lane.active {
            match (&task.parked, &task.note) {
                (Some(parked), _) => line += &format!(", kept for {}", parked.what),
                (None, Some(note)) => line += &format!(", {note}"),
                (None, None) => {}
            }
        }
        if let Some(by) = lane.blocked_by {
            line += &format!("; {queued} wait: {by}");
        }
        if !lane.parked.is_empty() {
            line += &format!("; {} parked", lane.parked.len());
        }
        self.console.say(line);
    }
}

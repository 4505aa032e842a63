//! One turn of a session: what its user said goes to a model, and comes back as an
//! answer, unless somebody interrupts.

use std::time::Duration;

use laneway::{Reason, TaskContext, TaskError, WaitpointError};

use crate::approvals::{Approval, key};
use crate::journal::Unfinished;
use crate::providers::Reply;
use crate::session::By;
use crate::talk::{MAIN, Talk};

/// How long a turn waits for leave.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A message of a user, as it is offered to the turn under way.
#[derive(Debug)]
pub(crate) struct Message(pub(crate) String);

#[derive(Debug)]
pub(crate) enum Begin {
    With(Message),
    /// One that was cut short.
    Again(Unfinished),
}

/// How a request for leave ended.
enum Leave {
    Given,
    Refused,
    Stopped(Reason),
}

/// Runs while its session's slot is held, and one of `main`.
pub(crate) async fn run(cx: &TaskContext, talk: &Talk, begin: Begin) {
    let Talk { desk, session } = talk;
    let mut steering = cx.inbox::<Message>();
    let mut approval = match begin {
        Begin::With(Message(text)) => {
            session.add(By::User, text);
            None
        }
        Begin::Again(unfinished) => unfinished.approval,
    };
    loop {
        if let Some(approval) = approval.take() {
            let request = &approval.request;
            match ask_leave(cx, talk, &approval).await {
                Ok(Leave::Given) => session.add(By::Tool, format!("done: {request}")),
                Ok(Leave::Refused) => session.add(By::Tool, format!("not done: {request}")),
                Ok(Leave::Stopped(reason)) => return cut_short(talk, reason, Some(approval)),
                Err(error) => return talk.tell(format_args!("cannot ask: {error}")),
            }
        }
        let (said, mut heard) = (session.said(), String::new());
        let reply = tokio::select! {
            biased;
            reason = cx.cancelled() => {
                if reason != Reason::Draining && !heard.is_empty() {
                    talk.tell(format_args!("< {} (cut short)", shorten(&heard)));
                    session.add(By::Model, heard);
                }
                return cut_short(talk, reason, None);
            }
            Some(Message(more)) = steering.recv() => {
                let words = heard.split_whitespace().count();
                talk.tell(format_args!("steers after {words} words: {more}"));
                session.add(By::User, more);
                continue;
            }
            reply = desk.providers.ask(&said, &mut heard) => reply,
        };
        match reply {
            // Who lost its slot has no say in the session any more.
            Ok(Reply::Text(text)) if cx.is_current() => {
                talk.tell(format_args!("< {}", shorten(&text)));
                return session.add(By::Model, text);
            }
            Ok(Reply::Tool(request)) => approval = Some(desk.approvals.ask(request)),
            Ok(Reply::Text(_)) => return,
            // The drain came to the provider's lane before it came here.
            Err(TaskError::Draining { .. }) => {
                return cut_short(talk, Reason::Draining, None);
            }
            Err(TaskError::Cancelled { reason, .. }) => {
                return cut_short(talk, reason, None);
            }
            Err(error) => return talk.tell(format_args!("no answer: {error}")),
        }
    }
}

/// Keeps the slot of the session, so that no later turn overtakes this one, and
/// gives that of `main` back meanwhile.
async fn ask_leave(
    cx: &TaskContext,
    talk: &Talk,
    approval: &Approval,
) -> Result<Leave, WaitpointError> {
    let Approval { number, request } = approval;
    let leave = talk.desk.lanes.waitpoint::<bool>(key(*number))?;
    talk.tell(format_args!("may I {request}? (approve {number})"));
    let leave = cx
        .waiting(key(*number))
        .limit(PATIENCE)
        .release([MAIN])
        .on(leave);
    Ok(tokio::select! {
        reason = cx.cancelled() => Leave::Stopped(reason),
        granted = leave => match granted {
            Ok(Ok(true)) => Leave::Given,
            // Or nobody decided in time.
            _ => Leave::Refused,
        }
    })
}

/// What a drain cuts short goes on with the next start.
fn cut_short(talk: &Talk, reason: Reason, approval: Option<Approval>) {
    talk.tell(format_args!("ends: {reason}"));
    if reason == Reason::Draining {
        talk.desk.put_away(Unfinished {
            session: talk.session.name.clone(),
            approval,
        });
    }
}

/// As much as fits a line.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 50;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST).collect();
    short.push('…');
    short
}

//! The model at the other end: a few rules and a clock, with the habits of real
//! ones. It streams words, wants to use a tool, refuses whoever asks too often,
//! and sometimes sends nothing but keep-alives. Put your client in its place.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, sleep};

use crate::session::{By, Said};
use crate::sync::{Mutex, lock, now};

#[derive(Debug)]
pub(crate) struct Upstream {
    most_per_minute: usize,
    /// What it does when it is asked about the weather.
    hangs: bool,
    asked: Mutex<VecDeque<Instant>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Word(String),
    /// It wants this to be done before it goes on.
    Tool(String),
    KeepAlive,
}

/// It was asked too often.
#[derive(Debug, thiserror::Error)]
#[error("too many requests")]
pub(crate) struct TooMany {
    pub(crate) retry_after: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Upstream {
    pub(crate) const fn new(most_per_minute: usize, hangs: bool) -> Self {
        Self {
            most_per_minute,
            hangs,
            asked: Mutex::new(VecDeque::new()),
        }
    }

    /// Asks for what comes next in a conversation.
    pub(crate) fn ask(&self, said: &[Said]) -> Result<BoxStream<'static, Event>, TooMany> {
        self.count()?;
        let open = said.rsplit(|said| said.by == By::Model).next();
        let open = open.unwrap_or_default();
        let of = |by: By| open.iter().filter(move |said| said.by == by);
        let asked: Vec<&str> = of(By::User).map(|said| said.text.as_str()).collect();
        let asked = asked.join("; ");
        Ok(if let Some(result) = of(By::Tool).next_back() {
            words(&result.text)
        } else if asked.contains("book") {
            tool("book the 8:15 to Rome")
        } else if asked.contains("weather") && self.hangs {
            keep_alives()
        } else if asked.contains("story") && !asked.contains("short") {
            words(&"and then the wolf ran on, ".repeat(20))
        } else {
            words(&format!("you said: {asked}"))
        })
    }

    fn count(&self) -> Result<(), TooMany> {
        let (now, mut asked) = (now(), lock(&self.asked));
        asked.retain(|at| now.duration_since(*at) < MINUTE);
        if asked.len() >= self.most_per_minute {
            let oldest = asked.front().copied().unwrap_or(now);
            let retry_after = MINUTE.saturating_sub(now.duration_since(oldest));
            return Err(TooMany { retry_after });
        }
        asked.push_back(now);
        Ok(())
    }
}

/// Five words a second.
fn words(text: &str) -> BoxStream<'static, Event> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let paced = stream::iter(words).then(async |word| {
        sleep(Duration::from_millis(200)).await;
        Event::Word(word)
    });
    paced.boxed()
}

fn tool(request: &'static str) -> BoxStream<'static, Event> {
    let thought = async {
        sleep(Duration::from_secs(1)).await;
        Event::Tool(request.to_owned())
    };
    stream::once(thought).boxed()
}

fn keep_alives() -> BoxStream<'static, Event> {
    let alive = stream::repeat(()).then(async |()| {
        sleep(Duration::from_secs(5)).await;
        Event::KeepAlive
    });
    alive.boxed()
}

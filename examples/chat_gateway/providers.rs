//! The model providers: each has a lane, which is as wide as the provider lets us
//! ask at once, and pauses while it does not want to be asked.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use laneway::{FlattenTask, Lane, LaneConfig, LaneNameError, Lanes, LanesBuilder, TaskError};

use crate::console::Console;
use crate::session::Said;
use crate::upstream::{Event, TooMany, Upstream};

/// How long a provider may send nothing of use.
const SILENCE: Duration = Duration::from_secs(20);

/// By the name of its lane. Who comes first is asked first.
#[derive(Debug)]
pub(crate) struct Providers {
    all: Vec<Provider>,
    console: Console,
}

#[derive(Debug)]
struct Provider {
    lane: Lane,
    upstream: Upstream,
}

/// What a model has to say.
#[derive(Debug)]
pub(crate) enum Reply {
    Text(String),
    /// It wants this to be done, and to be told what came of it.
    Tool(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Lane(#[from] TaskError),
}

impl Providers {
    /// The lanes that it needs.
    pub(crate) fn lanes(builder: LanesBuilder) -> LanesBuilder {
        builder
            .lane("provider:north", LaneConfig::new(2).stall_ceiling(SILENCE))
            .lane("provider:south", LaneConfig::new(1).stall_ceiling(SILENCE))
    }

    pub(crate) fn new(lanes: &Lanes, console: Console) -> Result<Self, LaneNameError> {
        let all = vec![
            Provider {
                lane: lanes.lane("provider:north")?,
                upstream: Upstream::new(5, true),
            },
            Provider {
                lane: lanes.lane("provider:south")?,
                upstream: Upstream::new(10, false),
            },
        ];
        Ok(Self { all, console })
    }

    /// Asks the first provider that answers. What it has said so far is in
    /// `heard`, also for whoever does not wait for the rest.
    pub(crate) async fn ask(&self, said: &[Said], heard: &mut String) -> Result<Reply, TaskError> {
        let mut given_up = None;
        for provider in &self.all {
            let name = provider.lane.name();
            loop {
                heard.clear();
                match provider.ask(said, heard).await {
                    Ok(reply) => return Ok(reply),
                    Err(CallError::TooMany(TooMany { retry_after })) => {
                        // For everybody: whoever asks meanwhile waits in line.
                        let paused = provider.lane.pause_for(retry_after);
                        debug_assert!(paused.is_ok());
                        self.console
                            .say(format_args!("{name} cools down for {retry_after:.1?}"));
                    }
                    Err(CallError::Lane(error @ TaskError::Stalled { .. })) => {
                        self.console.say(format_args!("{name} fell silent"));
                        given_up = Some(error);
                        break;
                    }
                    Err(CallError::Lane(error)) => return Err(error),
                }
            }
        }
        Err(given_up.expect("there is a provider"))
    }
}

impl Provider {
    async fn ask(&self, said: &[Said], heard: &mut String) -> Result<Reply, CallError> {
        let call = self.lane.task().name("model call").run(async |cx| {
            let events = self.upstream.ask(said)?;
            // A keep-alive says that the connection lives, not that an answer is
            // on its way.
            let is_progress = |event: &Event| *event != Event::KeepAlive;
            let mut words = 0_usize;
            let mut events = pin!(cx.track(events).when(is_progress));
            while let Some(event) = events.next().await {
                match event {
                    Event::Word(word) => {
                        if !heard.is_empty() {
                            heard.push(' ');
                        }
                        heard.push_str(&word);
                        words += 1;
                        cx.progress_note(format!("{words} words"));
                    }
                    Event::Tool(request) => return Ok(Reply::Tool(request)),
                    Event::KeepAlive => {}
                }
            }
            Ok::<_, CallError>(Reply::Text(heard.clone()))
        });
        call.await.flatten_task()
    }
}

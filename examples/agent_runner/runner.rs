//! The life of the jobs: submitted, run, recorded; drained or shut down.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use laneway::{ChainError, Drain, DrainReport, FlattenTask, Lanes, QueuedWork};

use crate::child;
use crate::interrupts::Interrupts;
use crate::jobs::Job;
use crate::outcome::{JobError, Outcome};
use crate::report::Report;
use crate::timing::Timing;
use crate::ui::Ui;

/// The lane that all jobs share, whatever their session.
pub(crate) const MAIN: &str = "main";

/// How long a drain lets jobs finish before it interrupts them.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Runner {
    lanes: Lanes,
    ui: Ui,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    report: Report,
}

struct Finished {
    job: Arc<Job>,
    timing: Arc<Timing>,
    outcome: Outcome,
}

impl Runner {
    pub(crate) fn new(lanes: Lanes, ui: Ui) -> Self {
        Self {
            lanes,
            ui,
            running: FuturesUnordered::new(),
            report: Report::default(),
        }
    }

    /// Queues a job in the lane of its session, and after that in `main`. It is
    /// an error, and nothing is queued, if no lane can have that name.
    pub(crate) fn submit(&self, job: Job) -> Result<(), ChainError> {
        let chain = self.lanes.chain([&*job.lane(), MAIN])?;
        let job = Arc::new(job);
        let timing = Arc::new(Timing::submitted());
        let handle = chain
            .task()
            .name(job.name.as_str())
            .meta(Arc::clone(&job))
            .priority(job.priority.into())
            .spawn({
                let (ui, job, timing) = (self.ui.clone(), Arc::clone(&job), Arc::clone(&timing));
                async move |cx| {
                    timing.started();
                    let activity = ui.started(&job);
                    let exit = child::run(&cx, &job.cmd, |line| activity.printed(line)).await?;
                    Ok::<_, JobError>(exit)
                }
            });
        self.ui.queued();
        self.running.push(Box::pin(async move {
            let outcome = Outcome::from(handle.await.flatten_task());
            Finished {
                job,
                timing,
                outcome,
            }
        }));
        Ok(())
    }

    /// Runs until every job is over; an interrupt makes that soon.
    pub(crate) async fn run(mut self, mut interrupts: Interrupts) -> Report {
        let interrupted = tokio::select! {
            () = self.settle_all() => false,
            () = interrupts.next() => true,
        };
        if interrupted {
            self.wind_down(interrupts).await;
        }
        self.ui.close();
        self.report
    }

    /// Cancel safe: a job is recorded in the same step in which it is taken out.
    async fn settle_all(&mut self) {
        while let Some(finished) = self.running.next().await {
            let Finished {
                job,
                timing,
                outcome,
            } = finished;
            let stay = timing.stay();
            self.ui.finished(&job, &outcome, stay.map(|stay| stay.run));
            self.report.record(&[&job.lane(), MAIN], &outcome, stay);
        }
    }

    /// Starts no more jobs, and lets those that run finish, unless a second
    /// interrupt says that there is no time for that.
    async fn wind_down(&mut self, mut interrupts: Interrupts) {
        let drain = Drain::within(DRAIN_WITHIN).queued(QueuedWork::Return);
        // Both verbs act when called; what is awaited is their completion.
        let mut drained = pin!(self.lanes.drain(drain));
        self.ui.say(
            "draining: what has begun may finish, the rest is handed back; Ctrl-C again ends it",
        );
        let (lanes, ui) = (self.lanes.clone(), self.ui.clone());
        let wound_down = async {
            tokio::select! {
                report = &mut drained => report,
                () = interrupts.next() => {
                    let shut_down = lanes.shutdown();
                    ui.say("shutting down: running jobs are ended now");
                    shut_down.await;
                    drained.await
                }
            }
        };
        let ((), report) = tokio::join!(self.settle_all(), wound_down);
        hand_back(&self.ui, &report);
    }
}

/// Prints the jobs that never started in the form in which they came, for the
/// next run to read.
fn hand_back(ui: &Ui, drained: &DrainReport) {
    if drained.returned.is_empty() {
        return;
    }
    ui.say(format_args!("handed back ({}):", drained.returned.len()));
    for task in &drained.returned {
        let job = task
            .meta
            .as_ref()
            .and_then(|meta| meta.downcast_ref::<Arc<Job>>());
        if let Some(line) = job.and_then(|job| serde_json::to_string(job.as_ref()).ok()) {
            ui.say(line);
        }
    }
}

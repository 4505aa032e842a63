//! The scheduler: all lanes, and what concerns more than one of them.

use std::future::Future;
use std::time::Duration;

#[cfg(doc)]
use crate::LaneConfig;
#[cfg(doc)]
use crate::Standing;
use crate::builder::LanesBuilder;
use crate::control;
use crate::engine::{Reason, State, TICK};
use crate::error::{
    ChainError, ConfigError, ControlError, LaneNameError, ResumeError, WaitActiveError,
    WaitpointError,
};
use crate::events::Hub;
use crate::runtime::{self, DomainRef, Draining, Idle, Shared, StandingDrain};
use crate::snapshot::{GroupSnapshot, LaneSnapshot, Snapshot, StuckRuntime};
use crate::sync::{Arc, Weak};
use crate::timeout::check_limit;
use crate::{
    Chain, Diagnosis, Drain, DrainReport, EventStream, EventsOff, Lane, Reconfigure, RepairReport,
    TaskExplanation, TaskId, Waitpoint, observe,
};

/// A scheduler: named lanes, each a queue with its own slots.
///
/// Cheap to clone. Dropping the last one closes every lane and settles what is
/// queued; tasks that are active run on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use laneway::{LaneConfig, Lanes};
///
/// let lanes = Lanes::builder()
///     .lane("main", LaneConfig::new(4))
///     .default_lane(LaneConfig::new(1))
///     .build()?;
/// let sum = lanes.lane("session:42")?.run(async |_| 40 + 2).await?;
/// assert_eq!(sum, 42);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Lanes {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let lanes = self.shared.stand(|standing| standing.closed = true);
        control::abandon(&lanes);
        self.shared.dissolve();
        self.shared.close_log();
    }
}

impl Lanes {
    /// Begins to describe a scheduler.
    pub fn builder() -> LanesBuilder {
        LanesBuilder::new()
    }

    /// A handle to the lane of this name: the one that is configured by it, or
    /// else one that the most specific pattern that matches it makes on first
    /// use. Such a lane is gone when no handle and no task refers to it, unless
    /// it is [`pinned`](LaneConfig::pinned); one that was limited, paused,
    /// drained or closed by hand, or has orphans, stays too, since that would
    /// be forgotten with it.
    ///
    /// # Errors
    ///
    /// [`LaneNameError`] for a name that cannot work or is unknown.
    pub fn lane(&self, name: &str) -> Result<Lane, LaneNameError> {
        Ok(Lane::new(self.shared().lane(name)?))
    }

    /// Several lanes whose slots a task needs together; see [`Chain`]. O(n²) in
    /// the names.
    ///
    /// # Errors
    ///
    /// [`ChainError`]: no name, a name twice, or one that is no lane's.
    pub fn chain<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Chain, ChainError> {
        Chain::of(self, names)
    }

    /// A place to wait for a value from outside, under a key by which anybody can
    /// give it: see [`Waitpoint`]. O(1).
    ///
    /// # Errors
    ///
    /// [`WaitpointError`]: the key cannot work (256 bytes at most, no control
    /// characters), or there is one of that key.
    pub fn waitpoint<T: Send + 'static>(
        &self,
        key: impl Into<Arc<str>>,
    ) -> Result<Waitpoint<T>, WaitpointError> {
        Waitpoint::make(self.shared(), key.into())
    }

    /// Gives the waitpoint of this key its value. O(1).
    ///
    /// # Errors
    ///
    /// [`ResumeError`]: there is none, or it waits for another type, or somebody
    /// was first. The value is dropped then.
    pub fn resume_waitpoint<T: Send + 'static>(
        &self,
        key: &str,
        value: T,
    ) -> Result<(), ResumeError> {
        self.shared().waitpoints.resume(key, value)
    }

    /// Ends the waitpoint of this key without a value. O(1).
    ///
    /// # Errors
    ///
    /// [`ResumeError`]: there is none, or somebody was first.
    pub fn cancel_waitpoint(&self, key: &str) -> Result<(), ResumeError> {
        self.shared().waitpoints.cancel(key)
    }

    /// Changes how lanes are set, while they run, as one transaction.
    ///
    /// The closure only records, and no lock of ours is held meanwhile. What it
    /// recorded is checked whole against the configuration as it is then, and
    /// applied whole, and only after that anybody is started whom it lets
    /// start. Two of these calls take effect one after the other. O(n) in the
    /// lanes that there are.
    ///
    /// - Lanes that were made on first use are set as if they were made now:
    ///   the pattern that is most specific for them may be another one.
    /// - A number of slots that was set by hand, with
    ///   [`Lane::set_max_concurrent`], stays, until it is set by hand to what
    ///   is configured, or the lane is named: a lane's own `max_concurrent`
    ///   that is changed or given here holds.
    /// - Tasks that were submitted before keep what they were granted (S4), and
    ///   nobody is evicted (S1).
    /// - A lane of which nothing is said any more runs out: see
    ///   [`Reconfigure::remove_lane`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`], and nothing was changed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use laneway::{LaneConfig, Lanes};
    ///
    /// let lanes = Lanes::builder()
    ///     .lane("main", LaneConfig::new(4))
    ///     .pattern("session:*", LaneConfig::new(1))
    ///     .build()?;
    /// let session = lanes.lane("session:42")?;
    /// lanes.reconfigure(|change| {
    ///     change.lane("main").max_concurrent(8);
    ///     change.pattern("session:*", LaneConfig::new(2));
    ///     change.add_lane("night", LaneConfig::new(1));
    /// })?;
    /// assert_eq!(session.snapshot().max_concurrent, 2);
    ///
    /// let refused = lanes.reconfigure(|change| {
    ///     change.lane("main").max_concurrent(1);
    ///     change.remove_lane("mian");
    /// });
    /// assert!(refused.is_err());
    /// assert_eq!(lanes.lane("main")?.snapshot().max_concurrent, 8);
    /// # Ok(()) }
    /// ```
    pub fn reconfigure(&self, record: impl FnOnce(&mut Reconfigure)) -> Result<(), ConfigError> {
        let mut change = Reconfigure::default();
        record(&mut change);
        let lanes = self.shared().reconfigure(|draft| change.apply(draft))?;
        runtime::log::lanes_reconfigured(lanes);
        Ok(())
    }

    /// Ends one task: at once if it is queued, else by asking it to. O(1).
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownTask`] if it is settled or never existed.
    pub fn cancel(&self, id: TaskId, reason: Reason) -> Result<(), ControlError> {
        let domain = self.domain_of(id)?;
        if domain.cancel(id.key, reason) {
            Ok(())
        } else {
            Err(ControlError::UnknownTask { id })
        }
    }

    /// Ends every task that was given this key, in whatever lane, and returns
    /// how many they were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use laneway::{Reason, TaskError};
    ///
    /// main.pause();
    /// let turn = main.task().key("ticket-42").spawn(async |_| ());
    /// assert_eq!(lanes.cancel_key("ticket-42", Reason::Superseded), 1);
    /// assert!(matches!(turn.await, Err(TaskError::CancelledQueued { .. })));
    /// # Ok(()) }
    /// ```
    pub fn cancel_key(&self, key: &str, reason: Reason) -> usize {
        let tasks = self.shared().keys.tasks(key);
        tasks
            .iter()
            .filter(|task| task.domain().cancel(task.slot_key(), reason))
            .count()
    }

    /// Why a task waits: the whole chain of lanes and holders down to the root, with
    /// what time will do about it and what you can. One that is active says what it
    /// waits for itself. O(n) in the tasks of the lanes that it comes to, and one lock at
    /// a time.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownTask`] if it is settled or never existed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    /// use laneway::Cause;
    ///
    /// let holder = main.task().name("turn 17").spawn(async |cx| {
    ///     cx.progress_note("asking the model");
    ///     std::future::pending::<()>().await
    /// });
    /// let waiter = main.task().name("turn 18").spawn(async |_| ());
    /// tokio::time::sleep(Duration::from_secs(252)).await;
    ///
    /// let why = lanes.explain(waiter.id())?;
    /// assert_eq!(why.cause, Cause::Silent { task: holder.id() });
    /// let text = why.to_string();
    /// assert!(text.lines().next().unwrap().ends_with(
    ///     "silent for 4m12s (pending, polled when woken): \"asking the model\"; \
    ///      slot reclaimed in 5m48s (stall ceiling)"
    /// ));
    /// # Ok(()) }
    /// ```
    pub fn explain(&self, id: TaskId) -> Result<TaskExplanation, ControlError> {
        let domain = self.domain_of(id)?;
        observe::task(&domain, id).ok_or(ControlError::UnknownTask { id })
    }

    /// Grants a running task more silence: it may make no progress for this
    /// long from now on, whatever its ceiling. Its budget goes on.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for a duration that cannot work, and for a task that
    /// is not running, or was asked to end already.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// use std::time::Duration;
    ///
    /// let minute = Duration::from_secs(60);
    /// let build = main
    ///     .task()
    ///     .stall_ceiling(minute)
    ///     .spawn(async move |_| tokio::time::sleep(10 * minute).await);
    /// tokio::task::yield_now().await;
    /// lanes.extend(build.id(), 20 * minute)?;
    /// build.await?;
    /// # Ok(()) }
    /// ```
    pub fn extend(&self, id: TaskId, silence: Duration) -> Result<(), ControlError> {
        check_limit("the extension", Some(silence))?;
        let domain = self.domain_of(id)?;
        let until = domain.now() + silence;
        domain.act(|engine, _| match engine.record(id.key) {
            None => Err(ControlError::UnknownTask { id }),
            Some(record) => match record.state {
                State::Granted | State::Running | State::ComingBack => {
                    record.payload.extend(until);
                    Ok(())
                }
                _ => Err(ControlError::NotRunning { id }),
            },
        })
    }

    /// Stops counting an orphan, in all lanes of a chain: the caller vouches that
    /// it does no harm. A task that runs on under
    /// [`OnStall::Detach`](crate::OnStall::Detach) is not one of those, nor is it
    /// while its hooks run: its caller waits for what it comes to.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if there is no such task, or it is not an orphan.
    pub fn forget_orphan(&self, id: TaskId) -> Result<(), ControlError> {
        let domain = self.domain_of(id)?;
        let found = domain.act(|engine, _| {
            let task = Arc::clone(&engine.record(id.key)?.payload);
            Some((task, engine.forget_orphan(id.key).is_some()))
        });
        let (task, forgotten) = found.ok_or(ControlError::UnknownTask { id })?;
        if forgotten {
            self.shared().orphans.release();
        }
        // At a bound a slot further on may have been taken, and not its own.
        if runtime::forget_links(&task, forgotten) || forgotten {
            Ok(())
        } else {
            Err(ControlError::NotAnOrphan { id })
        }
    }

    /// [`Lane::pause`] on every lane, and on those that are yet to be made.
    pub fn pause(&self) {
        let lanes = self.shared().stand(|standing| standing.paused = true);
        for domain in &lanes {
            control::pause(domain, None);
        }
    }

    /// [`Lane::resume`] on every lane, and on those that are yet to be made.
    ///
    /// They resume one after the other, as they were made: where they share a budget,
    /// what there is of it is given to whoever waits in the first of them.
    pub fn resume(&self) {
        let lanes = self.shared().stand(|standing| {
            standing.paused = false;
            standing.draining = None;
        });
        for domain in &lanes {
            control::resume(domain);
        }
    }

    /// [`Lane::clear`] on every lane.
    pub fn clear(&self) -> usize {
        control::clear(&self.shared().all())
    }

    /// [`Lane::cancel_all`] on every lane.
    pub fn cancel_all(&self, reason: Reason) -> usize {
        control::cancel_all(&self.shared().all(), reason)
    }

    /// [`Lane::reset`] on every lane.
    pub fn reset(&self) -> usize {
        control::reset(&self.shared().all())
    }

    /// [`Lane::close`] on every lane; none is made on first use any more.
    pub fn close(&self) {
        for domain in &self.shared().stand(|standing| standing.closed = true) {
            control::close(domain);
        }
    }

    /// [`Lane::drain`] on every lane, and on those that are yet to be made.
    ///
    /// # Cancel safety
    ///
    /// As [`Lane::drain`].
    pub fn drain(
        &self,
        drain: Drain,
    ) -> impl Future<Output = DrainReport> + Send + 'static + use<> {
        let deadline = drain.deadline(self.shared().clock.now());
        let lanes = self.shared().stand_draining(StandingDrain {
            deadline,
            admit_descendants: drain.admits(),
            queued: drain.leftover(),
        });
        Draining::begin(lanes, drain, deadline, Some(self.shared())).report()
    }

    /// [`Lane::shutdown`] on every lane; none is made on first use any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub fn shutdown(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let lanes = self.shared().stand(|standing| standing.closed = true);
        control::shutdown(&lanes);
        self.shared().close_log();
        async move {
            for domain in &lanes {
                Idle::new(domain).await;
            }
        }
    }

    /// Waits for a moment at which nobody is queued or active in any lane.
    /// Orphans are not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    pub async fn idle(&self) {
        loop {
            let lanes = self.shared().all();
            match runtime::first_busy(lanes.iter()) {
                Some(busy) => Idle::new(busy).await,
                None => {
                    // A lane that is made meanwhile has not been looked at.
                    let now = self.shared().all();
                    if now
                        .iter()
                        .map(|lane| lane.serial)
                        .eq(lanes.iter().map(|lane| lane.serial))
                    {
                        return;
                    }
                }
            }
        }
    }

    /// [`Lane::wait_active`] for whoever is active now in any lane.
    ///
    /// # Errors
    ///
    /// [`WaitActiveError`] when the time is over.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing. It has no place in any queue.
    pub async fn wait_active(&self, timeout: Duration) -> Result<(), WaitActiveError> {
        runtime::wait_active(&self.shared().all(), timeout).await
    }

    /// The task whose id is printed so, in a log or on a page, as long as its lane knows
    /// of it. O(n) in the tasks of its lane.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// let task = main.spawn(async |_| ());
    /// let printed = task.id().to_string();
    /// assert_eq!(lanes.find(&printed), Some(task.id()));
    /// assert_eq!(lanes.find("turn 17"), None);
    /// task.await?;
    /// assert_eq!(lanes.find(&printed), None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn find(&self, id: &str) -> Option<TaskId> {
        let (lane, seq) = id.trim().split_once('-')?;
        let number = |digits: &str| -> Option<u64> {
            let sound = digits.bytes().all(|digit| digit.is_ascii_digit());
            digits.parse().ok().filter(|_| sound)
        };
        let (lane, seq) = (number(lane)?, number(seq)?);
        let domain = self.shared().by_serial(lane)?;
        domain.read(|engine| {
            let mut keys = engine.records().map(|(key, _)| key);
            let key = keys.find(|key| key.seq == seq)?;
            Some(TaskId { lane, key })
        })
    }

    /// What is wrong, the worst first, each with its evidence and what helps; nothing
    /// where all is well. It looks at every lane, and explains why its first waiter
    /// waits where that has waited for longer than the lane's
    /// [`warn_after`](LaneConfig::warn_after). O(n) in the tasks.
    ///
    /// What is known of holders for which nobody waits is what a
    /// [probe](Self::probe) found out: await one first.
    ///
    /// O(n log n) in the lanes and their tasks, and for each lane in which somebody has
    /// waited for long, the holders of all lanes that he waits for.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// use laneway::{LaneConfig, Lanes, Problem};
    ///
    /// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// let main = lanes.lane("main")?;
    /// main.pause();
    /// let _turn = main.spawn(async |_| ());
    /// assert!(lanes.diagnose().is_healthy());
    ///
    /// tokio::time::sleep(Duration::from_secs(60)).await;
    /// let diagnosis = lanes.diagnose();
    /// println!("{diagnosis}");
    /// let lane = "main".to_owned();
    /// assert_eq!(diagnosis.findings[0].problem, Problem::Paused { lane });
    ///
    /// main.resume();
    /// assert!(lanes.diagnose().is_healthy());
    /// # Ok(()) }
    /// ```
    pub fn diagnose(&self) -> Diagnosis {
        observe::diagnose(self.shared())
    }

    /// Finds out [where every silent holder stands](Standing): wakes the runner of
    /// each that has given no sign of life for a second and waits for none of
    /// our lanes, and is ready two ticks (20 ms) later, when a snapshot says
    /// who came. A lane that warns that its dispatch is blocked has done so for
    /// its own holders. O(n) in the holders.
    ///
    /// A future must put up with being polled for nothing; nothing else happens to it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// use laneway::{LaneConfig, Lanes, Standing};
    ///
    /// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).build()?;
    /// let main = lanes.lane("main")?;
    /// let _silent = main.spawn(async |_| std::future::pending::<()>().await);
    /// tokio::time::sleep(Duration::from_secs(2)).await;
    /// lanes.probe().await;
    /// let standing = main.snapshot().active[0].standing;
    /// assert_eq!(standing, Some(Standing::PolledWhenWoken));
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing: what was woken is woken. It has no place in
    /// any queue.
    pub async fn probe(&self) {
        runtime::probe_all(&self.shared().all());
        crate::host::sleep(TICK * 2).await;
    }

    /// Every lane as it is now, with every task in it. O(n) in the tasks; each
    /// lane is consistent in itself. A lane of which the configuration says
    /// nothing any more is there as long as it has tasks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// # let main = lanes.lane("main")?;
    /// for lane in lanes.snapshot().lanes {
    ///     println!("{}: {} active, {} queued", lane.name, lane.active.len(), lane.queued.len());
    ///     # assert_eq!(lane.name, "main");
    /// }
    /// # let _ = main;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let lanes = self.shared().all();
        Snapshot {
            lanes: lanes
                .iter()
                .filter(|domain| !domain.is_over())
                .map(|domain| LaneSnapshot::of(domain))
                .collect(),
            groups: self
                .shared()
                .groups()
                .iter()
                .map(GroupSnapshot::of)
                .collect(),
            waitpoints: self.shared().waitpoints.snapshot(self.shared().clock.now()),
            stuck_runtimes: StuckRuntime::all(self.shared()),
            events: self.shared().hub.as_ref().map(|hub| hub.counters()),
        }
    }

    /// Checks what the scheduler keeps of its lanes and groups against the tasks
    /// that they have, and mends what does not agree: slots that are counted as
    /// held and are nobody's, waiters that stand in no queue, places, orphans,
    /// what is charged to a group; then it serves whoever was overlooked for
    /// that, and tells the timer once more when each lane is next due.
    ///
    /// That is never necessary unless there is a bug in this crate, and what is
    /// found is one: please report it. It is for an operator who faces a lane
    /// that stands still for no reason that a snapshot shows. No task is ended,
    /// and none loses its place. Each finding is an error in the log, and counted
    /// ([`Counters::repaired`](crate::Counters::repaired)).
    ///
    /// There is no such verb on a [`Lane`]: what keeps a lane waiting may be
    /// wrong in its group, or in a sibling.
    ///
    /// O(n log n) in the tasks, with one lane at a time locked, or one group.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let lanes = laneway::Lanes::builder().lane("main", laneway::LaneConfig::new(1)).build()?;
    /// let report = lanes.repair();
    /// assert!(report.is_empty(), "{report}");
    /// # Ok(()) }
    /// ```
    pub fn repair(&self) -> RepairReport {
        runtime::repair(self.shared())
    }

    /// What happens from now on, to all tasks and lanes. O(1).
    ///
    /// # Errors
    ///
    /// [`EventsOff`] if no events are kept; see [`LanesBuilder::events`].
    pub fn events(&self) -> Result<EventStream, EventsOff> {
        Ok(EventStream::from(self.hub()?, None))
    }

    /// What happened, and happens, from the event with this number on. Of what is not
    /// kept any more the stream says how much it was, once, with an
    /// [`Overflow`](crate::Overflow); for a number that is yet to come it waits. O(1).
    ///
    /// # Errors
    ///
    /// [`EventsOff`] if no events are kept; see [`LanesBuilder::events`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use laneway::{EventKind, LaneConfig, Lanes};
    ///
    /// let lanes = Lanes::builder().lane("main", LaneConfig::new(1)).events(3).build()?;
    /// let main = lanes.lane("main")?;
    /// for _ in 0..3 {
    ///     main.run(async |_| ()).await?;
    /// }
    /// let mut events = lanes.subscribe_from(0)?;
    /// let overflow = events.next().await.expect("there are some").unwrap_err();
    /// assert_eq!((overflow.missed, overflow.available_from), (4, 4));
    /// let event = events.next().await.expect("there are some")?;
    /// assert_eq!((event.seq, &*event.lane), (4, "main"));
    /// assert!(matches!(event.kind, EventKind::Settled { .. }));
    /// # Ok(()) }
    /// ```
    pub fn subscribe_from(&self, seq: u64) -> Result<EventStream, EventsOff> {
        Ok(EventStream::from(self.hub()?, Some(seq)))
    }

    /// Writes what was recorded since this was called last, in the format that
    /// [`replay`](crate::replay) documents. Call it from time to time with the same file,
    /// and once more when something went wrong. O(n) in what was recorded; the writer is
    /// called with nothing locked (S13). A file is of one scheduler: whoever restarts begins
    /// another. Two calls at once write two parts, each with its number, and need a writer
    /// each.
    ///
    /// # Errors
    ///
    /// [`SaveError`](crate::replay::SaveError): nothing is recorded, or the writer failed; then
    /// what it did not take is lost, and the recording ends there: the next part says so, and
    /// only another scheduler begins another.
    #[cfg(feature = "replay")]
    pub fn save_recording(
        &self,
        writer: impl std::io::Write,
    ) -> Result<(), crate::replay::SaveError> {
        let hub = self.shared().hub.as_ref();
        let hub = hub.ok_or(crate::replay::SaveError::Off)?;
        crate::replay::save(hub, writer)
    }

    /// What happened, and happens, to one task, from the oldest event on that is kept. The
    /// stream ends after the task's last word, and at once for a task that nothing is
    /// known of. O(1).
    ///
    /// # Errors
    ///
    /// [`EventsOff`] if no events are kept; see [`LanesBuilder::events`].
    pub fn task_events(&self, id: TaskId) -> Result<EventStream, EventsOff> {
        let hub = self.hub()?;
        let home = self.shared().by_serial(id.lane);
        let home = home.map_or_else(Weak::new, |lane| Arc::downgrade(&lane));
        Ok(EventStream::of(hub, id, home))
    }

    fn hub(&self) -> Result<&Arc<Hub>, EventsOff> {
        self.shared().hub.as_ref().ok_or(EventsOff)
    }

    /// The first of them: the lanes close with the last.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        let owner = Arc::new(Owner { shared });
        Self { owner }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    fn domain_of(&self, id: TaskId) -> Result<DomainRef, ControlError> {
        self.shared()
            .by_serial(id.lane)
            .ok_or(ControlError::UnknownTask { id })
    }
}

impl std::fmt::Debug for Lanes {
    /// Says nothing of the lanes: that would run the caller's formatter under
    /// our locks (S13). Ask for a snapshot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

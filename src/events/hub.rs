//! The latest events of all lanes, their numbers, and who waits for more.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use super::event::{Event, EventCounters, Overflow};
use super::ring::{Entry, Ring};
use super::tell;
use crate::TaskId;
use crate::clock::{Clock, unix_micros};
#[cfg(feature = "replay")]
use crate::engine::Input;
use crate::engine::{Fact, News, Time, What};
use crate::metrics::EventMeter;
#[cfg(feature = "replay")]
use crate::replay::{Noted, Part, Tape};
use crate::runtime::{Ticket, Wakers, drop_guarded, trim, wake_all};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};

/// How many events may be kept at the most.
pub(crate) const MOST: usize = 1 << 24;
/// How many are looked at under one lock, so that no reader holds a lane up.
const BATCH: usize = 64;

/// See the module `events`.
#[derive(Debug)]
pub(crate) struct Hub {
    capacity: usize,
    #[cfg(feature = "replay")]
    records: bool,
    /// When the scheduler was built, on both clocks; the other in microseconds
    /// since the Unix epoch.
    built: (Time, u64),
    log: Mutex<Log>,
    /// Somebody waited for what is there now, and is to be woken.
    due: AtomicBool,
    streamed: AtomicU64,
    dropped: AtomicU64,
    readers: AtomicUsize,
    /// Where metrics are turned on.
    meter: Option<EventMeter>,
}

#[derive(Debug, Default)]
struct Log {
    kept: Ring,
    /// The names of the lanes, and of those that are gone while there is something
    /// to be read of them: the numbers of their last events, in order.
    names: HashMap<u64, Arc<str>>,
    gone: VecDeque<(u64, u64)>,
    /// Whoever waits for anything, and for what becomes of one task.
    waiting: Wakers,
    watching: HashMap<TaskId, Wakers>,
    due: Vec<Waker>,
    /// Tasks whose last word is yet to come.
    open: usize,
    ending: Ending,
    #[cfg(feature = "replay")]
    tape: Option<Tape>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    No,
    /// No task comes any more.
    Closing,
    /// Nothing comes any more.
    Over,
}

/// Where a reader is.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) next: u64,
    /// The only task that it reads of.
    pub(super) of: Option<TaskId>,
    /// It has found out where the log begins.
    started: bool,
    ticket: Ticket,
}

/// What a reader found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Some are fetched.
    Events,
    /// None of them was for it so far, and there is more.
    More,
    Missed(Overflow),
    /// Nothing yet; it is registered, if it brought a waker.
    Nothing,
    /// Nothing any more.
    Over,
}

impl Hub {
    pub(crate) fn new(capacity: usize, meter: Option<EventMeter>) -> Self {
        Self {
            capacity,
            #[cfg(feature = "replay")]
            records: false,
            built: (Clock.now(), unix_micros()),
            log: Mutex::new(Log::default()),
            due: AtomicBool::new(false),
            streamed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            readers: AtomicUsize::new(0),
            meter,
        }
    }

    // The side of the lanes.

    /// Numbers what happened in a lane, which is locked, and takes it.
    #[inline(never)]
    pub(crate) fn write(&self, lane: u64, news: &mut News) {
        let mut log = self.log.lock();
        log.take(self.capacity, lane, news);
        if !log.due.is_empty() {
            self.due.store(true, Ordering::Release);
        }
        drop(log);
        // With what was overwritten.
        news.clear();
    }

    /// Wakes whoever waited for what was written; called with no lock held (S13).
    #[inline]
    pub(crate) fn wake(&self) {
        if self.due.load(Ordering::Acquire) {
            self.wake_all();
        }
        self.report();
    }

    /// Counts what became of events; called with no lock held (S13).
    #[inline]
    pub(super) fn report(&self) {
        if let Some(meter) = &self.meter {
            meter.report(self.counters());
        }
    }

    #[cold]
    fn wake_all(&self) {
        let due = {
            let mut log = self.log.lock();
            self.due.store(false, Ordering::Relaxed);
            std::mem::take(&mut log.due)
        };
        wake_all(due);
    }

    /// Whether what the lanes are told is recorded.
    pub(crate) const fn records(&self) -> bool {
        #[cfg(feature = "replay")]
        return self.records;
        #[cfg(not(feature = "replay"))]
        false
    }

    /// What becomes of a lane or a group, and is not told to a lane.
    #[cfg(feature = "replay")]
    pub(crate) fn record(&self, lane: u64, input: impl FnOnce() -> Input) {
        if self.records {
            let input = input();
            self.log.lock().record(lane, input);
        }
    }

    pub(crate) fn budget_set(&self, group: u64, budget: usize) {
        #[cfg(feature = "replay")]
        self.record(0, || Input::Budget { group, budget });
        #[cfg(not(feature = "replay"))]
        let _ = (group, budget);
    }

    pub(crate) fn lane_made(&self, lane: u64, name: &Arc<str>) {
        self.log.lock().names.insert(lane, Arc::clone(name));
        self.write_of(lane, What::Made);
    }

    /// Nothing is written of it any more.
    pub(crate) fn lane_gone(&self, lane: u64) {
        #[cfg(feature = "replay")]
        self.record(lane, || Input::Retired);
        self.write_of(lane, What::Retired);
        let mut log = self.log.lock();
        let last = log.kept.next() - 1;
        log.gone.push_back((last, lane));
        log.forget_names();
    }

    fn write_of(&self, lane: u64, what: What) {
        let mut fact = Fact::of_lane(what);
        let mut log = self.log.lock();
        #[cfg(feature = "replay")]
        log.record_fact();
        log.put(self.capacity, lane, &mut fact);
        if !log.due.is_empty() {
            self.due.store(true, Ordering::Release);
        }
    }

    /// No task comes any more: streams end when those that there are have ended.
    pub(crate) fn close(&self) {
        self.end_with(Ending::Closing);
    }

    /// The lanes are gone.
    pub(crate) fn end(&self) {
        self.end_with(Ending::Over);
    }

    fn end_with(&self, ending: Ending) {
        {
            let mut log = self.log.lock();
            log.ending = ending;
            log.wake_everybody();
        }
        self.wake_all();
    }

    // The side of readers.

    pub(super) fn cursor(&self, next: Option<u64>, of: Option<TaskId>) -> Cursor {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Cursor {
            next: next.unwrap_or_else(|| self.log.lock().kept.next()),
            of,
            started: false,
            ticket: Ticket::NONE,
        }
    }

    pub(super) fn leave(&self, cursor: &Cursor) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
        let old = self.log.lock().forget_reader(cursor);
        drop_guarded(old);
    }

    /// A reader was given one.
    pub(super) fn streamed(&self) {
        self.streamed.fetch_add(1, Ordering::Relaxed);
    }

    /// Fetches what is there, some of it, in its order.
    pub(super) fn fetch(
        &self,
        cursor: &mut Cursor,
        into: &mut VecDeque<Event>,
        waker: Option<&Waker>,
    ) -> Found {
        // Cloned and dropped outside the lock (S13).
        let mut fresh = waker.cloned();
        let mut old = None;
        let found = {
            let mut log = self.log.lock();
            let found = self.look(&log, cursor, into);
            if found == Found::Nothing
                && let Some(fresh) = fresh.take()
            {
                old = log.register(cursor, fresh);
            }
            found
        };
        drop_guarded((fresh, old));
        found
    }

    fn look(&self, log: &Log, cursor: &mut Cursor, into: &mut VecDeque<Event>) -> Found {
        let first = log.kept.first();
        let missed = first.saturating_sub(cursor.next);
        let started = std::mem::replace(&mut cursor.started, true);
        if missed > 0 {
            if started {
                self.dropped.fetch_add(missed, Ordering::Relaxed);
            }
            cursor.next = first;
            return Found::Missed(Overflow {
                missed,
                available_from: first,
            });
        }
        let mut name: Option<(u64, Arc<str>)> = None;
        for entry in log.kept.from(cursor.next).take(BATCH) {
            let seq = cursor.next;
            cursor.next += 1;
            if cursor.of.is_some_and(|of| entry.task() != Some(of)) {
                continue;
            }
            let name = match &name {
                Some((lane, name)) if *lane == entry.lane => name,
                _ => &name.insert((entry.lane, log.name(entry.lane))).1,
            };
            into.push_back(self.event(seq, entry, Arc::clone(name)));
        }
        if !into.is_empty() {
            Found::Events
        } else if cursor.next < log.kept.next() {
            Found::More
        } else if log.is_over() {
            Found::Over
        } else {
            Found::Nothing
        }
    }

    fn event(&self, seq: u64, entry: &Entry, name: Arc<str>) -> Event {
        tell::event(self.built, seq, (entry.lane, name), &entry.fact)
    }

    /// What the lanes are told is recorded, so much of it.
    #[cfg(feature = "replay")]
    pub(crate) fn recording(mut self, capacity: usize) -> Self {
        self.records = true;
        self.log.lock().tape = Some(Tape::new(capacity));
        self
    }

    /// What was recorded since this was called last, if anything is.
    #[cfg(feature = "replay")]
    pub(crate) fn begin_part(&self) -> Option<Part> {
        let mut log = self.log.lock();
        let next = log.kept.next();
        Some(log.tape.as_mut()?.begin_part(next))
    }

    /// It is dealt with, and so much of it was not saved.
    #[cfg(feature = "replay")]
    pub(crate) fn end_part(&self, part: &mut Part, lost: u64) {
        let gone = {
            let mut log = self.log.lock();
            log.tape.as_mut().map(|tape| tape.end_part(part, lost))
        };
        drop(gone);
    }

    /// Some of the facts of a part, from this one on, itself at least.
    #[cfg(feature = "replay")]
    pub(crate) fn recorded(&self, part: &Part, from: u64, into: &mut Vec<Noted>) {
        let log = self.log.lock();
        let spilled = log.tape.iter().flat_map(|tape| tape.spilled(part, from));
        let kept = log.kept.from(from.max(log.kept.first()));
        let kept = kept.map(|entry| (entry.lane, log.name(entry.lane), entry.fact.clone()));
        let count = usize::try_from(part.facts.end - from).unwrap_or(usize::MAX);
        into.extend(spilled.cloned().chain(kept).take(count.min(BATCH)));
    }

    /// When the scheduler was built.
    #[cfg(feature = "replay")]
    pub(crate) const fn built(&self) -> (Time, u64) {
        self.built
    }

    pub(crate) fn counters(&self) -> EventCounters {
        let (published, available_from) = {
            let log = self.log.lock();
            (log.kept.next(), log.kept.first())
        };
        EventCounters {
            published,
            available_from,
            streamed: self.streamed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            readers: self.readers.load(Ordering::Relaxed),
        }
    }
}

impl Log {
    /// What was told to a lane, and its facts.
    #[inline(always)]
    fn take(&mut self, capacity: usize, lane: u64, news: &mut News) {
        #[cfg(feature = "replay")]
        if let Some(tape) = &mut self.tape {
            tape.take(self.kept.next(), lane, news);
        }
        for fact in news.facts() {
            self.put(capacity, lane, fact);
        }
    }

    /// Takes a fact, and leaves the one in whose place it comes.
    #[inline(always)]
    fn put(&mut self, capacity: usize, lane: u64, fact: &mut Fact) {
        match &fact.what {
            What::Queued(_)
            | What::AtDoor(_)
            | What::PutOff { .. }
            | What::Dispatched { at_once: true, .. }
                if !fact.tag.is_part() =>
            {
                self.open += 1;
            }
            What::Settled { .. } => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        if fact.at == Time::FAR {
            fact.at = Clock.now();
        }
        if !self.waiting.is_empty() || !self.watching.is_empty() {
            self.call(fact.tag.task(lane));
        }
        #[cfg(feature = "replay")]
        self.save_oldest(capacity);
        self.kept.put(capacity, lane, fact);
    }

    /// Before the log lets go of it.
    #[cfg(feature = "replay")]
    #[inline(always)]
    fn save_oldest(&mut self, capacity: usize) {
        if let Some(tape) = &mut self.tape
            && self.kept.is_full(capacity)
            && let Some(place) = tape.place_of(self.kept.first())
        {
            let (lane, fact) = self.kept.take_oldest();
            let name = name(&self.names, lane);
            place.push((lane, name, fact));
        }
    }

    /// Whoever waits for anything, or for what becomes of this task, is to be woken.
    #[cold]
    fn call(&mut self, task: Option<TaskId>) {
        self.due.extend(self.waiting.take());
        if let Some(mut watching) = task.and_then(|task| self.watching.remove(&task)) {
            trim(&mut self.watching);
            self.due.extend(watching.take());
        }
    }

    #[cfg(feature = "replay")]
    fn record(&mut self, lane: u64, input: Input) {
        if let Some(tape) = &mut self.tape {
            tape.input(self.kept.next(), lane, input);
        }
    }

    /// One comes that no lane was told anything for.
    #[cfg(feature = "replay")]
    fn record_fact(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.fact(self.kept.next());
        }
    }

    fn is_over(&self) -> bool {
        match self.ending {
            Ending::No => false,
            Ending::Closing => self.open == 0,
            Ending::Over => true,
        }
    }

    fn wake_everybody(&mut self) {
        let watching = std::mem::take(&mut self.watching);
        let watching = watching.into_values().flat_map(|mut wakers| wakers.take());
        self.due.extend(watching);
        self.due.extend(self.waiting.take());
    }

    fn name(&self, lane: u64) -> Arc<str> {
        name(&self.names, lane)
    }

    /// Of lanes that are gone, and of which nothing is kept any more (S15).
    fn forget_names(&mut self) {
        let first = self.kept.first();
        while let Some((last, lane)) = self.gone.front().copied()
            && last < first
        {
            self.gone.pop_front();
            self.names.remove(&lane);
        }
        trim(&mut self.names);
    }

    #[must_use = "drop it outside the lock"]
    fn register(&mut self, cursor: &mut Cursor, waker: Waker) -> Option<Waker> {
        let wakers = match cursor.of {
            None => &mut self.waiting,
            Some(id) => self.watching.entry(id).or_default(),
        };
        wakers.register(&mut cursor.ticket, waker)
    }

    #[must_use = "drop it outside the lock"]
    fn forget_reader(&mut self, cursor: &Cursor) -> Option<Waker> {
        let Some(id) = cursor.of else {
            return self.waiting.remove(&cursor.ticket);
        };
        let wakers = self.watching.get_mut(&id)?;
        let old = wakers.remove(&cursor.ticket);
        if wakers.is_empty() {
            self.watching.remove(&id);
            trim(&mut self.watching);
        }
        old
    }
}

fn name(names: &HashMap<u64, Arc<str>>, lane: u64) -> Arc<str> {
    let name = names.get(&lane);
    name.map_or_else(|| Arc::from(lane.to_string()), Arc::clone)
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::{LaneConfig, Lanes};

    #[tokio::test]
    async fn s15_a_storm_of_names_leaves_those_of_which_something_is_kept() {
        let lanes = Lanes::builder()
            .pattern("session:*", LaneConfig::new(1))
            .events(40)
            .build()
            .unwrap();
        for n in 0..if cfg!(miri) { 200 } else { 5_000 } {
            let session = lanes.lane(&format!("session:{n}")).unwrap();
            session.run(async |_| ()).await.unwrap();
        }
        let log = lanes.shared().hub.as_ref().unwrap().log.lock();
        assert_eq!(log.kept.len(), 40);
        assert!(log.kept.room() < 80);
        assert!(log.names.len() <= 11, "{}", log.names.len());
        assert!(log.gone.len() <= 11, "{}", log.gone.len());
        assert!(log.names.capacity() < 100);
        assert_eq!(log.open, 0, "S7");
    }

    #[tokio::test]
    async fn s15_readers_that_go_leave_nothing() {
        let lanes = Lanes::builder()
            .lane("main", LaneConfig::new(1))
            .events(40)
            .build()
            .unwrap();
        let main = lanes.lane("main").unwrap();
        let slot = main.acquire().await.unwrap();
        for _ in 0..if cfg!(miri) { 50 } else { 1_000 } {
            let mut all = Box::pin(lanes.events().unwrap());
            let mut one = Box::pin(lanes.task_events(slot.id()).unwrap());
            one.next().await.unwrap().unwrap();
            let waker = Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            use futures_core::Stream;
            assert!(all.as_mut().poll_next(&mut cx).is_pending());
            assert!(one.as_mut().poll_next(&mut cx).is_pending());
        }
        let hub = lanes.shared().hub.as_ref().unwrap();
        let log = hub.log.lock();
        assert!(log.waiting.is_empty() && log.watching.is_empty() && log.due.is_empty());
        assert_eq!(hub.readers.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    #[cfg_attr(miri, ignore = "thousands of tasks take minutes there")]
    async fn s15_a_storm_of_readers_that_were_served_leaves_no_memory() {
        use futures_core::Stream;
        let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
        let lanes = lanes.events(1 << 14).build().unwrap();
        let main = lanes.lane("main").unwrap();
        let _slot = main.acquire().await.unwrap();
        let tasks: Vec<_> = (0..4_000).map(|_| main.spawn(async |_| ())).collect();
        let events = tasks.iter().map(|task| Box::pin(task.events().unwrap()));
        let mut streams: Vec<_> = events.collect();
        let mut cx = std::task::Context::from_waker(Waker::noop());
        for stream in &mut streams {
            while stream.as_mut().poll_next(&mut cx).is_ready() {}
        }
        main.clear();
        drop((streams, tasks));
        let hub = lanes.shared().hub.as_ref().unwrap();
        let log = hub.log.lock();
        assert!(log.watching.is_empty());
        assert!(log.watching.capacity() < 500, "{}", log.watching.capacity());
    }
}

//! A million tasks through the engine alone, and nothing left of them (S15).
//!
//! Miri runs the same storm with fewer tasks; it is there to see leaks.

use std::time::Duration;

use super::sim::{PRESENT, millis, plain, secs};
use crate::engine::{
    Accepted, Ceiling, Effect, Effects, End, Entry, Facts, Holders, Key, Lane, Priority, Reason,
    Released, Settings, Spec, State, Time, Verdict,
};

const TASKS: u32 = if cfg!(miri) { 2_000 } else { 1_000_000 };
/// How many tasks it takes to see one taken.
const PER_TAKEN: u64 = 1_000;
const PER_LATE: u64 = 10_000;
const SLOTS: usize = 64;
/// How many are in the lane at a time, at most.
const CROWD: usize = if cfg!(miri) { 256 } else { 4_096 };
/// The slots of a lane for which the whole table is far more than one entry.
const WIDE: usize = if cfg!(miri) { 500 } else { 50_000 };

/// Good enough dice, and the same ones each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What becomes of a task once it has its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Completes,
    /// Silent for good, and its runner comes when it is told to.
    Stalls,
    /// Silent for good, and its runner comes when all is over.
    Abandoned,
    /// In line for a slot elsewhere, in vain.
    Gathers,
    /// Never polled: its grant is passed on.
    Unclaimed,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    key: Key,
    fate: Fate,
    claimed: bool,
    settled: bool,
}

/// The shell, as lean as it gets: a million tasks pass through it.
struct Storm {
    lane: Lane<usize>,
    specs: [Spec; 3],
    tasks: Vec<Option<Task>>,
    free: Vec<usize>,
    running: Vec<usize>,
    abandoned: Vec<usize>,
    now: Time,
    alarm: Option<Time>,
    last_fence: u64,
    settled: u32,
}

impl Storm {
    fn new() -> Self {
        let spec = |priority| Spec {
            priority,
            ceiling: Ceiling::Set(secs(2)),
            on_stall: crate::engine::OnStall::Reclaim,
            wait: Some(secs(30)),
            ..plain()
        };
        let settings = Settings {
            max_concurrent: SLOTS,
            max_orphans: None,
            aging: secs(3),
            ..super::sim::settings(SLOTS)
        };
        Self {
            lane: Lane::new(settings, 1),
            specs: [Priority::Foreground, Priority::Normal, Priority::Background].map(spec),
            tasks: vec![None; CROWD],
            free: (0..CROWD).rev().collect(),
            running: Vec::new(),
            abandoned: Vec::new(),
            now: Time::START,
            alarm: None,
            last_fence: 0,
            settled: 0,
        }
    }

    fn spec(&self, place: usize) -> Spec {
        self.specs[place % 3].clone()
    }

    fn submit(&mut self, dice: &mut Dice) {
        let Some(place) = self.free.pop() else { return };
        let fate = match dice.roll(1_000) {
            0..970 => Fate::Completes,
            970..990 => Fate::Stalls,
            990..994 => Fate::Abandoned,
            994..997 => Fate::Gathers,
            _ => Fate::Unclaimed,
        };
        let entry = Entry {
            present: !matches!(fate, Fate::Unclaimed | Fate::Gathers),
            ..PRESENT
        };
        let spec = &self.specs[place % 3];
        let accepted = self.lane.submit(self.now, place, spec, entry);
        let (key, fence) = match accepted.expect("an open lane") {
            Accepted::Started { key, fence } => (key, Some(fence)),
            Accepted::Queued { key } => (key, None),
        };
        self.tasks[place] = Some(Task {
            key,
            fate,
            claimed: false,
            settled: false,
        });
        self.rearm();
        if let Some(fence) = fence {
            self.granted(place, fence);
        }
    }

    fn granted(&mut self, place: usize, fence: u64) {
        assert!(fence > self.last_fence, "S11");
        assert!(self.lane.active() <= SLOTS, "S1");
        self.last_fence = fence;
        let task = self.tasks[place].as_mut().expect("somebody waits");
        task.claimed = !matches!(task.fate, Fate::Unclaimed | Fate::Gathers);
        let (key, fate) = (task.key, task.fate);
        match fate {
            Fate::Completes => self.running.push(place),
            Fate::Gathers => {
                self.lane.gathers(key, &self.specs[place % 3]);
                self.rearm();
            }
            _ => {}
        }
    }

    fn settle(&mut self, place: usize) {
        let task = self.tasks[place].as_mut().expect("somebody is there");
        assert!(!task.settled, "S2");
        task.settled = true;
        self.settled += 1;
    }

    /// Whoever stood for it is gone.
    fn leave(&mut self, place: usize) {
        self.tasks[place] = None;
        self.free.push(place);
    }

    fn release(&mut self, place: usize, completed: bool) {
        let Some(task) = self.tasks[place] else {
            return;
        };
        let mut effects = Effects::new();
        let released = self.lane.release(task.key, completed);
        if self.lane.has_sequel(&released) {
            self.lane.settle_release(self.now, &released, &mut effects);
        }
        if let Released::Held(_) = released {
            self.settle(place);
        }
        self.leave(place);
        self.carry_out(effects);
    }

    fn cancel(&mut self, place: usize) {
        let Some(task) = self.tasks[place] else {
            return;
        };
        if task.settled {
            return;
        }
        let state = self.lane.record(task.key).map(|record| record.state);
        let withdrawn = state == Some(State::Granted) && !task.claimed;
        let (spec, facts) = (self.spec(place), self.facts(place));
        let mut effects = Effects::new();
        self.lane.cancel(
            self.now,
            task.key,
            Reason::User,
            withdrawn,
            &spec,
            &facts,
            &mut effects,
        );
        self.running.retain(|running| *running != place);
        self.carry_out(effects);
    }

    fn facts(&self, place: usize) -> Facts {
        Facts {
            gathers: self.tasks[place].is_some_and(|task| task.fate == Fate::Gathers),
            claimed: self.tasks[place].is_some_and(|task| task.claimed),
            done: false,
            active_at: Time::START,
            reported: false,
            waiting: false,
            hold_until: None,
            phase: None,
            deadline: None,
            extended_until: None,
            listens: false,
            hooks: false,
        }
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.alarm
            && at <= until
        {
            self.now = self.now.max(at);
            self.alarm = None;
            let mut effects = Effects::new();
            self.lane.tick(self.now, &mut effects);
            self.carry_out(effects);
        }
        self.now = until;
    }

    fn rearm(&mut self) {
        if let Some(at) = self.lane.rearm() {
            self.alarm = Some(at);
        }
    }

    fn carry_out(&mut self, effects: Effects<usize>) {
        self.rearm();
        for effect in effects {
            match effect {
                Effect::Grant(grant) => self.granted(grant.task, grant.fence),
                Effect::Ask { task, .. } => self.asked(task),
                Effect::Settle { task, end } => {
                    self.settle(task);
                    // Who never held a slot has no runner to let go of it.
                    if !matches!(end, End::Stalled { .. } | End::Cancelled { .. }) {
                        self.leave(task);
                    }
                }
                Effect::Inspect { key, task } => self.inspect(key, task),
                Effect::InspectHolders => {
                    let holders = Holders {
                        active_at: None,
                        root_speaks: false,
                    };
                    self.lane.judge_blocked(self.now, holders);
                    self.rearm();
                }
                _ => {}
            }
        }
    }

    fn asked(&mut self, place: usize) {
        match self.tasks[place].map(|task| task.fate) {
            Some(Fate::Abandoned) => {
                let orphan = self.tasks[place].and_then(|task| self.lane.record(task.key));
                if orphan.is_some_and(|record| record.state == State::Orphan) {
                    self.abandoned.push(place);
                }
            }
            _ => self.release(place, false),
        }
    }

    fn inspect(&mut self, key: Key, place: usize) {
        let (spec, facts) = (self.spec(place), self.facts(place));
        let (now, mut effects) = (self.now, Effects::new());
        match self.lane.judge(now, key, &spec, &facts, &mut effects) {
            Verdict::Nothing => {}
            Verdict::Unclaim => self.lane.unclaim(now, key, &mut effects),
            Verdict::CallOff { end } => self.lane.call_off(now, key, end, &mut effects),
            Verdict::Take { .. } => self.lane.take(now, key, &facts, &mut effects),
            Verdict::Over { .. } => unreachable!("none is detached"),
        }
        self.carry_out(effects);
    }

    fn check(&self) {
        assert!(self.lane.active() <= SLOTS, "S1");
        assert!(self.lane.orphans() <= SLOTS, "S10");
        assert!(
            self.lane.active() == SLOTS || self.lane.queued() == 0,
            "S5: an eligible waiter waits"
        );
    }
}

#[test]
fn a_million_tasks() {
    let mut storm = Storm::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut submitted = 0;
    let mut rounds = 0;
    while submitted < TASKS || storm.lane.active() > 0 || storm.lane.queued() > 0 {
        rounds += 1;
        assert!(rounds < TASKS.max(10_000), "the lane is stuck");
        let arrivals = dice.roll(64).min(u64::from(TASKS - submitted));
        for _ in 0..arrivals.min(storm.free.len() as u64) {
            storm.submit(&mut dice);
            submitted += 1;
        }
        for _ in 0..dice.roll(80) {
            let running = storm.running.len() as u64;
            if running > 0 {
                let at = usize::try_from(dice.roll(running)).expect("few");
                let place = storm.running.swap_remove(at);
                storm.release(place, true);
            }
        }
        if dice.roll(4) == 0 {
            let place = usize::try_from(dice.roll(CROWD as u64)).expect("few");
            storm.cancel(place);
        }
        // A runner that was gone for a while lets go of its task.
        if storm.abandoned.len() > SLOTS / 2 || submitted == TASKS {
            for place in std::mem::take(&mut storm.abandoned) {
                storm.release(place, dice.roll(2) == 0);
            }
        }
        storm.pass(millis(dice.roll(20)));
        storm.check();
    }
    // Those who sleep outside the queue were told that their wait was over.
    storm.pass(secs(60));
    for place in std::mem::take(&mut storm.abandoned) {
        storm.release(place, false);
    }
    assert_eq!(storm.settled, TASKS, "S7: each of them, once");
    assert_eq!(storm.lane.orphans(), 0);
    assert_eq!(storm.lane.records().count(), 0);
    let tally = storm.lane.tally();
    assert_eq!(tally.submitted, u64::from(TASKS));
    assert!(tally.taken > u64::from(TASKS) / PER_TAKEN, "{tally:?}");
    assert!(tally.late > u64::from(TASKS) / PER_LATE, "{tally:?}");
    assert!(storm.lane.footprint() < 256, "{}", storm.lane.footprint());
    assert_eq!(storm.lane.rearm(), None);
}

#[test]
fn a_waiter_of_a_wide_lane_costs_the_lane_nothing_but_itself() {
    let entry = PRESENT;
    let settings = Settings {
        max_concurrent: WIDE,
        ..super::sim::settings(1)
    };
    let mut lane = Lane::new(settings, 1);
    for token in 0..WIDE {
        let accepted = lane.submit(Time::START, token, &plain(), entry);
        assert!(matches!(accepted, Ok(Accepted::Started { .. })));
    }
    let spec = Spec {
        wait: Some(secs(1)),
        ..plain()
    };
    for token in 0..WIDE / 50 {
        let Ok(Accepted::Queued { key }) = lane.submit(Time::START, token, &spec, entry) else {
            panic!("the lane is full");
        };
        assert!(matches!(lane.release(key, false), Released::Held(_)));
        // A table that shrank with a waiter would be filled again for the next
        // one, all of its entries each time.
        assert!(lane.tasks.footprint() >= WIDE);
    }
}

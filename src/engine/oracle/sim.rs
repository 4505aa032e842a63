//! A shell in miniature: virtual time, tasks whose facts a test sets by hand,
//! and every effect carried out and written down.
//!
//! It keeps the driving contract to the letter, the alarm included: it comes
//! when [`Lane::rearm`] said so and at no other time. So whatever the engine
//! forgets to set a moment for is never looked at, here as in production.

use std::time::Duration;

use super::facts::{Ledger, NAMES};
use crate::engine::*;

pub(in crate::engine) type Token = u32;

/// What the engine had carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Event {
    Granted(Token),
    /// A place is kept for it.
    Placed(Token),
    /// Its quiet window is over, and it comes to the queue.
    Entered(Token),
    /// Withdrawn, since nobody came for it.
    Unclaimed(Token),
    Asked(Token, Reason),
    /// Asked with no grace left.
    ToldToDrop(Token, Reason),
    EndTeardown(Token),
    Lost(Token),
    Settled(Token, End),
    Idle,
    /// From here on with [`Sim::traced`] only. Its runner, or whoever waited
    /// for it, lets go.
    Released {
        task: Token,
        completed: bool,
    },
    /// What a grant says about the waiting that it ends.
    Waited {
        task: Token,
        waited: Duration,
        queued_ahead: usize,
        active_ahead: usize,
    },
    /// Its runner came for its slot, or for its place.
    Claimed(Token),
    /// Its grant was taken back by a verb, before its runner came.
    Withdrawn(Token),
    /// It has all the slots that it gathered.
    Gathered(Token),
    /// It has waited for somebody as long as it may.
    Outwaited(Token),
    /// It could have had a slot, and had none (S5).
    Overlooked(Token),
    /// Its runner has dropped it and runs its hooks.
    TeardownBegun(Token),
    /// The holders of a blocked lane were looked at.
    Looked(Blocked),
    Notice(Notice<Token>),
}

/// One task as the shell sees it.
#[derive(Debug)]
pub(in crate::engine) struct Task {
    pub(in crate::engine) key: Key,
    pub(in crate::engine) spec: Spec,
    pub(in crate::engine) facts: Facts,
    pub(in crate::engine) fence: u64,
    /// Its runner comes for a grant at once.
    pub(in crate::engine) claims: bool,
    /// Its runner comes when it is told to drop the task.
    pub(in crate::engine) comes: bool,
    /// Its runner comes for its grant at the very moment it is withdrawn.
    pub(in crate::engine) just_in_time: bool,
    /// It cannot be claimed before it has slots of other lanes, too.
    pub(in crate::engine) gathers: bool,
    /// It has all of them.
    pub(in crate::engine) gathered: bool,
    /// It runs its hooks, or has.
    pub(in crate::engine) hooks_begun: bool,
    pub(in crate::engine) settled: Option<End>,
}

#[derive(Debug)]
pub(in crate::engine) struct Sim {
    pub(in crate::engine) lane: Lane<Token>,
    pub(in crate::engine) now: Time,
    pub(in crate::engine) tasks: Vec<Task>,
    /// What the holders look like to `judge_blocked`, beside their progress.
    pub(in crate::engine) root_speaks: bool,
    /// The bound over all lanes is reached.
    pub(in crate::engine) no_more_orphans: bool,
    /// A drain holds the lane, so that S5 does not.
    pub(in crate::engine) holding: bool,
    /// The shell has not come to ask the holders yet.
    pub(in crate::engine) hold_asks: bool,
    /// What the lane is told is written down, too.
    pub(in crate::engine) traced: bool,
    /// Those who were let go of by whoever would have been told.
    pub(in crate::engine) dropped: Vec<Token>,
    pub(in crate::engine) log: Vec<(Duration, Event)>,
    /// Every look at the holders of a blocked lane, apart from the rest.
    pub(in crate::engine) looks: Vec<(Duration, Blocked)>,
    pub(in crate::engine) begun: Time,
    pub(in crate::engine) alarm: Option<Time>,
    pub(in crate::engine) last_fence: u64,
    pub(in crate::engine) depth: u32,
    /// What the lane's journal says.
    pub(in crate::engine) ledger: Ledger,
}

pub(in crate::engine) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(in crate::engine) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(in crate::engine) const fn settings(max_concurrent: usize) -> Settings {
    Settings {
        max_concurrent,
        max_orphans: None,
        aging: secs(30),
        warn_after: secs(30),
        observe_only: false,
        queue_capacity: usize::MAX,
        max_parked: None,
    }
}

/// A task that is granted all the time in the world.
pub(in crate::engine) const fn plain() -> Spec {
    Spec {
        priority: Priority::Normal,
        ceiling: Ceiling::None,
        on_stall: OnStall::Reclaim,
        idle: None,
        budget: None,
        wait: None,
        grace: secs(5),
        teardown: secs(5),
        warn_wait: None,
        on_wait: None,
    }
}

pub(in crate::engine) const fn ceiling(ceiling: Duration) -> Spec {
    Spec {
        ceiling: Ceiling::Set(ceiling),
        ..plain()
    }
}

/// Somebody who polls from the start.
pub(in crate::engine) const PRESENT: Entry = Entry {
    present: true,
    at_once: false,
    descendant: false,
    part: false,
    waited: Duration::ZERO,
    if_full: IfFull::Refuse,
};

/// Somebody who has to be woken first.
pub(in crate::engine) const DETACHED: Entry = Entry {
    present: false,
    ..PRESENT
};

impl Sim {
    pub(in crate::engine) fn new(max_concurrent: usize) -> Self {
        Self::with(settings(max_concurrent))
    }

    pub(in crate::engine) fn with(settings: Settings) -> Self {
        let begun = Time::START + secs(3600);
        let mut lane = Lane::new(settings, 1_000);
        lane.keep_journal(NAMES, false);
        Self {
            lane,
            now: begun,
            tasks: Vec::new(),
            root_speaks: false,
            no_more_orphans: false,
            holding: false,
            hold_asks: false,
            traced: false,
            dropped: Vec::new(),
            log: Vec::new(),
            looks: Vec::new(),
            begun,
            alarm: None,
            last_fence: 999,
            depth: 0,
            ledger: Ledger::default(),
        }
    }

    // What its callers and runners do.

    pub(in crate::engine) fn submit(&mut self, spec: Spec) -> Token {
        self.enter(spec, PRESENT).expect("the lane is open")
    }

    pub(in crate::engine) fn submit_many(&mut self, count: usize, spec: &Spec) -> Vec<Token> {
        (0..count).map(|_| self.submit(spec.clone())).collect()
    }

    pub(in crate::engine) fn enter(&mut self, spec: Spec, entry: Entry) -> Result<Token, Refused> {
        self.come(spec, entry, None)
    }

    /// A task comes for the place that was kept for it.
    pub(in crate::engine) fn spend(
        &mut self,
        kept: Token,
        spec: Spec,
        entry: Entry,
    ) -> Result<Token, Refused> {
        self.dropped.push(kept);
        self.come(spec, entry, Some(self.key(kept)))
    }

    fn come(&mut self, spec: Spec, entry: Entry, kept: Option<Key>) -> Result<Token, Refused> {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let mut effects = Effects::new();
        let now = self.now;
        let lane = &mut self.lane;
        let accepted = match kept {
            Some(kept) => {
                let came = lane.submit_for(now, token, &spec, entry, kept, &mut effects);
                came.0
            }
            None => lane.submit(now, token, &spec, entry),
        };
        if let Ok(accepted) = accepted {
            self.accept(token, accepted, spec, entry);
        }
        self.act(|_, _, later| *later = effects);
        self.check();
        accepted.map(|_| token)
    }

    /// A task comes in the place of others.
    pub(in crate::engine) fn supersede(
        &mut self,
        older: &[Token],
        spec: Spec,
        entry: Entry,
    ) -> Result<Token, Refused> {
        let keys: Vec<Key> = older.iter().map(|token| self.key(*token)).collect();
        self.come_instead(Older::These(&keys), spec, entry)
    }

    pub(in crate::engine) fn come_instead(
        &mut self,
        older: Older<'_>,
        spec: Spec,
        entry: Entry,
    ) -> Result<Token, Refused> {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let (mut effects, now) = (Effects::new(), self.now);
        let came = self
            .lane
            .submit_instead(now, token, &spec, entry, older, &mut effects);
        if let Ok((accepted, holders)) = &came {
            self.accept(token, *accepted, spec, entry);
            for key in holders {
                let holder = self.lane.record(*key).expect("it has a slot").payload;
                let withdrawn = self.withdrawn(holder);
                if withdrawn {
                    self.trace(Event::Withdrawn(holder));
                }
                let (spec, facts) = self.known(holder);
                let reason = Reason::Superseded;
                self.lane
                    .cancel(now, *key, reason, withdrawn, &spec, &facts, &mut effects);
            }
        }
        self.act(|_, _, later| *later = effects);
        self.check();
        came.map(|_| token)
    }

    /// A task comes that is put off for a while.
    pub(in crate::engine) fn put_off(
        &mut self,
        spec: Spec,
        entry: Entry,
        window: Duration,
    ) -> Result<Token, Refused> {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let came = self.act(|lane, now, _| lane.submit_quiet(now, token, &spec, entry, window));
        self.accept(token, came?, spec, entry);
        self.check();
        Ok(token)
    }

    fn accept(&mut self, token: Token, accepted: Accepted, spec: Spec, entry: Entry) {
        let (key, fence) = match accepted {
            Accepted::Started { key, fence } => (key, Some(fence)),
            Accepted::Queued { key } => (key, None),
        };
        self.know(key, spec, entry, fence.is_some() && entry.present);
        if let Some(fence) = fence {
            self.granted(token, fence);
        }
    }

    /// Somebody comes for a place to be kept.
    pub(in crate::engine) fn reserve(
        &mut self,
        spec: Spec,
        entry: Entry,
    ) -> Result<Token, Refused> {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let came = self.act(|lane, now, _| lane.reserve(now, token, &spec, entry));
        let (key, placed) = came?;
        self.know(key, spec, entry, placed);
        if placed {
            self.note(Event::Placed(token));
            self.claim(token);
        }
        self.check();
        Ok(token)
    }

    fn know(&mut self, key: Key, spec: Spec, entry: Entry, claimed: bool) {
        self.tasks.push(Task {
            key,
            spec,
            facts: Facts {
                gathers: false,
                claimed,
                done: false,
                active_at: self.now,
                reported: false,
                waiting: false,
                hold_until: None,
                phase: None,
                deadline: None,
                extended_until: None,
                listens: false,
                hooks: false,
            },
            fence: 0,
            claims: entry.present,
            comes: true,
            just_in_time: false,
            gathers: false,
            gathered: false,
            hooks_begun: false,
            settled: None,
        });
    }

    pub(in crate::engine) fn task(&mut self, token: Token) -> &mut Task {
        &mut self.tasks[token as usize]
    }

    pub(in crate::engine) fn facts(&mut self, token: Token) -> &mut Facts {
        &mut self.task(token).facts
    }

    pub(in crate::engine) fn key(&self, token: Token) -> Key {
        self.tasks[token as usize].key
    }

    pub(in crate::engine) fn state(&self, token: Token) -> Option<State> {
        self.lane.record(self.key(token)).map(|record| record.state)
    }

    pub(in crate::engine) fn progress(&mut self, token: Token) {
        let now = self.now;
        let facts = self.facts(token);
        facts.active_at = now;
        facts.reported = true;
    }

    /// Its runner polls it: for a slot, if it has lost or not claimed one.
    pub(in crate::engine) fn poll(&mut self, token: Token) {
        self.task(token).claims = true;
        match self.state(token) {
            Some(State::Asleep) => {
                let (key, spec) = (self.key(token), self.task(token).spec.clone());
                self.act(|lane, now, effects| lane.rejoin(now, key, &spec, effects));
            }
            Some(State::Granted) if self.task(token).gathers && !self.task(token).gathered => {
                self.gathers(token);
            }
            Some(State::Granted | State::Placed) => self.claim(token),
            _ => {}
        }
        self.check();
    }

    /// It is in line for other slots.
    pub(in crate::engine) fn gathers(&mut self, token: Token) {
        self.facts(token).gathers = true;
        let (key, spec) = (self.key(token), self.task(token).spec.clone());
        self.act(|lane, _, _| lane.gathers(key, &spec));
    }

    /// It has all the slots that it gathered.
    pub(in crate::engine) fn gathered(&mut self, token: Token) {
        let (key, now) = (self.key(token), self.now);
        self.task(token).gathered = true;
        let facts = self.facts(token);
        facts.gathers = false;
        facts.active_at = now;
        self.trace(Event::Gathered(token));
        self.act(|lane, now, _| lane.gathered(now, key));
        if self.task(token).claims {
            self.claim(token);
        }
    }

    /// Nobody came for what it is in line for.
    pub(in crate::engine) fn sleeps(&mut self, token: Token) {
        self.facts(token).gathers = false;
        self.inspect(self.key(token), token);
        self.check();
    }

    /// It waits for somebody, from now on; false if it is past that.
    pub(in crate::engine) fn park(&mut self, token: Token, until: Time, leaves: bool) -> bool {
        let key = self.key(token);
        let parked = self.act(|lane, now, effects| lane.park(now, key, until, leaves, effects));
        self.check();
        parked
    }

    /// It goes on where it stood.
    pub(in crate::engine) fn unpark(&mut self, token: Token) {
        let (key, now) = (self.key(token), self.now);
        let facts = self.facts(token);
        facts.active_at = now;
        self.act(|lane, now, _| {
            lane.stop_waiting(now, key);
            lane.unpark(now, key);
        });
        self.check();
    }

    /// Somebody comes for a slot for a task that is parked without one.
    pub(in crate::engine) fn send_back(&mut self, of: Token) -> Result<Token, Refused> {
        let token = Token::try_from(self.tasks.len()).expect("few tasks");
        let entry = Entry {
            part: true,
            if_full: IfFull::Enter,
            ..PRESENT
        };
        let (key, spec) = (self.key(of), self.task(of).spec.of_link());
        let now = self.now;
        self.facts(of).active_at = now;
        let came = self.act(|lane, now, _| {
            lane.stop_waiting(now, key);
            lane.submit_back(now, token, &spec, entry, key)
        });
        self.accept(token, came?, spec, entry);
        self.check();
        Ok(token)
    }

    /// It hands its slot over; false if that is not wanted any more.
    pub(in crate::engine) fn hand_over(&mut self, to: Token, stand_in: Token) -> bool {
        let (key, from) = (self.key(to), self.key(stand_in));
        let gone = self.act(|lane, _, _| lane.come_back(key, from));
        if gone.is_none() {
            self.drop_it(stand_in);
            return false;
        }
        assert_eq!(gone, Some(stand_in));
        self.dropped.push(stand_in);
        self.unpark(to);
        true
    }

    /// It returns a value.
    pub(in crate::engine) fn complete(&mut self, token: Token) {
        self.release(token, true);
    }

    /// Its runner, or whoever waited for it, drops it.
    pub(in crate::engine) fn drop_it(&mut self, token: Token) {
        self.release(token, false);
    }

    pub(in crate::engine) fn cancel(&mut self, token: Token, reason: Reason) -> bool {
        let key = self.key(token);
        let withdrawn = self.withdrawn(token);
        if withdrawn {
            self.trace(Event::Withdrawn(token));
        }
        let (spec, facts) = self.known(token);
        let found = self.act(|lane, now, effects| {
            lane.cancel(now, key, reason, withdrawn, &spec, &facts, effects)
        });
        self.check();
        found
    }

    pub(in crate::engine) fn reset(&mut self) {
        let holders: Vec<Token> = self.holders();
        let facts: Vec<(Key, bool, Facts)> = holders
            .iter()
            .map(|token| {
                (
                    self.key(*token),
                    self.withdrawn(*token),
                    self.known(*token).1,
                )
            })
            .collect();
        for token in holders {
            if self.withdrawn(token) {
                self.trace(Event::Withdrawn(token));
            }
        }
        self.act(|lane, now, effects| {
            for (key, withdrawn, facts) in &facts {
                lane.reset_one(now, *key, *withdrawn, facts, effects);
            }
            lane.dispatch(now, effects);
            lane.settled_all(effects);
        });
        self.check();
    }

    pub(in crate::engine) fn clear(&mut self) -> usize {
        let cleared = self
            .act(|lane, now, effects| lane.clear(now, effects, |waited| End::Cleared { waited }));
        self.check();
        cleared
    }

    /// Any other verb.
    pub(in crate::engine) fn say(
        &mut self,
        verb: impl FnOnce(&mut Lane<Token>, Time, &mut Effects<Token>),
    ) {
        self.act(verb);
        self.check();
    }

    // Time.

    /// Time passes, and the driver comes whenever it was told to.
    pub(in crate::engine) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        let (mut at, mut spins) = (self.now, 0);
        while let Some(alarm) = self.alarm
            && alarm <= until
        {
            self.now = self.now.max(alarm);
            spins = if self.now == at { spins + 1 } else { 0 };
            assert!(spins < 1_000, "the driver spins");
            at = self.now;
            self.tick();
        }
        self.now = until;
    }

    /// The machine sleeps that long, and the driver comes late.
    pub(in crate::engine) fn oversleep(&mut self, span: Duration) {
        self.now = self.now + span;
        // It is told to come again where one that was put off has just come to
        // the queue, and its lane has been blocked for long.
        for _ in 0..2 {
            if self.alarm.is_some_and(|alarm| alarm <= self.now) {
                self.tick();
            }
        }
    }

    /// What happened since this was last asked, with the time since the start.
    pub(in crate::engine) fn timed(&mut self) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.log)
    }

    pub(in crate::engine) fn events(&mut self) -> Vec<Event> {
        self.timed().into_iter().map(|(_, event)| event).collect()
    }

    pub(in crate::engine) fn holders(&self) -> Vec<Token> {
        let keys = self.lane.holders().iter();
        keys.filter_map(|key| self.lane.record(*key))
            .map(|record| record.payload)
            .collect()
    }

    // How it drives the engine.

    fn tick(&mut self) {
        self.alarm = None;
        self.act(|lane, now, effects| {
            lane.watch_over(effects);
            lane.tick(now, effects);
        });
        self.check();
    }

    fn release(&mut self, token: Token, completed: bool) {
        let key = self.key(token);
        if self.state(token).is_some() {
            self.trace(Event::Released {
                task: token,
                completed,
            });
        }
        let released = self.act(|lane, now, effects| {
            let released = lane.release(key, completed);
            let told = told(&released, completed);
            lane.note_release(now, key, &released, told.into(), completed);
            if lane.has_sequel(&released) {
                lane.settle_release(now, &released, effects);
            }
            released
        });
        match released {
            Released::Held(record) if completed || record.end().is_some() => {
                self.settle(token, record.ended().unwrap_or(End::Completed));
            }
            Released::Orphan(record) if record.state != State::Orphan => {
                self.settle(token, record.ended().unwrap_or(End::Completed));
            }
            Released::Held(_) => self.dropped.push(token),
            _ => {}
        }
        self.check();
    }

    pub(in crate::engine) fn act<R>(
        &mut self,
        input: impl FnOnce(&mut Lane<Token>, Time, &mut Effects<Token>) -> R,
    ) -> R {
        let mut effects = Effects::new();
        let output = input(&mut self.lane, self.now, &mut effects);
        self.ledger.read(&mut self.lane);
        if let Some(at) = self.lane.rearm() {
            self.alarm = Some(at);
        }
        self.depth += 1;
        for effect in effects {
            self.carry_out(effect);
        }
        self.depth -= 1;
        output
    }
}

/// How the caller of a task is told that it ended, where nobody told it before.
fn told(released: &Released<Token>, completed: bool) -> End {
    let waited = Duration::ZERO;
    let reason = Reason::Dropped;
    match released {
        _ if completed => End::Completed,
        Released::Held(gone) | Released::Orphan(gone) => {
            let dropped = End::CancelledQueued { reason, waited };
            gone.ended().unwrap_or(dropped)
        }
        Released::Unknown => End::CancelledQueued { reason, waited },
    }
}

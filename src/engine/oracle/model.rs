//! A lane as one would write it on a napkin: lists, and nothing clever. It is
//! told what happened and says whether that may be.

use std::time::Duration;

use super::sim::{Event, Token};
use crate::engine::{
    BlockedBy, Entry, IfFull, Leftover, Notice, Priority, Recovery, Refused, Time,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) token: Token,
    pub(super) priority: Priority,
    pub(super) since: Time,
    /// Its number in line: its own, or of whom it superseded.
    pub(super) seq: u64,
    /// No task: it wants a place.
    keeps: bool,
    /// It superseded a holder, and goes before everybody.
    first: bool,
    /// No task: it comes for the slot of one that is parked.
    stands_in: bool,
}

/// Who comes, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comer {
    pub(super) token: Token,
    /// Numbers grow with every arrival.
    pub(super) seq: u64,
    pub(super) priority: Priority,
    pub(super) entry: Entry,
}

/// Which newcomers it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Draining {
        admit_descendants: bool,
        queued: Leftover,
        deadline: Time,
        /// The driver came for its deadline.
        over: bool,
    },
    Shutdown,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) max_concurrent: usize,
    pub(super) max_orphans: Option<usize>,
    pub(super) paused: bool,
    pub(super) resumes_at: Option<Time>,
    pub(super) door: Door,
    pub(super) closed: bool,
    /// A drain is about to settle waiters, so that S5 does not hold.
    pub(super) holding: bool,
    /// Slots are being taken by somebody who may do so past the bound.
    pub(super) by_force: bool,
    /// The bound over all lanes is reached.
    pub(super) no_more_orphans: bool,
    pub(super) aging: Duration,
    pub(super) queue_capacity: usize,
    /// There is room for one more above the lane.
    pub(super) fits: bool,
    /// In order of arrival, which is the order of the tokens.
    waiting: Vec<Waiter>,
    asleep: Vec<Waiter>,
    /// Who is not to be served yet.
    quiet: Vec<Waiter>,
    /// Who waits for a place in the queue.
    at_door: Vec<Waiter>,
    /// For whom a place is kept.
    kept: Vec<Waiter>,
    /// Of those, who is yet to be told.
    untold: Vec<Token>,
    active: Vec<Waiter>,
    /// Who gave its slot back, and is to come for another.
    away: Vec<Waiter>,
    max_parked: Option<usize>,
    /// Somebody is counted who has not left yet.
    pub(super) leaving: bool,
    orphans: Vec<Token>,
    dispatched: u64,
}

fn take(from: &mut Vec<Waiter>, token: Token) -> Option<Waiter> {
    let at = from.iter().position(|waiter| waiter.token == token)?;
    Some(from.remove(at))
}

/// Whoever has waited for longest.
fn first<'a>(waiters: impl Iterator<Item = &'a Waiter>) -> Option<Token> {
    let first = waiters.min_by_key(|waiter| (waiter.since, waiter.seq));
    first.map(|waiter| waiter.token)
}

impl Comer {
    const fn waiter(&self, since: Time) -> Waiter {
        Waiter {
            token: self.token,
            priority: self.priority,
            since,
            seq: self.seq,
            keeps: false,
            first: false,
            stands_in: false,
        }
    }
}

impl Waiter {
    /// As what it competes: the less, the sooner.
    pub(super) fn rank(&self, now: Time, aging: Duration) -> u8 {
        match self.priority {
            Priority::Foreground => 0,
            Priority::Background if self.since + aging > now => 2,
            _ => 1,
        }
    }
}

impl Model {
    pub(super) const fn new(
        max_concurrent: usize,
        max_orphans: Option<usize>,
        aging: Duration,
        queue_capacity: usize,
        max_parked: Option<usize>,
    ) -> Self {
        Self {
            max_concurrent,
            max_orphans,
            paused: false,
            resumes_at: None,
            door: Door::Open,
            closed: false,
            holding: false,
            by_force: false,
            no_more_orphans: false,
            aging,
            queue_capacity,
            fits: true,
            waiting: Vec::new(),
            at_door: Vec::new(),
            quiet: Vec::new(),
            kept: Vec::new(),
            untold: Vec::new(),
            asleep: Vec::new(),
            active: Vec::new(),
            away: Vec::new(),
            max_parked,
            leaving: false,
            orphans: Vec::new(),
            dispatched: 0,
        }
    }

    pub(super) const fn active(&self) -> usize {
        self.active.len()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = Token> {
        self.active.iter().map(|waiter| waiter.token)
    }

    /// Tasks that wait, in the queue or at the door.
    pub(super) fn queued(&self) -> usize {
        self.waiting.len() + self.tasks_at_door().count()
    }

    /// Those tasks, one by one.
    pub(super) fn tasks_that_wait(&self) -> impl Iterator<Item = &Waiter> {
        self.waiting.iter().chain(self.tasks_at_door())
    }

    /// Whoever waits, wherever: in the queue, at the door, asleep or put off.
    pub(super) fn waiters(&self) -> impl Iterator<Item = Token> {
        let lists = [&self.waiting, &self.at_door, &self.asleep, &self.quiet];
        lists.into_iter().flatten().map(|waiter| waiter.token)
    }

    pub(super) fn waits(&self, token: Token) -> bool {
        self.waiters().any(|waiter| waiter == token)
    }

    /// For whom a place is kept.
    pub(super) fn keepers(&self) -> impl Iterator<Item = Token> {
        self.kept.iter().map(|waiter| waiter.token)
    }

    /// Whoever lost a slot or a place that nobody came for.
    pub(super) fn sleepers(&self) -> impl Iterator<Item = Token> {
        self.asleep.iter().map(|waiter| waiter.token)
    }

    /// Whoever is put off.
    pub(super) fn put_off_tasks(&self) -> impl Iterator<Item = Token> {
        self.quiet.iter().map(|waiter| waiter.token)
    }

    pub(super) const fn in_queue(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn tasks_at_door(&self) -> impl Iterator<Item = &Waiter> {
        self.at_door.iter().filter(|waiter| !waiter.keeps)
    }

    pub(super) fn is_at_door(&self, token: Token) -> bool {
        self.at_door.iter().any(|waiter| waiter.token == token)
    }

    pub(super) const fn kept(&self) -> usize {
        self.kept.len()
    }

    const fn has_place(&self) -> bool {
        self.waiting.len() + self.kept.len() < self.queue_capacity
    }

    pub(super) const fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// How many orphans it may have (S10).
    pub(super) fn bound(&self) -> usize {
        self.max_orphans
            .unwrap_or_else(|| self.max_concurrent.max(1))
    }

    /// Whether one more slot may be taken (S10).
    pub(super) fn has_room(&self) -> bool {
        let room = self.orphans.len() < self.bound() && !self.no_more_orphans;
        self.door == Door::Shutdown || room
    }

    /// Nobody waits, not even outside the queue.
    pub(super) const fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
            && self.asleep.is_empty()
            && self.at_door.is_empty()
            && self.quiet.is_empty()
    }

    /// Nobody waits for a slot that it has not had before.
    pub(super) fn nobody_new_waits(&self) -> bool {
        let mut all = self.waiting.iter().chain(&self.asleep);
        all.all(|waiter| waiter.stands_in) && self.at_door.is_empty() && self.quiet.is_empty()
    }

    /// It has settled everybody who waited, and takes nobody new.
    pub(super) const fn is_over(&self) -> bool {
        matches!(
            self.door,
            Door::Shutdown | Door::Draining { over: true, .. }
        )
    }

    /// S5: there is nobody who could have a slot and has none.
    pub(super) fn is_served(&self) -> bool {
        let slots = self.holding || !self.has_free_slot() || self.queued() == 0;
        slots && !self.is_held_up_at_the_door()
    }

    /// A place is free, and somebody is at the door.
    pub(super) const fn is_held_up_at_the_door(&self) -> bool {
        self.has_place() && !self.at_door.is_empty()
    }

    pub(super) const fn has_free_slot(&self) -> bool {
        !self.paused && self.active.len() < self.max_concurrent
    }

    /// Nothing but those who have them keeps one more from a slot of the lane.
    pub(super) const fn is_full(&self) -> bool {
        let slots = self.max_concurrent;
        !self.paused && slots > 0 && self.active.len() >= slots
    }

    /// Whether one who comes has a slot without overtaking anybody.
    fn finds_slot(&self) -> bool {
        self.has_free_slot() && self.fits && self.queued() == 0 && !self.holding
    }

    /// Waiters of its priority or a more urgent one.
    pub(super) fn ahead(&self, priority: Priority) -> usize {
        let ahead = |waiter: &&Waiter| waiter.first || waiter.priority <= priority;
        self.waiting.iter().filter(ahead).count()
    }

    /// A task comes: whether it must have a slot at once, or be refused.
    pub(super) fn arrive(&mut self, now: Time, comer: &Comer) -> Result<bool, Refused> {
        let entry = comer.entry;
        self.admits(entry)?;
        let free = self.finds_slot();
        if entry.at_once && !free {
            let holder = None;
            return Err(Refused::NoSlot { holder });
        }
        let full = !free && !self.has_place();
        if full && entry.if_full == IfFull::Refuse {
            return Err(self.full());
        }
        let list = match (free, full, entry.if_full) {
            (true, ..) => &mut self.active,
            (_, true, IfFull::Wait) => &mut self.at_door,
            _ => &mut self.waiting,
        };
        list.push(comer.waiter(now.before(entry.waited)));
        Ok(free)
    }

    /// A task comes in the place of others.
    pub(super) fn arrive_instead(
        &mut self,
        now: Time,
        mut comer: Comer,
        older: &[Token],
    ) -> Result<bool, Refused> {
        self.admits(comer.entry)?;
        let is_older = |waiter: &&Waiter| older.contains(&waiter.token);
        let held = self.active.iter().any(|holder| is_older(&holder));
        // One that gave its slot back has its place in line all the same.
        let lists = [
            &self.waiting,
            &self.asleep,
            &self.at_door,
            &self.quiet,
            &self.away,
        ];
        let waiters = lists.into_iter().flatten().filter(is_older);
        let waiters: Vec<Waiter> = waiters.copied().collect();
        let away = |waiter: &Waiter| self.away.iter().any(|w| w.token == waiter.token);
        let first = held || waiters.iter().any(|waiter| waiter.first && !away(waiter));
        let beyond_the_door = |waiter: &Waiter| !self.is_at_door(waiter.token);
        if first || waiters.iter().any(beyond_the_door) {
            comer.entry.if_full = IfFull::Enter;
        }
        let before = self.clone();
        for list in [
            &mut self.waiting,
            &mut self.asleep,
            &mut self.at_door,
            &mut self.quiet,
        ] {
            list.retain(|waiter| !is_older(&waiter));
        }
        let came = self.arrive(now, &comer);
        if came.is_err() {
            *self = before;
        }
        let lists = [&mut self.waiting, &mut self.at_door, &mut self.active];
        let newer = lists.into_iter().flatten().find(|w| w.token == comer.token);
        if let Some(newer) = newer {
            newer.first = first;
            for waiter in waiters.iter().filter(|_| !first) {
                let away = self.away.iter().any(|w| w.token == waiter.token);
                let (since, seq) = if away {
                    (waiter.since.before(Duration::from_nanos(1)), newer.seq)
                } else {
                    (waiter.since, waiter.seq)
                };
                (newer.since, newer.seq) = (newer.since, newer.seq).min((since, seq));
            }
        }
        self.let_in();
        came
    }

    pub(super) fn since(&self, token: Token) -> Option<Time> {
        let lists = [&self.waiting, &self.at_door, &self.active];
        let found = lists.into_iter().flatten().find(|w| w.token == token);
        found.map(|waiter| waiter.since)
    }

    /// A task comes that is put off.
    pub(super) fn put_off(&mut self, now: Time, comer: &Comer) -> Result<(), Refused> {
        self.admits(comer.entry)?;
        if !self.finds_slot() && !self.has_place() {
            return Err(self.full());
        }
        let since = now.before(comer.entry.waited);
        self.quiet.push(comer.waiter(since));
        Ok(())
    }

    /// It leaves the queue to be put off once more. Says whether it was there.
    pub(super) fn put_off_again(&mut self, token: Token) -> bool {
        let is_it = |waiter: &Waiter| waiter.token == token && !waiter.stands_in;
        let queued = self.waiting.iter().any(is_it);
        if queued {
            self.quiet.extend(take(&mut self.waiting, token));
            self.let_in();
        }
        queued
    }

    pub(super) const fn away(&self) -> usize {
        self.away.len() + self.leaving as usize
    }

    /// Whether one more may give its slot back; else how many may.
    pub(super) fn may_leave(&self) -> Result<(), usize> {
        match self.max_parked {
            Some(most) if self.away.len() >= most => Err(most),
            _ => Ok(()),
        }
    }

    /// It gives its slot back for a while.
    pub(super) fn leave(&mut self, token: Token) {
        self.away.extend(take(&mut self.active, token));
    }

    /// Somebody comes for a slot for it, where it was in line: whether one is
    /// free.
    pub(super) fn send_back(
        &mut self,
        now: Time,
        token: Token,
        priority: Priority,
        of: Token,
    ) -> Result<bool, Refused> {
        if self.door == Door::Shutdown {
            return Err(Refused::Shutdown);
        }
        let task = self.away.iter().find(|waiter| waiter.token == of);
        let task = task.expect("it is away");
        let (since, seq) = (task.since, task.seq).min((now, token.into()));
        let free = self.has_free_slot() && self.queued() == 0 && !self.holding;
        let list = if free {
            &mut self.active
        } else {
            &mut self.waiting
        };
        list.push(Waiter {
            token,
            priority,
            since,
            seq,
            keeps: false,
            first: false,
            stands_in: true,
        });
        Ok(free)
    }

    /// It has its slot from somebody who came for it.
    pub(super) fn hand_over(&mut self, to: Token, stand_in: Token) {
        take(&mut self.active, stand_in).expect("S2: it held a slot");
        self.active.extend(take(&mut self.away, to));
    }

    pub(super) fn is_idle(&self) -> bool {
        let left = self.door != Door::Shutdown || self.away.is_empty();
        self.active() == 0 && self.queued() == 0 && self.quiet.is_empty() && left
    }

    /// Somebody comes for a place: whether it must have one at once.
    pub(super) fn arrive_for_a_place(&mut self, now: Time, comer: &Comer) -> Result<bool, Refused> {
        self.admits(comer.entry)?;
        let free = self.has_place();
        if !free && (comer.entry.if_full == IfFull::Refuse || self.queue_capacity == 0) {
            return Err(self.full());
        }
        let list = if free {
            self.untold.push(comer.token);
            &mut self.kept
        } else {
            &mut self.at_door
        };
        list.push(Waiter {
            keeps: true,
            ..comer.waiter(now)
        });
        Ok(free)
    }

    fn admits(&self, entry: Entry) -> Result<(), Refused> {
        match self.door {
            Door::Shutdown => Err(Refused::Shutdown),
            _ if entry.part => Ok(()),
            _ if self.closed => Err(Refused::Closed),
            Door::Draining {
                admit_descendants,
                over,
                ..
            } => {
                let admit_descendants = admit_descendants && !over;
                if admit_descendants && entry.descendant {
                    Ok(())
                } else {
                    Err(Refused::Draining { admit_descendants })
                }
            }
            Door::Open => Ok(()),
        }
    }

    const fn full(&self) -> Refused {
        Refused::QueueFull {
            capacity: self.queue_capacity,
            queued: self.waiting.len() + self.kept.len(),
        }
    }

    /// Whoever has been at the door for longest comes in as soon as there is a
    /// place.
    pub(super) fn let_in(&mut self) {
        while self.has_place()
            && let Some(first) = first(self.at_door.iter())
            && let Some(first) = take(&mut self.at_door, first)
        {
            if first.keeps {
                self.untold.push(first.token);
                self.kept.push(first);
            } else {
                self.waiting.push(first);
            }
        }
    }

    /// It becomes more urgent. Says whether it was less so.
    pub(super) fn raise(&mut self, token: Token, priority: Priority) -> bool {
        let lists = [
            &mut self.waiting,
            &mut self.at_door,
            &mut self.asleep,
            &mut self.quiet,
        ];
        let waiter = lists.into_iter().flatten().find(|w| w.token == token);
        let waiter = waiter.filter(|waiter| waiter.priority > priority);
        waiter.map(|waiter| waiter.priority = priority).is_some()
    }

    /// The slot of one is that of another from now on.
    pub(super) fn rename(&mut self, from: Token, to: Token) {
        for holder in self.active.iter_mut().filter(|w| w.token == from) {
            holder.token = to;
        }
    }

    /// A kept place is used.
    pub(super) fn spend(&mut self, token: Token) {
        take(&mut self.kept, token);
    }

    /// Whoever is told that a place is kept for it has one.
    fn told(&mut self, token: Token) {
        let at = self.untold.iter().position(|untold| *untold == token);
        self.untold
            .remove(at.expect("S6: a place that was another's"));
    }

    /// S5 at the door: nobody has a place and was not told.
    pub(super) fn check_told(&self) {
        assert!(
            self.untold.is_empty(),
            "S5: a place that nobody was told of: {:?}",
            self.untold
        );
    }

    /// Whether it comes again for a place where none is kept any more, and is told so.
    pub(super) fn comes_in_vain(&self, token: Token) -> bool {
        let mut asleep = self.asleep.iter();
        self.queue_capacity == 0 && asleep.any(|waiter| waiter.token == token && waiter.keeps)
    }

    /// Somebody who lost an unclaimed slot or place is back where it was
    /// (S20); whether it is a task.
    pub(super) fn rejoin(&mut self, token: Token) -> Option<bool> {
        let back = take(&mut self.asleep, token)?;
        if back.keeps {
            self.at_door.push(back);
            self.let_in();
        } else {
            self.waiting.push(back);
        }
        Some(!back.keeps)
    }

    pub(super) fn forget(&mut self, token: Token) {
        self.orphans.retain(|orphan| *orphan != token);
    }

    /// The driver has come to this moment.
    pub(super) fn pass(&mut self, now: Time) {
        if self.resumes_at.is_some_and(|at| at <= now) {
            self.paused = false;
            self.resumes_at = None;
        }
        if let Door::Draining { deadline, over, .. } = &mut self.door
            && *deadline <= now
        {
            *over = true;
            self.holding = false;
        }
    }

    /// One event of the lane, in order.
    pub(super) fn saw(&mut self, now: Time, event: &Event) {
        match *event {
            Event::Granted(token) => {
                let at_door = first(self.tasks_at_door());
                // A slot that the queue has no use for needs no place.
                if let Some(first) = at_door
                    && self.waiting.is_empty()
                {
                    self.waiting.extend(take(&mut self.at_door, first));
                }
                let next = self.next(now).map(|waiter| waiter.token);
                assert_eq!(Some(token), next, "S6: who was served, who is next");
                assert!(self.has_free_slot(), "S1: {token} has a slot that is none");
                assert!(!self.holding, "{token} was served while a drain holds");
                self.dispatched += 1;
                self.active.extend(take(&mut self.waiting, token));
            }
            Event::Placed(token) => self.told(token),
            Event::Entered(token) => self.waiting.extend(take(&mut self.quiet, token)),
            Event::Unclaimed(token) => {
                let waiter = take(&mut self.active, token);
                let waiter = waiter.or_else(|| take(&mut self.kept, token));
                self.asleep.push(waiter.expect("S2: it held a slot"));
            }
            Event::Withdrawn(token) => {
                let waiter = take(&mut self.active, token);
                let waiter = waiter.or_else(|| take(&mut self.kept, token));
                waiter.expect("S2: it held a slot");
            }
            Event::Notice(Notice::Lapsed { task }) => self.spend(task),
            Event::Lost(token) => {
                let slot = take(&mut self.active, token);
                assert!(
                    slot.is_none() || self.by_force || self.has_room(),
                    "S10: {token} was taken past the bound"
                );
                let slot = slot.or_else(|| take(&mut self.away, token));
                slot.expect("S2: it held a slot, or was to have one again");
                self.orphans.push(token);
            }
            // Whoever has a slot or had one is let go of by its runner.
            Event::Settled(token, _) => {
                take(&mut self.waiting, token);
                take(&mut self.asleep, token);
                take(&mut self.at_door, token);
                take(&mut self.quiet, token);
                // All are settled before anybody comes in.
                if self.untold.contains(&token) {
                    self.untold.retain(|untold| *untold != token);
                    take(&mut self.kept, token);
                }
            }
            Event::Released { task, .. } => {
                take(&mut self.waiting, task);
                take(&mut self.asleep, task);
                take(&mut self.active, task);
                take(&mut self.away, task);
                take(&mut self.at_door, task);
                take(&mut self.quiet, task);
                take(&mut self.kept, task);
                self.untold.retain(|untold| *untold != task);
                self.forget(task);
            }
            _ => {}
        }
        self.let_in();
    }

    /// S17: whether a reclaim helped, `first` being whom it was followed by.
    pub(super) fn check_recovery(&self, recovery: &Recovery<Token>, first: Option<Token>) {
        match recovery {
            Recovery::Dispatched(next) => assert_eq!(Some(*next), first, "S17: who was dispatched"),
            Recovery::NobodyWaiting => {
                assert_eq!(first, None, "S17: somebody was dispatched");
                assert_eq!(self.queued(), 0, "S17: somebody waits");
            }
            Recovery::StillBlocked(by) => {
                assert_eq!(first, None, "S17: somebody was dispatched");
                assert!(self.queued() > 0, "S17: nobody waits");
                assert!(self.holding || !self.has_free_slot(), "S17: a slot is free");
                assert_eq!(*by, self.blocked_by(), "S17: what blocks");
            }
        }
    }

    pub(super) const fn blocked_by(&self) -> BlockedBy {
        if self.paused || self.max_concurrent == 0 {
            BlockedBy::Paused
        } else {
            BlockedBy::MaxConcurrent
        }
    }

    /// Whoever is served next, where there is a slot for it.
    pub(super) fn candidate(&self, now: Time) -> Option<&Waiter> {
        let at_door = || first(self.tasks_at_door());
        let waiter = |token| self.at_door.iter().find(|w| w.token == token);
        self.next(now).or_else(|| at_door().and_then(waiter))
    }

    fn next(&self, now: Time) -> Option<&Waiter> {
        let fair = (self.dispatched + 1).is_multiple_of(8);
        let rank = |waiter: &Waiter| match waiter.priority {
            _ if fair || waiter.first => 0,
            _ => waiter.rank(now, self.aging),
        };
        self.waiting.iter().min_by_key(|waiter| {
            let last_of_all = if waiter.first {
                u64::from(u32::MAX - waiter.token)
            } else {
                waiter.seq
            };
            let since = if waiter.first {
                Time::from_nanos(0)
            } else {
                waiter.since
            };
            (!waiter.first, rank(waiter), since, last_of_all)
        })
    }
}

//! What the scheduler says of itself, event by event, and whether that agrees
//! with its promises.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use laneway::{Event, EventKind, EventStream, Limit, Outcome, TaskId};

use crate::book::Verb;
use crate::sync::lock;
use crate::world::World;

/// More events than come between two looks of a thread that is late.
pub(crate) const KEPT: usize = 1 << 16;
/// A reclaim has said by then what it came to.
const VERDICT: Duration = Duration::from_secs(1);

pub(crate) struct Audit {
    stream: EventStream,
    /// Of the event that was read last.
    last: Option<(u64, Duration)>,
    /// Some were missed: who came in which order is not known any more.
    whole: bool,
    fences: HashMap<Arc<str>, u64>,
    turns: HashMap<TaskId, Turn>,
    /// Tasks that ended for a stall or a limit, and when.
    reclaimed: HashMap<TaskId, Duration>,
    /// All that was told of each task that is not over.
    trails: HashMap<TaskId, Vec<Event>>,
}

/// A task on its way through its first lane.
#[derive(Debug)]
struct Turn {
    lane: Arc<str>,
    came: u64,
    dispatched: Option<u64>,
    /// It was not served in the order in which it came, for a reason.
    moved: bool,
    settled: bool,
}

impl Audit {
    pub(crate) fn of(world: &World) -> Option<Self> {
        // From the first on: this thread may come after some tasks have.
        let stream = world.lanes()?.subscribe_from(1).ok()?;
        Some(Self {
            stream,
            last: None,
            whole: true,
            fences: HashMap::new(),
            turns: HashMap::new(),
            reclaimed: HashMap::new(),
            trails: HashMap::new(),
        })
    }

    /// All that has happened up to now.
    pub(crate) fn read(&mut self, world: &World) {
        while let Some(next) = self.stream.try_next() {
            match next {
                Ok(event) => self.note(world, event),
                Err(missed) => {
                    self.whole = false;
                    self.last = Some((missed.available_from - 1, Duration::ZERO));
                }
            }
        }
    }

    fn note(&mut self, world: &World, event: Event) {
        let proof = &world.proof;
        let follows = self.last.is_none_or(|(seq, _)| event.seq == seq + 1);
        proof.check("log", follows, || {
            format!("after {:?} came {event:?}", self.last)
        });
        self.last = Some((event.seq, event.at));
        if let EventKind::Dispatched { fence, .. } = event.kind {
            let before = self.fences.insert(Arc::clone(&event.lane), fence);
            proof.check("S11", before.is_none_or(|before| before < fence), || {
                format!("{event:?} after fence {before:?}")
            });
        }
        let Some(id) = event.task else { return };
        if let Some(trail) = self.trails.get_mut(&id) {
            trail.push(event.clone());
        }
        match event.kind {
            EventKind::Recovered { .. } | EventKind::Ineffective { .. }
                if self.reclaimed.remove(&id).is_some() =>
            {
                proof.check("S17", true, String::new);
                self.trails.remove(&id);
            }
            _ if event.part => {}
            EventKind::Queued { .. } | EventKind::AtDoor { .. } | EventKind::PutOff { .. } => {
                self.comes(id, &event);
            }
            EventKind::Dispatched { at_once, .. } => {
                if at_once {
                    self.comes(id, &event);
                }
                if let Some(turn) = self.turns.get_mut(&id) {
                    turn.dispatched.get_or_insert(event.seq);
                }
            }
            EventKind::Raised { .. } => {
                if let Some(turn) = self.turns.get_mut(&id) {
                    turn.moved = true;
                }
            }
            EventKind::Settled { ref outcome, .. } => self.ends(world, id, &event, outcome),
            _ => {}
        }
    }

    fn comes(&mut self, id: TaskId, event: &Event) {
        let turn = Turn {
            lane: Arc::clone(&event.lane),
            came: event.seq,
            dispatched: None,
            moved: !matches!(
                event.kind,
                EventKind::Queued { .. } | EventKind::Dispatched { .. }
            ),
            settled: false,
        };
        self.turns.insert(id, turn);
        self.trails.insert(id, vec![event.clone()]);
    }

    fn ends(&mut self, world: &World, id: TaskId, event: &Event, outcome: &Outcome) {
        let turn = self.turns.get_mut(&id);
        let before = turn.map(|turn| std::mem::replace(&mut turn.settled, true));
        world.proof.check("S2", before != Some(true), || {
            format!("settled before: {event:?}")
        });
        let reclaimed = match outcome {
            Outcome::Stalled { .. } => true,
            Outcome::TimedOut { limit, .. } => *limit != Limit::Wait,
            _ => false,
        };
        if reclaimed {
            self.reclaimed.insert(id, event.at);
        } else {
            self.trails.remove(&id);
        }
    }

    /// What shows only when all of it is known.
    pub(crate) fn close(mut self, world: &World) {
        self.read(world);
        let end = self.last.map_or(Duration::ZERO, |(_, at)| at);
        for (id, at) in &self.reclaimed {
            let silent = self.whole && end > *at + VERDICT && !self.was_reset(world, id);
            world.proof.check("S17", !silent, || {
                let trail = self.trails.get(id);
                format!("nobody said what the reclaim of {id} came to: {trail:#?}")
            });
        }
        if self.whole {
            self.check_order(world);
        }
    }

    /// Whoever resets a lane at its orphan bound takes what was to be reclaimed, and
    /// need not be told what that came to.
    fn was_reset(&self, world: &World, id: &TaskId) -> bool {
        let mut trail = self.trails.get(id).into_iter().flatten();
        trail.any(|event| {
            let mut books = world.books.iter();
            let book = books.find(|book| *book.traits.name == *event.lane);
            book.is_some_and(|book| book.stamps()[Verb::Reset as usize] > 0)
        })
    }

    /// S6: of those of one lane and one priority, who came first was served first.
    fn check_order(&self, world: &World) {
        let ranks = lock(&world.ranks);
        let mut lines: HashMap<_, Vec<&Turn>> = HashMap::new();
        for (id, turn) in self.turns.iter().filter(|(_, turn)| !turn.moved) {
            if let Some(rank) = ranks.get(id).filter(|_| turn.dispatched.is_some()) {
                lines.entry((&turn.lane, *rank)).or_default().push(turn);
            }
        }
        for (line, mut turns) in lines {
            turns.sort_unstable_by_key(|turn| turn.came);
            for pair in turns.windows(2) {
                let in_order = pair[0].dispatched < pair[1].dispatched;
                world.proof.check("S6", in_order, || {
                    format!("of {line:?} the second was served before the first: {pair:?}")
                });
            }
        }
    }
}

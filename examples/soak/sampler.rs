//! A thread that looks at snapshots.

use std::collections::HashMap;
use std::time::Duration;

use laneway::{BlockedBy, LaneSnapshot, LaneState};

use crate::audit::Audit;
use crate::book::Book;
use crate::sync::SeqCst;
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn sample(world: &World) {
    let mut audit = Audit::of(world);
    look_on(world, audit.as_mut());
    if let Some(audit) = audit {
        audit.close(world);
    }
}

fn look_on(world: &World, mut audit: Option<&mut Audit>) {
    let mut before: HashMap<String, Look> = HashMap::new();
    while !world.is_over() {
        std::thread::sleep(PAUSE);
        if let Some(audit) = &mut audit {
            audit.read(world);
        }
        let resizes: Vec<u64> = world.books.iter().map(|b| b.resizes.load(SeqCst)).collect();
        let Some(lanes) = world.lanes() else { return };
        let snapshot = lanes.snapshot();
        drop(lanes);
        let ending = world.ending.load(SeqCst);
        let orphans: usize = snapshot.lanes.iter().map(|lane| lane.orphans.len()).sum();
        world.proof.orphans_max.fetch_max(orphans as u64, SeqCst);
        for group in &snapshot.groups {
            let holds = group.active <= group.max_concurrent;
            world
                .proof
                .check("S1", holds, || format!("over the budget: {group:#?}"));
        }
        for lane in &snapshot.lanes {
            let mut books = world.books.iter().zip(&resizes);
            let Some((book, resizes)) = books.find(|(b, _)| b.traits.name == lane.name) else {
                continue;
            };
            // Unless somebody was at its limit meanwhile.
            let steady = resizes % 2 == 0 && book.resizes.load(SeqCst) == *resizes;
            let look = steady.then(|| Look::at(lane, *resizes));
            check(
                world,
                book,
                lane,
                before.get(&lane.name),
                look.as_ref(),
                ending,
            );
            match look {
                Some(look) => before.insert(lane.name.clone(), look),
                None => before.remove(&lane.name),
            };
        }
    }
}

#[derive(Debug)]
struct Look {
    resizes: u64,
    active: usize,
    granted: u64,
}

impl Look {
    fn at(lane: &LaneSnapshot, resizes: u64) -> Self {
        Self {
            resizes,
            active: lane.active.len(),
            granted: lane.counters.granted,
        }
    }
}

fn check(
    world: &World,
    book: &Book,
    lane: &LaneSnapshot,
    before: Option<&Look>,
    look: Option<&Look>,
    ending: bool,
) {
    let (proof, traits, max) = (&world.proof, &book.traits, lane.max_concurrent);
    let active = lane.active.len();
    if !traits.resizable {
        proof.check("S1", active <= max, || format!("over the limit: {lane:#?}"));
    } else if let (Some(before), Some(look)) = (before, look)
        && before.resizes == look.resizes
    {
        // Over a lowered limit, and never under it in between: nothing may
        // have been granted. Once within it, it stays there.
        let granted = look.granted - before.granted;
        let holds = active <= max || before.active > max && granted == 0;
        proof.check("S1", holds, || {
            format!("over a limit that stands: {before:?}, then {lane:#?}")
        });
    }
    // A reset takes past every bound, and so does the end.
    if !traits.resettable && !ending {
        proof.check("S10", lane.orphans.len() <= lane.max_orphans, || {
            format!("over the orphan bound: {lane:#?}")
        });
    }
    if lane.state == LaneState::Open && lane.blocked_by == Some(BlockedBy::MaxConcurrent) {
        proof.check("S5", active >= max, || {
            format!("a waiter and a free slot: {lane:#?}")
        });
    }
}

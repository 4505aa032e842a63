//! What is tried: lanes, perhaps in groups, tasks that nest in them, and somebody
//! who changes the number of slots meanwhile.

use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const LANES: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) slots: [usize; LANES],
    pub(crate) groups: Vec<Group>,
    pub(crate) tasks: Vec<Nest>,
    /// After how many milliseconds a lane has how many slots.
    pub(crate) changes: Vec<(u64, usize, usize)>,
}

/// Lanes in a row, from one on.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) from: usize,
    pub(crate) lanes: usize,
    pub(crate) budget: usize,
    /// For its first lane.
    pub(crate) reserved: usize,
}

/// A task: its lane, and what it does there.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    pub(crate) lane: usize,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Sleep(u64),
    Run(Nest),
    /// Has a slot by hand, in whose scope all this happens somewhere else.
    Acquire(usize, Vec<Self>),
    Spawn(Nest),
    SpawnAndAwait(Nest),
    /// The handle is awaited some steps later.
    SpawnAndGoOn(Nest, Vec<Self>),
    /// A task of its own, which awaits its own handle after its steps.
    SpawnWithItself(Nest),
    Both(Vec<Self>, Vec<Self>),
    /// In a part of the task, which is awaited.
    Part(Vec<Self>),
    /// For so long at the most.
    GiveUp(u64, Nest),
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let slots = [1..=2_usize, 1..=3, 1..=2, 1..=3];
    let changes = vec((0..40_u64, 0..LANES, 1..=3_usize), 0..4);
    (slots, groups(), vec(nest(), 1..7), changes).prop_map(|(slots, groups, tasks, changes)| Case {
        slots,
        groups,
        tasks,
        changes,
    })
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = |from| {
        (1..=2_usize, 1..=3_usize, 0..=1_usize).prop_map(move |(lanes, budget, reserved)| Group {
            from,
            lanes,
            budget,
            // Something is left for the others.
            reserved: reserved.min(budget - 1),
        })
    };
    prop_oneof![
        2 => Just(Vec::new()),
        2 => group(0).prop_map(|group| vec![group]),
        1 => (group(0), group(2)).prop_map(|(one, other)| vec![one, other]),
    ]
}

fn nest() -> impl Strategy<Value = Nest> {
    (0..LANES, steps()).prop_map(|(lane, steps)| Nest { lane, steps })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = (1..20_u64).prop_map(Step::Sleep);
    let step = leaf.prop_recursive(4, 24, 3, |step| {
        let steps = vec(step, 0..3);
        let nest = (0..LANES, steps.clone()).prop_map(|(lane, steps)| Nest { lane, steps });
        prop_oneof![
            4 => nest.clone().prop_map(Step::Run),
            1 => (0..LANES, steps.clone()).prop_map(|(lane, steps)| Step::Acquire(lane, steps)),
            1 => nest.clone().prop_map(Step::Spawn),
            2 => nest.clone().prop_map(Step::SpawnAndAwait),
            2 => (nest.clone(), steps.clone()).prop_map(|(nest, steps)| Step::SpawnAndGoOn(nest, steps)),
            1 => nest.clone().prop_map(Step::SpawnWithItself),
            2 => (steps.clone(), steps.clone()).prop_map(|(one, other)| Step::Both(one, other)),
            1 => steps.prop_map(Step::Part),
            1 => (1..20_u64, nest).prop_map(|(limit, nest)| Step::GiveUp(limit, nest)),
        ]
    });
    vec(step, 1..4)
}

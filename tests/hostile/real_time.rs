//! The same mixtures on many threads, in real time: nothing here measures it,
//! and whatever never comes to be is a test that hangs.

use laneway::testing::{Expected, Hostile};
use laneway::{LaneConfig, TaskBuilder, Timeout};
use tokio::runtime::{Builder, Runtime};

use crate::common::{SHORT, until};
use crate::kinds::assert_as_before;
use crate::mixtures::{Fleet, judge, nest, priority};
use crate::proof::{Dice, prove};

pub(crate) fn threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

/// Limits as short as a test needs that waits for them.
pub(crate) fn short(slots: usize) -> LaneConfig {
    LaneConfig::new(slots)
        .stall_ceiling(SHORT)
        .timeout(Timeout::grace(SHORT / 5))
        .teardown(SHORT / 5)
        .max_orphans(1000)
}

/// Who is well has no limit here, so that a starved machine cannot make it
/// look ill.
pub(crate) fn limited(kind: Hostile, task: TaskBuilder<'_>) -> TaskBuilder<'_> {
    match kind.expected() {
        Expected::Value | Expected::Panicked => task.no_stall_ceiling(),
        Expected::Endless => task.no_stall_ceiling().timeout(Timeout::budget(SHORT)),
        _ => task,
    }
}

#[test]
fn s4_s7_s8_a_mixture_on_many_threads_harms_nobody_who_is_well() {
    let test = "s4_s7_s8_a_mixture_on_many_threads_harms_nobody_who_is_well";
    prove(test, 4, |seed| {
        let mut dice = Dice::new(seed);
        let tasks = 8 + dice.index(16);
        threads().block_on(mixture(&mut dice, tasks));
        tasks
    });
}

async fn mixture(dice: &mut Dice, tasks: usize) {
    let fleet = Fleet::new(dice, short);
    let (mut trials, mut nested, mut siblings) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..tasks {
        let kind = Hostile::ALL[dice.index(Hostile::ALL.len())];
        if kind.is_healthy() && dice.below(2) == 0 {
            let outer = fleet.all[0].task().no_stall_ceiling();
            nested.push(nest(kind, outer, fleet.all[2].clone(), false));
            continue;
        }
        let task = fleet.any(dice).task().priority(priority(dice));
        trials.push(kind.submit(limited(kind, task)));
        let sibling = fleet.any(dice).task().no_stall_ceiling();
        siblings.push(sibling.spawn(async move |_| {
            tokio::task::yield_now().await;
            number
        }));
    }
    until(|| fleet.is_idle()).await;
    for lane in &fleet.all {
        let later = lane.task().no_stall_ceiling();
        assert_eq!(later.run(async |_| 7).await.unwrap(), 7);
    }
    for trial in &mut trials {
        trial.release();
    }
    judge(&mut trials, nested).await;
    for sibling in siblings {
        assert!(sibling.await.unwrap() < tasks);
    }
    let forgotten = [Hostile::Leaked, Hostile::ForgottenSlot];
    let forgotten = trials
        .iter()
        .filter(|trial| forgotten.contains(&trial.kind()));
    let forgotten = forgotten.count();
    drop(trials);
    until(|| fleet.orphans() == forgotten).await;
    for lane in &fleet.all {
        assert_as_before(&fleet.lanes, lane, true).await;
    }
}

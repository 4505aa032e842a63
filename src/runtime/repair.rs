//! Checking the scheduler's own books, and mending them.

use super::cell::TaskCell;
use super::domain::Domain;
use super::log;
use super::sequel::Staged;
use super::shared::Shared;
use crate::engine::Drift;
use crate::repair::{RepairReport, Repaired};
use crate::snapshot::LaneSnapshot;
use crate::sync::Arc;

/// A waiter could have had a slot: says so, with all there is to say of the
/// lane, and serves it.
pub(super) fn overlooked(domain: &Arc<Domain>, task: &TaskCell) {
    let lane = LaneSnapshot::of(domain);
    let now = domain.now();
    domain.act(|engine, effects| engine.mend(now, effects));
    log::overlooked(domain, task, &lane);
}

/// Checks all lanes and groups and mends them; see
/// [`Lanes::repair`](crate::Lanes::repair).
pub(crate) fn repair(shared: &Arc<Shared>) -> RepairReport {
    // What is set anew owes slots that it gives only at its end.
    let turn = shared.reconfiguring.lock();
    let mut books = Books::default();
    let mut groups = Vec::new();
    for group in shared.groups() {
        let tell = |lane: Arc<Domain>, findings| books.note(lane, findings);
        let findings = group.audit(tell);
        let name = group.name.to_string();
        groups.push(Repaired { name, findings });
    }
    let mut staged = Vec::new();
    // Kept until the turn is over: the last user of a lane that retires wakes readers.
    let lanes = shared.all();
    for lane in &lanes {
        let now = lane.now();
        let (findings, sequel) = lane.stage(|engine, effects| engine.audit(now, effects));
        books.note(Arc::clone(lane), findings);
        staged.push(sequel);
    }
    drop(turn);
    // Between two inputs nobody is owed anything, so whoever is served was
    // overlooked.
    let mut served = Vec::new();
    for staged in &staged {
        staged.served(&mut served);
    }
    for lane in served {
        books.served(lane);
    }
    staged.into_iter().for_each(Staged::carry_out);
    groups.retain(|group| !group.findings.is_empty());
    let report = RepairReport {
        lanes: books.settle(),
        groups,
    };
    log::repaired(&report);
    report
}

/// What was found of each lane.
#[derive(Default)]
struct Books(Vec<(Arc<Domain>, Vec<Drift>, usize)>);

impl Books {
    fn of(&mut self, lane: Arc<Domain>) -> &mut (Arc<Domain>, Vec<Drift>, usize) {
        let known = self
            .0
            .iter()
            .position(|(known, ..)| Arc::ptr_eq(known, &lane));
        let at = known.unwrap_or_else(|| {
            self.0.push((lane, Vec::new(), 0));
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    fn note(&mut self, lane: Arc<Domain>, findings: Vec<Drift>) {
        if !findings.is_empty() {
            self.of(lane).1.extend(findings);
        }
    }

    fn served(&mut self, lane: Arc<Domain>) {
        self.of(lane).2 += 1;
    }

    /// Counts what was found, where it was.
    fn settle(mut self) -> Vec<Repaired> {
        self.0.sort_by_key(|(lane, ..)| lane.serial);
        let settle = |(lane, mut findings, dispatched): (Arc<Domain>, Vec<Drift>, usize)| {
            if dispatched > 0 {
                findings.push(Drift::Overlooked { dispatched });
            }
            lane.act(|engine, _| engine.note_repaired(findings.len()));
            let name = lane.name.to_string();
            Repaired { name, findings }
        };
        self.0.into_iter().map(settle).collect()
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
#[path = "../../tests/beside/mod.rs"]
mod beside;

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::engine::{Counted, Fault, GroupFault, Key};
    use crate::sync::Mutex;
    use crate::{GroupConfig, Lane, LaneConfig, Lanes, TaskHandle, TaskStatus};

    const MINUTE: Duration = Duration::from_secs(60);

    fn one_lane() -> (Lanes, Lane) {
        let lanes = Lanes::builder().lane("main", LaneConfig::new(1).no_stall_ceiling());
        let lanes = lanes.build().unwrap();
        let main = lanes.lane("main").unwrap();
        (lanes, main)
    }

    fn plant(lane: &Lane, fault: Fault) {
        lane.domain.act(|engine, _| engine.plant(fault));
    }

    fn holder(lane: &Lane) -> Key {
        lane.domain.read(|engine| engine.holders()[0])
    }

    fn repaired(lane: &Lane) -> u64 {
        lane.snapshot().counters.repaired
    }

    /// Nothing moves it by itself.
    async fn is_wedged(waiter: &TaskHandle<()>) {
        tokio::time::sleep(MINUTE * 60).await;
        assert_eq!(waiter.status(), TaskStatus::Queued);
    }

    #[tokio::test(start_paused = true)]
    async fn s5_a_slot_that_is_nobodys_is_given_to_whoever_waits() {
        let (lanes, main) = one_lane();
        let slot = main.acquire().await.unwrap();
        let waiter = main.spawn(async |_| ());
        plant(&main, Fault::LeakedSlot);
        drop(slot);
        is_wedged(&waiter).await;
        let report = lanes.repair();
        let expected = "lane main: 1 active in the books, 0 in truth; \
                        1 overlooked, and dispatched now";
        assert_eq!(report.to_string(), expected);
        waiter.await.unwrap();
        assert_eq!(repaired(&main), 2);
        let report = lanes.repair();
        assert!(report.is_empty());
        assert_eq!(report.to_string(), "nothing to repair");
        assert_eq!(repaired(&main), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn s7_a_waiter_that_fell_out_of_the_queue_is_back_at_its_place() {
        let (lanes, main) = one_lane();
        let slot = main.acquire().await.unwrap();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let [lost, behind] = ["lost", "behind"].map(|name| {
            let ran = Arc::clone(&ran);
            main.spawn(async move |_| ran.lock().push(name))
        });
        plant(&main, Fault::Lost(lost.id().key));
        let report = lanes.repair();
        let found = &report.lanes[0].findings;
        assert_eq!(found[..], [Drift::miscounted(Counted::Queued, 1, 2)]);
        drop(slot);
        lost.await.unwrap();
        behind.await.unwrap();
        assert_eq!(*ran.lock(), ["lost", "behind"], "S6");
    }

    #[tokio::test(start_paused = true)]
    async fn s7_somebody_who_awaits_an_idle_lane_is_told_that_it_is() {
        let (lanes, main) = one_lane();
        plant(&main, Fault::LeakedSlot);
        let idle = tokio::spawn({
            let main = main.clone();
            async move { main.idle().await }
        });
        tokio::time::sleep(MINUTE).await;
        assert!(!idle.is_finished());
        assert!(!lanes.repair().is_empty());
        idle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn s1_s5_a_budget_that_is_nobodys_is_given_to_whoever_waits() {
        let config = LaneConfig::new(1).no_stall_ceiling();
        let group = GroupConfig::new(1).member("a").member("b");
        let lanes = Lanes::builder().lane("a", config.clone()).lane("b", config);
        let lanes = lanes.group("shared", group).build().unwrap();
        let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
        let cell = a.domain.group().unwrap();
        cell.plant(GroupFault::Used(1));
        let waiters = [&a, &b].map(|lane| lane.spawn(async |_| ()));
        is_wedged(&waiters[0]).await;
        let report = lanes.repair();
        let expected = "lane a: 1 overlooked, and dispatched now\n\
                        group shared: 1 charged to the group in the books, 0 in truth";
        assert_eq!(report.to_string(), expected);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!((repaired(&a), repaired(&b)), (1, 0));
        assert!(lanes.repair().is_empty());
    }

    /// What is said to `tracing` on this thread, as text.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Said {
        fn errors(&self) -> Vec<String> {
            let said = std::mem::take(&mut *self.0.lock());
            let said = String::from_utf8(said).unwrap();
            let errors = said.lines().filter(|line| line.contains("ERROR"));
            errors.map(str::to_owned).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s5_whoever_was_overlooked_is_dispatched_on_a_tick_and_that_is_an_error() {
        beside::others_listen();
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _tapped = tracing::subscriber::set_default(subscriber);
        let (lanes, main) = one_lane();
        let _slot = main.task().name("through").acquire().await.unwrap();
        let waiter = main.task().name("turn 17").spawn(async |_| ());
        let id = waiter.id().to_string();
        plant(&main, Fault::Unserved(holder(&main)));
        let waited = tokio::time::timeout(MINUTE, waiter).await;
        waited.unwrap().unwrap();
        assert_eq!(repaired(&main), 1);
        let errors = said.errors();
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        // The lane as it was found, and not as it was left.
        for part in [
            "overlooked waiter",
            &id,
            "active: []",
            "queued: [TaskSnapshot",
            "turn 17",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        // And so is what a repair finds.
        plant(&main, Fault::Orphans(1));
        assert!(!lanes.repair().is_empty());
        let errors = said.errors();
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        for part in ["lane repaired", "main: 1 orphans in the books, 0 in truth"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    /// Lanes that are set anew owe slots for a moment, and that is no fault.
    #[tokio::test(start_paused = true)]
    async fn s5_nobody_is_overlooked_while_lanes_are_set_anew() {
        let (_lanes, main) = one_lane();
        let _slot = main.acquire().await.unwrap();
        let waiter = main.spawn(async |_| ());
        plant(&main, Fault::Unserved(holder(&main)));
        {
            let _turn = main.domain.shared.reconfiguring.lock();
            main.domain.fire();
        }
        assert_eq!(waiter.status(), TaskStatus::Queued);
        assert_eq!(repaired(&main), 0);
        main.domain.fire();
        waiter.await.unwrap();
        assert_eq!(repaired(&main), 1);
    }
}

//! Faults of the engine's own: whether they are found, what is made of them,
//! and that nothing is found where there are none. The trials look after every
//! operation, too.

use super::sim::{DETACHED, Event, PRESENT, Sim, Token, millis, plain, secs, settings};
use crate::engine::queue::Standing;
use crate::engine::{
    Accepted, Counted, Drift, Effect, Effects, Entry, Fault, Group, GroupFault, IfFull, Lane,
    Priority, Settings, Spec, State, Time,
};

const WAITS: Entry = Entry {
    if_full: IfFull::Wait,
    ..PRESENT
};

/// A lane with some of everything.
struct Scene {
    sim: Sim,
    holders: [Token; 2],
    queued: [Token; 2],
    at_door: Token,
}

fn scene() -> Scene {
    let mut sim = Sim::with(Settings {
        queue_capacity: 3,
        ..settings(2)
    });
    // An orphan, one that is parked without its slot, and one that is put off.
    let orphan = sim.submit(plain());
    sim.task(orphan).comes = false;
    sim.reset();
    let away = sim.submit(plain());
    sim.lane.may_leave().expect("no bound");
    assert!(sim.park(away, sim.now + secs(3_600), true));
    sim.put_off(plain(), PRESENT, secs(1_800)).expect("room");
    let holders = [(); 2].map(|()| sim.submit(plain()));
    let background = Spec {
        priority: Priority::Background,
        ..plain()
    };
    let queued = [sim.submit(background), sim.submit(plain())];
    sim.reserve(plain(), PRESENT).expect("a place is left");
    let at_door = sim.enter(plain(), WAITS).expect("it waits");
    sim.reserve(
        plain(),
        Entry {
            present: false,
            ..WAITS
        },
    )
    .expect("it waits");
    let lane = &sim.lane;
    let counts = (lane.active(), lane.waiters(), lane.kept(), lane.at_door());
    assert_eq!(counts, (2, 3, 1, 1));
    assert_eq!((lane.orphans(), lane.parked(), lane.quiet), (1, 1, 1));
    sim.events();
    Scene {
        sim,
        holders,
        queued,
        at_door,
    }
}

impl Scene {
    fn audit(&mut self) -> Vec<Drift> {
        let mut found = Vec::new();
        // Afterwards it checks what always holds.
        self.sim
            .say(|lane, now, effects| found = lane.audit(now, effects));
        found
    }

    /// Everybody who has a slot comes to an end, and whoever is served then.
    fn run_out(&mut self) -> Vec<Token> {
        let mut served = Vec::new();
        while let Some(holder) = self.sim.holders().into_iter().min() {
            self.sim.complete(holder);
            served.extend(
                self.sim
                    .events()
                    .into_iter()
                    .filter_map(|event| match event {
                        Event::Granted(token) => Some(token),
                        _ => None,
                    }),
            );
        }
        served
    }
}

#[test]
fn of_a_healthy_lane_nothing_is_found_and_nothing_is_changed() {
    let mut scene = scene();
    assert_eq!(scene.audit(), []);
    assert_eq!(scene.sim.events(), []);
    let [background, normal] = scene.queued;
    assert_eq!(scene.run_out(), [normal, scene.at_door, background]);
}

#[test]
fn s4_every_fault_is_found_and_mended_and_nobody_loses_its_place() {
    let [holder, other] = scene().holders.map(|token| scene().sim.key(token));
    let [background, normal] = scene().queued.map(|token| scene().sim.key(token));
    let at_door = scene().sim.key(scene().at_door);
    let healthy = scene().run_out();
    let cases = [
        (Fault::LeakedSlot, Counted::Active, 3, 2),
        (Fault::Uncounted(holder), Counted::Active, 1, 2),
        (Fault::Uncounted(other), Counted::Active, 1, 2),
        (Fault::Mistaken(holder), Counted::Active, 2, 2),
        (Fault::Lost(background), Counted::Queued, 1, 2),
        (Fault::Lost(normal), Counted::Queued, 1, 2),
        (Fault::Lingers(holder), Counted::Queued, 3, 2),
        (Fault::Lost(at_door), Counted::AtDoor, 1, 2),
        (Fault::LingersAtDoor(holder), Counted::AtDoor, 3, 2),
        (Fault::Reserved(1), Counted::Reserved, 2, 1),
        (Fault::Reserved(-1), Counted::Reserved, 0, 1),
        (Fault::Quiet(1), Counted::Quiet, 2, 1),
        (Fault::Quiet(-1), Counted::Quiet, 0, 1),
        (Fault::Parked(-1), Counted::Parked, 0, 1),
        (Fault::Orphans(1), Counted::Orphans, 2, 1),
        (Fault::Orphans(-1), Counted::Orphans, 0, 1),
    ];
    for (fault, what, counted, found) in cases {
        let mut scene = scene();
        scene.sim.lane.plant(fault);
        let expected = Drift::miscounted(what, counted, found);
        assert_eq!(scene.audit(), [expected], "{fault:?}");
        assert_eq!(scene.sim.events(), [], "{fault:?}");
        assert_eq!(scene.audit(), [], "{fault:?}: once");
        let stands = scene.sim.lane.record(holder).map(|record| record.standing);
        assert_eq!(stands, Some(Standing::Absent), "{fault:?}");
        assert_eq!(scene.run_out(), healthy, "S6: {fault:?}");
    }
}

#[test]
fn s6_a_queue_that_was_made_anew_is_in_the_order_of_arrival_and_fair() {
    let of = |priority| Spec {
        priority,
        ..plain()
    };
    let mut sim = Sim::new(1);
    let tasks = sim.submit_many(7, &plain());
    for task in tasks {
        sim.complete(task);
    }
    // So six were dispatched; the oldest goes with the one after the next.
    let holder = sim.submit(plain());
    let gone = sim.submit(plain());
    let background = sim.submit(of(Priority::Background));
    let normal = sim.submit(plain());
    sim.drop_it(gone);
    let urgent = [(); 2].map(|()| sim.submit(of(Priority::Foreground)));
    sim.lane.plant(Fault::Lost(sim.key(normal)));
    let mut found = Vec::new();
    sim.say(|lane, now, effects| found = lane.audit(now, effects));
    assert_eq!(found, [Drift::miscounted(Counted::Queued, 3, 4)]);
    // Nobody had to be put where it is not looked for at first.
    assert_eq!(sim.lane.queue.footprint(), 0);
    sim.events();
    sim.complete(holder);
    let mut order = Vec::new();
    while let Some(&holder) = sim.holders().first() {
        order.push(holder);
        sim.complete(holder);
    }
    assert_eq!(order, [urgent[0], background, urgent[1], normal]);
}

#[test]
fn several_faults_are_found_at_once() {
    let mut scene = scene();
    let [background, normal] = scene.queued.map(|token| scene.sim.key(token));
    for fault in [
        Fault::LeakedSlot,
        Fault::Lost(normal),
        Fault::Lost(background),
        Fault::Orphans(3),
    ] {
        scene.sim.lane.plant(fault);
    }
    let expected = [
        Drift::miscounted(Counted::Active, 3, 2),
        Drift::miscounted(Counted::Queued, 0, 2),
        Drift::miscounted(Counted::Orphans, 4, 1),
    ];
    assert_eq!(scene.audit(), expected);
    assert_eq!(scene.audit(), []);
}

/// The wedge that it is for: a slot is nobody's, and so nobody has it.
#[test]
fn s5_a_slot_that_was_nobodys_is_given_to_whoever_waits() {
    let mut scene = scene();
    let [first, second] = scene.holders;
    scene.sim.lane.plant(Fault::Unserved(scene.sim.key(first)));
    scene.sim.ledger.is_wrong = true;
    scene.sim.lane.plant(Fault::LeakedSlot);
    let found = Drift::miscounted(Counted::Active, 2, 1);
    assert_eq!(scene.audit(), [found]);
    let [_, normal] = scene.queued;
    assert!(scene.sim.events().contains(&Event::Granted(normal)));
    assert_eq!(scene.sim.holders(), [second, normal]);
}

#[test]
fn s1_slots_that_were_not_counted_are_and_evict_nobody() {
    let mut scene = scene();
    let key = scene.sim.key(scene.holders[0]);
    scene.sim.lane.plant(Fault::Uncounted(key));
    // So one too many has been served before it was found.
    let mut effects = Effects::new();
    scene.sim.lane.dispatch(scene.sim.now, &mut effects);
    let [_, normal] = scene.queued;
    let served =
        |effect: &Effect<Token>| matches!(effect, Effect::Grant(grant) if grant.task == normal);
    assert!(effects.iter().any(served));
    let mut effects = Effects::new();
    let found = scene.sim.lane.audit(scene.sim.now, &mut effects);
    assert_eq!(found, [Drift::miscounted(Counted::Active, 2, 3)]);
    assert_eq!(scene.sim.lane.active(), 3);
    let granted = |effect: &Effect<Token>| matches!(effect, Effect::Grant(_));
    assert!(!effects.iter().any(granted), "S1");
}

/// Should the driver have been told of a moment and lost it, it is told again.
#[test]
fn s8_the_driver_is_told_the_next_moment_once_more() {
    let mut sim = Sim::new(1);
    sim.submit(super::sim::ceiling(secs(60)));
    assert_eq!(sim.alarm.take(), Some(sim.now + secs(60)));
    let mut effects = Effects::new();
    assert_eq!(sim.lane.audit(sim.now, &mut effects), []);
    assert_eq!(sim.lane.rearm(), Some(sim.now + secs(60)));
}

#[test]
fn s5_whoever_was_overlooked_is_reported_on_the_next_tick_and_served() {
    let mut sim = Sim::new(1);
    let holder = sim.submit(plain());
    let waiter = sim.submit(plain());
    sim.events();
    sim.lane.plant(Fault::Unserved(sim.key(holder)));
    sim.ledger.is_wrong = true;
    sim.run_for(secs(30) - millis(1));
    assert_eq!(sim.events(), []);
    sim.run_for(millis(1));
    let expected = [Event::Overlooked(waiter), Event::Granted(waiter)];
    assert_eq!(sim.events(), expected);
    assert_eq!(sim.lane.tally().repaired, 1);
    sim.run_for(secs(600));
    assert_eq!(sim.lane.tally().repaired, 1);
}

#[test]
fn s5_so_is_whoever_was_overlooked_at_the_door() {
    let mut sim = Sim::with(Settings {
        queue_capacity: 0,
        ..settings(1)
    });
    let holder = sim.submit(plain());
    let waiter = sim.enter(plain(), WAITS).expect("it waits");
    sim.lane.plant(Fault::Unserved(sim.key(holder)));
    sim.ledger.is_wrong = true;
    sim.events();
    sim.run_for(secs(30));
    let expected = [Event::Overlooked(waiter), Event::Granted(waiter)];
    assert_eq!(sim.events(), expected);
}

#[test]
fn s5_nobody_is_overlooked_where_a_lane_is_paused_or_drains_or_has_no_slot() {
    let mut sim = Sim::new(1);
    sim.submit(plain());
    sim.enter(plain(), DETACHED).expect("it waits");
    let overlooks = |sim: &Sim| sim.lane.overlooked().is_some();
    assert!(!overlooks(&sim), "it has no slot");
    sim.say(|lane, _, _| lane.pause(None));
    let holder = sim.key(sim.holders()[0]);
    sim.lane.plant(Fault::Unserved(holder));
    assert!(!overlooks(&sim), "it is paused");
    sim.lane.paused = false;
    assert!(overlooks(&sim));
    sim.lane.settling = true;
    assert!(!overlooks(&sim), "it is about to hand them back");
    sim.lane.settling = false;
    let all = sim.lane.waiting();
    let mut effects = Effects::new();
    for key in all {
        let end = crate::engine::End::RuntimeShutdown;
        sim.lane.withdraw(sim.now, key, end, &mut effects);
    }
    assert!(!overlooks(&sim), "nobody waits");
}

/// Two lanes of one slot, and a budget of one: the first has a holder, both have
/// a waiter.
struct Pair {
    group: Group<usize>,
    lanes: [Lane<Token>; 2],
    members: [crate::engine::Key; 2],
    holder: crate::engine::Key,
}

const NOW: Time = Time::START;

fn pair() -> Pair {
    let mut group = Group::new(1, &[0]);
    let mut lanes = [0, 1].map(|_| Lane::new(settings(2), 1));
    let members = [0, 1].map(|at| group.join(at, 0, &mut lanes[at]));
    let mut holder = None;
    for (token, at) in [(0, 0), (1, 0), (2, 1)] {
        group.enter(members[at], &mut lanes[at]);
        match lanes[at].submit(NOW, token, &plain(), PRESENT) {
            Ok(Accepted::Started { key, .. }) => holder = Some(key),
            Ok(Accepted::Queued { .. }) => {}
            Err(refused) => panic!("{refused:?}"),
        }
        group.leave(members[at], &lanes[at]);
    }
    let holder = holder.expect("the first finds the budget free");
    Pair {
        group,
        lanes,
        members,
        holder,
    }
}

impl Pair {
    /// What is found of the group, and of each lane in it.
    fn audit(&mut self) -> [Vec<Drift>; 3] {
        let group = self.group.audit();
        let [a, b] = [0, 1].map(|at| {
            let (member, lane) = (self.members[at], &self.lanes[at]);
            self.group.audit_member(NOW, member, Some(lane))
        });
        [group, a, b]
    }

    /// Whoever holds the budget is through, again and again.
    fn run_out(&mut self) -> Vec<Token> {
        let (mut served, mut holder) = (Vec::new(), Some((0, self.holder)));
        while let Some((at, key)) = holder.take() {
            self.group.enter(self.members[at], &mut self.lanes[at]);
            let _ = self.lanes[at].release(key, true);
            self.group.leave(self.members[at], &self.lanes[at]);
            let mut effects = Effects::new();
            while let Some((member, at)) = self.group.next(NOW) {
                let lane = &mut self.lanes[at];
                let granted = self.group.visit(NOW, member, lane, &mut effects);
                let granted = granted.expect("it is next");
                served.extend(lane.record(granted).map(|record| record.payload));
                assert_eq!(holder.replace((at, granted)), None, "S1");
            }
        }
        served
    }
}

#[test]
fn s1_s5_what_a_group_has_wrong_is_found_and_mended() {
    let [a, b] = pair().members;
    let charged = |counted, found| vec![Drift::miscounted(Counted::Budget, counted, found)];
    let ready = |counted, found| vec![Drift::miscounted(Counted::Ready, counted, found)];
    let none = Vec::new;
    let cases = [
        (None, [none(), none(), none()]),
        (Some(GroupFault::Used(1)), [charged(2, 1), none(), none()]),
        (
            Some(GroupFault::UsedBy(b, 1)),
            [none(), none(), charged(1, 0)],
        ),
        (
            Some(GroupFault::UsedBy(a, -1)),
            [none(), charged(0, 1), none()],
        ),
        (Some(GroupFault::Unknown(b)), [none(), none(), ready(0, 1)]),
        (Some(GroupFault::Unknown(a)), [none(), ready(0, 1), none()]),
        (Some(GroupFault::Unranked(a)), [ready(1, 2), none(), none()]),
    ];
    for (fault, expected) in cases {
        let mut pair = pair();
        if let Some(fault) = fault {
            pair.group.plant(fault);
        }
        assert_eq!(pair.audit(), expected, "{fault:?}");
        assert_eq!(pair.audit(), [none(), none(), none()], "{fault:?}: once");
        assert_eq!(pair.run_out(), [1, 2], "S6: {fault:?}");
        assert_eq!(pair.group.used(), 0);
    }
}

#[test]
fn s15_what_a_lane_leaves_to_its_group_that_is_gone_is_found() {
    let mut pair = pair();
    let gone: Option<&Lane<Token>> = None;
    let found = pair.group.audit_member(NOW, pair.members[1], gone);
    assert_eq!(found, [Drift::miscounted(Counted::Ready, 1, 0)]);
    assert_eq!(pair.group.audit(), []);
}

#[test]
fn s5_in_a_group_the_next_tick_reports_it_and_the_group_serves() {
    let mut pair = pair();
    let [a, b] = pair.members;
    // The holder has let go, and the group has heard of it, and serves nobody.
    pair.group.enter(a, &mut pair.lanes[0]);
    let _ = pair.lanes[0].release(pair.holder, true);
    pair.group.leave(a, &pair.lanes[0]);
    let mut effects = Effects::new();
    pair.group.enter(b, &mut pair.lanes[1]);
    pair.lanes[1].watch_over(&mut effects);
    pair.lanes[1].tick(NOW, &mut effects);
    pair.group.leave(b, &pair.lanes[1]);
    let reported: Vec<&Effect<Token>> = effects.iter().collect();
    assert_eq!(reported, [&Effect::Overlooked { task: 2 }]);
    let (member, at) = pair.group.next(NOW).expect("somebody is owed a slot");
    assert_eq!((member, at), (a, 0), "S6: it came first");
    // With the budget held there is nobody.
    let mut effects = Effects::new();
    pair.group.visit(NOW, a, &mut pair.lanes[0], &mut effects);
    assert!(matches!(effects.iter().next(), Some(Effect::Grant(_))));
    pair.group.enter(b, &mut pair.lanes[1]);
    assert_eq!(pair.lanes[1].overlooked(), None);
    assert_eq!(pair.lanes[1].tally().repaired, 1);
    let state = |(_, record): (_, &crate::engine::task::Record<Token>)| record.state;
    assert!(pair.lanes[1].records().map(state).eq([State::Queued]));
}

#[test]
fn what_was_found_is_said_in_words() {
    let counted = [
        (Counted::Active, "active"),
        (Counted::Queued, "queued"),
        (Counted::AtDoor, "at the door"),
        (Counted::Reserved, "reserved"),
        (Counted::Quiet, "in a quiet window"),
        (Counted::Parked, "parked"),
        (Counted::Orphans, "orphans"),
        (Counted::Budget, "charged to the group"),
        (Counted::Ready, "ready for the group"),
    ];
    for (what, word) in counted {
        let said = Drift::miscounted(what, 1, 2).to_string();
        assert_eq!(said, format!("1 {word} in the books, 2 in truth"));
        let said = Drift::miscounted(what, 3, 3).to_string();
        let others = "in the books, and as many others in truth";
        assert_eq!(said, format!("3 {word} {others}"));
    }
    let said = Drift::Overlooked { dispatched: 4 }.to_string();
    assert_eq!(said, "4 overlooked, and dispatched now");
}

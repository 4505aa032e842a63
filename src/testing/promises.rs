//! The promises that can be seen from outside, looked at whenever nothing
//! moves.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Facts, OnStall, Record, State, TICK, Tally, Time};
use crate::plan::Plan;
use crate::runtime::{Domain, DomainRef, Shared, TaskCell, read_facts};
use crate::snapshot::{LaneSnapshot, TaskSnapshot};
use crate::sync::Arc;

/// A grant that is not claimed by then is passed on (S20).
const CLAIM: Duration = Duration::from_secs(5);
/// A tick for the timer, one for the take, and S19's.
const LATE: Duration = TICK.saturating_mul(3);
/// How long the orphan bound is felt after there is room again: by then a take
/// that was refused is tried anew.
const RETRY: Duration = Duration::from_secs(1);

/// One scheduler that is watched.
pub(super) struct Watched {
    shared: Arc<Shared>,
    before: HashMap<u64, Look>,
    /// When each lane was last seen at the orphan bound.
    bound: HashMap<u64, Time>,
    /// What of each group's budget was in use, and what said how large that is.
    used: (Arc<Plan>, HashMap<Arc<str>, usize>),
    /// Those in all lanes that the scheduler took by itself.
    orphans: usize,
}

/// What is compared with the next look.
#[derive(Clone, Copy)]
struct Look {
    /// How often the limits were set: they may have been others in between.
    resized: u64,
    max_concurrent: usize,
    active: usize,
    granted: u64,
    max_orphans: usize,
    /// Those that the scheduler took by itself.
    orphans: usize,
}

/// A task that something is promised of.
struct Seen {
    state: State,
    enqueued: Time,
    started: Time,
    /// From when its budget counts: for as long as it is parked, that stands still.
    begun: Time,
    /// When it was last parked no more: what came due meanwhile is due from there.
    went_on: Time,
    /// Its slot was taken within the bounds of orphans.
    by_itself: bool,
    away: bool,
    task: Arc<TaskCell>,
}

impl Watched {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            before: HashMap::new(),
            bound: HashMap::new(),
            used: (shared.plan(), HashMap::new()),
            orphans: 0,
            shared,
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A promise that is broken now, in words; `moved` is when the body itself
    /// last moved the clock.
    pub(super) fn broken(&mut self, moved: Option<Instant>) -> Option<String> {
        let lanes = self.shared.all_that_live();
        let moved = moved.map(|at| self.shared.clock.time(at));
        let broken = lanes.iter().find_map(|lane| self.broken_in(lane, moved));
        broken
            .or_else(|| self.over_budget())
            .or_else(|| self.over_all_bounds(&lanes))
    }

    /// A budget that was lowered evicts nobody: what counts is only what came to be
    /// while it was the same.
    fn over_budget(&mut self) -> Option<String> {
        let _turn = self.shared.no_lane_set_anew()?;
        let groups = self.shared.groups().into_iter();
        let usage = groups.map(|group| (Arc::clone(&group.name), group.usage()));
        let usage: Vec<_> = usage
            .map(|(name, (of, used))| (name, of, used.iter().sum()))
            .collect();
        let used = usage
            .iter()
            .map(|(name, _, used)| (Arc::clone(name), *used));
        let used = (self.shared.plan(), used.collect());
        let before = std::mem::replace(&mut self.used, used);
        if !Arc::ptr_eq(&before.0, &self.used.0) {
            return None;
        }
        let more = |name: &Arc<str>, used: usize| before.1.get(name).is_some_and(|was| used > *was);
        usage.into_iter().find_map(|(name, budget, used)| {
            let over = used > budget && more(&name, used);
            over.then(|| format!("group {name:?}: {used} active, with a budget of {budget} (S1)"))
        })
    }

    /// The bound over all lanes is for those that the scheduler took by itself.
    fn over_all_bounds(&mut self, lanes: &[DomainRef]) -> Option<String> {
        let read = || -> Vec<(Tally, usize)> {
            let of_lane = |lane: &DomainRef| {
                lane.read(|engine| {
                    let taken = |record: &Record<Arc<TaskCell>>| {
                        record.state == State::Orphan && record.said().by_itself
                    };
                    let taken = engine.records().filter(|(_, record)| taken(record));
                    (engine.tally(), taken.count())
                })
            };
            lanes.iter().map(of_lane).collect()
        };
        let taken = read();
        let orphans = taken.iter().map(|(_, orphans)| orphans).sum();
        let before = std::mem::replace(&mut self.orphans, orphans);
        let bound = self.shared.orphans.bound();
        // Lanes are read one after the other, while threads go on.
        let over = orphans > bound && orphans > before && read() == taken;
        over.then(|| format!("{orphans} orphans in all lanes, where {bound} may be (S10)"))
    }

    fn broken_in(&mut self, lane: &DomainRef, moved: Option<Time>) -> Option<String> {
        let (look, waiters, paused, at_bound, observe_only, seen) = lane.read(|engine| {
            let settings = engine.settings();
            let tally = engine.tally();
            let look = Look {
                resized: tally.resized,
                max_concurrent: settings.max_concurrent,
                active: engine.active(),
                granted: tally.started,
                max_orphans: engine.max_orphans(),
                orphans: 0,
            };
            let seen: Vec<Seen> = engine
                .records()
                .map(|(_, record)| Seen {
                    state: record.state,
                    enqueued: record.enqueued,
                    started: record.started,
                    begun: record.begun(),
                    went_on: record.went_on(),
                    by_itself: record.said().by_itself,
                    away: record.away,
                    task: Arc::clone(&record.payload),
                })
                .collect();
            let at_bound = engine.orphans() >= engine.max_orphans();
            let paused = engine.is_paused();
            let observe_only = settings.observe_only;
            (look, engine.waiters(), paused, at_bound, observe_only, seen)
        });
        let orphans = seen.iter().filter(|seen| seen.was_taken()).count();
        let look = Look { orphans, ..look };
        let before = self.before.insert(lane.serial, look);
        let name = &lane.name;
        if let Some(problem) = before.and_then(|before| look.over(&before)) {
            return Some(format!("lane {name:?}: {problem}"));
        }
        let idle = look.active < look.max_concurrent && !paused;
        if waiters > 0 && idle && self.overlooks(lane) {
            let (active, max) = (look.active, look.max_concurrent);
            return Some(format!(
                "lane {name:?}: {waiters} wait, and {active} of {max} slots are in use (S5)"
            ));
        }
        let all_orphans = &self.shared.orphans;
        let now = self.shared.clock.now();
        if at_bound || all_orphans.count() >= all_orphans.bound() {
            self.bound.insert(lane.serial, now);
        }
        // From there on a take is tried again, or it is asked, with all that is due to it.
        let bound = self.bound.get(&lane.serial).map(|at| *at + RETRY);
        let overdue = |seen: &Seen| seen.overdue(now, moved, bound, observe_only);
        let problem = seen.iter().find_map(overdue)?;
        Some(format!("lane {name:?}: {problem}"))
    }

    /// Whether its waiters are beside a slot that is free for them, at one moment.
    ///
    /// Lane and group have a lock each. Threads go on between the two, and a slot of the
    /// group that came free there was not free yet for those who were seen to wait: the
    /// lane has to be the same before and after. And lanes that a thread is setting anew
    /// owe slots that they give at the end of that.
    fn overlooks(&self, lane: &DomainRef) -> bool {
        let Some(_turn) = self.shared.no_lane_set_anew() else {
            return false;
        };
        let read = || {
            lane.read(|engine| {
                let max_concurrent = engine.settings().max_concurrent;
                let free = engine.active() < max_concurrent && !engine.is_paused();
                let idle = free && engine.waiters() > 0;
                (idle, engine.waiters(), engine.active(), engine.tally())
            })
        };
        let before = read();
        before.0 && group_has_room_for(lane) && read() == before
    }
}

/// Whether what the others hold of the budget, and what is kept for them, leaves
/// this lane a slot; so it is for a lane of no group.
fn group_has_room_for(lane: &DomainRef) -> bool {
    let Some((group, own)) = lane.share() else {
        return true;
    };
    let (budget, used) = group.usage();
    let shares = group.shares().iter().zip(&used).enumerate();
    let gone = shares.map(|(share, (member, &used))| match share == own {
        true => used,
        false => used.max(member.reserved),
    });
    gone.fold(0, usize::saturating_add) < budget
}

impl Look {
    /// Only what came to be since the look before: a limit that was lowered
    /// evicts nobody.
    fn over(&self, before: &Self) -> Option<String> {
        if self.resized != before.resized {
            return None;
        }
        let granted = self.granted > before.granted || before.active <= before.max_concurrent;
        if self.active > self.max_concurrent && granted {
            let (active, max) = (self.active, self.max_concurrent);
            return Some(format!("{active} active, with {max} slots (S1)"));
        }
        if self.orphans > self.max_orphans && self.orphans > before.orphans {
            let (orphans, max) = (self.orphans, self.max_orphans);
            return Some(format!("{orphans} orphans, where {max} may be (S10)"));
        }
        None
    }
}

impl Seen {
    /// Taken by the scheduler itself.
    fn was_taken(&self) -> bool {
        self.state == State::Orphan && self.by_itself
    }

    fn overdue(
        &self,
        now: Time,
        moved: Option<Time>,
        bound: Option<Time>,
        observe_only: bool,
    ) -> Option<String> {
        // The clock of a body that moves it passes many limits at once, as if
        // the machine had slept, and what is due then is due from there (S19).
        let seen = |limit: Time| moved.map_or(limit, |moved| limit.max(moved));
        let (what, limit, after) = match self.state {
            state if state.waits() => {
                let limit = self.enqueued + self.task.spec().wait?;
                ("is still queued (S7)", limit, Duration::ZERO)
            }
            State::Parked { until } => {
                let deadline = read_facts(&self.task, now).deadline;
                let limit = deadline.map_or(until, |at| at.min(until));
                ("still waits for somebody (S8)", limit, Duration::ZERO)
            }
            State::ComingBack => {
                let limit = read_facts(&self.task, now).deadline?;
                ("still comes back (S8)", limit, Duration::ZERO)
            }
            State::Granted if read_facts(&self.task, now).gathers => return None,
            State::Granted if !read_facts(&self.task, now).claimed => {
                let limit = self.started + CLAIM;
                ("has not claimed its slot (S20)", limit, Duration::ZERO)
            }
            state if state.holds_slot() => {
                let facts = read_facts(&self.task, now);
                let limit = self.limit(&facts, observe_only)?;
                let limit = bound.map_or(limit, |bound| limit.max(bound));
                let spec = self.task.spec();
                let after = spec.grace.saturating_add(spec.teardown);
                ("still has its slot (S8)", limit, after)
            }
            // Its caller is told at once, and it holds nothing that could be taken.
            State::Detached => {
                let limit = self.hard_limit(&read_facts(&self.task, now))?;
                ("runs on without its slot (S8)", limit, Duration::ZERO)
            }
            _ => return None,
        };
        if now <= seen(limit) + after + LATE {
            return None;
        }
        let mut task = String::new();
        let _ = write!(task, "task {}", self.task.id());
        if let Some(name) = self.task.name() {
            let _ = write!(task, " {name:?}");
        }
        let late = now.since(limit + after);
        Some(format!("{task} {what}, {late:?} past its limit"))
    }

    /// When it should have been asked to end, as a reader of the promises
    /// would reckon, and not as the engine does.
    fn limit(&self, facts: &Facts, observe_only: bool) -> Option<Time> {
        let spec = self.task.spec();
        let only_reported = observe_only || spec.on_stall == OnStall::WarnOnly;
        let ceiling = spec
            .ceiling
            .after(facts.reported)
            .filter(|_| !only_reported);
        let silence = match facts.phase {
            Some(phase) if !only_reported => Some(phase),
            Some(_) => None,
            None => [ceiling, spec.idle].into_iter().flatten().min(),
        };
        // Whoever has no slot that it could be detached from runs on as it is.
        let runs_on = self.away && spec.on_stall == OnStall::Detach;
        let silence = silence.filter(|_| !facts.waiting && !runs_on);
        let silence = silence.map(|silence| {
            let from = facts.active_at.max(self.started) + silence;
            let later = [facts.extended_until, facts.hold_until];
            later.into_iter().flatten().fold(from, Time::max)
        });
        let silence = silence.map(|limit| limit.max(self.went_on));
        let limits = [self.hard_limit(facts), silence];
        limits.into_iter().flatten().min()
    }

    /// What holds for whoever has moved, too.
    fn hard_limit(&self, facts: &Facts) -> Option<Time> {
        let budget = self.task.spec().budget;
        let hard = [budget.map(|budget| self.begun + budget), facts.deadline];
        let hard = hard.into_iter().flatten().min();
        hard.map(|limit| limit.max(self.went_on))
    }
}

/// How long the hooks of an orphan may take whose runner comes now.
pub(super) fn longest_teardown(shared: &Shared) -> Duration {
    let lanes = shared.all_that_live();
    let of_lane = |lane: &DomainRef| {
        lane.read(|engine| {
            let orphans = engine
                .records()
                .filter(|(_, record)| !record.state.holds_slot());
            orphans
                .map(|(_, record)| record.payload.spec().teardown)
                .max()
        })
    };
    lanes.iter().filter_map(of_lane).max().unwrap_or_default()
}

/// Whether somebody was detached from its slot, or gave it back, and has not ended yet.
pub(super) fn runs_without_slot(shared: &Shared) -> bool {
    let in_lane = |lane: &DomainRef| {
        lane.read(|engine| {
            let mut records = engine.records().map(|(_, record)| record);
            records.any(|of| of.state == State::Detached || of.away && of.state.goes_on())
        })
    };
    shared.all_that_live().iter().any(in_lane)
}

/// What a scheduler's lanes are doing, for people.
pub(super) fn describe(shared: &Shared) -> String {
    let mut text = String::new();
    for lane in shared.all_that_live() {
        let _ = describe_lane(&mut text, &lane);
    }
    let (orphans, bound) = (shared.orphans.count(), shared.orphans.bound());
    if orphans >= bound {
        let _ = writeln!(
            text,
            "  all lanes: {orphans} of {bound} orphans{AT_THE_BOUND}"
        );
    }
    text
}

/// Whoever is asked to end there, and does not, keeps its slot (S10).
const AT_THE_BOUND: &str = ", the bound at which taking stops";

fn describe_lane(text: &mut String, lane: &Domain) -> fmt::Result {
    let lane = LaneSnapshot::of(lane);
    let (active, max) = (lane.active.len(), lane.max_concurrent);
    let (queued, orphans) = (lane.queued.len(), lane.orphans.len());
    let bound = lane.max_orphans;
    let asked = lane.active.iter().any(|task| task.asked.is_some());
    let stops = if asked && orphans >= bound {
        AT_THE_BOUND
    } else {
        ""
    };
    let name = &lane.name;
    writeln!(
        text,
        "  lane {name:?}: {active} of {max} active, {queued} queued, {orphans} of {bound} orphans{stops}"
    )?;
    let tasks = [
        ("active", &lane.active),
        ("parked", &lane.parked),
        ("queued", &lane.queued),
        ("at the door", &lane.at_door),
        ("orphan", &lane.orphans),
    ];
    for (what, tasks) in tasks {
        for task in tasks {
            describe_task(text, what, task)?;
        }
    }
    Ok(())
}

fn describe_task(text: &mut String, what: &str, task: &TaskSnapshot) -> fmt::Result {
    write!(text, "    {what} {}", task.id)?;
    if let Some(name) = &task.name {
        write!(text, " {name:?}")?;
    }
    match (task.age, task.idle) {
        (Some(age), Some(idle)) => write!(text, " for {age:?}, silent for {idle:?}")?,
        _ => write!(text, " for {:?}", task.waited)?,
    }
    if task.waiting {
        text.push_str(", waits for another lane");
    }
    if let Some(phase) = &task.phase {
        write!(text, ", in phase {phase:?}")?;
    }
    if let Some(note) = &task.note {
        write!(text, ", note {note:?}")?;
    }
    if let Some(reason) = task.asked {
        write!(text, ", asked to end: {reason}")?;
    }
    writeln!(text)
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::testing::sim::now;
    use crate::{GroupConfig, LaneConfig, Lanes, Timeout};

    const SECOND: Duration = Duration::from_secs(1);

    fn watched(lanes: &Lanes) -> Watched {
        let mut watched = Watched::new(Arc::clone(lanes.shared()));
        assert_eq!(watched.broken(None), None);
        watched
    }

    #[track_caller]
    fn assert_broken(watched: &mut Watched, how: &str) {
        let broken = watched.broken(None).unwrap_or_default();
        assert!(broken.contains(how), "{broken:?}");
    }

    #[tokio::test]
    async fn s1_a_budget_that_is_passed_is_seen() {
        let config = LaneConfig::new(2);
        let lanes = Lanes::builder().lane("a", config.clone()).lane("b", config);
        let shared = GroupConfig::new(1).member("a").member("b");
        let lanes = lanes.group("shared", shared).build().unwrap();
        let mut watched = watched(&lanes);
        let slot = lanes.lane("a").unwrap().try_acquire().unwrap();
        assert_eq!(watched.broken(None), None);
        let group = &lanes.shared().groups()[0];
        group.plant_use(1);
        assert_broken(
            &mut watched,
            "group \"shared\": 2 active, with a budget of 1 (S1)",
        );
        group.plant_use(-1);
        // Fewer slots evict nobody.
        let none = |change: &mut crate::Reconfigure| {
            let shared = GroupConfig::new(0).member("a").member("b");
            change.group("shared", shared);
        };
        lanes.reconfigure(none).unwrap();
        assert_eq!(watched.broken(None), None);
        drop(slot);
    }

    #[tokio::test(start_paused = true)]
    async fn s10_an_orphan_beyond_the_bound_over_all_lanes_is_seen() {
        let config = LaneConfig::new(1).stall_ceiling(SECOND);
        let lanes = Lanes::builder().default_lane(config).max_orphans(1);
        let lanes = lanes.build().unwrap();
        let mut watched = watched(&lanes);
        let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap());
        let mut hang = [&a, &b].map(|lane| Box::pin(lane.run(async |_| pending::<()>().await)));
        assert!(futures::poll!(&mut hang[0]).is_pending());
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(watched.broken(None), None);
        // It is counted no more, and is there.
        lanes.shared().orphans.release();
        assert!(futures::poll!(&mut hang[1]).is_pending());
        tokio::time::sleep(2 * SECOND).await;
        assert_broken(&mut watched, "2 orphans in all lanes, where 1 may be (S10)");
        assert!(lanes.shared().orphans.reserve(true));
    }

    #[tokio::test(start_paused = true)]
    async fn s8_who_runs_on_without_its_slot_past_its_budget_is_seen() {
        let config = LaneConfig::new(1).on_stall(OnStall::Detach);
        let config = config.stall_ceiling(SECOND);
        let config = config.timeout(Timeout::budget(10 * SECOND));
        let lanes = Lanes::builder().lane("main", config).build().unwrap();
        let mut watched = watched(&lanes);
        let main = lanes.lane("main").unwrap();
        let task = main.spawn(async |_| pending::<()>().await);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(task.status(), crate::TaskStatus::Detached);
        assert_eq!(watched.broken(None), None);
        // Its moment is lost.
        lanes.shared().timers.disarm(main.domain.serial);
        tokio::time::sleep(6 * SECOND).await;
        assert_broken(&mut watched, "runs on without its slot (S8)");
    }

    /// With all its slots, and in line for one that it gave back.
    #[tokio::test(start_paused = true)]
    async fn s8_who_waits_past_its_limit_or_its_deadline_is_seen() {
        let [wait, back] = ["still waits for somebody (S8)", "still comes back (S8)"];
        for (limit, deadline, release, problem) in [
            (10, None, &[][..], wait),
            (20, Some(10), &[], wait),
            (1, Some(10), &["main"], back),
        ] {
            let lanes = Lanes::builder().lane("main", LaneConfig::new(1));
            let lanes = lanes.build().unwrap();
            let mut watched = watched(&lanes);
            let main = lanes.lane("main").unwrap();
            let _task = main.spawn(async move |cx| {
                if let Some(deadline) = deadline {
                    cx.set_deadline(now() + deadline * SECOND);
                }
                let wait = cx.waiting("an approval").limit(limit * SECOND);
                wait.release(release).on(pending::<()>()).await
            });
            tokio::time::sleep(SECOND / 2).await;
            let _holder = main.try_acquire();
            tokio::time::sleep(4 * SECOND).await;
            assert_eq!(watched.broken(None), None);
            // Its moment is lost.
            lanes.shared().timers.disarm(main.domain.serial);
            tokio::time::sleep(6 * SECOND).await;
            assert_broken(&mut watched, problem);
        }
    }
}

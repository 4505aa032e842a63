//! What all lanes of one scheduler share; none of it is touched by a task that
//! finds its slot free, but the runtime check.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::OnceLock;

use super::domain::{Domain, DomainRef, Engine};
use super::drain::{Drain, forget_returned};
use super::driver::Drivers;
use super::group::{self, GroupCell, Groups};
use super::journal::{NAMELESS, NAMES};
use super::keys::Keys;
use super::orphans::Orphans;
use super::timers::DomainTimers;
use super::watchdog::Watchdog;
use crate::clock::Clock;
use crate::config::OnDeadlock;
use crate::engine::{Leftover, Mode, Time};
use crate::error::{LaneNameError, check_name};
use crate::events::Hub;
use crate::metrics::Meters;
use crate::plan::{Draft, Plan, Terms};
#[cfg(feature = "testing")]
use crate::sync::MutexGuard;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, Serials, Weak};
use crate::waitpoint::Waitpoints;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) observe_only: bool,
    pub(crate) on_deadlock: OnDeadlock,
    pub(crate) orphans: Orphans,
    pub(crate) timers: DomainTimers,
    pub(crate) drivers: Drivers,
    /// Where it was turned on.
    pub(crate) watchdog: OnceLock<Watchdog>,
    pub(crate) keys: Keys,
    pub(crate) waitpoints: Waitpoints,
    /// The log of events, where it is turned on.
    pub(crate) hub: Option<Arc<Hub>>,
    /// Where they are turned on.
    pub(crate) meters: Option<Meters>,
    directory: Mutex<Directory>,
    /// Held from one version of the plan to the next, before the directory.
    pub(super) reconfiguring: Mutex<()>,
    /// Drains of all lanes that let descendants pass, and of which not every lane has
    /// heard yet.
    announced: AtomicUsize,
}

/// Over all schedulers of the process: an id of one of them names nothing in
/// another.
static SERIALS: Serials = Serials::from(1);

#[derive(Debug)]
struct Directory {
    lanes: HashMap<Arc<str>, Arc<Domain>>,
    by_serial: HashMap<u64, Arc<Domain>>,
    /// Those that were there when the scheduler was dropped.
    former: Vec<Weak<Domain>>,
    plan: Arc<Plan>,
    groups: Groups,
    /// No lane that is made from now on may issue a smaller fence (S11).
    fence_floor: u64,
    mode: Standing,
    /// How many drains of all lanes are to report: also on lanes that are yet to be made.
    reports: usize,
}

/// The verbs that were spoken to all lanes, for those that are yet to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) paused: bool,
    pub(crate) draining: Option<StandingDrain>,
    pub(crate) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandingDrain {
    pub(crate) deadline: Time,
    pub(crate) admit_descendants: bool,
    pub(crate) queued: Leftover,
}

impl Shared {
    pub(crate) fn new(
        observe_only: bool,
        max_orphans: usize,
        plan: Plan,
        fence_floor: u64,
    ) -> Self {
        let groups = group::cells(&plan.charters, &Groups::new(), false);
        Self {
            clock: Clock,
            observe_only,
            on_deadlock: OnDeadlock::Refuse,
            orphans: Orphans::new(max_orphans),
            timers: DomainTimers::default(),
            drivers: Drivers::new(),
            watchdog: OnceLock::new(),
            keys: Keys::default(),
            waitpoints: Waitpoints::default(),
            hub: None,
            meters: None,
            directory: Mutex::new(Directory {
                lanes: HashMap::new(),
                by_serial: HashMap::new(),
                former: Vec::new(),
                plan: Arc::new(plan),
                groups,
                fence_floor,
                mode: Standing::default(),
                reports: 0,
            }),
            reconfiguring: Mutex::new(()),
            announced: AtomicUsize::new(0),
        }
    }

    /// A lane that is configured by its name, before anybody can see the
    /// scheduler.
    pub(crate) fn declare(self: &Arc<Self>, name: &str) {
        let mut directory = self.directory.lock();
        if let Some(terms) = directory.plan.terms(name).cloned() {
            self.make(&mut directory, Arc::from(name), terms, false);
        }
    }

    /// The lane of this name; made if there is a pattern to make it of.
    pub(crate) fn lane(self: &Arc<Self>, name: &str) -> Result<DomainRef, LaneNameError> {
        check_name("a lane name", name)?;
        let mut directory = self.directory.lock();
        let found = directory.lanes.get(name);
        // One that was removed is there for those who have it, and may be about
        // to be configured again: two of one name there cannot be (S1).
        if let Some(domain) = found
            && (!domain.terms.with(Terms::is_removed) || directory.plan.terms(name).is_some())
        {
            return Ok(DomainRef::first(domain));
        }
        let named = || name.to_owned();
        let terms = match (directory.plan.terms(name), directory.mode.closed) {
            (None, _) => return Err(LaneNameError::Unknown { name: named() }),
            (_, true) => return Err(LaneNameError::Closed { name: named() }),
            (Some(terms), false) => Arc::clone(terms),
        };
        let domain = self.make(&mut directory, Arc::from(name), terms, true);
        let domain = DomainRef::first(&domain);
        drop(directory);
        domain.tell_readers();
        Ok(domain)
    }

    pub(super) fn groups_by_name(&self) -> Groups {
        self.directory.lock().groups.clone()
    }

    /// By name.
    pub(crate) fn groups(&self) -> Vec<Arc<GroupCell>> {
        self.groups_by_name().into_values().collect()
    }

    /// What is said of lanes now.
    pub(super) fn draft(&self) -> Draft {
        let plan = Arc::clone(&self.directory.lock().plan);
        plan.draft()
    }

    /// From now on lanes are made of this plan and come to these groups, and
    /// those that it names are there. Returns all that there are, in the order
    /// in which they were made.
    pub(super) fn adopt(self: &Arc<Self>, plan: &Arc<Plan>, groups: Groups) -> Vec<DomainRef> {
        let mut directory = self.directory.lock();
        let old = std::mem::replace(&mut directory.plan, Arc::clone(plan));
        let groups = std::mem::replace(&mut directory.groups, groups);
        for name in plan.named() {
            if !directory.lanes.contains_key(name)
                && let Some(terms) = plan.terms(name)
            {
                self.make(&mut directory, Arc::clone(name), Arc::clone(terms), true);
            }
        }
        drop(directory);
        drop((old, groups));
        self.all()
    }

    pub(crate) fn by_serial(&self, serial: u64) -> Option<DomainRef> {
        let directory = self.directory.lock();
        directory.by_serial.get(&serial).map(DomainRef::first)
    }

    /// Every lane that exists now, in the order in which they were made.
    pub(crate) fn all(&self) -> Vec<DomainRef> {
        let directory = self.directory.lock();
        let mut all: Vec<_> = directory.lanes.values().map(DomainRef::first).collect();
        drop(directory);
        all.sort_unstable_by_key(|domain| domain.serial);
        all
    }

    /// Changes what new lanes begin with, then speaks to all there are. A lane
    /// that is made between the two has it from its beginning.
    pub(crate) fn stand(&self, change: impl FnOnce(&mut Standing)) -> Vec<DomainRef> {
        self.stand_with(|directory| change(&mut directory.mode))
    }

    /// As [`stand`](Self::stand), for a drain that is to report until
    /// [`report_over`](Self::report_over); and [`all_have_heard`](Self::all_have_heard)
    /// comes when these lanes have.
    pub(crate) fn stand_draining(&self, drain: StandingDrain) -> Vec<DomainRef> {
        self.announced
            .fetch_add(usize::from(drain.admit_descendants), Ordering::Relaxed);
        self.stand_with(|directory| {
            directory.mode.draining = Some(drain);
            directory.reports += 1;
        })
    }

    /// One drain of all lanes has reported, or nobody awaits its report. After the last,
    /// no lane is kept to be reported on, nor what it hands back (S15).
    ///
    /// The count falls and the lanes hear of it under the one lock: in between, another
    /// drain could begin, and lanes be made that it is to find.
    pub(super) fn report_over(&self) {
        let lanes: Vec<DomainRef> = {
            let mut directory = self.directory.lock();
            directory.reports -= 1;
            if directory.reports > 0 {
                return;
            }
            let former = directory.former.iter().filter_map(Weak::upgrade);
            let lanes = directory.by_serial.values().cloned().chain(former);
            let lanes: Vec<_> = lanes.map(|lane| DomainRef::first(&lane)).collect();
            for lane in &lanes {
                lane.returned.lock().expected = false;
            }
            lanes
        };
        lanes.iter().for_each(|lane| forget_returned(lane));
    }

    fn stand_with(&self, change: impl FnOnce(&mut Directory)) -> Vec<DomainRef> {
        let mut directory = self.directory.lock();
        change(&mut directory);
        drop(directory);
        self.all()
    }

    /// What says how lanes and groups are set.
    #[cfg(feature = "testing")]
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.directory.lock().plan)
    }

    /// Nor is any as long as this is kept; `None` where one is now.
    #[cfg(feature = "testing")]
    pub(crate) fn no_lane_set_anew(&self) -> Option<MutexGuard<'_, ()>> {
        self.reconfiguring.try_lock()
    }

    /// Each lane says by itself from now on whether descendants of its tasks pass.
    pub(super) fn all_have_heard(&self, drain: Drain) {
        self.announced
            .fetch_sub(usize::from(drain.admits()), Ordering::Release);
    }

    /// Whether a lane that drains may have a caller in one that is yet to hear of it.
    pub(super) fn announces_admission(&self) -> bool {
        self.announced.load(Ordering::Acquire) > 0
    }

    /// The last user of a lane whose users are counted is gone.
    ///
    /// References are made under the directory's lock or from other
    /// references, so one that is at zero under that lock stays there: a lane
    /// that is asked for again at this moment is either found alive, or made
    /// anew after this one is gone. It never exists twice (S15, S1).
    pub(super) fn retire(&self, domain: &Arc<Domain>) {
        {
            let mut directory = self.directory.lock();
            let used = domain.users.load(Ordering::Acquire) > 0;
            if used || !domain.is_pristine(directory.mode) {
                return;
            }
            if directory.by_serial.remove(&domain.serial).is_some()
                && let Some(hub) = &self.hub
            {
                hub.lane_gone(domain.serial);
            }
            trim(&mut directory.by_serial);
            let fence = domain.read(|engine| engine.next_fence());
            directory.fence_floor = directory.fence_floor.max(fence);
            let ours = |found: &Arc<Domain>| Arc::ptr_eq(found, domain);
            if directory.lanes.get(&domain.name).is_some_and(ours) {
                directory.lanes.remove(&domain.name);
                trim(&mut directory.lanes);
            }
        }
        self.timers.disarm(domain.serial);
        domain.tell_readers();
    }

    /// The scheduler is gone: nobody finds a lane by its name any more. The
    /// lanes themselves last as long as their handles and tasks.
    pub(crate) fn dissolve(&self) {
        let (lanes, by_serial) = {
            let mut directory = self.directory.lock();
            let lanes = std::mem::take(&mut directory.lanes);
            directory.former = lanes.values().map(Arc::downgrade).collect();
            (lanes, std::mem::take(&mut directory.by_serial))
        };
        drop((lanes, by_serial));
    }

    /// Every lane that may still have tasks, found by its name or not.
    pub(crate) fn all_that_live(&self) -> Vec<DomainRef> {
        // In this order: whoever dissolves it takes them from the one to the other.
        let mut all = self.all();
        let former = self.directory.lock().former.clone();
        let former = former.iter().filter_map(Weak::upgrade);
        all.extend(former.map(|domain| DomainRef::first(&domain)));
        all
    }

    /// No task comes any more, and so readers of events need not wait for one.
    pub(crate) fn close_log(&self) {
        if let Some(hub) = &self.hub {
            hub.close();
        }
    }

    fn make(
        self: &Arc<Self>,
        directory: &mut Directory,
        name: Arc<str>,
        terms: Arc<Terms>,
        counted: bool,
    ) -> Arc<Domain> {
        let settings = terms.config.settings(self.observe_only);
        let mut engine = Engine::new(settings, directory.fence_floor);
        let standing = directory.mode.as_of(self.clock.now());
        standing.apply(&mut engine);
        let serial = SERIALS.next();
        let meter = self.meters.as_ref();
        let meter = meter.map(|meters| meters.meter(&terms.origin, &name));
        if let Some(hub) = &self.hub {
            #[cfg(feature = "replay")]
            hub.record(serial, || crate::engine::Input::Made {
                name: String::from(&*name),
                settings: engine.settings().clone(),
                fence: directory.fence_floor,
                stood: standing.stood(),
            });
            hub.lane_made(serial, &name);
            engine.keep_journal(NAMES, hub.records());
        } else if meter.is_some() {
            engine.keep_journal(NAMELESS, false);
        }
        if let Some(meter) = &meter {
            meter.note(&mut engine, 0);
        }
        let shared = Arc::clone(self);
        let domain = Domain::new(serial, name, shared, terms, counted, engine, meter);
        domain.returned.lock().expected =
            directory.mode.draining.is_some() && directory.reports > 0;
        let domain = Arc::new(domain);
        if let Some((group, share)) = group::place(&directory.plan, &directory.groups, &domain.name)
        {
            group.join(&domain, share);
        }
        directory.add(Arc::clone(&domain));
        domain
    }
}

impl Directory {
    fn add(&mut self, domain: Arc<Domain>) {
        self.by_serial.insert(domain.serial, Arc::clone(&domain));
        self.lanes.insert(Arc::clone(&domain.name), domain);
    }
}

impl Standing {
    /// A drain lets nobody pass past its deadline, not even in a lane made then: whoever
    /// came would begin, and be ended at once.
    fn as_of(mut self, now: Time) -> Self {
        if let Some(drain) = &mut self.draining {
            drain.admit_descendants &= now < drain.deadline;
        }
        self
    }

    /// To a lane that nobody has seen yet, so nothing follows from it.
    fn apply(self, engine: &mut Engine) {
        if self.paused {
            engine.pause(None);
        }
        if let Some(drain) = self.draining {
            engine.start_draining(drain.deadline, drain.admit_descendants, drain.queued);
        }
        if self.closed {
            engine.close();
        }
    }

    #[cfg(feature = "replay")]
    fn stood(self) -> crate::engine::Stood {
        let drains = self
            .draining
            .map(|drain| (drain.deadline, drain.admit_descendants, drain.queued));
        crate::engine::Stood {
            paused: self.paused,
            drains,
            closed: self.closed,
        }
    }

    /// Whether a lane stands as it would if it were made now.
    pub(super) fn is_that_of(self, engine: &Engine, now: Time) -> bool {
        let mode = match (engine.mode(), self.draining) {
            (Mode::Open, None) => true,
            (Mode::Draining { deadline, .. }, Some(drain)) => match deadline {
                Some(at) => at == drain.deadline,
                None => drain.deadline <= now,
            },
            _ => false,
        };
        mode && !self.closed && engine.is_paused() == self.paused && !engine.resumes_by_itself()
    }
}

/// Gives the memory of a storm back (S15); amortised O(1).
pub(crate) fn trim<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    const KEEP: usize = 64;
    if map.capacity() > KEEP && map.len() < map.capacity() / 8 {
        map.shrink_to(map.capacity() / 4);
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::{Lane, LaneConfig};

    fn of_one_pattern(fence: u64) -> Arc<Shared> {
        let mut draft = Draft::default();
        draft.set_pattern("session*".into(), LaneConfig::new(1));
        Arc::new(Shared::new(false, 64, Plan::new(draft).unwrap(), fence))
    }

    #[tokio::test]
    async fn s15_a_storm_of_names_leaves_nothing() {
        let shared = of_one_pattern(0);
        let mut alive = Vec::new();
        for n in 0..if cfg!(miri) { 200 } else { 20_000 } {
            let lane = Lane::new(shared.lane(&format!("session:{n}")).unwrap());
            let keyed = lane.task().key(format!("turn:{n}"));
            alive.push((keyed.acquire().await.unwrap(), lane));
        }
        assert_eq!(shared.keys.len(), alive.len());
        assert_eq!(shared.timers.len(), alive.len());
        assert_eq!(shared.directory.lock().lanes.len(), alive.len());
        drop(alive);
        assert_eq!(shared.timers.len(), 0);
        assert_eq!(shared.keys.len(), 0);
        assert!(shared.keys.capacity() < 1_000);
        let directory = shared.directory.lock();
        assert!(directory.lanes.is_empty() && directory.by_serial.is_empty());
        assert!(directory.lanes.capacity() < 1_000);
        assert!(directory.by_serial.capacity() < 1_000);
    }

    #[test]
    fn s15_what_is_removed_leaves_nothing() {
        let shared = of_one_pattern(0);
        for _ in 0..2 {
            let pinned = LaneConfig::new(1).pinned();
            let add = |draft: &mut Draft| {
                draft.set_pattern("session*".into(), pinned);
                draft.add_lane("night".into(), LaneConfig::new(1))
            };
            assert_eq!(shared.reconfigure(add), Ok(0));
            drop(shared.lane("session").unwrap());
            assert_eq!(shared.directory.lock().lanes.len(), 2, "both are kept");
            let remove = |draft: &mut Draft| {
                draft.remove_lane("night")?;
                draft.remove_pattern("session*")
            };
            assert_eq!(shared.reconfigure(remove), Ok(2));
            let directory = shared.directory.lock();
            assert!(directory.lanes.is_empty() && directory.by_serial.is_empty());
        }
    }

    #[tokio::test]
    async fn s11_fences_grow_across_the_end_of_a_lane() {
        let shared = of_one_pattern(7);
        let mut fences = Vec::new();
        for _ in 0..3 {
            let lane = Lane::new(shared.lane("session").unwrap());
            fences.push(lane.run(async |cx| cx.fence()).await.unwrap());
            drop(lane);
            assert!(shared.directory.lock().lanes.is_empty());
        }
        assert_eq!(fences, [7, 8, 9]);
    }

    /// It may be revived between its last user's end and this call.
    #[test]
    fn s1_a_lane_that_is_used_again_does_not_retire() {
        let shared = of_one_pattern(0);
        let used = shared.lane("session").unwrap();
        shared.retire(&used);
        let again = shared.lane("session").unwrap();
        assert_eq!(again.serial, used.serial);
    }

    #[test]
    fn s15_memory_is_given_back_late_and_not_all_at_once() {
        let of = |capacity: usize, len: usize| -> HashMap<usize, ()> {
            let mut map = HashMap::with_capacity(capacity);
            map.extend((0..len).map(|n| (n, ())));
            map
        };
        let whole = of(1_000, 0).capacity();
        let mut used = of(1_000, whole / 8);
        trim(&mut used);
        assert_eq!(used.capacity(), whole, "not yet");
        let mut sparse = of(1_000, 1);
        trim(&mut sparse);
        assert!((whole / 4..whole / 2).contains(&sparse.capacity()));
        let mut small = of(50, 0);
        let little = small.capacity();
        trim(&mut small);
        assert_eq!(small.capacity(), little, "not worth it");
    }
}

//! Explanations as one wants to read them at three in the morning.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::explanation::{Cause, LaneExplanation, Never, Remedy, TaskExplanation};
use super::graph::{Due, LaneNode, Stage, TaskNode, Wait, WaitGraph};
use super::span::Span;
use crate::engine::{BlockedBy, Follows, Priority};
use crate::snapshot::{GroupSnapshot, LaneState};
use crate::{Standing, TaskId};

/// How many holders of a lane, waits of a task and so on are told one by one.
const TOLD: usize = 3;

impl Display for TaskExplanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (next, never) = (self.next.as_ref(), self.never);
        let head = Head {
            graph: &self.graph,
            asked: self.id,
            cause: &self.cause,
            next,
            never,
            of_lane: None,
        };
        writeln!(f, "{head}")?;
        let mut tree = Tree::of(&self.graph);
        tree.task(self.id, "task", None, 1);
        tree.write(f)?;
        write_remedies(f, &self.remedies)
    }
}

impl Display for LaneExplanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (graph, next) = (&self.graph, self.next.as_ref());
        let mut tree = Tree::of(graph);
        match self.first {
            Some(asked) => {
                let (cause, never) = (&self.cause, self.never);
                let head = Head {
                    graph,
                    asked,
                    cause,
                    next,
                    never,
                    of_lane: Some(&self.lane),
                };
                writeln!(f, "lane {:?}: next is {head}", self.lane)?;
                tree.task(asked, "task", None, 1);
            }
            None => {
                writeln!(f, "lane {:?}: nobody waits", self.lane)?;
                if let Some(lane) = graph.lanes.first() {
                    tree.lane(lane.serial, "", 1);
                }
            }
        }
        tree.write(f)?;
        write_remedies(f, &self.remedies)
    }
}

fn write_remedies(f: &mut Formatter<'_>, remedies: &[Remedy]) -> fmt::Result {
    if !remedies.is_empty() {
        writeln!(f, "what helps:")?;
    }
    for remedy in remedies {
        writeln!(f, "  {remedy}")?;
    }
    Ok(())
}

/// The first line: who waits, for whom in the end, and what happens next.
struct Head<'a> {
    graph: &'a WaitGraph,
    asked: TaskId,
    cause: &'a Cause,
    next: Option<&'a Due>,
    never: Option<Never>,
    /// The lane that was asked about, if it was not the task.
    of_lane: Option<&'a str>,
}

impl Display for Head<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(node) = self.graph.task(self.asked) else {
            return Ok(());
        };
        match (self.of_lane, node.stage) {
            (None, _) => write!(f, "task {} {}: ", Name(node), Doing(node))?,
            (Some(lane), Stage::Queued) if *lane == *node.lane => {
                write!(
                    f,
                    "task {}, queued for {}: ",
                    Name(node),
                    Span(node.task.waited)
                )?;
            }
            (Some(_), _) => write!(f, "task {}, which {}: ", Name(node), Doing(node))?,
        }
        self.culprit(f)?;
        match (self.next, self.never) {
            (Some(due), _) => {
                let of = due.task.filter(|task| !self.is_about(*task));
                let of = of.and_then(|of| self.graph.task(of));
                write!(f, "; {}", Coming(due, of))?;
            }
            (None, Some(never)) => write!(f, "; by itself: never ({never})")?,
            (None, None) => {}
        }
        // It may not come to that.
        let sooner = |due: &&Due| {
            let leaves = matches!(due.follows, Follows::GivesUp | Follows::HandedBack);
            let next = self.next.filter(|next| next.after <= due.after);
            leaves && next.is_none()
        };
        match node.dues.iter().find(sooner) {
            Some(due) => {
                let is = if due.follows == Follows::HandedBack {
                    "is "
                } else {
                    ""
                };
                write!(f, "; else it {is}{}", Coming(due, None))
            }
            None => Ok(()),
        }
    }
}

impl Head<'_> {
    /// Whether the line has named this task before, as the one it speaks of.
    fn is_about(&self, task: TaskId) -> bool {
        match self.cause {
            Cause::Moves { task: of }
            | Cause::Silent { task: of }
            | Cause::Parked { task: of, .. }
            | Cause::Ending { task: of }
            | Cause::Unclaimed { task: of }
            | Cause::Asleep { task: of }
            | Cause::QuietWindow { task: of }
            | Cause::Orphan { task: of } => *of == task,
            _ => false,
        }
    }

    fn culprit(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::NobodyWaits => f.write_str("nobody waits"),
            Cause::Unknown if self.graph.omitted > 0 => {
                f.write_str("what it waits for is too far away to be told")
            }
            Cause::Unknown => f.write_str("what it waited for has just ended"),
            Cause::Paused { lane } => write!(f, "lane {lane:?} is paused"),
            Cause::NoSlots { lane } => write!(f, "lane {lane:?} has no slots"),
            Cause::GroupBudget { lane, group } => match self.graph.lane(lane) {
                Some(node) if node.blocked_by == Some(BlockedBy::Reservation) => {
                    write!(f, "group {group:?} keeps the rest of its budget for others")
                }
                _ => write!(f, "group {group:?} has no slot for lane {lane:?}"),
            },
            Cause::Circle { tasks } => self.circle(f, tasks),
            Cause::Moves { task }
            | Cause::Silent { task }
            | Cause::Parked { task, .. }
            | Cause::Ending { task }
            | Cause::Unclaimed { task }
            | Cause::Asleep { task }
            | Cause::QuietWindow { task }
            | Cause::Orphan { task } => match self.graph.task(*task) {
                Some(node) if *task == self.asked => write!(f, "{}", Signs(node)),
                Some(node) => {
                    let asked = self.graph.task(self.asked);
                    write!(f, "behind {}", Name(node))?;
                    if asked.is_none_or(|asked| asked.lane != node.lane) {
                        write!(f, " in lane {:?}", node.lane)?;
                    }
                    write!(f, ", {}", Signs(node))
                }
                None => f.write_str("what it waited for has just ended"),
            },
        }
    }

    fn circle(&self, f: &mut Formatter<'_>, tasks: &[TaskId]) -> fmt::Result {
        // Who is in line is there for another, which holds what they wait for.
        let nodes = tasks.iter().filter_map(|task| self.graph.task(*task));
        let nodes = nodes.filter(|node| !matches!(node.stage, Stage::Queued | Stage::AtDoor));
        let names: Vec<String> = nodes.map(|node| Name(node).to_string()).collect();
        match &names[..] {
            [name] => write!(f, "{name} waits for itself"),
            names => write!(f, "{} wait for each other", names.join(" and ")),
        }
    }
}

/// An id, and what its submitter calls it.
struct Name<'a>(&'a TaskNode);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let task = &self.0.task;
        write!(f, "{}", task.id)?;
        match (&task.name, &task.key) {
            (Some(name), _) => write!(f, " {name:?}"),
            (None, Some(key)) => write!(f, " (key {key:?})"),
            (None, None) => Ok(()),
        }
    }
}

/// What the task that was asked about does, as part of a sentence.
struct Doing<'a>(&'a TaskNode);

impl Display for Doing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(node) = self;
        let (lane, waited) = (&node.lane, Span(node.task.waited));
        let further = node.waits.iter().find_map(|wait| match wait {
            Wait::Slot { lane, .. } | Wait::Place { lane, .. } => Some(lane),
            _ => None,
        });
        match (node.stage, further) {
            (Stage::Queued, _) => write!(f, "has waited in lane {lane:?} for {waited}"),
            (Stage::AtDoor, _) => {
                write!(f, "has waited at the door of lane {lane:?} for {waited}")
            }
            (Stage::Asleep, _) => write!(f, "is out of line in lane {lane:?}"),
            (Stage::QuietWindow, _) => write!(f, "is not in line in lane {lane:?} yet"),
            (Stage::Reserved, _) => write!(f, "has a place kept in lane {lane:?}"),
            (Stage::Granted, _) => write!(f, "was granted a slot of lane {lane:?}"),
            (Stage::Gathering, Some(next)) => {
                write!(
                    f,
                    "has its slot of lane {lane:?}, and waits in lane {next:?}"
                )
            }
            (Stage::ComingBack, Some(next)) => {
                write!(f, "is back from its wait, and in line in lane {next:?}")
            }
            (Stage::Parked, _) => write!(f, "waits for somebody in lane {lane:?}"),
            (Stage::Orphan, _) => write!(f, "is an orphan of lane {lane:?}"),
            (Stage::Detached, _) => write!(f, "runs on without its slot of lane {lane:?}"),
            (Stage::Delivering, _) => write!(f, "is through without its slot of lane {lane:?}"),
            (Stage::Running, _) if node.waits.iter().any(Wait::is_ours) => {
                write!(f, "is active in lane {lane:?}, and waits")
            }
            _ => write!(f, "is active in lane {lane:?}"),
        }
    }
}

/// How a holder stands, as part of a sentence.
struct Signs<'a>(&'a TaskNode);

impl Display for Signs<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(node) = self;
        let task = &node.task;
        let reason = || {
            task.asked
                .map_or_else(String::new, |why| format!(" ({why})"))
        };
        match node.stage {
            Stage::Asked => write!(f, "asked to end{}, and in its grace", reason()),
            Stage::Dropping => {
                write!(
                    f,
                    "told to end{}, and not gone yet{}",
                    reason(),
                    Stands(node)
                )
            }
            Stage::Teardown => write!(f, "told to end{}, and its hooks run", reason()),
            Stage::Delivering => f.write_str("its hooks run"),
            Stage::Granted => f.write_str("not claimed by its runner yet"),
            Stage::Reserved => f.write_str("a place is kept for it"),
            Stage::Asleep if task.spawned => f.write_str("its runtime has no thread free for it"),
            Stage::Asleep => f.write_str("nobody polls it"),
            Stage::QuietWindow => f.write_str("its quiet window is not over"),
            Stage::Orphan => write!(f, "{}", Lost(node)),
            Stage::Parked => match &task.parked {
                Some(parked) => {
                    let waited = Span(parked.waited);
                    write!(f, "parked for {waited}, waiting for {:?}", parked.what)
                }
                None => f.write_str("parked"),
            },
            _ => {
                let idle = Span(task.idle.unwrap_or_default());
                if node.moves {
                    write!(f, "which moves (last sign of life {idle} ago)")?;
                } else {
                    write!(f, "silent for {idle}{}", Stands(node))?;
                }
                match task.phase.as_ref().or(task.note.as_ref()) {
                    Some(doing) => write!(f, ": {doing:?}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Where it stands, if that is known.
struct Stands<'a>(&'a TaskNode);

impl Display for Stands<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.task.standing {
            // Of what is not silent, or was not probed yet, that says nothing.
            None | Some(Standing::Pending | Standing::Unclaimed) => Ok(()),
            Some(standing) => write!(f, " ({standing})"),
        }
    }
}

/// What became of the slot of an orphan.
struct Lost<'a>(&'a TaskNode);

impl Display for Lost<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("its slot was taken")?;
        if let Some(reason) = self.0.task.asked {
            write!(f, " ({reason})")?;
        }
        write!(f, " and its runner has not let go of it{}", Stands(self.0))
    }
}

/// What comes by itself, and to whom, if that was not said.
pub(super) struct Coming<'a>(pub(super) &'a Due, pub(super) Option<&'a TaskNode>);

impl Display for Coming<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(due, of) = self;
        if let Some(of) = of {
            write!(f, "{}: ", Name(of))?;
        }
        write!(f, "{}", due.follows)?;
        if due.after.is_zero() {
            write!(f, " at any moment ({})", due.bound)?;
        } else {
            write!(f, " in {} ({})", Span(due.after), due.bound)?;
        }
        let spans = [(due.grace, "grace"), (due.teardown, "teardown")];
        let spans = spans
            .into_iter()
            .filter_map(|(span, what)| Some((span?, what)));
        for (n, (span, what)) in spans.enumerate() {
            let before = if n == 0 { ", after at most" } else { " and" };
            write!(f, "{before} {} of {what}", Span(span))?;
        }
        if due.needs_runner {
            f.write_str(", if it is polled: at the orphan bound no slot is taken")?;
        }
        Ok(())
    }
}

/// The graph as a tree: what was told before is referred to.
struct Tree<'a> {
    graph: &'a WaitGraph,
    lines: Vec<String>,
    tasks: HashSet<TaskId>,
    lanes: HashSet<u64>,
}

impl<'a> Tree<'a> {
    fn of(graph: &'a WaitGraph) -> Self {
        Self {
            graph,
            lines: Vec::new(),
            tasks: HashSet::new(),
            lanes: HashSet::new(),
        }
    }

    fn write(self, f: &mut Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        match self.graph.omitted {
            0 => Ok(()),
            omitted => writeln!(f, "  ({omitted} more tasks were not read)"),
        }
    }

    fn line(&mut self, depth: usize, text: impl Display) {
        self.lines.push(format!("{:1$}{text}", "", depth * 2));
    }

    /// `under` is the number of the lane below which it is told, `as_what` what it is there.
    fn task(&mut self, id: TaskId, as_what: &str, under: Option<u64>, depth: usize) {
        let Some(node) = self.graph.task(id) else {
            return self.line(depth, format_args!("{as_what} {id}: it has just ended"));
        };
        let name = Name(node);
        if !self.tasks.insert(id) {
            return self.line(depth, format_args!("{as_what} {name}: see above"));
        }
        let elsewhere = (under != Some(id.lane)).then_some(&node.lane);
        let lane = elsewhere.map_or_else(String::new, |lane| format!(" in lane {lane:?}"));
        self.line(
            depth,
            format_args!("{as_what} {name}{lane}: {}", Told(node)),
        );
        let told = !node.moves || depth == 1;
        for due in node.dues.iter().filter(|_| told).take(TOLD) {
            self.line(depth + 1, Coming(due, None));
        }
        if let Some(never) = node.never {
            self.line(depth + 1, format_args!("by itself: never ({never})"));
        }
        self.waits(node, depth + 1);
    }

    fn waits(&mut self, node: &'a TaskNode, depth: usize) {
        let mut lines = node.lines.iter();
        let mut line = || lines.next().copied().unwrap_or_default();
        for wait in node.waits.iter().take(TOLD) {
            match wait {
                Wait::Slot {
                    queued_ahead: queued,
                    active_ahead: active,
                    expected,
                    ..
                } => {
                    let ahead = format!("; ahead: {queued} queued, {active} active");
                    self.lane(line(), &(ahead + &usually(*expected)), depth);
                }
                Wait::Place {
                    queued_ahead: queued,
                    active_ahead: active,
                    expected,
                    ..
                } => {
                    let ahead = format!("; ahead: {queued} waiting, {active} active");
                    self.lane(line(), &(ahead + &usually(*expected)), depth);
                }
                Wait::Task { id, may_abandon } => {
                    let as_what = if *may_abandon {
                        "waits for, but need not: task"
                    } else {
                        "waits for task"
                    };
                    self.task(*id, as_what, None, depth);
                }
                // Its own line says it.
                Wait::Somebody { .. } => {}
                Wait::Waitpoint { key, expects } => {
                    let line = format!("waits for waitpoint {key:?}, a value of type {expects}");
                    self.line(depth, line);
                }
            }
        }
        if let Some(more) = node.waits.len().checked_sub(TOLD + 1) {
            self.line(depth, format_args!("and for {} more", more + 1));
        }
    }

    fn lane(&mut self, serial: u64, ahead: &str, depth: usize) {
        let Some(lane) = self.graph.lane_of(serial) else {
            return;
        };
        if !self.lanes.insert(serial) {
            let name = &lane.name;
            return self.line(depth, format_args!("lane {name:?}: see above{ahead}"));
        }
        self.line(depth, format_args!("{}{ahead}", Slots(lane)));
        if let Some(group) = &lane.group
            && let Some(group) = self.graph.groups.iter().find(|of| of.name == *group)
        {
            self.line(depth + 1, Shares(group));
        }
        for id in lane.holders.iter().take(TOLD) {
            self.task(*id, "task", Some(serial), depth + 1);
        }
        let more = lane.holders.iter().skip(TOLD);
        let moves = |id: &&TaskId| self.graph.task(**id).is_some_and(|node| node.moves);
        match (more.len(), more.filter(moves).count()) {
            (0, _) => {}
            (more, moving) if more == moving => {
                self.line(depth + 1, format_args!("and {more} more, all moving"));
            }
            (more, moving) => {
                self.line(
                    depth + 1,
                    format_args!("and {more} more, {moving} of them moving"),
                );
            }
        }
        for id in lane.orphans.iter().take(TOLD) {
            if let Some(node) = self.graph.task(*id)
                && self.tasks.insert(*id)
            {
                let (name, lost) = (Name(node), Lost(node));
                self.line(depth + 1, format_args!("orphan {name}: {lost}"));
            }
        }
        if let Some(more) = lane.orphans.len().checked_sub(TOLD + 1) {
            self.line(depth + 1, format_args!("and {} more orphans", more + 1));
        }
    }
}

/// All there is to be said of a task in one line.
struct Told<'a>(&'a TaskNode);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(node) = self;
        let task = &node.task;
        let waited = Span(task.waited);
        match (node.stage, task.age) {
            (Stage::Queued, _) => write!(f, "queued for {waited}")?,
            (Stage::AtDoor, _) => write!(f, "at the door for {waited}")?,
            (Stage::QuietWindow, _) => f.write_str("in its quiet window")?,
            (Stage::Asleep, _) => write!(f, "asleep: granted a slot, and not polled for it")?,
            (Stage::Reserved, _) => f.write_str("a place is kept for it")?,
            (Stage::Granted, Some(age)) => {
                write!(f, "granted {} ago, not claimed yet", Span(age))?;
            }
            (_, Some(age)) => write!(f, "active for {}", Span(age))?,
            (_, None) => f.write_str("active")?,
        }
        match task.priority {
            Priority::Foreground => f.write_str(", foreground")?,
            Priority::Background => f.write_str(", background")?,
            Priority::Normal => {}
        }
        match node.stage {
            Stage::Running | Stage::Detached if !node.waits.iter().any(Wait::is_firm) => {
                let idle = Span(task.idle.unwrap_or_default());
                if node.moves {
                    write!(f, ", last sign of life {idle} ago")?;
                } else {
                    write!(f, ", silent for {idle}{}", Stands(node))?;
                }
                if !task.reported {
                    f.write_str(", never reported progress")?;
                }
            }
            Stage::Asked
            | Stage::Dropping
            | Stage::Teardown
            | Stage::Delivering
            | Stage::Orphan
            | Stage::Parked => {
                write!(f, ", {}", Signs(node))?;
            }
            Stage::ComingBack => f.write_str(", back from its wait")?,
            _ => {}
        }
        if node.stage == Stage::Detached {
            f.write_str(", running on without its slot")?;
        }
        if let Some(parked) = &task.parked
            && !parked.released.is_empty()
        {
            write!(f, ", slots of {:?} given back", parked.released)?;
        }
        if let Some(phase) = &task.phase {
            write!(f, ", phase {phase:?}")?;
        }
        if let Some(note) = &task.note
            && task.phase.as_ref() != Some(note)
        {
            write!(f, ", note {note:?}")?;
        }
        if let (Some(key), Some(_)) = (&task.key, &task.name) {
            write!(f, ", key {key:?}")?;
        }
        if node.holds.len() > 1 {
            write!(f, ", holds slots of {:?}", node.holds)?;
        }
        Ok(())
    }
}

/// A lane in one line.
struct Slots<'a>(&'a LaneNode);

impl Display for Slots<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(lane) = self;
        let (active, most) = (lane.active, lane.max_concurrent);
        write!(f, "lane {:?}: {active} of {most} slots held, ", lane.name)?;
        write!(f, "{} queued", lane.queued)?;
        if let Some(capacity) = lane.queue_capacity {
            write!(f, " of {capacity}")?;
        }
        if lane.at_door > 0 {
            write!(f, ", {} at the door", lane.at_door)?;
        }
        match (lane.paused, lane.resumes_after) {
            (true, Some(after)) => write!(f, ", paused for {}", Span(after))?,
            (true, None) => f.write_str(", paused by hand")?,
            (false, _) => {}
        }
        match (lane.blocked_by, &lane.group) {
            (Some(BlockedBy::Paused) | None, _) => {}
            (Some(by @ (BlockedBy::GroupBudget | BlockedBy::Reservation)), Some(group)) => {
                write!(f, ", blocked by {by} in group {group:?}")?;
            }
            (Some(by), _) => write!(f, ", blocked by {by}")?,
        }
        match (lane.state, lane.drains_for) {
            (LaneState::Draining, Some(after)) => write!(f, ", draining for {}", Span(after)),
            (LaneState::Draining, None) => f.write_str(", draining"),
            (LaneState::Closed, _) => f.write_str(", closed"),
            (LaneState::Shutdown, _) => f.write_str(", shut down"),
            (LaneState::Open, _) => Ok(()),
        }
    }
}

/// A group in one line.
struct Shares<'a>(&'a GroupSnapshot);

impl Display for Shares<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(group) = self;
        let (active, most) = (group.active, group.max_concurrent);
        write!(f, "group {:?}: {active} of {most} slots held", group.name)?;
        for member in group.members.iter().filter(|of| of.reserved > 0) {
            let (active, reserved) = (member.active, member.reserved);
            let name = &member.member;
            write!(f, ", {reserved} reserved for {name:?} ({active} held)")?;
        }
        Ok(())
    }
}

/// What the lane's recent history lets one expect.
fn usually(expected: Option<Duration>) -> String {
    expected.map_or_else(String::new, |wait| {
        format!("; {} more at its recent pace", Span(wait))
    })
}

impl Display for Never {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PausedByHand => "paused by hand",
            Self::NoSlots => "max_concurrent is zero",
            Self::GroupBudget => "the group has no slot for it",
            Self::NoLimit => "it has no limit",
            Self::OnlyReported => "a stall is only reported",
            Self::OrphanBound => "its slot is not taken: the orphan bound is reached",
            Self::NotPolled => "nobody polls it",
            Self::RunnerGone => "only its runner lets go of it",
            Self::Circle => "they wait for each other",
        })
    }
}

impl Display for Remedy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extend { id } => write!(f, "lanes.extend({id}, …): grant it more silence"),
            Self::ResumeWaitpoint { key } => {
                write!(f, "lanes.resume_waitpoint({key:?}, …): give it its value")
            }
            Self::CancelWaitpoint { key } => {
                write!(f, "lanes.cancel_waitpoint({key:?}): end it without one")
            }
            Self::Resume { lane } => write!(f, "lanes.lane({lane:?})?.resume(): end the pause"),
            Self::SetMaxConcurrent { lane, at_least } => write!(
                f,
                "lanes.lane({lane:?})?.set_max_concurrent({at_least}): start one more"
            ),
            Self::QueueCapacity { lane, at_least } => write!(
                f,
                "lanes.reconfigure(|change| {{ change.lane({lane:?}).queue_capacity({at_least}); }}): \
                 let it in"
            ),
            Self::Group { group } => write!(
                f,
                "lanes.reconfigure(|change| change.group({group:?}, …)): \
                 a larger budget, or less reserved"
            ),
            Self::Unblock { id } => write!(f, "let {id} come back from its poll"),
            Self::Poll { id } => write!(f, "poll the future of {id}"),
            Self::Cancel { id } => write!(f, "lanes.cancel({id}, Reason::User): end it"),
            Self::ForgetOrphan { id } => {
                write!(
                    f,
                    "lanes.forget_orphan({id}): vouch for it, and count it no more"
                )
            }
            Self::Clear { lane } => {
                write!(f, "lanes.lane({lane:?})?.clear(): give up whoever waits")
            }
            Self::Reset { lane } => {
                write!(
                    f,
                    "lanes.lane({lane:?})?.reset(): take every slot of it at once"
                )
            }
        }
    }
}

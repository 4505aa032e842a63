//! What there is, and what it means: the table in `docs/metrics.md`, which a test holds
//! to this.

use metrics::Unit;

/// A metric, in the words of the facade.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

// How many there are: taken of the lists themselves in the types of fields, the compiler
// would go in a circle, where futures of models are checked for `Send`.
pub(super) const LEVELS_LEN: usize = 5;
pub(super) const COUNTS_LEN: usize = 10;
pub(super) const LENGTHS_LEN: usize = 3;
pub(super) const EVENTS_LEN: usize = 3;

const fn count(name: &'static str, help: &'static str) -> Named {
    let unit = Unit::Count;
    Named { name, unit, help }
}

const fn seconds(name: &'static str, help: &'static str) -> Named {
    let unit = Unit::Seconds;
    Named { name, unit, help }
}

/// Gauges: how many there are now.
pub(super) const LEVELS: [Named; LEVELS_LEN] = [
    count(
        "laneway_tasks_queued",
        "Tasks that wait for a slot, in the queue or at the door of a full one.",
    ),
    count("laneway_tasks_active", "Tasks that hold a slot."),
    count(
        "laneway_tasks_parked",
        "Tasks that gave their slot back and wait for somebody.",
    ),
    count(
        "laneway_tasks_orphans",
        "Tasks whose slot was taken and whose runner has not let go.",
    ),
    count(
        "laneway_max_concurrent",
        "Slots that there are, free or held.",
    ),
];

/// Counters that the lane keeps.
pub(super) const COUNTS: [Named; COUNTS_LEN] = [
    count("laneway_tasks_submitted_total", "Tasks that were accepted."),
    count("laneway_tasks_dispatched_total", "Slots that were granted."),
    count(
        "laneway_slots_reclaimed_total",
        "Slots that came back for a stall or a timeout.",
    ),
    count(
        "laneway_reclaims_recovered_total",
        "Reclaims after which a waiter was dispatched.",
    ),
    count(
        "laneway_reclaims_ineffective_total",
        "Reclaims that helped nobody who waited.",
    ),
    count(
        "laneway_slots_taken_total",
        "Slots that were taken without the runner's help.",
    ),
    count(
        "laneway_late_completions_total",
        "Results that came after their slot had been taken.",
    ),
    count(
        "laneway_deadlocks_total",
        "Waits that closed a circle of waits.",
    ),
    count(
        "laneway_repairs_total",
        "Faults of the scheduler itself that it found and mended.",
    ),
    count(
        "laneway_blocked_warnings_total",
        "Warnings that the dispatch of a lane is blocked.",
    ),
];

/// The counter of tasks that were settled, which has a label for how.
pub(super) const SETTLED: Named = count(
    "laneway_tasks_settled_total",
    "Tasks whose caller was told how they ended.",
);

/// What that label says; the words are those of spans.
pub(super) const OUTCOMES: [&str; 10] = [
    "completed",
    "panicked",
    "stalled",
    "timed_out",
    "cancelled",
    "cleared",
    "returned",
    "refused",
    "shutdown",
    "runtime_shutdown",
];

/// Histograms: how long it took.
pub(super) const LENGTHS: [Named; LENGTHS_LEN] = [
    seconds(
        "laneway_tasks_wait_seconds",
        "How long a slot that was granted had been waited for.",
    ),
    seconds(
        "laneway_tasks_run_seconds",
        "How long a task had its slot, when it ended.",
    ),
    seconds(
        "laneway_reclaimed_idle_seconds",
        "How long a task had been silent, when its slot was reclaimed.",
    ),
];

/// Counters of the log of events, of all lanes.
pub(super) const EVENTS: [Named; EVENTS_LEN] = [
    count(
        "laneway_events_published_total",
        "Events that were written to the log.",
    ),
    count(
        "laneway_events_streamed_total",
        "Events that readers were given.",
    ),
    count(
        "laneway_events_dropped_total",
        "Events that were overwritten before a reader had them.",
    ),
];

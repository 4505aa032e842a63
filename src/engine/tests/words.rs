//! What tasks are granted, and how they end, as words: how two grants make one, and
//! what each end is called.

use std::time::Duration;

use super::sim::secs;
use crate::engine::{Ceiling, End, OnStall, Priority, Reason, Refused, Span, Spec};

const SHORT: Duration = secs(1);
const LONG: Duration = secs(2);

fn granted(limit: Option<Duration>, ceiling: Ceiling) -> Spec {
    Spec {
        priority: Priority::Foreground,
        ceiling,
        on_stall: OnStall::WarnOnly,
        idle: limit,
        budget: limit,
        wait: limit,
        grace: SHORT,
        teardown: LONG,
        warn_wait: limit,
        on_wait: limit,
    }
}

#[test]
fn a_task_of_two_lanes_has_the_tighter_of_each_limit() {
    let limits = [None, Some(SHORT), Some(LONG)];
    for (a, b) in limits.into_iter().flat_map(|a| limits.map(|b| (a, b))) {
        let both = granted(a, Ceiling::None).tighter(&granted(b, Ceiling::None));
        let least = a.into_iter().chain(b).min();
        assert_eq!((both.idle, both.budget, both.wait), (least, least, least));
        // How it is ended, and what is said of it, is as the first has it.
        let first = granted(a, Ceiling::None);
        let rest = Spec {
            idle: a,
            budget: a,
            wait: a,
            ..both
        };
        assert_eq!(rest, first);
    }
    let ceilings = [
        (Ceiling::Set(SHORT), Ceiling::Set(LONG), Ceiling::Set(SHORT)),
        (Ceiling::Set(LONG), Ceiling::Default, Ceiling::Set(LONG)),
        (Ceiling::Set(LONG), Ceiling::None, Ceiling::Set(LONG)),
        (Ceiling::Default, Ceiling::None, Ceiling::Default),
        (Ceiling::None, Ceiling::None, Ceiling::None),
    ];
    for (a, b, tighter) in ceilings {
        for (a, b) in [(a, b), (b, a)] {
            let both = granted(None, a).tighter(&granted(None, b));
            assert_eq!(both.ceiling, tighter, "of {a:?} and {b:?}");
        }
    }
}

#[test]
fn a_slot_beside_a_tasks_own_is_never_due_by_itself() {
    let own = granted(Some(SHORT), Ceiling::Default);
    let beside = own.of_link();
    assert_eq!(beside.first_look(), Span::ENDLESS);
    assert_eq!(beside.first_look_queued(), Span::ENDLESS);
    assert_eq!(beside.on_stall, OnStall::Reclaim);
    let kept = (beside.priority, beside.grace, beside.teardown);
    assert_eq!(kept, (own.priority, own.grace, own.teardown));
}

#[test]
fn every_end_has_its_reason_and_its_word() {
    let waited = SHORT;
    let admit_descendants = false;
    let (draining, lane) = (Refused::Draining { admit_descendants }, 1);
    let refused = |why| End::Refused { lane, why };
    let ends = [
        (End::Completed, Reason::Completed, "completed"),
        (End::Cleared { waited }, Reason::User, "cleared"),
        (End::Returned { waited }, Reason::Draining, "returned"),
        (End::Shutdown { waited }, Reason::Shutdown, "shutdown"),
        (
            End::SchedulerDropped { waited },
            Reason::Shutdown,
            "shutdown",
        ),
        (
            End::RuntimeShutdown,
            Reason::RuntimeShutdown,
            "runtime_shutdown",
        ),
        (refused(draining), Reason::Draining, "refused"),
        (refused(Refused::Closed), Reason::Shutdown, "refused"),
        (refused(Refused::Shutdown), Reason::Shutdown, "refused"),
    ];
    for (end, reason, word) in ends {
        assert_eq!((end.reason(), end.outcome()), (reason, word), "{end:?}");
    }
}

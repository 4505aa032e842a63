//! Whether a hung task loses its slot in time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::case::Case;
use crate::gate::Gate;
use crate::world::{GRACE, TEARDOWN, World};

/// Looks whether a hung task loses its slot in time.
pub(crate) struct Watch<'a> {
    world: &'a World,
    case: &'a Case,
    gate: &'a Gate,
    /// The answer comes to somebody who does not hang himself, so it must come
    /// as early as the slot goes.
    answer_too: bool,
    told: bool,
}

/// How much later than promised a loaded machine may be, beside what was
/// measured of it.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

impl<'a> Watch<'a> {
    pub(crate) const fn new(
        world: &'a World,
        case: &'a Case,
        gate: &'a Gate,
        answer_too: bool,
    ) -> Self {
        Self {
            world,
            case,
            gate,
            answer_too,
            told: false,
        }
    }

    pub(crate) async fn over<T>(mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            match timeout(Duration::from_millis(50), answer.as_mut()).await {
                Ok(answer) => {
                    self.in_time();
                    return answer;
                }
                Err(_) => self.look(),
            }
        }
    }

    pub(crate) async fn until_lost(mut self) {
        while self.case.holds_slot() && !self.told && !self.world.is_over() {
            sleep(Duration::from_millis(20)).await;
            self.look();
        }
        if !self.case.holds_slot() {
            self.in_time();
        }
    }

    fn look(&mut self) {
        let (case, roomy) = (self.case, self.case.is_roomy());
        let (Some(limit), Some(active)) = (case.limit, case.active_for()) else {
            return;
        };
        let all = limit + GRACE + TEARDOWN;
        let lost = !case.holds_slot();
        if lost && !self.answer_too || !roomy && active > all + Duration::from_millis(300) {
            self.gate.open();
            // A lane at its orphan bound owes nothing more.
            self.told |= !roomy;
        }
        let slack = SLACK + 2 * self.world.proof.lateness();
        let pending = !lost || self.answer_too;
        if roomy && pending && !self.told && active > all + slack {
            self.told = true;
            let lanes = case
                .places
                .iter()
                .filter_map(|place| self.world.lane(&place.book));
            let lanes: Vec<_> = lanes.map(|lane| lane.snapshot()).collect();
            let what = if lost {
                "was not answered"
            } else {
                "kept its slot"
            };
            self.world.proof.check("S8", false, || {
                format!("{case} {what} for {active:?}; slack {slack:?}; its lanes: {lanes:#?}")
            });
            self.gate.open();
        }
    }

    fn in_time(&self) {
        let hung = self.case.limit.is_some() && self.case.has_started();
        if hung && self.case.is_roomy() && !self.told {
            self.world.proof.check("S8", true, String::new);
        }
    }
}

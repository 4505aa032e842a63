//! When each domain next wants to be looked at, over the whole scheduler.

use std::collections::{BTreeMap, HashMap};

use super::domain::Domain;
use super::shared::trim;
use crate::engine::Time;
use crate::sync::{Arc, Mutex, Weak};

/// At most one entry a domain, whatever it has active: a domain arms itself
/// only for a moment earlier than the one it is armed for.
#[derive(Debug, Default)]
pub(crate) struct DomainTimers {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    moments: BTreeMap<(Time, u64), Weak<Domain>>,
    by_domain: HashMap<u64, Time>,
}

impl DomainTimers {
    /// Says whether this is now the first moment of all, so that whoever
    /// sleeps must be woken.
    #[must_use]
    pub(crate) fn arm(&self, domain: &Arc<Domain>, at: Time) -> bool {
        let mut table = self.table.lock();
        if let Some(&set) = table.by_domain.get(&domain.serial) {
            // Two inputs may race from the domain's lock to this one.
            if set <= at {
                return false;
            }
            table.moments.remove(&(set, domain.serial));
        }
        table.by_domain.insert(domain.serial, at);
        table
            .moments
            .insert((at, domain.serial), Arc::downgrade(domain));
        table
            .moments
            .first_key_value()
            .is_some_and(|((first, serial), _)| (*first, *serial) == (at, domain.serial))
    }

    /// Forgets a domain that retires.
    pub(crate) fn disarm(&self, serial: u64) {
        let mut table = self.table.lock();
        if let Some(at) = table.by_domain.remove(&serial) {
            table.moments.remove(&(at, serial));
            trim(&mut table.by_domain);
        }
    }

    /// Takes out domains whose moment has come, at most `most` of them.
    pub(crate) fn due(&self, now: Time, most: usize) -> Vec<Weak<Domain>> {
        let mut table = self.table.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some(entry) = table.moments.first_entry()
            && entry.key().0 <= now
        {
            let ((_, serial), domain) = entry.remove_entry();
            table.by_domain.remove(&serial);
            due.push(domain);
        }
        trim(&mut table.by_domain);
        due
    }

    pub(crate) fn first(&self) -> Option<Time> {
        let table = self.table.lock();
        table.moments.first_key_value().map(|((at, _), _)| *at)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().by_domain.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.table.lock().by_domain.capacity()
    }
}

#[cfg(all(test, not(any(laneway_loom, laneway_shuttle))))]
mod tests {
    use super::*;
    use crate::{LaneConfig, Lanes};

    const fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn s8_whoever_sleeps_is_woken_for_a_new_first_moment_and_for_no_other() {
        let config = LaneConfig::new(1);
        let lanes = Lanes::builder().lane("a", config.clone()).lane("b", config);
        let lanes = lanes.build().unwrap();
        let [a, b] = ["a", "b"].map(|name| lanes.lane(name).unwrap().domain);
        let timers = DomainTimers::default();
        assert!(timers.arm(&a, at(10)));
        assert!(!timers.arm(&a, at(10)), "known");
        assert!(!timers.arm(&a, at(11)), "later than what is known");
        assert!(!timers.arm(&b, at(20)), "later than another's");
        assert!(timers.arm(&b, at(5)));
        assert_eq!((timers.first(), timers.len()), (Some(at(5)), 2));
        assert!(timers.due(at(4), 2).is_empty());
        let serials = |due: Vec<Weak<Domain>>| -> Vec<u64> {
            let domains = due.iter().filter_map(Weak::upgrade);
            domains.map(|domain| domain.serial).collect()
        };
        assert_eq!(serials(timers.due(at(10), 1)), [b.serial], "one at a time");
        assert_eq!(serials(timers.due(at(10), 2)), [a.serial]);
        assert_eq!((timers.first(), timers.len()), (None, 0));
        // It is forgotten where it was due, and may be armed for any moment.
        assert!(timers.arm(&a, at(12)));
        timers.disarm(a.serial);
        assert_eq!((timers.first(), timers.len()), (None, 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "a thousand lanes take minutes there")]
    fn s15_a_storm_of_moments_gives_its_room_back_whichever_way_they_go() {
        let lanes = Lanes::builder().default_lane(LaneConfig::new(1));
        let lanes = lanes.build().unwrap();
        let all: Vec<_> = (0..1_000)
            .map(|n| lanes.lane(&format!("session:{n}")).unwrap().domain)
            .collect();
        for by_themselves in [true, false] {
            let timers = DomainTimers::default();
            for domain in &all {
                let _ = timers.arm(domain, at(1));
            }
            assert!(timers.capacity() >= all.len());
            if by_themselves {
                while !timers.due(at(1), 64).is_empty() {}
            } else {
                all.iter().for_each(|domain| timers.disarm(domain.serial));
            }
            assert_eq!(timers.len(), 0);
            assert!(timers.capacity() < 300, "{by_themselves}");
        }
    }
}

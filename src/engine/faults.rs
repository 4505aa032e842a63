//! Faults to plant, for the tests of whoever finds and mends them.

use super::audit::Drift;
use super::group::Group;
use super::lane::Lane;
use super::slab::Key;
use super::task::{End, State};

/// What may go wrong in the books of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A slot counts as held, and is nobody's.
    LeakedSlot,
    /// This holder is not counted.
    Uncounted(Key),
    /// This one is counted for another.
    Mistaken(Key),
    /// This waiter has fallen out of the queue, or from the door.
    Lost(Key),
    /// This holder is still in the queue.
    Lingers(Key),
    /// This one still stands at the door.
    LingersAtDoor(Key),
    Reserved(isize),
    Quiet(isize),
    Parked(isize),
    Orphans(isize),
    /// Its holder has let go of it, and nobody was served.
    Unserved(Key),
}

/// What may go wrong in the books of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupFault {
    /// Slots that count as used, and are nobody's.
    Used(isize),
    /// Slots of this lane that count as used, and are nobody's.
    UsedBy(Key, isize),
    /// The first waiter of this lane is not known of.
    Unknown(Key),
    /// It is, and does not stand among those who could start.
    Unranked(Key),
}

impl<P: Clone> Lane<P> {
    pub(crate) fn plant(&mut self, fault: Fault) {
        match fault {
            Fault::LeakedSlot => self.holders.push(Key::NOBODY),
            Fault::Uncounted(key) => self.vacate(key),
            Fault::Mistaken(key) => {
                let at = self.tasks.get(key).map(|record| record.holder as usize);
                self.holders[at.expect("a holder")] = Key::NOBODY;
            }
            Fault::Lost(key) => match (self.tasks.get(key).map(|r| r.state), &mut self.door) {
                (Some(State::AtDoor), Some(door)) => {
                    door.waiting.remove(&mut self.tasks, key.index);
                }
                _ => self.queue.remove(&mut self.tasks, key.index),
            },
            Fault::Lingers(key) => self.queue.push(&mut self.tasks, key.index),
            Fault::LingersAtDoor(key) => {
                let door = self.door.as_deref_mut().expect("a door");
                door.waiting.push(&mut self.tasks, key.index);
            }
            Fault::Reserved(by) => {
                let door = self.door.as_deref_mut().expect("a door");
                add(&mut door.kept, by);
            }
            Fault::Quiet(by) => add(&mut self.quiet, by),
            Fault::Parked(by) => add(&mut self.parked, by),
            Fault::Orphans(by) => add(&mut self.orphans, by),
            Fault::Unserved(key) => {
                let released = self.release(key, true);
                let told = End::Completed.into();
                self.note_release(self.clock, key, &released, told, true);
            }
        }
    }
}

impl<M: Clone> Group<M> {
    pub(crate) fn plant(&mut self, fault: GroupFault) {
        match fault {
            GroupFault::Used(by) => add(&mut self.used, by),
            GroupFault::UsedBy(key, by) => {
                let member = self.members.get(key).expect("a member");
                let (mut used, first) = (member.used, member.first);
                add(&mut used, by);
                self.restate(key, used, first);
            }
            GroupFault::Unknown(key) => {
                let used = self.members.get(key).map(|member| member.used);
                self.restate(key, used.expect("a member"), None);
            }
            GroupFault::Unranked(key) => self.ready.retain(|rank| rank.member != key.index),
        }
    }
}

fn add(count: &mut usize, by: isize) {
    *count = count.checked_add_signed(by).expect("a count");
}

impl Drift {
    /// What was counted and what was found, in a test.
    pub(crate) const fn miscounted(
        what: super::audit::Counted,
        counted: usize,
        found: usize,
    ) -> Self {
        Self::Miscounted {
            what,
            counted,
            found,
        }
    }
}

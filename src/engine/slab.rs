//! Tasks by key: O(1), and the memory of a storm is given back after it (S15).

/// Where a task is kept, and which task it is.
///
/// `seq` grows with every task of the lane and is never used twice, so a key
/// that outlived its task finds nothing, however often its index was reused:
/// the ground on which a release happens exactly once (S2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "replay", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) seq: u64,
}

impl Key {
    /// No task's.
    pub(crate) const NOBODY: Self = Self { index: NIL, seq: 0 };
}

/// What is kept of each task, by index. The lists of tasks keep their links there,
/// so that a task is in one place however many lists it is in.
pub(crate) trait ByIndex {
    type Row;

    fn row(&self, index: u32) -> Option<&Self::Row>;
    fn row_mut(&mut self, index: u32) -> Option<&mut Self::Row>;
}

/// No index.
pub(super) const NIL: u32 = u32::MAX;
/// Below this the memory is not worth a reallocation.
const KEEP: usize = 32;

#[derive(Debug)]
pub(crate) struct Slab<V> {
    entries: Vec<Entry<V>>,
    free: u32,
    len: usize,
    next_seq: u64,
}

#[derive(Debug)]
enum Entry<V> {
    Vacant { prev: u32, next: u32 },
    Occupied { seq: u64, value: V },
}

impl<V> Slab<V> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            len: 0,
            next_seq: 1,
        }
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The memory it holds on to, in entries.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn footprint(&self) -> usize {
        self.entries.capacity()
    }

    /// A number for a task that is refused: it has an id like any other.
    pub(crate) const fn burn_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// No number under this is given to anybody from now on.
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq);
    }

    /// The number that the next task gets.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The value is made in its place, and not moved there: nothing can panic
    /// between the two.
    // Always, so that what is made is made in its place, whoever calls this.
    #[inline(always)]
    pub(crate) fn insert(&mut self, make: impl FnOnce() -> V) -> Key {
        let seq = self.burn_seq();
        let index = self.vacancy();
        if let Some(entry) = self.entries.get_mut(index as usize) {
            let value = make();
            let vacant = std::mem::replace(entry, Entry::Occupied { seq, value });
            // It holds nothing, which the compiler does not know.
            std::mem::forget(vacant);
            self.len += 1;
        }
        Key { index, seq }
    }

    /// A vacant index that is on the free list no more.
    #[inline]
    fn vacancy(&mut self) -> u32 {
        let index = self.free;
        if let Some(Entry::Vacant { next, .. }) = self.entries.get(index as usize) {
            self.free = *next;
            if let Some(Entry::Vacant { prev, .. }) = self.entry_mut(self.free) {
                *prev = NIL;
            }
            return index;
        }
        let index = u32::try_from(self.entries.len()).expect("under 2^32 tasks in a lane");
        let (prev, next) = (NIL, NIL);
        self.entries.push(Entry::Vacant { prev, next });
        index
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&V> {
        match self.entries.get(key.index as usize)? {
            Entry::Occupied { seq, value } if *seq == key.seq => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        match self.entries.get_mut(key.index as usize)? {
            Entry::Occupied { seq, value } if *seq == key.seq => Some(value),
            _ => None,
        }
    }

    /// The key of whatever lives at an index, for the structures that keep
    /// indices only.
    #[inline]
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        match self.entries.get(index as usize)? {
            Entry::Occupied { seq, .. } => Some(Key { index, seq: *seq }),
            Entry::Vacant { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<V> {
        let entry = self.entries.get_mut(key.index as usize)?;
        match entry {
            Entry::Occupied { seq, .. } if *seq == key.seq => {}
            _ => return None,
        }
        let (prev, next) = (NIL, self.free);
        let old = std::mem::replace(entry, Entry::Vacant { prev, next });
        if let Some(Entry::Vacant { prev, .. }) = self.entry_mut(next) {
            *prev = key.index;
        }
        self.free = key.index;
        self.len -= 1;
        if self.entries.len() > KEEP && self.len < self.entries.len() / 4 {
            self.give_back_tail();
        }
        match old {
            Entry::Occupied { value, .. } => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &V)> {
        self.entries
            .iter()
            .zip(0..)
            .filter_map(|(entry, index)| match entry {
                Entry::Occupied { seq, value } => Some((Key { index, seq: *seq }, value)),
                Entry::Vacant { .. } => None,
            })
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<V>> {
        self.entries.get_mut(index as usize)
    }

    fn unlink_free(&mut self, index: u32) {
        let Some(Entry::Vacant { prev, next }) = self.entries.get(index as usize) else {
            return;
        };
        let (before, after) = (*prev, *next);
        match self.entry_mut(before) {
            Some(Entry::Vacant { next, .. }) => *next = after,
            _ => self.free = after,
        }
        if let Some(Entry::Vacant { prev, .. }) = self.entry_mut(after) {
            *prev = before;
        }
    }

    /// Every entry is pushed once and popped once, so this is O(1) amortised.
    fn give_back_tail(&mut self) {
        while let Some(Entry::Vacant { .. }) = self.entries.last() {
            let last = u32::try_from(self.entries.len() - 1).unwrap_or(NIL);
            self.unlink_free(last);
            self.entries.pop();
        }
        trim(&mut self.entries);
    }
}

impl<V> ByIndex for Slab<V> {
    type Row = V;

    #[inline]
    fn row(&self, index: u32) -> Option<&V> {
        match self.entries.get(index as usize)? {
            Entry::Occupied { value, .. } => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    #[inline]
    fn row_mut(&mut self, index: u32) -> Option<&mut V> {
        match self.entries.get_mut(index as usize)? {
            Entry::Occupied { value, .. } => Some(value),
            Entry::Vacant { .. } => None,
        }
    }
}

#[cfg(test)]
impl<V> ByIndex for Vec<V> {
    type Row = V;

    fn row(&self, index: u32) -> Option<&V> {
        self.get(index as usize)
    }

    fn row_mut(&mut self, index: u32) -> Option<&mut V> {
        self.get_mut(index as usize)
    }
}

/// Gives back the memory of a vector that is mostly empty, however much it lost
/// at once. Amortised O(1): a vector must lose half of what it holds between
/// two reallocations, or double it.
#[inline]
pub(crate) fn trim<T>(vec: &mut Vec<T>) {
    if vec.len() < vec.capacity() / 4 && vec.capacity() > KEEP {
        shrink(vec);
    }
}

#[cold]
fn shrink<T>(vec: &mut Vec<T>) {
    vec.shrink_to((vec.len() * 2).max(KEEP));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert(|| 'a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert(|| 'b');
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn s15_a_storm_gives_its_memory_back() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..if cfg!(miri) { 1_000 } else { 100_000 })
            .map(|n| slab.insert(|| n))
            .collect();
        // Out of order, so that the free list is exercised from its middle.
        for key in keys.iter().skip(1).step_by(2).chain(keys.iter().step_by(2)) {
            assert!(slab.remove(*key).is_some());
        }
        assert_eq!(slab.len(), 0);
        assert!(slab.entries.capacity() <= KEEP * 4);
        let again = slab.insert(|| 7);
        assert!((again.index as usize) < KEEP);
        assert_eq!(slab.get(again), Some(&7));
    }

    #[test]
    fn s15_a_table_is_given_back_once_it_is_mostly_empty_and_not_before() {
        let mut table: Vec<u64> = Vec::with_capacity(400);
        let capacity = table.capacity();
        table.resize(capacity / 4, 0);
        trim(&mut table);
        assert_eq!(table.capacity(), capacity);
        table.pop();
        trim(&mut table);
        // Room to grow is left, or the next one would bring it all back.
        let room = table.len() * 2;
        assert!((room..capacity).contains(&table.capacity()));
        table.clear();
        trim(&mut table);
        assert_eq!(table.capacity(), KEEP);
        let mut slab = Slab::new();
        slab.insert(|| table);
        assert_eq!(slab.footprint(), slab.entries.capacity());
    }

    #[test]
    fn the_end_is_given_back_once_a_quarter_of_many_is_left_and_not_before() {
        let filled = |size| {
            let mut slab = Slab::new();
            let keys: Vec<_> = (0..size).map(|n| slab.insert(|| n)).collect();
            (slab, keys)
        };
        let (mut slab, mut keys) = filled(KEEP + 16);
        let quarter = slab.entries.len() / 4;
        for key in keys.drain(quarter..).rev() {
            slab.remove(key);
            assert_eq!(slab.entries.len(), KEEP + 16);
        }
        slab.remove(keys[quarter - 1]);
        assert_eq!(slab.entries.len(), quarter - 1);
        let (mut slab, keys) = filled(KEEP);
        for key in keys.into_iter().rev() {
            slab.remove(key);
        }
        assert_eq!(slab.entries.len(), KEEP);
    }

    #[test]
    fn the_holes_that_are_left_are_reused_however_the_end_was_given_back() {
        let size = KEEP + 16;
        let (low, high) = (0..20, 21..size);
        let orders: [Vec<usize>; 2] = [
            low.clone().chain(high.clone()).collect(),
            high.chain(low.clone()).collect(),
        ];
        for order in orders {
            let mut slab = Slab::new();
            let keys: Vec<_> = (0..size).map(|n| slab.insert(|| n)).collect();
            for at in order {
                slab.remove(keys[at]);
            }
            assert_eq!(slab.entries.len(), 21);
            let reused: std::collections::BTreeSet<_> =
                low.clone().map(|n| slab.insert(|| n).index).collect();
            assert!(reused.into_iter().eq(0..20));
        }
    }

    #[test]
    fn holes_are_reused_before_the_end_grows() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..8).map(|n| slab.insert(|| n)).collect();
        for at in [2, 5, 3] {
            slab.remove(keys[at]);
        }
        let mut reused: Vec<_> = (0..3).map(|n| slab.insert(|| n).index).collect();
        reused.sort_unstable();
        assert_eq!(reused, [2, 3, 5]);
        assert_eq!(slab.insert(|| 9).index, 8);
    }
}

//! Which freed space some I/O may still be reaching.
//!
//! A mapping holds a guard of the generation it was made in. Space that is freed is retired with the current
//! generation, and a new one begins: when no guard of that generation or an older one lives, nobody can reach it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Keeps the extents of a mapping from being given to somebody else.
#[derive(Debug, Clone, Default)]
pub struct IoGuard(#[expect(dead_code, reason = "held, never read")] Option<Arc<()>>);

impl IoGuard {
    /// For disks whose space never moves.
    pub(crate) const fn none() -> Self {
        Self(None)
    }
}

/// The generations of mappings, and the space retired with each.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    current: Arc<()>,
    retired: VecDeque<(Arc<()>, Vec<Range<u64>>)>,
}

impl InUse {
    /// A guard for a mapping made now.
    pub fn guard(&self) -> IoGuard {
        IoGuard(Some(Arc::clone(&self.current)))
    }

    /// Takes space that no mapping made from now on will name.
    pub fn retire(&mut self, ranges: Vec<Range<u64>>) {
        if !ranges.is_empty() {
            let generation = std::mem::take(&mut self.current);
            self.retired.push_back((generation, ranges));
        }
    }

    /// Space that nothing reaches any more.
    pub fn reclaim(&mut self) -> Vec<Range<u64>> {
        let mut free = Vec::new();
        while let Some((generation, _)) = self.retired.front()
            && Arc::strong_count(generation) == 1
        {
            free.extend(self.retired.pop_front().into_iter().flat_map(|(_, ranges)| ranges));
        }
        free
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> u64 {
        let ranges = self.retired.iter().flat_map(|(_, ranges)| ranges);
        ranges.map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges")]
mod tests {
    use super::*;

    #[test]
    fn space_comes_back_when_the_last_older_guard_goes() {
        let mut in_use = InUse::default();
        let old = in_use.guard();
        in_use.retire(vec![0..10]);
        let young = in_use.guard();
        in_use.retire(vec![20..30]);
        assert!(in_use.reclaim().is_empty());
        assert_eq!(in_use.waiting(), 20);
        drop(young);
        assert!(in_use.reclaim().is_empty(), "the older guard may reach both");
        drop(old);
        assert_eq!(in_use.reclaim(), [0..10, 20..30]);
    }

    #[test]
    fn later_mappings_do_not_hold_back_what_was_freed_before_them() {
        let mut in_use = InUse::default();
        in_use.retire(vec![0..10]);
        let _later = in_use.guard();
        assert_eq!(in_use.reclaim(), [0..10]);
    }
}

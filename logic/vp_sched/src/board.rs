//! What LPs tell each other without taking each other's locks. All of it is advice: whoever acts on it looks again
//! under the lock.

use crate::vtime::VTime;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use hvdef::LpIndex;

/// One LP's notice, on a cache line of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
pub struct LpNotice {
    /// Virtual time of the neediest VP in the fair classes.
    floor: AtomicU64,
    /// When, in virtual time, somebody else should fetch the first of the waiting VPs.
    overdue: AtomicU64,
    /// Waiting VPs that may leave.
    waiting: AtomicU32,
    /// Those of them that are owed a reserve.
    reserved: AtomicU32,
    /// 1: nothing to run, and nobody has claimed the LP yet.
    idle: AtomicU32,
}

impl LpNotice {
    /// Of an LP that has not begun.
    pub const fn new() -> Self {
        Self {
            floor: AtomicU64::new(0),
            overdue: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            reserved: AtomicU32::new(0),
            idle: AtomicU32::new(0),
        }
    }

    fn waits(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }
}

/// What there is one of: the machine's virtual clock, and counts that spare everybody the look at all notices.
#[derive(Debug)]
pub struct Shared {
    clock: AtomicU64,
    /// LPs with VPs waiting that may leave.
    contended: AtomicU32,
    /// Idle LPs.
    idle: AtomicU32,
    /// One more than the highest LP that takes part.
    lps: AtomicU32,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// Of a machine that has not begun.
    pub const fn new() -> Self {
        Self {
            clock: AtomicU64::new(0),
            contended: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            lps: AtomicU32::new(u32::MAX),
        }
    }
}

/// The notices of all LPs, by index, and what they share.
#[derive(Debug)]
pub struct Board<'a> {
    lps: &'a [LpNotice],
    shared: &'a Shared,
}

impl<'a> Board<'a> {
    /// A board over notices that the caller keeps, all of them fresh or already in use as this board.
    pub const fn new(lps: &'a [LpNotice], shared: &'a Shared) -> Self {
        Self { lps, shared }
    }

    /// Only the first `count` LPs take part: nobody looks at the notices of others.
    pub fn limit(&self, count: u32) {
        self.shared.lps.store(count, Relaxed);
    }

    fn lps(&self) -> &'a [LpNotice] {
        let count = self.shared.lps.load(Relaxed) as usize;
        self.lps.get(..count).unwrap_or(self.lps)
    }

    /// Puts up what is new on `lp`, under its lock.
    pub(crate) fn publish(
        &self,
        lp: LpIndex,
        floor: VTime,
        overdue: VTime,
        waiting: u32,
        reserved: u32,
    ) {
        let Some(notice) = self.notice(lp) else { return };
        notice.floor.store(floor.0, Relaxed);
        notice.overdue.store(overdue.0, Relaxed);
        notice.reserved.store(reserved, Relaxed);
        let waited = notice.waits();
        notice.waiting.store(waiting, Relaxed);
        match (waited, waiting != 0) {
            (false, true) => _ = self.shared.contended.fetch_add(1, Relaxed),
            (true, false) => _ = self.shared.contended.fetch_sub(1, Relaxed),
            _ => {}
        }
    }

    /// Whether anywhere VPs wait that may leave.
    pub(crate) fn is_contended(&self) -> bool {
        self.shared.contended.load(Relaxed) != 0
    }

    pub(crate) fn notice(&self, lp: LpIndex) -> Option<&LpNotice> {
        self.lps.get(lp.0 as usize)
    }

    /// Virtual time of the LP that is most behind among those where VPs wait.
    pub(crate) fn clock(&self) -> VTime {
        VTime(self.shared.clock.load(Relaxed))
    }

    /// Brings the clock up to date; while nobody waits anywhere it stands still.
    pub(crate) fn advance_clock(&self) {
        let floors =
            self.lps().iter().filter(|lp| lp.waits()).map(|lp| VTime(lp.floor.load(Relaxed)));
        if let Some(floor) = floors.reduce(VTime::min) {
            self.shared.clock.store(floor.0, Relaxed);
        }
    }

    pub(crate) fn set_idle(&self, lp: LpIndex, idle: bool) {
        let Some(notice) = self.notice(lp) else { return };
        // A claim by somebody else in between is a change from 1 to 0: what was 0 stays 0 until this LP sets it.
        if notice.idle.load(Relaxed) == u32::from(idle)
            || notice.idle.swap(idle.into(), Relaxed) == u32::from(idle)
        {
            return;
        }
        if idle {
            self.shared.idle.fetch_add(1, Relaxed);
        } else {
            self.shared.idle.fetch_sub(1, Relaxed);
        }
    }

    /// Claims `lp` if it is idle: nobody else will claim it before it has been idle anew.
    pub(crate) fn claim(&self, lp: LpIndex) -> bool {
        let idle =
            |notice: &LpNotice| notice.idle.load(Relaxed) != 0 && notice.idle.swap(0, Relaxed) != 0;
        let claimed = self.notice(lp).is_some_and(idle);
        if claimed {
            self.shared.idle.fetch_sub(1, Relaxed);
        }
        claimed
    }

    /// Claims an idle LP, the first after `lp`.
    pub(crate) fn claim_any(&self, lp: LpIndex) -> Option<LpIndex> {
        if !self.has_idle() {
            return None;
        }
        self.others(lp).map(|(other, _)| other).find(|&other| self.claim(other))
    }

    /// Whether there is an idle LP.
    pub(crate) fn has_idle(&self) -> bool {
        self.shared.idle.load(Relaxed) != 0
    }

    /// The LP with VPs waiting whose first is the most overdue; with `floor`, only one that is overdue against it.
    pub(crate) fn neediest(&self, lp: LpIndex, floor: Option<VTime>) -> Option<LpIndex> {
        if !self.is_contended() {
            return None;
        }
        let overdue = |notice: &LpNotice| VTime(notice.overdue.load(Relaxed));
        self.others(lp)
            .filter(|(_, notice)| notice.waits())
            .map(|(other, notice)| (other, overdue(notice)))
            .filter(|(_, overdue)| floor.is_none_or(|floor| overdue.is_before(floor)))
            .reduce(|a, b| if b.1.is_before(a.1) { b } else { a })
            .map(|(other, _)| other)
    }

    /// An LP where somebody waits for a reserve.
    pub(crate) fn owing(&self, lp: LpIndex) -> Option<LpIndex> {
        if !self.is_contended() {
            return None;
        }
        self.others(lp)
            .find(|(_, notice)| notice.reserved.load(Relaxed) != 0)
            .map(|(other, _)| other)
    }

    /// All LPs but `lp`, beginning after it, so that not everybody turns to LP 0.
    fn others(&self, lp: LpIndex) -> impl Iterator<Item = (LpIndex, &LpNotice)> {
        let lps = self.lps();
        let (before, from) = lps.split_at((lp.0 as usize).min(lps.len()));
        let number = |(i, notice)| (LpIndex(i as u32), notice);
        let at = before.len();
        let after =
            from.iter().enumerate().skip(1).map(move |(i, notice)| number((i + at, notice)));
        after.chain(before.iter().enumerate().map(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_take_part_is_not_asked() {
        let (notices, shared) = ([const { LpNotice::new() }; 4], Shared::new());
        let board = Board::new(&notices, &shared);
        board.publish(LpIndex(2), VTime(7), VTime(7), 1, 1);
        board.set_idle(LpIndex(3), true);
        for (count, found) in [(4, true), (3, true), (2, false), (u32::MAX, true)] {
            board.limit(count);
            let lp = found.then_some(LpIndex(2));
            assert_eq!((board.neediest(LpIndex(0), None), board.owing(LpIndex(1))), (lp, lp));
        }
        board.limit(3);
        assert_eq!(board.claim_any(LpIndex(0)), None);
        board.limit(4);
        assert_eq!(board.claim_any(LpIndex(0)), Some(LpIndex(3)));
    }
}

//! A machine of a few LPs in simulated time. Deterministic; an interrupt takes 2 µs to arrive.

use super::std::cell::RefCell;
use super::std::vec::Vec;
use crate::{
    Board, Entity, Env, Fraction, LpNotice, Queues, Role, RunQueue, Share, ShareRef, Shared, State,
    VpRef, Vps, Woken, ops,
};
use hvdef::LpIndex;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;
const IPI: u64 = 2 * US;

/// What a VP does with its time.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Runs for ever.
    Spin,
    /// Runs `run`, sleeps `sleep`, and so on.
    Duty { run: u64, sleep: u64 },
    /// The same, but the scheduler is told when it blocks when to wake it.
    Timer { run: u64, sleep: u64 },
    /// Runs for ever, and gets an interrupt every so often.
    SpinWithTicks { every: u64 },
}

#[derive(Default)]
pub struct Table {
    pub vps: Vec<Entity>,
    pub shares: Vec<Share>,
}

impl Vps for Table {
    fn vp(&self, vp: VpRef) -> &Entity {
        &self.vps[vp.0 as usize]
    }
    fn share(&self, share: ShareRef) -> &Share {
        &self.shares[share.0 as usize]
    }
}

pub struct Locks(Vec<RefCell<RunQueue>>);

impl Queues for Locks {
    fn with<R>(&self, lp: LpIndex, f: impl FnOnce(&mut RunQueue) -> R) -> R {
        // A second borrow would be a second lock: this panics.
        f(&mut self.0[lp.0 as usize].borrow_mut())
    }
}

struct Vp {
    load: Load,
    /// Run time until it blocks.
    left: u64,
    /// When it wakes or gets its next interrupt.
    event: u64,
    woken_at: Option<u64>,
    pub longest_wait: u64,
}

#[derive(Clone, Copy)]
struct Lp {
    run: Option<VpRef>,
    decide_at: u64,
}

pub struct Sim {
    pub table: Table,
    notices: Vec<LpNotice>,
    shared: Shared,
    queues: Locks,
    lps: Vec<Lp>,
    vps: Vec<Vp>,
    pub now: u64,
    pub decisions: u64,
}

impl Sim {
    pub fn new(lps: u32) -> Self {
        Self {
            table: Table::default(),
            notices: (0..lps).map(|_| LpNotice::new()).collect(),
            shared: Shared::new(),
            queues: Locks((0..lps).map(|lp| RefCell::new(RunQueue::new(LpIndex(lp)))).collect()),
            lps: (0..lps).map(|_| Lp { run: None, decide_at: 0 }).collect(),
            vps: Vec::new(),
            now: 0,
            decisions: 0,
        }
    }

    pub fn partition(&mut self, role: Role, weight: u32) -> ShareRef {
        let share = Share::new(role);
        assert!(share.set_weight(weight));
        self.table.shares.push(share);
        ShareRef(self.table.shares.len() as u32 - 1)
    }

    /// A child with one share and `loads` on as many VPs, all at home on LP 0 at first.
    pub fn child(&mut self, weight: u32, loads: &[Load]) -> Vec<VpRef> {
        let share = self.partition(Role::Child, weight);
        loads.iter().map(|&load| self.vp(share, 0, false, load)).collect()
    }

    /// The parent, one VP per LP.
    pub fn parent(&mut self, weight: u32, load: Load) -> Vec<VpRef> {
        let share = self.partition(Role::Parent, weight);
        (0..self.lps.len() as u32).map(|lp| self.vp(share, lp, true, load)).collect()
    }

    pub fn vp(&mut self, share: ShareRef, lp: u32, bound: bool, load: Load) -> VpRef {
        let vp = VpRef(self.table.vps.len() as u32);
        self.table.vps.push(Entity::new(share, LpIndex(lp), bound));
        let left = match load {
            Load::Duty { run, .. } | Load::Timer { run, .. } => run,
            _ => u64::MAX,
        };
        // Staggered, so that not all begin at the same instant.
        let event = self.now + u64::from(vp.0) * 137 * US;
        self.vps.push(Vp { load, left, event, woken_at: None, longest_wait: 0 });
        vp
    }

    pub fn share_of(&self, vp: VpRef) -> &Share {
        self.table.share(self.table.vp(vp).share)
    }

    pub fn set_reserve(&self, vp: VpRef, percent: u32) {
        assert!(self.share_of(vp).set_reserve(Fraction(percent * 65536 / 100)));
    }

    pub fn set_limit(&self, vp: VpRef, percent: u32) {
        assert!(self.share_of(vp).set_limit(Fraction(percent * 65536 / 100)));
    }

    pub fn ran(&self, vp: VpRef) -> u64 {
        self.table.vp(vp).run_time()
    }

    /// The longest a VP waited from a wake-up until it ran.
    pub fn longest_wait(&self, vp: VpRef) -> u64 {
        self.vps[vp.0 as usize].longest_wait
    }

    pub fn home(&self, vp: VpRef) -> u32 {
        self.table.vp(vp).home().0
    }

    /// Lets `ns` pass and returns what each VP ran in them.
    pub fn measure(&mut self, ns: u64) -> Vec<u64> {
        let before: Vec<u64> = self.table.vps.iter().map(Entity::run_time).collect();
        self.advance(ns);
        self.table.vps.iter().zip(before).map(|(vp, before)| vp.run_time() - before).collect()
    }

    pub fn advance(&mut self, ns: u64) {
        let end = self.now + ns;
        loop {
            let next = self.next_event().min(end);
            self.pass(next - self.now);
            self.now = next;
            if next == end {
                break;
            }
            self.blocks();
            self.wakes();
            self.decides();
            // Often enough to be near a fault, seldom enough for long runs.
            if self.decisions.is_multiple_of(16) {
                self.check();
            }
        }
        // Everything that runs is charged, so that run times are complete.
        for lp in 0..self.lps.len() {
            self.decide(lp);
        }
    }

    fn next_event(&self) -> u64 {
        let lps = self.lps.iter().map(|lp| lp.decide_at);
        let blocks = self
            .lps
            .iter()
            .filter_map(|lp| lp.run)
            .map(|vp| self.now.saturating_add(self.vps[vp.0 as usize].left));
        let events = self.vps.iter().map(|vp| vp.event);
        lps.chain(blocks).chain(events).min().unwrap().max(self.now)
    }

    fn pass(&mut self, ns: u64) {
        for vp in self.lps.iter().filter_map(|lp| lp.run) {
            let vp = &mut self.vps[vp.0 as usize];
            vp.left = vp.left.saturating_sub(ns);
        }
    }

    fn env<'a>(&'a self, board: &'a Board<'a>) -> Env<'a, Table> {
        Env { vps: &self.table, board, now: self.now }
    }

    fn blocks(&mut self) {
        for lp in 0..self.lps.len() {
            let Some(vp) = self.lps[lp].run.filter(|vp| self.vps[vp.0 as usize].left == 0) else {
                continue;
            };
            let now = self.now;
            let state = &mut self.vps[vp.0 as usize];
            let (run, event, alarm) = match state.load {
                Load::Duty { run, sleep } => (run, now + sleep, None),
                Load::Timer { run, sleep } => (run, u64::MAX, Some(now + sleep)),
                _ => unreachable!(),
            };
            state.left = run;
            let board = Board::new(&self.notices, &self.shared);
            if ops::block(&self.queues, &self.env(&board), LpIndex(lp as u32), alarm) {
                self.vps[vp.0 as usize].event = event;
                self.vps[vp.0 as usize].woken_at = alarm;
                self.lps[lp].run = None;
                self.lps[lp].decide_at = now;
            }
        }
    }

    fn wakes(&mut self) {
        for i in 0..self.vps.len() {
            if self.vps[i].event > self.now {
                continue;
            }
            let next = match self.vps[i].load {
                Load::SpinWithTicks { every } => self.now + every,
                _ => u64::MAX,
            };
            self.vps[i].event = next;
            if !self.lps.iter().any(|lp| lp.run == Some(VpRef(i as u32))) {
                self.vps[i].woken_at.get_or_insert(self.now);
            }
            self.wake(VpRef(i as u32));
        }
    }

    pub fn wake(&mut self, vp: VpRef) {
        let board = Board::new(&self.notices, &self.shared);
        if let Woken::Preempt(lp) = ops::wake(&self.queues, &self.env(&board), vp) {
            self.kick(lp);
        }
    }

    pub fn remove(&mut self, vp: VpRef) {
        let board = Board::new(&self.notices, &self.shared);
        if let ops::Removed::Running(lp) = ops::remove(&self.queues, &self.env(&board), vp) {
            ops::stop(&self.queues, &self.env(&board), lp);
            self.lps[lp.0 as usize].run = None;
            self.decide(lp.0 as usize);
        }
    }

    fn kick(&mut self, lp: LpIndex) {
        let lp = &mut self.lps[lp.0 as usize];
        lp.decide_at = lp.decide_at.min(self.now + IPI);
    }

    fn decides(&mut self) {
        for lp in 0..self.lps.len() {
            if self.lps[lp].decide_at <= self.now {
                self.decide(lp);
            }
        }
    }

    pub fn decide(&mut self, lp: usize) {
        let board = Board::new(&self.notices, &self.shared);
        let decision = ops::reschedule(&self.queues, &self.env(&board), LpIndex(lp as u32));
        self.decisions += 1;
        self.lps[lp] = Lp { run: decision.run, decide_at: decision.until.unwrap_or(u64::MAX) };
        if let Some(vp) = decision.run {
            assert!(decision.until.is_some_and(|until| until > self.now), "running without an end");
            let vp = &mut self.vps[vp.0 as usize];
            if let Some(at) = vp.woken_at.take() {
                // Woken before its alarm, it has not waited.
                vp.longest_wait = vp.longest_wait.max(self.now.saturating_sub(at));
            }
        }
        if let Some(other) = decision.nudge {
            self.kick(other);
        }
    }

    /// A VP is in exactly one place, and it is the place its state names.
    pub fn check(&self) {
        let mut queued = 0;
        for (lp, queue) in self.queues.0.iter().enumerate() {
            let queue = queue.borrow();
            queued += queue.waiting();
            assert_eq!(queue.current(), self.lps[lp].run);
            if let Some(vp) = queue.current() {
                assert_eq!(self.table.vp(vp).state(), State::Running);
                assert_eq!(self.home(vp), lp as u32);
            }
        }
        let count = |state| self.table.vps.iter().filter(|vp| vp.state() == state).count();
        assert_eq!(count(State::Ready), queued as usize);
        assert_eq!(count(State::Transit), 0);
        assert_eq!(count(State::Running), self.lps.iter().filter(|lp| lp.run.is_some()).count());
        let active: u32 = self.table.shares.iter().map(Share::active).sum();
        assert_eq!(active as usize, self.table.vps.len() - count(State::Blocked));
    }
}

//! The scheduler's constants, all in nanoseconds.

/// Longest time a child runs while others wait for the same LP.
pub const SLICE: u64 = 5_000_000;
/// Shortest slice: that of VPs of much less weight than those that wait, whose share would otherwise come in few pieces.
pub const MIN_SLICE: u64 = 1_000_000;
/// Longest time between two decisions when nobody waits.
pub const SOLO_SLICE: u64 = 50_000_000;
/// Shortest time worth programming a timer for. What a VP overruns by is charged, so this costs no accuracy.
pub const MIN_RUN: u64 = 50_000;
/// Shortest time until a look at sleepers, whose deadlines are exact otherwise.
pub const MIN_ALARM: u64 = 1_000;
/// Accounting period of reserves and limits, aligned to multiples of itself on the machine's clock.
pub const PERIOD: u64 = 10_000_000;
/// How much of an LP the reserves of children can take from a boosted parent VP, per period: 95 %.
pub const RESERVABLE: u64 = PERIOD / 100 * 95;
/// How long per period a parent's VP is ahead of the children: 50 %.
pub const BOOST: u64 = PERIOD / 2;
/// How long an interrupt brings a parent's VP to the front after its boost has run out.
pub const GRACE: u64 = 200_000;
/// How much of that there is per period: 20 %.
pub const GRACE_PER_PERIOD: u64 = PERIOD / 5;
/// How far a VP that slept may be behind those that did not: what it can claim at once when it wakes.
pub const WAKE_CREDIT: u64 = 2_000_000;
/// How much better a waking VP's claim must be than the running one's to preempt it.
pub const WAKE_MARGIN: u64 = 1_000_000;
/// A VP that ran more recently than this is left where its cache is.
pub const CACHE_HOT: u64 = 500_000;
/// How soon after looking at other LPs an LP that owes no reserve looks for those of others.
pub const RESERVE_CHECK: u64 = 1_000_000;
/// How far a waiting VP may fall behind another LP's before that LP fetches it.
pub const STEAL_LAG: u64 = 2 * SLICE;
/// How far from the machine's virtual clock a VP without competition may be.
pub const SOLO_LAG: u64 = 8 * SLICE;
/// Parked VPs looked at in one call.
pub const WATCH_BATCH: u32 = 64;
/// After this long an unfinished look at the parked VPs goes on.
pub const WATCH_PAUSE: u64 = 100_000;

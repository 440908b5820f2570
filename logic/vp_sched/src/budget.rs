//! Budgets of one VP: limit, reserve, boost. Filled once per accounting period, charged as it runs.

use crate::class::Class;
use crate::entity::Entity;
use crate::params::{BOOST, GRACE, GRACE_PER_PERIOD, PERIOD};
use crate::share::{Role, Share};
use crate::vtime;

/// Periods a bucket is filled for at most: enough to pay any debt that one run can leave.
const MAX_PERIODS: u64 = 1 << 20;

/// Fills the budgets if a new period has begun since the last time.
#[inline]
pub(crate) fn refill(entity: &Entity, share: &Share, now: u64) {
    let period = now / PERIOD;
    // One more than `u64::MAX`, which stands for never, is 0.
    if entity.period.get().wrapping_add(1) <= period {
        fill(entity, share, period);
    }
}

/// Fills the budgets: period `period` has begun.
#[cold]
fn fill(entity: &Entity, share: &Share, period: u64) {
    let first = entity.period.get() == u64::MAX;
    let periods = if first { 1 } else { period.saturating_sub(entity.period.get()) };
    entity.period.set(period);
    let periods = periods.min(MAX_PERIODS).cast_signed();
    let fill =
        |left: i64, amount: i64| amount.min(left.saturating_add(amount.saturating_mul(periods)));
    let limit = share.limit_ns().map_or(0, |limit| fill(entity.limit_left.signed(), limit));
    entity.limit_left.set_signed(limit);
    entity.reserve_left.set_signed(share.reserve_ns());
    if share.role() == Role::Parent {
        entity.boost_left.set_signed(fill(entity.boost_left.signed(), BOOST.cast_signed()));
        entity.grace_left.set(GRACE_PER_PERIOD);
    }
}

/// Charges `ns` of running in `class` to virtual time and budgets.
#[inline]
pub(crate) fn charge(entity: &Entity, share: &Share, class: Class, ns: u64) {
    entity.add_run_time(ns);
    entity.set_vtime(entity.vtime().after(vtime::cost(share, ns)));
    let ns = ns.min(i64::MAX.cast_unsigned()).cast_signed();
    entity.reserve_left.set_signed(entity.reserve_left.signed().saturating_sub(ns));
    if share.limit_ns().is_some() {
        entity.limit_left.set_signed(entity.limit_left.signed().saturating_sub(ns));
    }
    if class == Class::High {
        entity.boost_left.set_signed(entity.boost_left.signed().saturating_sub(ns));
    }
}

/// An interrupt arrived for a parent's VP: at the least it gets a short boost, as often as the period allows.
pub(crate) fn boost(entity: &Entity, share: &Share) {
    let grace = GRACE.cast_signed();
    if share.role() != Role::Parent || entity.boost_left.signed() >= grace {
        return;
    }
    if let Some(left) = entity.grace_left.get().checked_sub(GRACE) {
        entity.grace_left.set(left);
        entity.boost_left.set_signed(entity.boost_left.signed().max(0) + grace);
    }
}

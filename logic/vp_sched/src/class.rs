//! The classes of runnable VPs.

use crate::entity::Entity;
use crate::share::{Role, Share};

/// Which heap a waiting VP is in. Lower goes first, but `Fair` and `Bound` are equals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub(crate) enum Class {
    High,
    Reserved,
    Fair,
    Bound,
}

impl Class {
    pub const COUNT: usize = 4;

    pub fn from_number(number: u32) -> Self {
        match number {
            0 => Self::High,
            1 => Self::Reserved,
            2 => Self::Fair,
            _ => Self::Bound,
        }
    }

    /// Whether VPs of this class go by virtual time among each other.
    pub fn is_fair(self) -> bool {
        matches!(self, Self::Fair | Self::Bound)
    }
}

/// The class that a VP with up-to-date budgets belongs to; `None`: it is to be parked.
pub(crate) fn classify(entity: &Entity, share: &Share) -> Option<Class> {
    if share.limit_ns().is_some() && entity.limit_left.signed() <= 0 {
        return None;
    }
    Some(match share.role() {
        Role::Parent if entity.boost_left.signed() > 0 => Class::High,
        Role::Parent => Class::Bound,
        Role::Child if entity.reserve_left.signed() > 0 => Class::Reserved,
        Role::Child if entity.bound => Class::Bound,
        Role::Child => Class::Fair,
    })
}

/// Whether the next period may put a VP that waits in `class` into a better one.
pub(crate) fn may_improve(class: Class, share: &Share) -> bool {
    class.is_fair() && (share.role() == Role::Parent || share.reserve_ns() > 0)
}

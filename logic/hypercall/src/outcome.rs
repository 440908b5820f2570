//! What became of a hypercall, and which registers that makes.

use crate::decode::Call;
use crate::info::Kind;
use hvdef::{HvStatus, HypercallOutput};

/// An exception that a hypercall instruction raises instead of being one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exception {
    /// #UD: the caller's mode has no hypercalls.
    InvalidOpcode,
    /// #GP(0): the caller broke a rule of the processor.
    GeneralProtection,
}

/// What a hypercall handler decided. Only the exit path turns this into registers.
///
/// Reps are absolute: the index of the first element not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything is done.
    Done {
        /// Elements done.
        reps: u16,
    },
    /// Out of time: go on with this element when the VP runs again.
    Continue {
        /// Elements done.
        reps: u16,
    },
    /// The caller's mistake, or what it has to do first, and how far we got.
    Failed {
        /// Why.
        status: HvStatus,
        /// Elements done.
        reps: u16,
    },
    /// The guest broke an architectural rule.
    Inject(Exception),
}

/// What the exit path does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completion {
    /// Put the result word into the caller's registers and go on after the instruction.
    Return(HypercallOutput),
    /// Put the control word into the caller's registers and leave the instruction pointer: the instruction runs again.
    Again {
        /// With the reps that are done as start.
        control: u64,
    },
    /// Deliver the exception at the instruction.
    Inject(Exception),
}

impl Outcome {
    /// A simple call is done.
    pub const SUCCESS: Self = Self::Done { reps: 0 };

    /// A simple call, or a rep call before its first element, failed.
    pub const fn failed(status: HvStatus) -> Self {
        Self::Failed { status, reps: 0 }
    }

    /// What the exit path does after `call`.
    ///
    /// Reps are held within those of this invocation, and a success that leaves elements out runs again from there: the
    /// caller sees a rep call end only when it is done or has failed.
    pub fn complete(self, call: &Call) -> Completion {
        let bounds = call.reps();
        let within = |reps: u16| reps.clamp(bounds.start, bounds.end);
        match self {
            Self::Inject(exception) => Completion::Inject(exception),
            Self::Failed { status, reps } => {
                Completion::Return(HypercallOutput::of(status, within(reps)))
            }
            Self::Done { reps } | Self::Continue { reps } if within(reps) < bounds.end => {
                let control = call.control().with_rep_start(within(reps));
                Completion::Again { control: control.into_bits() }
            }
            Self::Continue { .. } if call.info().kind == Kind::Simple => {
                Completion::Again { control: call.control().into_bits() }
            }
            Self::Done { .. } | Self::Continue { .. } => {
                Completion::Return(HypercallOutput::of(HvStatus::SUCCESS, bounds.end))
            }
        }
    }
}

impl Completion {
    /// What the exit path does for a call that did not pass the checks.
    pub fn refused(status: HvStatus) -> Self {
        Self::Return(HypercallOutput::of(status, 0))
    }
}

impl From<Result<(), HvStatus>> for Outcome {
    fn from(result: Result<(), HvStatus>) -> Self {
        match result {
            Ok(()) => Self::SUCCESS,
            Err(status) => Self::failed(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Privileges, Registers, decode};
    use hvdef::cpuid::PartitionPrivileges;

    const ROOT: Privileges = Privileges::root(PartitionPrivileges::from_bits(u64::MAX));

    /// DEPOSIT_MEMORY, elements 2 to 4.
    fn deposit() -> Call {
        decode(&Registers::long(2 << 48 | 5 << 32 | 0x48, 0x1000, 0), ROOT).unwrap()
    }

    /// DELETE_PARTITION.
    fn delete() -> Call {
        decode(&Registers::long(1 << 16 | 0x43, 7, 0), ROOT).unwrap()
    }

    #[test]
    fn a_simple_call_returns_its_status() {
        assert_eq!(
            Outcome::SUCCESS.complete(&delete()),
            Completion::Return(HypercallOutput::from_bits(0))
        );
        let failed = Outcome::from(Err(HvStatus::INVALID_PARTITION_ID)).complete(&delete());
        assert_eq!(failed, Completion::Return(HypercallOutput::from_bits(0xD)));
    }

    #[test]
    fn a_simple_call_out_of_time_runs_again_unchanged() {
        let again = Outcome::Continue { reps: 0 }.complete(&delete());
        assert_eq!(again, Completion::Again { control: 1 << 16 | 0x43 });
    }

    #[test]
    fn a_rep_call_out_of_time_runs_again_from_where_it_was() {
        let again = Outcome::Continue { reps: 4 }.complete(&deposit());
        assert_eq!(again, Completion::Again { control: 4 << 48 | 5 << 32 | 0x48 });
    }

    #[test]
    fn a_rep_call_returns_absolute_reps() {
        let done = Outcome::Done { reps: 5 }.complete(&deposit());
        assert_eq!(done, Completion::Return(HypercallOutput::from_bits(5 << 32)));
        let failed =
            Outcome::Failed { status: HvStatus::INSUFFICIENT_MEMORY, reps: 3 }.complete(&deposit());
        assert_eq!(failed, Completion::Return(HypercallOutput::from_bits(3 << 32 | 0xB)));
    }

    #[test]
    fn reps_outside_the_call_are_held_within_it() {
        let early = Outcome::failed(HvStatus::INVALID_PARAMETER).complete(&deposit());
        assert_eq!(early, Completion::Return(HypercallOutput::from_bits(2 << 32 | 5)));
        let late = Outcome::Continue { reps: 4095 }.complete(&deposit());
        assert_eq!(late, Completion::Return(HypercallOutput::from_bits(5 << 32)));
        let short = Outcome::Done { reps: 3 }.complete(&deposit());
        assert_eq!(short, Completion::Again { control: 3 << 48 | 5 << 32 | 0x48 });
    }

    #[test]
    fn an_exception_is_passed_on() {
        let inject = Outcome::Inject(Exception::InvalidOpcode).complete(&delete());
        assert_eq!(inject, Completion::Inject(Exception::InvalidOpcode));
    }
}

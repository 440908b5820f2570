//! What can go wrong at the door.

use hvdef::HvStatus;
use std::fmt;
use std::io;
use thiserror::Error;

/// Result of everything in this crate.
pub type VidResult<T> = Result<T, VidError>;

/// Why the hypervisor, or the driver before it, did not do what was asked.
#[derive(Debug, Error)]
pub enum VidError {
    /// There is no `/dev/mshv`, or this user may not open it.
    #[error("cannot open /dev/mshv")]
    Open(#[source] io::Error),
    /// The hypervisor answered something else than success.
    #[error("cannot {what}: hypercall {code:#06x} answered {}", StatusText(*status))]
    Hypercall {
        /// What was tried, as the end of "cannot …".
        what: String,
        /// Code of the hypercall.
        code: u16,
        /// Its status.
        status: HvStatus,
    },
    /// The driver or the system refused.
    #[error("cannot {what}")]
    Os {
        /// What was tried, as the end of "cannot …".
        what: String,
        /// Its errno.
        #[source]
        source: io::Error,
    },
}

impl VidError {
    /// An error of the system at `what`.
    pub fn os(what: impl Into<String>, source: io::Error) -> Self {
        Self::Os { what: what.into(), source }
    }

    /// The hypervisor's status, if it is what failed.
    pub fn status(&self) -> Option<HvStatus> {
        match self {
            Self::Hypercall { status, .. } => Some(*status),
            Self::Open(_) | Self::Os { .. } => None,
        }
    }
}

/// A status by name where it has one, and by number.
struct StatusText(HvStatus);

impl fmt::Display for StatusText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0.0),
            None => write!(f, "status {:#x}", self.0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_what_was_tried_and_the_exact_status() {
        let error = VidError::Hypercall {
            what: "set property TIME_FREEZE".into(),
            code: 0x45,
            status: HvStatus::UNKNOWN_PROPERTY,
        };
        assert_eq!(
            error.to_string(),
            "cannot set property TIME_FREEZE: hypercall 0x0045 answered UNKNOWN_PROPERTY (0x9)"
        );
        assert_eq!(error.status(), Some(HvStatus::UNKNOWN_PROPERTY));
    }

    #[test]
    fn a_status_nobody_knows_is_shown_by_number() {
        assert_eq!(StatusText(HvStatus(0x7777)).to_string(), "status 0x7777");
    }
}

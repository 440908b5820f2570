//! `/dev/mshv`, through the public crates `mshv-ioctls` and `mshv-bindings`.

mod partition;
mod register_page;
mod system;
mod vp;

pub use system::Hypervisor;

use crate::VidError;
use hvdef::HvStatus;
use mshv_ioctls::MshvError;

/// Turns the crate's error into ours, naming what was tried ("cannot …").
fn failed(what: impl Into<String>) -> impl FnOnce(MshvError) -> VidError {
    move |error| match error {
        MshvError::Hypercall { code, status_raw, .. } => {
            VidError::Hypercall { what: what.into(), code, status: HvStatus(status_raw) }
        }
        MshvError::Errno(errno) => VidError::os(what, errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_way_up_even_if_nobody_knows_it() {
        let raw = MshvError::Hypercall { code: 0x50, status_raw: 0x7FFF, status: None };
        let error = failed("read registers")(raw);
        assert_eq!(error.status(), Some(HvStatus(0x7FFF)));
        let error = failed("read registers")(MshvError::from(22));
        assert_eq!(error.to_string(), "cannot read registers");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "Invalid argument (os error 22)");
    }
}

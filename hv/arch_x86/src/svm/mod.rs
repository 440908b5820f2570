//! AMD-V (SVM) with nested paging: AMD APM vol. 2, chapter 15.

mod enter;
mod events;
mod long_mode;
mod lp;
mod maps;
mod probe;
pub mod vcpu;
mod vmcb;

pub use enter::is_switching;
pub use lp::LpContext;
pub use maps::PermissionMaps;
pub use probe::probe;

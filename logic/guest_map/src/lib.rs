//! The GPA space of one partition: what it finds at an address, and who hears of it when it may not have it.
//!
//! Sits between the hypercalls MAP_GPA_PAGES, UNMAP_GPA_PAGES and GET_GPA_PAGES_ACCESS_STATES, the SLAT fault handler,
//! and `page_table`, which does the work. A page is in one of three states (TLFS, "Guest Physical Address Spaces"):
//!
//! ```text
//!                 map NO_ACCESS                     map with rights
//!   unmapped ───────────────────> known, no access ────────────────> mapped
//!      │  <───────── unmap ────────── │   <────── map NO_ACCESS ────────│
//!      │                              │                                 ├─ a right it lacks ─> GPA_INTERCEPT
//!      └─ any access: UNMAPPED_GPA    └─ any access: GPA_INTERCEPT      └─ otherwise: the access was stale, retry
//! ```
//!
//! Linux announces all memory of a guest as *no access* and backs it when the first intercept comes, so the middle
//! state is kept in marked entries that take no memory ([`page_table::Change::Mark`]).
//!
//! What must always hold:
//! * a call changes the pages of the repetitions it reports as done and no others, so it can be continued from there,
//!   be it because memory was missing (the parent deposits and repeats) or because its time was up;
//! * one call of [`GuestMap::map`] or [`GuestMap::unmap`] writes at most 512 entries and gives back at most 64 tables,
//!   so that the caller can look at the clock between calls;
//! * when a result says `flush`, no LP may enter the partition again with old translations, and no table page that went
//!   back may be used, before all of them have flushed; only then may the repetitions be reported as done, for their
//!   pages may be reused at once;
//! * addresses at and above the guest's limit are unmapped and stay so;
//! * while writes are tracked, a page written since its dirty bit was last cleared is reported, whatever happened to its
//!   mapping in between.
//!
//! Overlays (hypercall page, reference TSC page) and the APIC page are not seen here: the caller looks there first.
#![no_std]
#![forbid(unsafe_code)]

mod access;
mod fault;
mod map;
mod request;
mod slat;
#[cfg(test)]
mod tests;
mod watch;

pub use access::AccessRequest;
pub use fault::{Access, Fault};
pub use map::{GuestMap, Step};
pub use request::{Kind, MapRequest, UnmapRequest};
pub use slat::{AMD_NESTED, Caching, INTEL_EXTENDED, Rights, Slat};

//! Zemin, the hypervisor: a freestanding binary that a boot loader starts before any operating system.
//!
//! ```text
//! boot     entry from the loader, memory, ACPI, the other LPs, the parent's kernel
//!   └─ run      per LP: pick a VP, let it run, handle its exit
//!        ├─ exit/     what the guest did: CPUID, MSR, APIC, nested fault, hypercall
//!        ├─ vp        a virtual processor: registers, virtual APIC, SynIC
//!        ├─ partition what VPs share: memory, privileges
//!        └─ interrupts, timer     what the machine did
//! mem, lp, trap, console, log: the ground under all of it
//! ```
//!
//! Decisions live in the `logic/` crates, where they are tested on the host; the machine lives in `arch_x86`. This crate
//! wires them. What always holds: interrupts are closed except in the two windows of the run loop, so nothing here is
//! re-entered; nothing a guest passes in can make it panic; a panic is a crash report, never silence.
#![cfg_attr(target_os = "none", no_std, no_main)]

/// This release.
#[cfg(target_os = "none")]
pub const VERSION: zemindef::cpuid::Version = zemindef::cpuid::Version::CURRENT;

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod child_frames;
mod children;
mod clock;
#[cfg(target_os = "none")]
mod console;
mod cpuid_table;
#[cfg(target_os = "none")]
mod crash;
#[cfg(target_os = "none")]
mod deposits;
#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
mod hypercalls;
#[cfg(target_os = "none")]
mod intercepts;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod log;
#[cfg(target_os = "none")]
mod lp;
#[cfg(target_os = "none")]
mod mem;
#[cfg(target_os = "none")]
mod page_slots;
mod partition;
mod ports;
mod ring;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod sync;
#[cfg(target_os = "none")]
mod time;
#[cfg(target_os = "none")]
mod trap;
#[cfg(target_os = "none")]
mod vp;
#[cfg(target_os = "none")]
mod vp_list;
mod vps;

/// On a host there is nothing to run: `cargo xtask build` compiles this crate for its own target.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("zemin is a freestanding binary: build it with `cargo xtask build`");
    std::process::exit(2);
}

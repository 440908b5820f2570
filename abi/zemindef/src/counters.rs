//! What each LP counts. A counter's number is its place in the output of [`crate::property::LP_COUNTERS`]; numbers are
//! only ever added at the end.

/// Declares the counters once: variant, name for tools, description.
macro_rules! counters {
    ($($variant:ident, $name:literal, $description:literal;)+) => {
        /// A per-LP counter. `as usize` gives its number.
        #[repr(usize)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Counter {
            $(#[doc = $description] $variant,)+
        }

        impl Counter {
            /// All counters by number.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name that tools show: `group.what`, lower case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is counted, in one line.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)+ }
            }
        }
    };
}

counters! {
    Exits, "exits.total", "Times a guest was left, for any reason";
    ExitInterrupt, "exits.interrupt", "A physical interrupt was pending";
    ExitNmi, "exits.nmi", "A physical NMI was pending";
    ExitHlt, "exits.hlt", "HLT";
    ExitCpuid, "exits.cpuid", "CPUID";
    ExitMsrRead, "exits.msr-read", "RDMSR of an intercepted register";
    ExitMsrWrite, "exits.msr-write", "WRMSR of an intercepted register";
    ExitIo, "exits.io", "Port I/O";
    ExitNestedFault, "exits.nested-fault", "An access that the second-level tables did not allow, the APIC page excepted";
    ExitApicAccess, "exits.apic-access", "An access to the virtual APIC's page";
    ExitHypercall, "exits.hypercall", "A hypercall instruction";
    ExitException, "exits.exception", "An intercepted exception";
    ExitInterruptWindow, "exits.interrupt-window", "The guest became able to take a waiting interrupt";
    ExitPause, "exits.pause", "PAUSE, or a loop of them";
    ExitWbinvd, "exits.wbinvd", "WBINVD, INVD or WBNOINVD";
    ExitXsetbv, "exits.xsetbv", "XSETBV";
    ExitShutdown, "exits.shutdown", "A triple fault";
    ExitVirtualization, "exits.virt-instruction", "An instruction of the virtualization extension itself";
    ExitTaskSwitch, "exits.task-switch", "A hardware task switch";
    ExitDebugRegister, "exits.dr", "A debug register access";
    ExitControlRegister, "exits.cr", "A control register access";
    ExitOther, "exits.other", "Any other exit";
    InjectedInterrupts, "injected.interrupts", "Maskable interrupts delivered to guests";
    InjectedExceptions, "injected.exceptions", "Exceptions delivered to guests";
    InjectedNmi, "injected.nmi", "NMIs delivered to guests";
    PhysicalDevice, "physical.device", "Edge-triggered interrupts of devices, MSI included";
    PhysicalLevel, "physical.level", "Level-triggered interrupts of devices, their end deferred to the guest's";
    PhysicalTimer, "physical.timer", "Interrupts of the hypervisor's own APIC timer";
    PhysicalIpi, "physical.ipi", "Interrupts that another LP of the hypervisor sent";
    PhysicalNmi, "physical.nmi", "NMIs, from the machine or from another LP";
    PhysicalSpurious, "physical.spurious", "Spurious interrupts of the APIC";
    PhysicalUnmapped, "physical.unmapped", "Interrupts on a vector that nobody asked for";
    VirtualEoi, "apic.eoi", "Ends of interrupt that guests wrote";
    EoiSkipped, "apic.eoi-skipped", "Ends of interrupt that needed no exit (VP assist page)";
    IpiVirtual, "ipi.virtual", "Interprocessor interrupts that guests sent, one for each target";
    IpiPhysical, "ipi.physical", "Interprocessor interrupts that the hypervisor sent";
    TimerPrograms, "timer.programs", "Times the physical timer was set";
    TimerExpired, "timer.expired", "Virtual APIC and synthetic timers that expired";
    TlbFlushes, "tlb.flushes", "Flushes of guest translations";
    IdleEntries, "idle.entries", "Times the LP had nothing to run and waited";
    WakeUps, "idle.wake-ups", "Times an idle LP was woken because a VP on it had work";
    WorldSwitches, "sched.switches", "Times the LP turned to another VP";
    Hypercalls, "hypercalls.total", "Hypercalls, a continued one for each time it was entered";
    HypercallErrors, "hypercalls.errors", "Hypercalls that ended with a status other than success";
    SynicMessages, "synic.messages", "Messages put into a message page";
    SynicEvents, "synic.events", "Event flags set";
    EventRingPosts, "synic.ring-posts", "Entries put into the parent's event ring";
    EventRingDrops, "synic.ring-drops", "Entries that found the parent's event ring full";
    LogDropped, "log.dropped", "Log lines withheld by rate limiting";
    Preemptions, "sched.preemptions", "Times a VP lost the LP to another before its slice was over";
    Steals, "sched.steals", "Children's VPs fetched from other LPs";
    GuestTime, "time.guest-us", "Microseconds in guests";
    IdleTime, "time.idle-us", "Microseconds with nothing to run";
}

const _: () = assert!(Counter::COUNT <= crate::property::COUNTERS_MAX);

impl Counter {
    /// The counter with this number; `None` for numbers of later releases.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_in_order() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
            assert_eq!(Counter::from_index(index), Some(counter));
            assert!(
                Counter::ALL.iter().filter(|other| other.name() == counter.name()).count() == 1
            );
        }
        assert_eq!(Counter::from_index(Counter::COUNT), None);
    }

    #[test]
    fn the_document_lists_every_counter_under_its_number() {
        let document = include_str!("../../../docs/abi/zemin-extensions.md");
        for counter in Counter::ALL {
            let row = std::format!(
                "| {} | {} | {} |",
                counter as usize,
                counter.name(),
                counter.description()
            );
            assert!(document.lines().any(|line| line == row), "missing: {row}");
        }
    }

    #[test]
    fn published_numbers_stay() {
        assert_eq!(Counter::Exits as usize, 0);
        assert_eq!(Counter::ExitOther as usize, 21);
        assert_eq!(Counter::PhysicalDevice as usize, 25);
        assert_eq!(Counter::Hypercalls as usize, 42);
        assert_eq!(Counter::LogDropped as usize, 48);
    }
}

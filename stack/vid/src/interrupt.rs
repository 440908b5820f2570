//! Interrupts towards a partition: by message-signalled routes and directly.

/// TLFS `HV_INTERRUPT_TYPE`: the delivery modes of the APIC bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryType {
    /// Vector to the addressed VPs.
    Fixed,
    /// Vector to one of the addressed VPs.
    LowestPriority,
    /// NMI.
    Nmi,
    /// INIT.
    Init,
    /// From an interrupt controller outside the APIC.
    ExtInt,
}

impl DeliveryType {
    /// The number of the TLFS, which is that of the APIC's delivery mode.
    pub const fn number(self) -> u32 {
        match self {
            Self::Fixed => 0,
            Self::LowestPriority => 1,
            Self::Nmi => 4,
            Self::Init => 5,
            Self::ExtInt => 7,
        }
    }

    /// Of the three bits of an APIC delivery mode; `None` for those no device may send.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }
}

/// One interrupt, as ASSERT_VIRTUAL_INTERRUPT takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptRequest {
    /// Kind.
    pub delivery: DeliveryType,
    /// Level-triggered: its EOI comes back as [`Exit::ApicEoi`](crate::Exit::ApicEoi).
    pub level: bool,
    /// `destination` is a logical APIC id.
    pub logical: bool,
    /// APIC id, or a set of logical ones.
    pub destination: u32,
    /// Vector.
    pub vector: u8,
}

/// What an irqfd's global interrupt number sends: an MSI. Addresses above 4 GiB do not exist for `/dev/mshv`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MsiRoute {
    /// Global interrupt number, below [`MsiRoute::GSI_LIMIT`]. At most one route each.
    pub gsi: u32,
    /// MSI address: 0xFEE, destination in 19:12, redirection hint in 3, logical in 2.
    pub address: u32,
    /// MSI data: trigger in 15, delivery mode in 10:8, vector in 7:0.
    pub data: u32,
}

impl MsiRoute {
    /// Linux has this many (`MSHV_MAX_GUEST_IRQS`).
    pub const GSI_LIMIT: u32 = 4096;

    /// What the driver makes of it; `None` for a delivery mode that no device may send.
    pub fn request(&self) -> Option<InterruptRequest> {
        Some(InterruptRequest {
            delivery: DeliveryType::from_number(self.data >> 8 & 7)?,
            level: self.data >> 15 & 1 != 0,
            logical: self.address >> 2 & 1 != 0,
            destination: self.address >> 12 & 0xFF,
            vector: self.data as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_taken_apart_as_the_driver_does() {
        let route = MsiRoute { gsi: 4, address: 0xFEE0_200C, data: 0x8131 };
        assert_eq!(
            route.request(),
            Some(InterruptRequest {
                delivery: DeliveryType::LowestPriority,
                level: true,
                logical: true,
                destination: 2,
                vector: 0x31,
            })
        );
    }

    #[test]
    fn delivery_modes_no_device_may_send_are_refused() {
        for mode in [2, 3, 6] {
            assert_eq!(MsiRoute { gsi: 0, address: 0, data: mode << 8 }.request(), None);
        }
    }

    #[test]
    fn delivery_types_keep_their_numbers() {
        for number in 0..8 {
            if let Some(delivery) = DeliveryType::from_number(number) {
                assert_eq!(delivery.number(), number);
            }
        }
    }
}

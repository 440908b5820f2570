//! A hypervisor made of a mutex, for tests: the guest is played by the test.
//!
//! ```text
//!  test thread                               VP thread (the code under test)
//!  FakeGuest::outb(0x3F8, b'x')  ── exit ──▶ Vp::run() returns Exit::IoPort
//!                                            … handles it, moves RIP …
//!  returns                       ◀─ entry ── Vp::run() is called again
//! ```
//!
//! Nothing is executed: registers are a table, memory is the test's own, interrupts are collected.

mod guest;
mod vp;

pub use guest::FakeGuest;

use crate::partition::MemoryMapping;
use crate::{EventFd, Gpa, InterruptRequest, MsiRoute, Partition, PartitionProperty};
use crate::{HvStatus, VidError, VidResult, Vp, VpIndex};
use hvdef::hypercall::HypercallCode;
use hvdef::hypercall::intercept::InterceptType;
use hvdef::message::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vp::{FakeVp, Link};

/// The partition. Clones are the same partition.
#[derive(Clone, Default)]
pub struct FakePartition(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    properties: HashMap<u32, u64>,
    mappings: Vec<MemoryMapping>,
    links: BTreeMap<u32, Arc<Link>>,
    created: Vec<u32>,
    routes: Vec<MsiRoute>,
    irqfds: Vec<(EventFd, u32)>,
    doorbells: Vec<(EventFd, Gpa)>,
    asserted: Vec<InterruptRequest>,
    intercepts: Vec<(InterceptType, u64)>,
    messages: Vec<(VpIndex, u8, Message)>,
    events: Vec<(VpIndex, u8, u16)>,
    refuse: Option<HvStatus>,
}

impl FakePartition {
    /// A partition without anything.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The test's end of VP `index`, which may not be created yet.
    pub fn guest(&self, index: VpIndex) -> FakeGuest {
        FakeGuest::new(self.link(index))
    }

    fn link(&self, index: VpIndex) -> Arc<Link> {
        Arc::clone(self.state().links.entry(index.0).or_default())
    }

    /// The next call that can fail answers `status`.
    pub fn refuse_next(&self, status: HvStatus) {
        self.state().refuse = Some(status);
    }

    /// Takes the interrupts sent since the last call: asserted ones, then those of irqfds by their routes.
    pub fn take_interrupts(&self) -> Vec<InterruptRequest> {
        let mut state = self.state();
        let mut all = std::mem::take(&mut state.asserted);
        for (event, gsi) in &state.irqfds {
            let route = state.routes.iter().find(|route| route.gsi == *gsi);
            if event.read().is_ok() {
                all.extend(route.and_then(MsiRoute::request));
            }
        }
        all
    }

    /// Rings the doorbell at `gpa` as a guest's write would; whether there is one.
    pub fn ring(&self, gpa: Gpa) -> bool {
        let state = self.state();
        let bell = state.doorbells.iter().find(|(_, at)| *at == gpa);
        bell.is_some_and(|(event, _)| event.write(1).is_ok())
    }

    /// Mappings of memory, in the order they were made.
    pub fn mappings(&self) -> Vec<MemoryMapping> {
        self.state().mappings.clone()
    }

    /// The present routes.
    pub fn routes(&self) -> Vec<MsiRoute> {
        self.state().routes.clone()
    }

    /// VPs in the order of their creation.
    pub fn created_vps(&self) -> Vec<u32> {
        self.state().created.clone()
    }

    /// Intercepts that were installed, with their parameters.
    pub fn intercepts(&self) -> Vec<(InterceptType, u64)> {
        self.state().intercepts.clone()
    }

    /// Takes the messages posted: VP, SINT, message.
    pub fn take_messages(&self) -> Vec<(VpIndex, u8, Message)> {
        std::mem::take(&mut self.state().messages)
    }

    /// Takes the events signalled: VP, SINT, flag.
    pub fn take_events(&self) -> Vec<(VpIndex, u8, u16)> {
        std::mem::take(&mut self.state().events)
    }

    /// The state, unless the test wants this call refused.
    fn enter(&self, what: &str, code: HypercallCode) -> VidResult<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.refuse.take() {
            Some(status) => Err(VidError::Hypercall { what: what.into(), code: code.0, status }),
            None => Ok(state),
        }
    }
}

fn copy(event: &EventFd) -> VidResult<EventFd> {
    event.try_clone().map_err(|error| VidError::os("copy an eventfd", error))
}

impl Partition for FakePartition {
    fn property(&self, code: PartitionProperty) -> VidResult<u64> {
        let state = self.enter("read a property", HypercallCode::GET_PARTITION_PROPERTY)?;
        Ok(state.properties.get(&code.0).copied().unwrap_or(0))
    }

    fn set_property(&self, code: PartitionProperty, value: u64) -> VidResult<()> {
        let mut state = self.enter("set a property", HypercallCode::SET_PARTITION_PROPERTY)?;
        state.properties.insert(code.0, value);
        Ok(())
    }

    fn map_memory(&self, mapping: &MemoryMapping) -> VidResult<()> {
        self.enter("map memory", HypercallCode::MAP_GPA_PAGES)?.mappings.push(*mapping);
        Ok(())
    }

    fn unmap_memory(&self, mapping: &MemoryMapping) -> VidResult<()> {
        let mut state = self.enter("unmap memory", HypercallCode::UNMAP_GPA_PAGES)?;
        state.mappings.retain(|other| other != mapping);
        Ok(())
    }

    fn create_vp(&self, index: VpIndex) -> VidResult<Box<dyn Vp>> {
        let link = self.link(index);
        self.enter("create a VP", HypercallCode::CREATE_VP)?.created.push(index.0);
        Ok(Box::new(FakeVp::new(index, link)))
    }

    fn set_msi_routes(&self, routes: &[MsiRoute]) -> VidResult<()> {
        self.state().routes = routes.to_vec();
        Ok(())
    }

    fn register_irqfd(&self, event: &EventFd, gsi: u32) -> VidResult<()> {
        let event = copy(event)?;
        self.state().irqfds.push((event, gsi));
        Ok(())
    }

    fn unregister_irqfd(&self, _event: &EventFd, gsi: u32) -> VidResult<()> {
        self.state().irqfds.retain(|(_, other)| *other != gsi);
        Ok(())
    }

    fn register_doorbell(&self, event: &EventFd, gpa: Gpa) -> VidResult<()> {
        let event = copy(event)?;
        self.enter("register a doorbell", HypercallCode::CONNECT_PORT)?
            .doorbells
            .push((event, gpa));
        Ok(())
    }

    fn unregister_doorbell(&self, _event: &EventFd, gpa: Gpa) -> VidResult<()> {
        self.state().doorbells.retain(|(_, other)| *other != gpa);
        Ok(())
    }

    fn assert_interrupt(&self, request: &InterruptRequest) -> VidResult<()> {
        let code = HypercallCode::ASSERT_VIRTUAL_INTERRUPT;
        self.enter("assert an interrupt", code)?.asserted.push(*request);
        Ok(())
    }

    fn install_intercept(&self, kind: InterceptType, parameter: u64) -> VidResult<()> {
        let code = HypercallCode::INSTALL_INTERCEPT;
        self.enter("install an intercept", code)?.intercepts.push((kind, parameter));
        Ok(())
    }

    fn signal_event(&self, vp: VpIndex, sint: u8, flag: u16) -> VidResult<()> {
        let code = HypercallCode::SIGNAL_EVENT_DIRECT;
        self.enter("signal an event", code)?.events.push((vp, sint, flag));
        Ok(())
    }

    fn post_message(&self, vp: VpIndex, sint: u8, message: &Message) -> VidResult<()> {
        let code = HypercallCode::POST_MESSAGE_DIRECT;
        self.enter("post a message", code)?.messages.push((vp, sint, *message));
        Ok(())
    }

    fn notify_deliverable(&self, _vp: VpIndex, _sints: u16) -> VidResult<()> {
        self.enter("ask for deliverability", HypercallCode::SET_VP_REGISTERS).map(drop)
    }
}

#[cfg(test)]
mod tests;

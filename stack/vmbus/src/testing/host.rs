//! A hypervisor that keeps what it is given.

use crate::transport::{PostError, Transport};
use hvdef::VpIndex;
use hvdef::message::Message;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct State {
    messages: VecDeque<(u32, Vec<u8>)>,
    signals: BTreeMap<(u32, u16), u64>,
    doorbells: BTreeMap<u32, EventFd>,
    slots: usize,
}

/// One guest's message slots and event flags.
pub struct FakeHost {
    state: Mutex<State>,
    changed: Condvar,
}

impl FakeHost {
    /// With room for `slots` messages that the guest has not read.
    pub fn new(slots: usize) -> Self {
        Self { state: Mutex::new(State { slots, ..State::default() }), changed: Condvar::new() }
    }

    /// The oldest message and the VP it is for, waiting for it.
    pub fn message(&self) -> (u32, Vec<u8>) {
        let state = self.state.lock().unwrap();
        let (mut state, result) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.messages.is_empty())
            .unwrap();
        assert!(!result.timed_out(), "no message came");
        state.messages.pop_front().unwrap()
    }

    /// The oldest message, if there is one.
    pub fn try_message(&self) -> Option<(u32, Vec<u8>)> {
        self.state.lock().unwrap().messages.pop_front()
    }

    /// How often a flag was signalled.
    pub fn signals(&self, vp: u32, flag: u16) -> u64 {
        self.state.lock().unwrap().signals.get(&(vp, flag)).copied().unwrap_or(0)
    }

    /// Waits until a flag was signalled more than `before` times.
    pub fn wait_for_signal(&self, vp: u32, flag: u16, before: u64) -> u64 {
        let count = |state: &State| state.signals.get(&(vp, flag)).copied().unwrap_or(0);
        let state = self.state.lock().unwrap();
        let (state, result) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| count(state) <= before)
            .unwrap();
        assert!(!result.timed_out(), "no signal came");
        count(&state)
    }

    /// Rings a bound doorbell; whether there was one.
    pub fn ring(&self, connection_id: u32) -> bool {
        let state = self.state.lock().unwrap();
        state.doorbells.get(&connection_id).is_some_and(|doorbell| doorbell.write(1).is_ok())
    }

    pub fn doorbells(&self) -> usize {
        self.state.lock().unwrap().doorbells.len()
    }
}

impl Transport for FakeHost {
    fn post_message(&self, vp: VpIndex, _sint: u8, message: &Message) -> Result<(), PostError> {
        let mut state = self.state.lock().unwrap();
        if state.messages.len() >= state.slots {
            return Err(PostError::Busy);
        }
        state.messages.push_back((vp.0, message.payload().to_vec()));
        self.changed.notify_all();
        Ok(())
    }

    fn signal_event(&self, vp: VpIndex, _sint: u8, flag: u16) -> io::Result<()> {
        *self.state.lock().unwrap().signals.entry((vp.0, flag)).or_default() += 1;
        self.changed.notify_all();
        Ok(())
    }

    fn bind(&self, connection_id: u32, event: &EventFd) -> io::Result<()> {
        self.state.lock().unwrap().doorbells.insert(connection_id, event.try_clone()?);
        Ok(())
    }

    fn unbind(&self, connection_id: u32, _event: &EventFd) {
        self.state.lock().unwrap().doorbells.remove(&connection_id);
    }
}

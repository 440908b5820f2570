use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vmbusdef::Guid;
use vmbusdef::guid::class;

/// Pages from here on are not RAM.
const RAM_END: u64 = 0x1000;

/// A guest and its devices, both played by the test.
struct Script {
    server: Server,
    /// Whether devices answer at once.
    prompt: bool,
    log: Vec<Action>,
}

fn script() -> Script {
    let server = Server::new(Config::new(4), |gpn| gpn < RAM_END);
    Script { server, prompt: true, log: Vec::new() }
}

/// A script whose guest speaks 5.3 and has its offers.
fn connected(devices: u32) -> Script {
    let mut script = script();
    for number in 0..devices {
        script.server.add_device(device(number)).unwrap();
    }
    script.contact(Version::WIN10_V5_3, 0);
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    script.log.clear();
    script
}

fn device(number: u32) -> OfferParams {
    OfferParams::new(class::SCSI, Guid::new(number, 0, 0, 0, 1))
}

impl Script {
    fn say(&mut self, number: MessageNumber, words: &[u32]) {
        let mut message = number.0.to_le_bytes().to_vec();
        message.extend([0; 4]);
        words.iter().for_each(|word| message.extend(word.to_le_bytes()));
        self.server.handle(&message);
        self.act();
    }

    /// Takes actions, answering for the devices if they are prompt.
    fn act(&mut self) {
        while let Some(action) = self.server.action() {
            match &action {
                Action::Open(open) if self.prompt => self.server.opened(open.relid, true),
                Action::Close { relid, .. } if self.prompt => self.server.closed(*relid),
                Action::ReleaseGpadl { gpadl, .. } if self.prompt => {
                    self.server.gpadl_released(*gpadl)
                }
                _ => {}
            }
            self.log.push(action);
        }
    }

    fn after(&mut self, act: impl FnOnce(&mut Server)) {
        act(&mut self.server);
        self.act();
    }

    /// Messages since the last call, as number and words.
    fn heard(&mut self) -> Vec<(MessageNumber, Vec<u32>)> {
        let message = |action| match action {
            Action::Post { message, .. } => Some(words(&message)),
            _ => None,
        };
        std::mem::take(&mut self.log).into_iter().filter_map(message).collect()
    }

    fn contact(&mut self, version: Version, vp: u32) {
        self.say(MessageNumber::INITIATE_CONTACT, &[version.0, vp, 2, 0, 0, 0, 0, 0]);
    }

    /// A GPADL of `count` pages from page `first` on.
    fn share(&mut self, relid: u32, gpadl: u32, first: u64, count: u32) {
        let gpns: Vec<u64> = (first..first + u64::from(count)).collect();
        let words = |gpns: &[u64]| {
            gpns.iter().flat_map(|gpn| [*gpn as u32, (gpn >> 32) as u32]).collect::<Vec<_>>()
        };
        let (head, rest) = gpns.split_at(gpns.len().min(26));
        let mut header = vec![relid, gpadl, (8 + 8 * count) | (1 << 16), count * 4096, 0];
        header.extend(words(head));
        self.say(MessageNumber::GPADL_HEADER, &header);
        for part in rest.chunks(28) {
            let mut body = vec![0, gpadl];
            body.extend(words(part));
            self.say(MessageNumber::GPADL_BODY, &body);
        }
    }

    fn open_with(&mut self, relid: u32, gpadl: u32, vp: u32, downstream: u32) {
        let mut words = vec![relid, relid + 100, gpadl, vp, downstream];
        words.extend([0; 30]);
        self.say(MessageNumber::OPENCHANNEL, &words);
    }

    /// Opens with GPADL number 1000 + relid, of 8 pages.
    fn open(&mut self, relid: u32) {
        self.share(relid, 1000 + relid, 16, 8);
        self.open_with(relid, 1000 + relid, 1, 4);
    }
}

fn words(message: &ChannelMessage) -> (MessageNumber, Vec<u32>) {
    let all: Vec<_> = message
        .as_bytes()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    (MessageNumber(all[0]), all[2..].to_vec())
}

const OK: u32 = status::SUCCESS;
const BAD: u32 = status::INVALID_PARAMETER;

#[test]
fn every_version_from_2_4_on_is_accepted_and_no_other() {
    let known = [0x20004, 0x30000, 0x40000, 0x40001, 0x50000, 0x50001, 0x50002, 0x50003, 0x60000];
    for version in known {
        let mut script = script();
        script.contact(Version(version), 1);
        let connection = if version >= 0x50000 { 4 } else { version };
        let mut expected = vec![1, connection];
        if version == 0x60000 {
            expected.push(0);
        }
        assert_eq!(script.heard(), [(MessageNumber::VERSION_RESPONSE, expected)]);
        assert_eq!(script.server.version(), Some(Version(version)));
    }
    for version in [0xD, 0x10001, 0x20000, 0x40002, 0x50004, 0x60001, 0x70000, u32::MAX, 0] {
        let mut script = script();
        script.contact(Version(version), 1);
        assert_eq!(script.heard(), [(MessageNumber::VERSION_RESPONSE, vec![0, 0])]);
        assert_eq!(script.server.version(), None);
    }
}

#[test]
fn a_configured_newest_version_is_respected() {
    let config = Config { version_max: Version::WIN10_V5, ..Config::new(1) };
    let mut script =
        Script { server: Server::new(config, |_| true), prompt: true, log: Vec::new() };
    script.contact(Version::COPPER, 0);
    script.contact(Version::WIN10_V5_3, 0);
    script.contact(Version::WIN10_V5, 0);
    assert_eq!(script.heard().iter().map(|(_, words)| words[0]).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn contact_from_another_trust_level_sint_or_vp_is_none() {
    let mut script = script();
    for (target, vp) in [(2 | 1 << 8, 0), (3, 0)] {
        script.say(
            MessageNumber::INITIATE_CONTACT,
            &[Version::WIN10_V5.0, vp, target, 0, 0, 0, 0, 0],
        );
        assert_eq!(script.heard(), [(MessageNumber::VERSION_RESPONSE, vec![0, 0])]);
    }
    script.contact(Version::WIN10_V5, 4);
    assert!(script.heard().is_empty() && script.server.violations() == 1, "there is no VP 4");
}

#[test]
fn nothing_is_said_before_contact() {
    let mut script = script();
    script.server.add_device(device(0)).unwrap();
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    script.say(MessageNumber::UNLOAD, &[]);
    script.share(1, 1, 0, 4);
    script.server.handle(&[]);
    script.server.handle(&[14, 0, 0, 0, 0, 0, 0, 0, 3]);
    script.act();
    assert!(script.log.is_empty());
    assert_eq!(script.server.violations(), 5);
}

#[test]
fn offers_come_when_asked_for_and_devices_added_later_at_once() {
    let mut script = script();
    script.server.add_device(device(0)).unwrap();
    script.server.add_device(device(1)).unwrap();
    script.contact(Version::WIN10_V5_3, 2);
    script.heard();
    script.after(|server| assert!(server.add_device(device(2)).is_ok()));
    assert!(script.log.is_empty(), "not asked yet");
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    let Some(Action::Post { vp: 2, message }) = script.log.first() else { panic!() };
    let (offer, _) = vmbusdef::offer::Offer::read_from_prefix(&message.as_bytes()[8..]).unwrap();
    assert_eq!(
        (message.as_bytes().len(), offer.interface_type, offer.relid),
        (196, class::SCSI, 1)
    );
    assert_eq!(
        (offer.connection_id, offer.is_dedicated_interrupt, offer.monitor_allocated),
        (0x2001, 1, 0)
    );
    let numbers: Vec<_> = script.heard().iter().map(|(number, _)| number.0).collect();
    assert_eq!(numbers, [1, 1, 1, 4]);
    script.after(|server| assert!(server.add_device(device(3)).is_ok()));
    assert_eq!(script.heard().len(), 1);
    let again = script.server.add_device(device(3));
    assert_eq!(again, Err(AddDeviceError::DuplicateInstance(device(3).instance)));
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    assert_eq!(script.heard(), [(MessageNumber::ALLOFFERS_DELIVERED, vec![])], "none twice");
}

#[test]
fn gpadls_are_put_together_from_interleaved_parts() {
    let mut script = connected(2);
    let header = |relid: u32, gpadl: u32| {
        let mut words = vec![relid, gpadl, (8 + 8 * 30) | (1 << 16), 30 * 4096, 0];
        (0..26).for_each(|i| words.extend([i + gpadl, 0]));
        words
    };
    let body = |gpadl: u32| {
        let mut words = vec![0, gpadl];
        (26..30).for_each(|i| words.extend([i + gpadl, 0]));
        words
    };
    script.say(MessageNumber::GPADL_HEADER, &header(1, 50));
    script.say(MessageNumber::GPADL_HEADER, &header(2, 60));
    script.say(MessageNumber::GPADL_BODY, &body(60));
    assert!(matches!(&script.log[..], [Action::GpadlCreated { relid: 2, gpadl: 60, pages }, _]
        if pages.whole_pages().unwrap().iter().copied().eq(60..90)));
    assert_eq!(script.heard(), [(MessageNumber::GPADL_CREATED, vec![2, 60, OK])]);
    script.say(MessageNumber::GPADL_BODY, &body(50));
    assert_eq!(script.heard(), [(MessageNumber::GPADL_CREATED, vec![1, 50, OK])]);
}

#[test]
fn gpadls_that_make_no_sense_are_refused() {
    let mut script = connected(1);
    let refused = |script: &mut Script, words: &[u32], status: u32| {
        script.say(MessageNumber::GPADL_HEADER, words);
        assert_eq!(
            script.heard(),
            [(MessageNumber::GPADL_CREATED, vec![words[0], words[1], status])],
            "{words:x?}"
        );
    };
    let one = |count: u32, offset: u32, gpn: u32| [1, 7, 16 | 1 << 16, count, offset, gpn, 0];
    refused(&mut script, &one(4096, 0, RAM_END as u32), BAD);
    refused(&mut script, &one(4096, 1, 5), BAD);
    refused(&mut script, &one(u32::MAX, 0, 5), BAD);
    refused(&mut script, &one(0, 4096, 5), BAD);
    refused(&mut script, &[1, 7, 16, 4096, 0, 5, 0], BAD);
    refused(&mut script, &[1, 7, 12 | 1 << 16, 4096, 0, 5, 0], BAD);
    refused(&mut script, &[1, 7, 16 | 65 << 16, 4096, 0, 5, 0], BAD);
    refused(&mut script, &[2, 7, 16 | 1 << 16, 4096, 0, 5, 0], BAD);
    script.share(1, 7, 5, 1);
    assert_eq!(script.heard(), [(MessageNumber::GPADL_CREATED, vec![1, 7, OK])]);
    refused(&mut script, &one(4096, 0, 5), BAD);
    let violations = script.server.violations();
    script.say(MessageNumber::GPADL_BODY, &[0, 8, 5, 0]);
    script.say(MessageNumber::GPADL_BODY, &[0, 7, 5, 0]);
    assert!(script.heard().is_empty());
    assert_eq!(script.server.violations(), violations + 2);
}

#[test]
fn gpadls_have_limits() {
    let limits = Limits { gpadls: 3, gpadl_pages: 40, subchannels: 1 };
    let config = Config { limits, ..Config::new(1) };
    let mut script =
        Script { server: Server::new(config, |_| true), prompt: true, log: Vec::new() };
    script.server.add_device(device(0)).unwrap();
    script.contact(Version::COPPER, 0);
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    script.heard();
    let mut share = |gpadl, count| {
        script.share(1, gpadl, 0, count);
        script.heard().pop().map(|(_, words)| words[2])
    };
    assert_eq!(share(1, 40), Some(status::INSUFFICIENT_RESOURCES));
    assert_eq!(share(2, 30), Some(OK));
    assert_eq!(share(3, 9), Some(status::INSUFFICIENT_RESOURCES));
    assert_eq!(share(4, 1), Some(OK));
    assert_eq!(share(5, 1), Some(OK));
    assert_eq!(share(6, 1), Some(status::INSUFFICIENT_RESOURCES));
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 2]);
    script.heard();
    script.share(1, 7, 0, 25);
    assert_eq!(script.heard(), [(MessageNumber::GPADL_CREATED, vec![1, 7, OK])], "room again");
}

#[test]
fn a_channel_opens_with_both_rings() {
    let mut script = connected(1);
    script.share(1, 9, 100, 10);
    script.log.clear();
    script.open_with(1, 9, 3, 6);
    let Some(Action::Open(open)) = script.log.first() else { panic!("{:?}", script.log) };
    assert_eq!((open.relid, open.subchannel, open.target_vp), (1, 0, Some(3)));
    assert!(
        open.incoming.iter().copied().eq(100..106) && open.outgoing.iter().copied().eq(106..110)
    );
    assert_eq!(script.heard(), [(MessageNumber::OPENCHANNEL_RESULT, vec![1, 101, OK])]);
}

#[test]
fn a_device_may_refuse_to_open() {
    let mut script = connected(1);
    script.prompt = false;
    script.open(1);
    script.heard();
    script.after(|server| server.opened(1, false));
    assert_eq!(
        script.heard(),
        [(MessageNumber::OPENCHANNEL_RESULT, vec![1, 101, status::UNSUCCESSFUL])]
    );
    script.prompt = true;
    script.open_with(1, 1001, 0, 4);
    assert_eq!(script.heard().pop(), Some((MessageNumber::OPENCHANNEL_RESULT, vec![1, 101, OK])));
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let mut script = connected(2);
    script.share(1, 9, 100, 10);
    script.share(2, 10, 100, 10);
    script.heard();
    let mut refused = |relid, gpadl, vp, downstream| {
        script.open_with(relid, gpadl, vp, downstream);
        script.heard() == [(MessageNumber::OPENCHANNEL_RESULT, vec![relid, relid + 100, BAD])]
    };
    assert!(refused(3, 9, 0, 5), "no such channel");
    assert!(refused(1, 8, 0, 5), "no such GPADL");
    assert!(refused(1, 10, 0, 5), "another channel's GPADL");
    assert!(refused(1, 9, 4, 5), "no such VP");
    for downstream in [0, 1, 9, 10, 11, u32::MAX] {
        assert!(refused(1, 9, 0, downstream), "{downstream}");
    }
    script.open_with(1, 9, u32::MAX, 5);
    assert!(matches!(&script.log[0], Action::Open(open) if open.target_vp.is_none()));
    script.heard();
    script.open_with(1, 9, 0, 5);
    assert_eq!(
        script.heard(),
        [(MessageNumber::OPENCHANNEL_RESULT, vec![1, 101, status::UNSUCCESSFUL])],
        "open already"
    );
}

#[test]
fn pages_are_given_back_only_when_the_device_has_stopped() {
    let mut script = connected(1);
    script.open(1);
    script.share(1, 77, 200, 3);
    script.log.clear();
    script.prompt = false;
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 77]);
    assert_eq!(script.log, [Action::ReleaseGpadl { device: DeviceId(0), relid: 1, gpadl: 77 }]);
    assert!(script.heard().is_empty());
    script.after(|server| server.gpadl_released(77));
    assert_eq!(script.heard(), [(MessageNumber::GPADL_TORNDOWN, vec![77])]);
    script.say(MessageNumber::CLOSECHANNEL, &[1]);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 1001]);
    assert!(script.heard().is_empty());
    script.after(|server| server.closed(1));
    assert_eq!(script.heard(), [(MessageNumber::GPADL_TORNDOWN, vec![1001])]);
    script.after(|server| server.closed(1));
    script.after(|server| server.gpadl_released(1001));
    assert!(script.heard().is_empty(), "said once");
}

#[test]
fn gpadl_teardown_of_an_open_channels_ring_closes_it() {
    let mut script = connected(1);
    script.open(1);
    script.log.clear();
    script.prompt = false;
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 1001]);
    assert_eq!(script.log, [Action::Close { device: DeviceId(0), subchannel: 0, relid: 1 }]);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 1001]);
    assert!(script.heard().is_empty());
    script.after(|server| server.closed(1));
    assert_eq!(script.heard(), [(MessageNumber::GPADL_TORNDOWN, vec![1001])]);
    script.prompt = true;
    script.open(1);
    assert_eq!(script.heard().pop(), Some((MessageNumber::OPENCHANNEL_RESULT, vec![1, 101, OK])));
}

#[test]
fn teardown_of_what_is_not_shared_is_granted_but_not_of_anothers() {
    let mut script = connected(2);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 5]);
    assert_eq!(script.heard(), [(MessageNumber::GPADL_TORNDOWN, vec![5])]);
    script.share(2, 6, 0, 2);
    script.heard();
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 6]);
    script.say(MessageNumber::GPADL_TEARDOWN, &[9, 6]);
    assert!(script.heard().is_empty());
    // Half of a list is as good as none.
    let mut header = vec![1, 8, (8 + 8 * 30) | (1 << 16), 30 * 4096, 0];
    header.extend([0; 52]);
    script.say(MessageNumber::GPADL_HEADER, &header);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 8]);
    assert_eq!(script.heard(), [(MessageNumber::GPADL_TORNDOWN, vec![8])]);
}

#[test]
fn a_device_is_rescinded_when_it_has_stopped_and_its_number_is_used_again_when_released() {
    let mut script = connected(1);
    script.open(1);
    script.log.clear();
    script.prompt = false;
    script.after(|server| server.remove_device(DeviceId(0)));
    assert_eq!(script.log, [Action::Close { device: DeviceId(0), subchannel: 0, relid: 1 }]);
    script.heard();
    script.after(|server| server.closed(1));
    assert!(script.log.contains(&Action::Removed(DeviceId(0))));
    assert_eq!(script.heard(), [(MessageNumber::RESCIND_CHANNELOFFER, vec![1])]);
    script.say(MessageNumber::CLOSECHANNEL, &[1]);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 1001]);
    script.open(1);
    script.say(MessageNumber::MODIFYCHANNEL, &[1, 0]);
    assert!(script.heard().is_empty(), "nothing more is said of it");
    script.after(|server| assert!(server.add_device(device(0)).is_ok()));
    script.after(|server| assert!(server.add_device(device(5)).is_ok()));
    let offered = script.heard();
    assert_eq!(offered.len(), 1, "the same name has to wait");
    assert_eq!(offered[0].1[44], 2, "and the number too");
    script.say(MessageNumber::RELID_RELEASED, &[1]);
    assert_eq!(script.heard()[0].1[44], 1);
    script.say(MessageNumber::RELID_RELEASED, &[2]);
    assert!(script.heard().is_empty() && script.server.violations() > 0, "not rescinded");
}

#[test]
fn subchannels_come_with_the_primary_channel_and_go_with_it() {
    let mut script = connected(1);
    assert_eq!(script.server.offer_subchannels(DeviceId(0), 2), 0, "not open");
    script.open(1);
    script.heard();
    script.after(|server| assert_eq!(server.offer_subchannels(DeviceId(0), 2), 2));
    let offers = script.heard();
    let index = |offer: &(MessageNumber, Vec<u32>)| (offer.1[43] & 0xFFFF, offer.1[44]);
    assert_eq!(offers.iter().map(index).collect::<Vec<_>>(), [(1, 2), (2, 3)]);
    script.open(2);
    script.heard();
    script.prompt = false;
    script.say(MessageNumber::CLOSECHANNEL, &[1]);
    assert_eq!(script.heard(), [(MessageNumber::RESCIND_CHANNELOFFER, vec![3])]);
    script.after(|server| server.closed(2));
    assert_eq!(script.heard(), [(MessageNumber::RESCIND_CHANNELOFFER, vec![2])]);
    script.after(|server| server.closed(1));
    script.prompt = true;
    script.open(1);
    script.heard();
    script.after(|server| assert_eq!(server.offer_subchannels(DeviceId(0), 500), 64));
    assert_eq!(index(&script.heard()[0]), (1, 4), "numbers 2 and 3 are not released yet");
}

#[test]
fn a_subchannel_does_not_open_alone() {
    let mut script = connected(1);
    script.open(1);
    script.after(|server| assert_eq!(server.offer_subchannels(DeviceId(0), 1), 1));
    script.prompt = false;
    script.share(2, 1002, 16, 8);
    script.say(MessageNumber::GPADL_TEARDOWN, &[1, 1001]);
    script.heard();
    script.open_with(2, 1002, 0, 4);
    assert!(script.heard().is_empty(), "it is on its way out");
}

#[test]
fn interrupts_move_and_the_guest_is_told_from_5_3_on() {
    for version in [Version::WIN10_V4_1, Version::WIN10_V5_2, Version::WIN10_V5_3, Version::COPPER]
    {
        let mut script = script();
        script.server.add_device(device(0)).unwrap();
        script.contact(version, 0);
        script.say(MessageNumber::REQUESTOFFERS, &[]);
        script.open(1);
        script.log.clear();
        script.say(MessageNumber::MODIFYCHANNEL, &[1, 2]);
        assert_eq!(script.log[0], Action::Target { relid: 1, vp: Some(2) });
        let answered = version >= Version::WIN10_V5_3;
        let expected =
            |status| answered.then(|| (MessageNumber::MODIFYCHANNEL_RESPONSE, vec![1, status]));
        assert_eq!(script.heard().pop(), expected(OK));
        script.say(MessageNumber::MODIFYCHANNEL, &[1, 4]);
        assert_eq!(script.heard().pop(), expected(BAD));
        script.say(MessageNumber::MODIFYCHANNEL, &[1, u32::MAX]);
        assert_eq!(script.log[0], Action::Target { relid: 1, vp: None });
        script.say(MessageNumber::CLOSECHANNEL, &[1]);
        script.log.clear();
        script.say(MessageNumber::MODIFYCHANNEL, &[1, 2]);
        assert_eq!(script.heard().pop(), expected(BAD));
    }
}

#[test]
fn unload_is_answered_when_everything_has_stopped_and_another_vp_may_begin() {
    let mut script = connected(2);
    script.open(1);
    script.open(2);
    script.log.clear();
    script.prompt = false;
    script.say(MessageNumber::UNLOAD, &[]);
    script.after(|server| server.closed(2));
    assert!(script.heard().is_empty());
    script.after(|server| server.closed(1));
    assert!(script.log.contains(&Action::Disconnected));
    assert_eq!(script.heard(), [(MessageNumber::UNLOAD_RESPONSE, vec![])]);
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    assert!(script.heard().is_empty());
    script.contact(Version::WIN10_V5_3, 3);
    script.say(MessageNumber::REQUESTOFFERS, &[]);
    assert!(script.log.iter().all(|action| matches!(action, Action::Post { vp: 3, .. })));
    assert_eq!(script.heard().len(), 4);
}

#[test]
fn a_kernel_that_begins_without_unload_waits_for_the_old_one_to_end() {
    let mut script = connected(1);
    script.open(1);
    script.log.clear();
    script.prompt = false;
    script.contact(Version::WIN10_V5, 1);
    assert!(script.heard().is_empty());
    script.contact(Version::WIN10_V5_2, 2);
    script.after(|server| server.closed(1));
    assert_eq!(
        script.heard(),
        [(MessageNumber::VERSION_RESPONSE, vec![1, 4])],
        "the last one counts"
    );
    assert_eq!(script.server.version(), Some(Version::WIN10_V5_2));
    script.share(1, 1001, 0, 8);
    assert_eq!(script.heard()[0].1[2], BAD, "no channel is offered");
}

#[test]
fn a_reset_is_silent() {
    let mut script = connected(2);
    script.open(1);
    script.log.clear();
    script.after(Server::reset);
    assert!(script.log.contains(&Action::Disconnected));
    assert!(script.heard().is_empty());
    script.after(|server| server.remove_device(DeviceId(1)));
    assert_eq!(script.log, [Action::Removed(DeviceId(1))]);
}

#[test]
fn nobody_listens_on_sockets() {
    let mut script = connected(0);
    script.say(MessageNumber::TL_CONNECT_REQUEST, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let Some(Action::Connect(request)) = script.log.pop() else { panic!() };
    script.after(|server| server.refuse_connect(&request));
    let expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0xC000_0236];
    assert_eq!(script.heard(), [(MessageNumber::TL_CONNECT_RESULT, expected)]);
}

/// What a guest and the devices may do, mostly sensible.
#[derive(Clone, Debug)]
enum Step {
    Say(u32, Vec<u32>),
    Share(u32, u32, u32),
    Open(u32, u32),
    Closed(u32),
    Opened(u32, bool),
    Released(u32),
    Add(u32),
    Remove(u32),
    Subchannels(u32, u16),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u32..5;
    prop_oneof![
        3 => (0u32..27, prop::collection::vec(0u32..6, 0..36)).prop_map(|(number, words)| Step::Say(number, words)),
        1 => (0u32..27, prop::collection::vec(any::<u32>(), 0..60)).prop_map(|(number, words)| Step::Say(number, words)),
        3 => (id.clone(), id.clone(), 1u32..60).prop_map(|(relid, gpadl, count)| Step::Share(relid, gpadl, count)),
        3 => (id.clone(), id.clone()).prop_map(|(relid, gpadl)| Step::Open(relid, gpadl)),
        4 => id.clone().prop_map(Step::Closed),
        3 => (id.clone(), any::<bool>()).prop_map(|(relid, ok)| Step::Opened(relid, ok)),
        1 => id.clone().prop_map(Step::Released),
        1 => id.clone().prop_map(Step::Add),
        1 => id.clone().prop_map(Step::Remove),
        1 => (id, 0u16..3).prop_map(|(device, count)| Step::Subchannels(device, count)),
        1 => Just(Step::Reset),
    ]
}

/// What the device does with a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Opening,
    Open,
    Closing,
}

proptest! {
    /// Whatever comes, in whatever order: pages are never given back while a device may use them, and everything can
    /// be brought to an end.
    #[test]
    fn no_page_is_given_back_while_in_use(steps in prop::collection::vec(step(), 1..120)) {
        let mut script = connected(2);
        script.prompt = false;
        let mut in_use = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Reset]) {
            match step {
                Step::Say(number, words) => script.say(MessageNumber(number), &words),
                Step::Share(relid, gpadl, count) => script.share(relid, gpadl, 3, count),
                Step::Open(relid, gpadl) => script.open_with(relid, gpadl, 0, 2),
                Step::Closed(relid) => {
                    if in_use.get(&relid) == Some(&Use::Closing) {
                        in_use.remove(&relid);
                        script.after(|server| server.closed(relid));
                    }
                }
                Step::Opened(relid, ok) => {
                    match in_use.get_mut(&relid) {
                        Some(stage @ Use::Opening) if ok => *stage = Use::Open,
                        Some(Use::Opening) => { in_use.remove(&relid); }
                        _ => {}
                    }
                    script.after(|server| server.opened(relid, ok));
                }
                Step::Released(gpadl) => script.after(|server| server.gpadl_released(gpadl)),
                Step::Add(number) => script.after(|server| { let _ = server.add_device(device(number)); }),
                Step::Remove(id) => script.after(|server| server.remove_device(DeviceId(id))),
                Step::Subchannels(id, count) => script.after(|server| { server.offer_subchannels(DeviceId(id), count); }),
                Step::Reset => script.after(Server::reset),
            }
            for action in std::mem::take(&mut script.log) {
                match action {
                    Action::Open(open) => prop_assert!(in_use.insert(open.relid, Use::Opening).is_none()),
                    Action::Close { relid, .. } => {
                        let before = in_use.insert(relid, Use::Closing);
                        prop_assert!(matches!(before, Some(Use::Open | Use::Opening)), "{:?}", before);
                    }
                    Action::Post { message, .. } => match words(&message) {
                        (MessageNumber::RESCIND_CHANNELOFFER, words) => prop_assert!(!in_use.contains_key(&words[0])),
                        (MessageNumber::GPADL_TORNDOWN, words) => {
                            let is_ring = |channel: &channels::Channel| channel.is_in_use() && channel.ring == Some(words[0]);
                            prop_assert!(!script.server.channels.iter().any(|(_, channel)| is_ring(channel)));
                        }
                        (MessageNumber::UNLOAD_RESPONSE, _) => prop_assert!(in_use.is_empty()),
                        _ => {}
                    },
                    Action::Disconnected => prop_assert!(in_use.is_empty()),
                    _ => {}
                }
            }
        }
        script.prompt = true;
        in_use.into_keys().for_each(|relid| script.after(|server| server.closed(relid)));
        prop_assert!(script.server.version().is_none());
        prop_assert_eq!(script.server.gpadls.count(), 0);
    }
}

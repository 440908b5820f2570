extern crate std;
use super::*;
use crate::log::{Record, Records};
use proptest::prelude::*;
use std::vec::Vec;

const N: usize = 1024;

type Line = (u8, u8, u64, Vec<u8>);

fn line() -> impl Strategy<Value = Line> {
    (0..5u8, any::<u8>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..200))
}

fn push(ring: &mut LogRing<N>, (level, lp, time, text): &Line) {
    ring.push(Level::from_number(*level).unwrap(), *lp, *time, text);
}

fn same(record: &Record<'_>, (level, lp, time, text): &Line) -> bool {
    let lp_matches = record.lp.unwrap_or(RecordHeader::NO_LP) == *lp;
    record.level == *level && lp_matches && record.time_100ns == *time && record.text == text
}

/// Reads with a buffer of `room` bytes until nothing is left.
fn read_all(ring: &LogRing<N>, mut position: u64, room: usize) -> Vec<(u64, Vec<u8>)> {
    let (mut lines, mut out) = (Vec::new(), std::vec![0; room]);
    loop {
        let chunk = ring.read_from(position, &mut out);
        assert_eq!(chunk.first + u64::from(chunk.len), chunk.next);
        if chunk.len == 0 {
            return lines;
        }
        let mut records = Records::new(chunk.first, &out[..chunk.len as usize]);
        lines.extend(records.by_ref().map(|record| (record.position, record.text.to_vec())));
        assert_eq!(records.rest(), (chunk.next, &[][..]));
        position = chunk.next;
    }
}

#[test]
fn a_new_ring_has_nothing() {
    let ring = LogRing::<N>::new();
    for position in [0, 1, u64::MAX] {
        assert_eq!(
            ring.read_from(position, &mut [0; 64]),
            LogChunk { first: 0, next: 0, len: 0, reserved: 0 }
        );
    }
}

#[test]
fn long_text_is_cut_at_a_character() {
    let mut ring = LogRing::<N>::new();
    let text = std::format!("x{}", "ş".repeat(TEXT_MAX));
    ring.push(Level::Info, 0, 1, text.as_bytes());
    let lines = read_all(&ring, 0, RECORD_MAX);
    assert_eq!(lines, [(0, text.as_bytes()[..TEXT_MAX - 1].to_vec())]);
}

#[test]
fn a_buffer_too_small_for_a_record_gets_nothing_and_stays_in_place() {
    let mut ring = LogRing::<N>::new();
    ring.push(Level::Info, 0, 1, b"hello");
    let chunk = ring.read_from(0, &mut [0; 23]);
    assert_eq!((chunk.first, chunk.next, chunk.len), (0, 0, 0));
    assert_eq!(ring.read_from(0, &mut [0; 24]).len, 24);
}

#[test]
fn an_overwritten_position_is_told_apart() {
    let mut ring = LogRing::<N>::new();
    for _ in 0..100 {
        ring.push(Level::Info, 0, 1, b"0123456789abcdef");
    }
    let chunk = ring.read_from(0, &mut [0; 64]);
    assert_eq!(chunk.first, ring.first());
    assert!(chunk.first > 0 && chunk.len == 64);
}

proptest! {
    #[test]
    fn what_is_kept_is_the_exact_newest_suffix(lines in prop::collection::vec(line(), 0..60), room in RECORD_MAX..4096usize) {
        let mut ring = LogRing::<N>::new();
        lines.iter().for_each(|line| push(&mut ring, line));
        let mut out = std::vec![0; room];
        let chunk = ring.read_from(0, &mut out);
        let records: Vec<_> = Records::new(chunk.first, &out[..chunk.len as usize]).collect();
        let dropped = lines.len() - records.len();
        prop_assert!(records.iter().zip(&lines[dropped..]).all(|(record, line)| same(record, line)));
        prop_assert_eq!(chunk.next, ring.next());
        // As much is kept as fits: one record more would not have.
        if let Some(older) = dropped.checked_sub(1).map(|index| &lines[index]) {
            prop_assert!(chunk.len as usize + (16 + older.3.len()).next_multiple_of(8) > N);
        }
    }

    #[test]
    fn a_reader_that_keeps_up_sees_every_line_once(batches in prop::collection::vec(prop::collection::vec(line(), 0..5), 0..30)) {
        let mut ring = LogRing::<N>::new();
        let (mut position, mut seen) = (0, Vec::new());
        for batch in batches {
            let last = batch.iter().map(|line| line.3.clone()).collect::<Vec<_>>();
            batch.iter().for_each(|line| push(&mut ring, line));
            let lines = read_all(&ring, position, RECORD_MAX);
            position = ring.next();
            let kept = lines.len().min(last.len());
            prop_assert_eq!(lines.len(), kept);
            prop_assert!(lines.iter().map(|(_, text)| text).eq(last[last.len() - kept..].iter()));
            seen.extend(lines.into_iter().map(|(position, _)| position));
        }
        prop_assert!(seen.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn any_position_gives_whole_records_and_never_panics(
        lines in prop::collection::vec(line(), 0..40), position in 0..8192u64, room in 0..2048usize,
    ) {
        let mut ring = LogRing::<N>::new();
        lines.iter().for_each(|line| push(&mut ring, line));
        let starts: Vec<_> = read_all(&ring, 0, RECORD_MAX).into_iter().map(|(start, _)| start).collect();
        let chunk = ring.read_from(position, &mut std::vec![0; room]);
        let expected = starts.iter().copied().find(|&start| start >= position).unwrap_or(ring.next());
        prop_assert_eq!(chunk.first, expected);
        prop_assert!(chunk.len as usize <= room);
        prop_assert!(chunk.next == ring.next() || starts.contains(&chunk.next));
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), position in any::<u64>()) {
        prop_assert!(Records::new(position, &bytes).count() <= bytes.len() / 16);
    }
}

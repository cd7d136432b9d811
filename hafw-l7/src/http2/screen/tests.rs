use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = len[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection that has begun.
fn begun() -> Screen {
    let mut screen = Screen::new();
    let mut begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    screen.look(&mut begin, 0).unwrap();
    screen
}

/// The end that these bytes come to when they are read in pieces of a length.
fn end(bytes: &[u8], piece: usize) -> Option<Reason> {
    let mut screen = Screen::new();
    let mut bytes = [PREFACE, bytes].concat();
    let ends = bytes.chunks_mut(piece).map(|piece| screen.look(piece, 0));
    ends.filter_map(Result::err).map(|stop| stop.reason).next()
}

#[test]
fn what_stops_a_connection_is_not_passed_on() {
    let mut screen = begun();
    let good = frame(PING, 0, 0, &[0; 8]);
    let mut bytes = [&good[..], &frame(PING, 0, 0, &[0; 7])].concat();

    let stop = screen.look(&mut bytes, 0).unwrap_err();

    let reason = Reason::FRAME_SIZE_ERROR;
    assert_eq!(
        stop,
        Stop {
            at: good.len(),
            reason
        }
    );
}

#[test]
fn trailers_with_pseudo_headers_lose_their_end() {
    let mut screen = begun();
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x82]);
    let mut bytes = [&frame(HEADERS, END_HEADERS, 1, &[0x82])[..], &trailers].concat();

    screen.look(&mut bytes, 0).unwrap();

    assert_eq!(bytes[10 + 4], END_HEADERS);
    assert_eq!(bytes[10 + 9], 0x82);
}

#[test]
fn frames_that_ask_for_nothing_are_limited() {
    for flood in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(DATA, 0, 1, &[]),
        frame(0x16, 0, 0, &[]),
    ] {
        let mut screen = begun();
        let mut open = frame(HEADERS, END_HEADERS, 1, &[0x82]);
        screen.look(&mut open, 0).unwrap();
        let stops = (0..3000).find_map(|_| screen.look(&mut flood.clone(), 1).err());
        assert_eq!(
            stops.map(|stop| stop.reason),
            Some(Reason::ENHANCE_YOUR_CALM),
            "{flood:?}"
        );
    }
}

#[test]
fn frames_that_come_with_work_or_slowly_are_not() {
    let mut screen = begun();
    for n in 0..100_000 {
        screen.note_sent(32 * 1024);
        let mut window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0x80, 0]);
        screen.look(&mut window.repeat(2), n / 1000).unwrap();
        window.clear();
    }
    let mut screen = begun();
    for second in 0..100_000 {
        let mut ping = frame(PING, 0, 0, &[0; 8]);
        screen.look(&mut ping, second * 1000).unwrap();
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        frames in prop::collection::vec(
            (0_u8..10, any::<u8>(), 0_u32..6, prop::collection::vec(any::<u8>(), 0..12)),
            1..6,
        ),
        piece in 1_usize..40,
    ) {
        let mut bytes = frame(SETTINGS, 0, 0, &[]);
        for (kind, flags, stream, payload) in &frames {
            bytes.extend(frame(*kind, *flags, *stream, payload));
        }
        let (whole, pieces) = (end(&bytes, usize::MAX), end(&bytes, piece));
        // Trailers whose HEADERS have passed cannot be changed any more.
        prop_assert!(pieces == whole || pieces == Some(Reason::PROTOCOL_ERROR));
    }
}

use proptest::prelude::*;

use super::*;

/// Content, and the bytes taken, of a chunked body fed in the given pieces.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let Body::Chunked(mut chunks) = Body::chunked() else {
        unreachable!("a chunked body is chunked");
    };
    let mut content = Vec::new();
    let mut taken = 0;
    for mut bytes in pieces {
        while let Some(piece) = chunks.next(bytes)? {
            assert!(piece.len > 0, "no progress");
            let (part, rest) = bytes.split_at(piece.len);
            if piece.is_data {
                content.extend_from_slice(part);
            }
            taken += piece.len;
            bytes = rest;
        }
    }
    Ok((content, taken, chunks.state == State::Done))
}

#[test]
fn a_body_ends_after_its_last_chunk() {
    let body = b"5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\n\r\nGET / HTTP/1.1\r\n";

    let (content, taken, done) = decode([&body[..]]).unwrap();

    assert_eq!(content, b"hello world");
    assert_eq!(&body[taken..], b"GET / HTTP/1.1\r\n");
    assert!(done);
}

#[test]
fn trailers_are_part_of_the_body() {
    let body = b"1\r\nx\r\n0\r\nExpires: now\r\nX-Sum:\r\n\r\nrest";

    let (content, taken, done) = decode([&body[..]]).unwrap();

    assert_eq!((content.as_slice(), done), (&b"x"[..], true));
    assert_eq!(&body[taken..], b"rest");
}

#[test]
fn a_body_split_anywhere_gives_the_same_result() {
    let body = b"5;x=y\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n000\r\nA: b\r\n\r\nnext";
    let whole = decode([&body[..]]).unwrap();

    for first in 0..=body.len() {
        for second in first..=body.len() {
            let pieces = [&body[..first], &body[first..second], &body[second..]];
            assert_eq!(decode(pieces).unwrap(), whole, "{first} {second}");
        }
    }
}

#[test]
fn framing_that_readers_disagree_on_is_refused() {
    let long_line = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(2000));
    let long_trailer = format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000));
    for (body, error) in [
        ("\r\n", ChunkError::Size),
        (" 5\r\nhello", ChunkError::Size),
        ("5 \r\nhello", ChunkError::Size),
        ("0x5\r\nhello", ChunkError::Size),
        ("+5\r\nhello", ChunkError::Size),
        ("-1\r\n", ChunkError::Size),
        ("g\r\n", ChunkError::Size),
        (";x\r\n", ChunkError::Size),
        ("11111111111111111\r\n", ChunkError::Size),
        ("5\nhello", ChunkError::LineEnd),
        ("5\rhello", ChunkError::LineEnd),
        ("5;a\nhello", ChunkError::LineEnd),
        ("5;a\0\r\nhello", ChunkError::Control),
        ("5\r\nhelloX", ChunkError::LineEnd),
        ("5\r\nhello\n", ChunkError::LineEnd),
        ("5\r\nhello\rX", ChunkError::LineEnd),
        ("0\r\n\n", ChunkError::Trailer),
        ("0\r\n X: y\r\n\r\n", ChunkError::Trailer),
        ("0\r\nX : y\r\n\r\n", ChunkError::Trailer),
        ("0\r\nX\r\n\r\n", ChunkError::Trailer),
        ("0\r\nX: y\n\r\n", ChunkError::LineEnd),
        ("0\r\nX: y\x01\r\n\r\n", ChunkError::Control),
        ("0\r\n\rX", ChunkError::LineEnd),
        (&long_line, ChunkError::TooLong),
        (&long_trailer, ChunkError::TooLong),
    ] {
        assert_eq!(decode([body.as_bytes()]), Err(error), "{body:?}");
    }
}

#[test]
fn the_largest_size_is_that_of_a_word() {
    assert!(decode([&b"ffffffffffffffff\r\nx"[..]]).is_ok());
    assert!(decode([&b"00000000000000001\r\nx\r\n0\r\n\r\n"[..]]).is_ok());
}

#[test]
fn many_chunks_do_not_use_the_room_of_one_up() {
    let body = "1\r\nx\r\n".repeat(5000) + "0\r\n\r\n";

    assert_eq!(decode([body.as_bytes()]).unwrap().0.len(), 5000);
}

#[test]
fn a_length_is_used_up() {
    let mut body = Body::Length(5);

    assert_eq!(body.advance(b"abc"), Ok(3));
    assert!(!body.is_done());
    assert_eq!(body.advance(b"defgh"), Ok(2));
    assert!(body.is_done());
    assert_eq!(body.advance(b"x"), Ok(0));
}

#[test]
fn only_the_end_of_the_connection_ends_the_rest() {
    let mut body = Body::UntilClose;

    assert_eq!(body.advance(b"abc"), Ok(3));
    assert!(!body.is_done());
}

proptest! {
    #[test]
    fn no_bytes_panic_and_any_split_agrees(
        bytes in "([0-9a-f]|\r\n|;|[ \n\r:x]|5\r\nhello\r\n|0\r\n){0,40}",
        at in 0_usize..64
    ) {
        let bytes = bytes.as_bytes();
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        prop_assert_eq!(decode([first, second]).is_ok(), decode([bytes]).is_ok());
        if let (Ok(split), Ok(whole)) = (decode([first, second]), decode([bytes])) {
            prop_assert_eq!(split, whole);
        }
    }

    #[test]
    fn what_was_encoded_is_decoded(chunks: Vec<Vec<u8>>, cut in 1_usize..50) {
        let mut wire = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");

        let (content, taken, done) = decode(wire.chunks(cut)).unwrap();

        prop_assert_eq!(&content, &chunks.concat());
        prop_assert_eq!((taken, done), (wire.len(), true));

        let mut body = Body::chunked();
        let (passed, len) = body.advance_unchunked(&mut wire).unwrap();
        prop_assert_eq!((passed, &wire[..len]), (taken, &content[..]));
        prop_assert_eq!(body.chunked_content(), len as u64);
    }
}

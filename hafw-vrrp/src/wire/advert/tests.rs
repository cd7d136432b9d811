use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

/// keepalived 2.2.7: VRID 51, priority 150, 1 s, PASS "1111", 10.0.0.3.
const V2: [u8; 20] = [
    0x21, 51, 150, 1, 1, 1, 0xdb, 0x64, 10, 0, 0, 3, b'1', b'1', b'1', b'1', 0, 0, 0, 0,
];
/// keepalived 2.2.7: VRID 51, priority 150, 50 cs, 10.0.0.3 and 10.0.0.4.
const V3: [u8; 16] = [
    0x31, 51, 150, 2, 0, 50, 0x39, 0xf9, 10, 0, 0, 3, 10, 0, 0, 4,
];

fn v2() -> Advertisement {
    Advertisement {
        version: Version::V2,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::from(150),
        interval: Interval::from_seconds(1).unwrap(),
        auth: Auth::Pass(*b"1111\0\0\0\0"),
        addresses: vec![[10, 0, 0, 3].into()],
    }
}

fn v3() -> Advertisement {
    Advertisement {
        version: Version::V3,
        interval: Interval::from_centiseconds(50).unwrap(),
        auth: Auth::None,
        addresses: vec![[10, 0, 0, 3].into(), [10, 0, 0, 4].into()],
        ..v2()
    }
}

/// The message with one byte changed and, in its own form, the right checksum.
fn with(message: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = message.to_vec();
    changed[at] = byte;
    changed[field::CHECKSUM].copy_from_slice(&[0, 0]);
    let checksum = Sum::default().and(&changed).checksum();
    changed[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    changed
}

fn parse(message: &[u8]) -> Result<Advertisement, ParseError> {
    Advertisement::parse(message, SOURCE, GROUP)
}

#[test]
fn keepaliveds_bytes_parse_to_what_it_was_told() {
    assert_eq!(parse(&V2), Ok(v2()));
    assert_eq!(parse(&V3), Ok(v3()));
}

#[test]
fn the_same_adverts_emit_to_keepaliveds_bytes() {
    assert_eq!(v2().emit(SOURCE, GROUP, ChecksumForm::PseudoHeader), V2);
    assert_eq!(v3().emit(SOURCE, GROUP, ChecksumForm::PseudoHeader), V3);
    assert_eq!((v2().length(), v3().length()), (V2.len(), V3.len()));
}

#[test]
fn every_byte_is_written() {
    for (advert, wanted) in [(v2(), &V2[..]), (v3(), &V3[..])] {
        let mut buffer = vec![0xa5; wanted.len()];
        advert.write(&mut buffer, SOURCE, GROUP, ChecksumForm::PseudoHeader);
        assert_eq!(buffer, wanted);
    }
}

#[test]
fn each_field_lies_where_the_rfc_draws_it() {
    let changed = |message: &[u8], at, byte| parse(&with(message, at, byte)).unwrap();
    assert_eq!(changed(&V2, 1, 7).vrid.get(), 7);
    assert_eq!(changed(&V2, 2, 99).priority.get(), 99);
    assert_eq!(changed(&V2, 4, 0).auth, Auth::None);
    assert_eq!(changed(&V2, 5, 9).interval.seconds(), Some(9));
    assert_eq!(changed(&V2, 11, 9).addresses, [IpAddr::from([10, 0, 0, 9])]);
    assert_eq!(changed(&V2, 19, b'x').auth, Auth::Pass(*b"1111\0\0\0x"));
    assert_eq!(changed(&V3, 4, 0xf1).interval.centiseconds(), 0x132);
}

#[test]
fn each_check_of_the_rfcs_has_its_own_error() {
    let refused = |message: &[u8], at, byte| parse(&with(message, at, byte)).unwrap_err();
    assert_eq!(refused(&V3, 0, 0x41), ParseError::Version(4));
    assert_eq!(refused(&V3, 0, 0x32), ParseError::Type(2));
    assert_eq!(refused(&V3, 1, 0), ParseError::Vrid);
    assert_eq!(refused(&V2, 4, 2), ParseError::AuthType(2));
    assert_eq!(refused(&V2, 5, 0), ParseError::Interval);
    assert_eq!(refused(&V3, 5, 0), ParseError::Interval);
    assert_eq!(
        refused(&V3, 3, 0),
        ParseError::Checksum,
        "the sum has fewer bytes"
    );
    let empty = Advertisement {
        addresses: vec![],
        ..v3()
    };
    let empty = empty.emit(SOURCE, GROUP, ChecksumForm::Message);
    assert_eq!(parse(&empty), Err(ParseError::NoAddress));
    let mut damaged = V2;
    damaged[19] ^= 1;
    assert_eq!(
        parse(&damaged),
        Err(ParseError::Checksum),
        "authentication data count"
    );
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert_eq!(Advertisement::parse(&V2, v6, v6), Err(ParseError::Family));
    assert_eq!(
        Advertisement::parse(&V3, SOURCE, v6),
        Err(ParseError::Family)
    );
}

#[test]
fn a_message_cut_anywhere_is_refused_and_padding_is_ignored() {
    for message in [&V2[..], &V3[..]] {
        for length in 0..message.len() {
            let wanted = if length < 8 { 8 } else { message.len() };
            let error = ParseError::Length {
                actual: length,
                wanted,
            };
            assert_eq!(parse(&message[..length]), Err(error));
        }
        let padded = [message, &[0xa5; 7]].concat();
        assert_eq!(parse(&padded), parse(message));
    }
}

#[test]
fn version_3_over_ipv4_is_taken_with_either_checksum() {
    for form in [ChecksumForm::Message, ChecksumForm::PseudoHeader] {
        assert_eq!(parse(&v3().emit(SOURCE, GROUP, form)), Ok(v3()));
    }
    let elsewhere = IpAddr::from([10, 0, 0, 6]);
    let emitted = v3().emit(elsewhere, GROUP, ChecksumForm::PseudoHeader);
    assert_eq!(parse(&emitted), Err(ParseError::Checksum));
}

#[test]
fn version_2_has_no_pseudo_header() {
    let message = v2().emit(SOURCE, GROUP, ChecksumForm::Message);
    assert_eq!(
        message,
        v2().emit(SOURCE, GROUP, ChecksumForm::PseudoHeader)
    );
}

#[test]
fn addresses_beyond_the_count_are_left_out() {
    let many = Advertisement {
        addresses: vec![[10, 0, 0, 3].into(); 300],
        ..v3()
    };
    let message = many.emit(SOURCE, GROUP, ChecksumForm::Message);
    assert_eq!(message.len(), many.length());
    assert_eq!(
        parse(&message).map(|advert| advert.addresses.len()),
        Ok(255)
    );
}

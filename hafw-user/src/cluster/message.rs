//! What the nodes say to each other: JSON, each message with its length before it (u32, big-endian).
//! Fields and messages may be added; [`PROTOCOL`] changes when old nodes could not live with it.

use std::net::IpAddr;

use hafw_vrrp::{Priority, StateKind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::state::Part;

/// The version of this format.
pub(super) const PROTOCOL: u16 = 1;
/// The longest message, bytes: a heartbeat of all routers that a node can have is far below.
const LONGEST: usize = 1 << 20;
const LENGTH: usize = 4;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    /// The first of each side.
    Hello(Hello),
    /// The other side is not talked to.
    Refused {
        /// Why, for a person.
        reason: String,
    },
    /// The state of the sender.
    Heartbeat(Heartbeat),
    /// The sender wants a heartbeat of now.
    Ask {
        /// Comes back in [`Heartbeat::answers`].
        nonce: u64,
    },
    /// Something of its services.
    State(Part),
    /// One that a later version has and this one does not need.
    #[serde(other)]
    Unknown,
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`PROTOCOL`] of the sender.
    pub(super) protocol: u16,
    /// `[node] id`.
    pub(super) id: String,
    /// Of the program.
    pub(super) version: String,
    /// [`super::state::STATE_FORMAT`]; 0 of a version that tells nothing of its services.
    #[serde(default)]
    pub(super) state_format: u16,
}

/// The state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its virtual routers.
    pub routers: Vec<RouterBeat>,
    /// The question that it answers, if it does.
    #[serde(default)]
    pub answers: Option<u64>,
    /// How many configurations it has put into force: with another one it may follow what it did
    /// not before.
    #[serde(default)]
    pub configurations: u32,
}

/// The state of one router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterBeat {
    /// Name.
    pub name: String,
    /// VRID.
    pub vrid: u8,
    /// Over IPv6.
    pub ipv6: bool,
    /// `active`, `backup`, `fault` or `initialize`.
    pub state: String,
    /// Effective priority.
    pub priority: u8,
    /// Answers for its VIPs.
    pub attracting: bool,
    /// Whether its witness answers; None without one, or before the first result.
    #[serde(default)]
    pub witness: Option<bool>,
    /// Since its witness last answered, or since the start, ms; None without one.
    #[serde(default)]
    pub unanswered_ms: Option<u64>,
    /// Where its adverts come from.
    #[serde(default)]
    pub source: Option<IpAddr>,
}

impl RouterBeat {
    /// Whether it gave its VIPs up and cannot claim them before an Active_Down_Interval after its
    /// recovery. (An owner can.)
    #[must_use]
    pub fn in_fault(&self) -> bool {
        let fault = self.state == StateKind::Fault.name();
        fault && !self.attracting && self.priority != Priority::OWNER.get()
    }
}

/// What is no message.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum MessageError {
    /// Longer than any.
    #[error("a message of {0} bytes: the longest has {LONGEST}")]
    TooLong(usize),
    /// Not what is expected.
    #[error("not a message: {0}")]
    Invalid(String),
}

impl Message {
    /// Length and JSON.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn emit(&self) -> Result<Vec<u8>, MessageError> {
        let json =
            serde_json::to_vec(self).map_err(|error| MessageError::Invalid(error.to_string()))?;
        let length = u32::try_from(json.len()).ok();
        let Some(length) = length.filter(|_| json.len() <= LONGEST) else {
            return Err(MessageError::TooLong(json.len()));
        };
        Ok([&length.to_be_bytes()[..], &json].concat())
    }
}

/// Takes messages out of bytes as they come.
#[derive(Debug, Default)]
pub(super) struct MessageReader {
    pending: Vec<u8>,
}

impl MessageReader {
    /// More bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there. After an error there is none any more.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub(super) fn next_message(&mut self) -> Result<Option<Message>, MessageError> {
        let Some((length, rest)) = self.pending.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(MessageError::TooLong(length));
        }
        let Some(json) = rest.get(..length) else {
            return Ok(None);
        };
        let message =
            serde_json::from_slice(json).map_err(|e| MessageError::Invalid(e.to_string()))?;
        self.pending.drain(..LENGTH + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat() -> Message {
        Message::Heartbeat(Heartbeat {
            routers: vec![RouterBeat {
                name: "oldboy".into(),
                vrid: 51,
                ipv6: false,
                state: "active".into(),
                priority: 150,
                attracting: true,
                witness: Some(false),
                unanswered_ms: Some(1500),
                source: Some(IpAddr::from([10, 0, 0, 5])),
            }],
            answers: Some(7),
            configurations: 1,
        })
    }

    fn read(json: &str) -> Result<Option<Message>, MessageError> {
        let mut reader = MessageReader::default();
        reader.push(&u32::try_from(json.len()).unwrap().to_be_bytes());
        reader.push(json.as_bytes());
        reader.next_message()
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let sent = [
            Message::Hello(Hello {
                protocol: PROTOCOL,
                id: "lb01".into(),
                version: "1".into(),
                state_format: 1,
            }),
            heartbeat(),
            Message::Ask { nonce: u64::MAX },
            Message::Refused { reason: "x".into() },
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|m| m.emit().unwrap()).collect();
        for piece in [1, 3, 4, 5, 100, bytes.len()] {
            let mut reader = MessageReader::default();
            let mut got = Vec::new();
            for bytes in bytes.chunks(piece) {
                reader.push(bytes);
                while let Some(message) = reader.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        assert_eq!(
            read(r#"{"type":"slot_plan","slots":[1]}"#),
            Ok(Some(Message::Unknown))
        );
        let routers = r#"[{"name":"a","vrid":1,"ipv6":false,"state":"moving","priority":1,"attracting":false,"new":1}]"#;
        let Ok(Some(Message::Heartbeat(beat))) = read(&format!(
            r#"{{"type":"heartbeat","routers":{routers},"x":1}}"#
        )) else {
            panic!("no heartbeat");
        };
        assert_eq!(beat.routers[0].witness, None);
    }

    #[test]
    fn no_bytes_end_the_reader_and_a_length_alone_takes_no_memory() {
        let mut reader = MessageReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert_eq!(
            reader.next_message(),
            Err(MessageError::TooLong(u32::MAX as usize))
        );
        for json in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"type":1}"#,
            r#"{"type":"hello","id":7}"#,
        ] {
            let read = read(json);
            assert!(matches!(read, Err(MessageError::Invalid(_))), "{json}");
        }
        let whole = heartbeat().emit().unwrap();
        for at in 0..whole.len() {
            for value in [0, b'"', b'{', 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let mut reader = MessageReader::default();
                reader.push(&changed);
                while let Ok(Some(_)) = reader.next_message() {}
            }
        }
    }
}

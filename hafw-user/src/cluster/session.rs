//! One encrypted session: Noise with the pre-shared key, over any stream. Each record stands behind
//! its length (u16, big-endian); a message may take several.
//!
//! In NNpsk0 a first message that was recorded can be played again, but who plays it cannot read the
//! answer: only the first record of the session itself shows that the other side has the key.

use std::io;

use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    key::Key,
    message::{Message, MessageError, MessageReader},
};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"hafw cluster";
/// The longest record (Noise revision 34, §3), and what its tag takes.
const RECORD: usize = 65_535;
const TAG: usize = 16;
/// Bytes of a handshake message: an ephemeral key and a tag.
const HANDSHAKE: usize = 48;

/// A session that ended, or did not come about.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// The stream.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stream's other end.
    #[error("the other side ended the connection")]
    Closed,
    /// The handshake failed.
    #[error("the other side has another key, or is no node")]
    Key,
    /// A record was not sealed by the other side.
    #[error("what arrived was changed on its way")]
    Forged,
    /// What was sealed is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// A session over a stream.
pub(super) struct Session<S> {
    stream: S,
    noise: TransportState,
    /// Received, not yet opened.
    sealed: Vec<u8>,
    opened: MessageReader,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// From the side that dialled.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(super) async fn dial(mut stream: S, key: &Key) -> Result<Self, SessionError> {
        let mut noise = builder(key)?
            .build_initiator()
            .map_err(|_| SessionError::Key)?;
        send_handshake(&mut stream, &mut noise).await?;
        // Who has another key hangs up.
        match receive_handshake(&mut stream, &mut noise).await {
            Err(SessionError::Closed) => Err(SessionError::Key),
            Ok(()) => Self::new(stream, noise),
            Err(error) => Err(error),
        }
    }

    /// From the side that was dialled.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(super) async fn accept(mut stream: S, key: &Key) -> Result<Self, SessionError> {
        let mut noise = builder(key)?
            .build_responder()
            .map_err(|_| SessionError::Key)?;
        receive_handshake(&mut stream, &mut noise).await?;
        send_handshake(&mut stream, &mut noise).await?;
        Self::new(stream, noise)
    }

    fn new(stream: S, noise: HandshakeState) -> Result<Self, SessionError> {
        Ok(Self {
            stream,
            noise: noise.into_transport_mode().map_err(|_| SessionError::Key)?,
            sealed: Vec::new(),
            opened: MessageReader::default(),
        })
    }

    /// Sends a message. A call that was given up leaves the session unusable.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(super) async fn send(&mut self, message: &Message) -> Result<(), SessionError> {
        let mut sealed = Vec::new();
        for part in message.emit()?.chunks(RECORD - TAG) {
            let mut record = vec![0; part.len() + TAG];
            let length = self.noise.write_message(part, &mut record);
            // A record of this size always fits; a session ends long before its 2^64 records.
            record.truncate(length.map_err(|_| SessionError::Forged)?);
            sealed.extend(framed(&record)?);
        }
        self.stream.write_all(&sealed).await?;
        Ok(())
    }

    /// Waits for a message. May be given up and called again.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(super) async fn receive(&mut self) -> Result<Message, SessionError> {
        loop {
            if let Some(message) = self.opened.next_message()? {
                return Ok(message);
            }
            if !self.open_record()? && self.stream.read_buf(&mut self.sealed).await? == 0 {
                return Err(SessionError::Closed);
            }
        }
    }

    /// False if no whole record is there.
    fn open_record(&mut self) -> Result<bool, SessionError> {
        let Some((length, rest)) = self.sealed.split_first_chunk::<2>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(record) = rest.get(..length) else {
            return Ok(false);
        };
        let mut opened = vec![0; length];
        let read = self.noise.read_message(record, &mut opened);
        let read = read.map_err(|_| SessionError::Forged)?;
        self.opened.push(&opened[..read]);
        self.sealed.drain(..2 + length);
        Ok(true)
    }
}

fn builder(key: &Key) -> Result<Builder<'_>, SessionError> {
    let pattern = PATTERN.parse().map_err(|_| SessionError::Key)?;
    Builder::new(pattern)
        .psk(0, key.bytes())
        .and_then(|builder| builder.prologue(PROLOGUE))
        .map_err(|_| SessionError::Key)
}

async fn send_handshake(
    stream: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
) -> Result<(), SessionError> {
    let mut message = [0; HANDSHAKE];
    let length = noise.write_message(&[], &mut message);
    let length = length.map_err(|_| SessionError::Key)?;
    stream.write_all(&framed(&message[..length])?).await?;
    Ok(())
}

async fn receive_handshake(
    stream: &mut (impl AsyncRead + Unpin),
    noise: &mut HandshakeState,
) -> Result<(), SessionError> {
    let mut message = [0; HANDSHAKE];
    let length = stream.read_u16().await.map_err(ended)?;
    if usize::from(length) != HANDSHAKE {
        return Err(SessionError::Key);
    }
    stream.read_exact(&mut message).await.map_err(ended)?;
    let mut payload = [0; HANDSHAKE];
    let read = noise.read_message(&message, &mut payload);
    read.map(drop).map_err(|_| SessionError::Key)
}

fn ended(error: io::Error) -> SessionError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        SessionError::Closed
    } else {
        error.into()
    }
}

fn framed(record: &[u8]) -> Result<Vec<u8>, SessionError> {
    // At most RECORD bytes.
    let length = u16::try_from(record.len()).map_err(|_| SessionError::Forged)?;
    Ok([&length.to_be_bytes()[..], record].concat())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::cluster::message::{Heartbeat, RouterBeat};

    fn key(digit: &str) -> Key {
        Key::parse(&digit.repeat(64)).unwrap()
    }

    async fn pair() -> (Session<DuplexStream>, Session<DuplexStream>) {
        let (one, other) = duplex(1 << 20);
        let key = key("7");
        let (dialled, accepted) =
            tokio::join!(Session::dial(one, &key), Session::accept(other, &key));
        (dialled.unwrap(), accepted.unwrap())
    }

    fn refused(reason: &str) -> Message {
        Message::Refused {
            reason: reason.into(),
        }
    }

    #[tokio::test]
    async fn both_sides_of_one_key_understand_each_other_also_in_long_messages() {
        let (mut dialled, mut accepted) = pair().await;
        let beat = |name: usize| RouterBeat {
            name: format!("router {name}"),
            vrid: 1,
            ipv6: true,
            state: "backup".into(),
            priority: 1,
            attracting: false,
            witness: None,
            unanswered_ms: None,
            source: None,
        };
        let long = Message::Heartbeat(Heartbeat {
            routers: (0..1024).map(beat).collect(),
            answers: None,
            configurations: 1,
        });
        assert!(long.emit().unwrap().len() > RECORD);
        dialled.send(&long).await.unwrap();
        dialled.send(&refused("after")).await.unwrap();
        accepted.send(&refused("back")).await.unwrap();
        assert_eq!(accepted.receive().await.unwrap(), long);
        assert_eq!(accepted.receive().await.unwrap(), refused("after"));
        assert_eq!(dialled.receive().await.unwrap(), refused("back"));
        drop(dialled);
        assert!(matches!(
            accepted.receive().await,
            Err(SessionError::Closed)
        ));
    }

    #[tokio::test]
    async fn another_key_is_noticed_on_both_sides() {
        let (one, other) = duplex(1 << 12);
        let (ours, theirs) = (key("7"), key("8"));
        let (dialled, accepted) =
            tokio::join!(Session::dial(one, &ours), Session::accept(other, &theirs));
        assert!(matches!(dialled, Err(SessionError::Key)));
        assert!(matches!(accepted, Err(SessionError::Key)));
    }

    #[tokio::test]
    async fn nothing_but_a_handshake_begins_a_session() {
        let (mut one, other) = duplex(1 << 12);
        one.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let accepted = Session::accept(other, &key("7")).await;
        assert!(matches!(accepted, Err(SessionError::Key)));
    }

    #[tokio::test]
    async fn a_recorded_session_cannot_be_played_again() {
        // What the dialler sends is recorded on its way, then sent to a second listener.
        let (one, mut tap) = duplex(1 << 12);
        let (mut relay, other) = duplex(1 << 12);
        let ours = key("7");
        let forward = async {
            let mut first = [0; 2 + HANDSHAKE];
            tap.read_exact(&mut first).await.unwrap();
            relay.write_all(&first).await.unwrap();
            let mut answer = [0; 2 + HANDSHAKE];
            relay.read_exact(&mut answer).await.unwrap();
            tap.write_all(&answer).await.unwrap();
            first
        };
        let (dialled, accepted, first) = tokio::join!(
            Session::dial(one, &ours),
            Session::accept(other, &ours),
            forward
        );
        let (mut dialled, _) = (dialled.unwrap(), accepted.unwrap());
        dialled.send(&refused("secret")).await.unwrap();
        let mut record = vec![0; 1024];
        let length = tap.read(&mut record).await.unwrap();

        let (mut replay, victim) = duplex(1 << 12);
        replay.write_all(&first).await.unwrap();
        replay.write_all(&record[..length]).await.unwrap();
        let mut victim = Session::accept(victim, &ours).await.unwrap();
        assert!(matches!(victim.receive().await, Err(SessionError::Forged)));
    }
}

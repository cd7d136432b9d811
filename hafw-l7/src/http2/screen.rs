//! What a client sends on an HTTP/2 connection, before the codec sees it: frame by frame, for the
//! errors that the codec lets pass or gives a name that is not the RFC's, and for floods of frames
//! that ask for nothing.
//!
//! The codec (`h2`) keeps streams, windows and header fields. It calls every frame of a wrong
//! length, every header block that cannot be decoded and every frame on a closed stream a
//! PROTOCOL_ERROR, and takes pseudo-headers among trailers.

use h2::Reason;

use super::hpack::Table;
use crate::retry::Millis;

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD: usize = 9;
/// The longest frame that is taken; the initial SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2).
const MAX_FRAME: usize = 16_384;
/// The longest header block in several frames. The codec refuses fields far below that.
const MAX_BLOCK: usize = 128 * 1024;
/// How many of the streams that ended last are known by their number.
const ENDED: usize = 128;
/// Streams that are open at most, also such as the codec has refused.
const OPEN: usize = 1024;
const MAX_WINDOW: u32 = (1 << 31) - 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// The state of one connection.
#[derive(Debug)]
pub struct Screen {
    /// Bytes of the preface that have not come.
    preface: usize,
    has_settings: bool,
    /// The beginning of a frame whose rest has not come: its head, and its payload if that is
    /// looked at.
    kept: Vec<u8>,
    /// Bytes of a payload that is not looked at that have not come.
    skip: usize,
    block: Option<HeaderBlock>,
    table: Table,
    streams: Streams,
    overhead: Overhead,
}

/// Ends the connection, with the bytes before `at` passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub at: usize,
    pub reason: Reason,
}

/// A header block in several frames.
#[derive(Debug)]
struct HeaderBlock {
    stream: u32,
    is_trailers: bool,
    /// Where the flags of its HEADERS are in the bytes that are looked at, if they still are.
    flags_at: Option<usize>,
    fragments: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Screen {
    /// Of a connection whose preface is still to come.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            preface: PREFACE.len(),
            has_settings: false,
            kept: Vec::new(),
            skip: 0,
            block: None,
            table: Table::new(),
            streams: Streams::new(),
            overhead: Overhead::new(),
        }
    }

    /// Looks at bytes that came at `now`, and may change them. Trailers with pseudo-headers lose
    /// their END_STREAM, which makes them what they are to the codec: an error of their stream.
    ///
    /// # Errors
    ///
    /// [`Stop`]
    pub fn look(&mut self, bytes: &mut [u8], now: Millis) -> Result<(), Stop> {
        let mut at = self.preface.min(bytes.len());
        self.preface -= at;
        while at < bytes.len() {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            if at < bytes.len() {
                let used = self.frame(bytes, at, now);
                at += used.map_err(|reason| Stop { at, reason })?;
            }
        }
        if let Some(block) = &mut self.block {
            block.flags_at = None;
        }
        Ok(())
    }

    /// Notes bytes that were sent: whoever is sent much may say much.
    pub fn note_sent(&mut self, len: usize) {
        self.overhead.earn(len);
    }

    /// Looks at one frame, or as much of it as there is, and returns how many bytes that is.
    fn frame(&mut self, bytes: &mut [u8], at: usize, now: Millis) -> Result<usize, Reason> {
        let fresh = bytes.get(at..).unwrap_or_default();
        let before = self.kept.len();
        if before == 0
            && let Some(head) = Head::of(fresh)
        {
            self.check(head)?;
            let Some(whole) = head.looked_at() else {
                self.account(head, now)?;
                self.note(head);
                self.skip = head.len;
                return Ok(HEAD);
            };
            if let Some(payload) = fresh.get(HEAD..whole) {
                let verdict = self.payload(head, payload, Some(at + 4))?;
                self.account(head, now)?;
                return Ok(finish(verdict, bytes, whole));
            }
        }
        // The rest comes later, or the beginning came before.
        let wanted = match Head::of(&self.kept) {
            Some(head) => head.looked_at().unwrap_or(HEAD),
            None => HEAD,
        };
        let used = wanted.saturating_sub(before).min(fresh.len());
        self.kept
            .extend_from_slice(fresh.get(..used).unwrap_or_default());
        let Some(head) = Head::of(&self.kept) else {
            return Ok(used);
        };
        if before < HEAD {
            self.check(head)?;
        }
        match head.looked_at() {
            None => {
                self.kept.clear();
                self.account(head, now)?;
                self.note(head);
                self.skip = head.len;
            }
            Some(whole) if self.kept.len() == whole => {
                let kept = std::mem::take(&mut self.kept);
                let payload = kept.get(HEAD..).unwrap_or_default();
                let verdict = self.payload(head, payload, None)?;
                self.account(head, now)?;
                return Ok(finish(verdict, bytes, used));
            }
            // The head is complete, its payload is still to be taken.
            Some(_) => {}
        }
        Ok(used)
    }

    /// What a head alone says.
    fn check(&self, head: Head) -> Result<(), Reason> {
        let Head {
            len,
            kind,
            flags,
            stream,
        } = head;
        if !self.has_settings && (kind != SETTINGS || flags & ACK != 0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if let Some(block) = &self.block
            && (kind != CONTINUATION || stream != block.stream)
        {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if len > MAX_FRAME {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let padding = usize::from(flags & PADDED != 0);
        let has_length = match kind {
            DATA => len >= padding,
            HEADERS if flags & WITH_PRIORITY != 0 => len >= padding + 5,
            HEADERS => len >= padding,
            PRIORITY => len == 5,
            RST_STREAM | WINDOW_UPDATE => len == 4,
            SETTINGS if flags & ACK != 0 => len == 0,
            SETTINGS => len.is_multiple_of(6),
            PING => len == 8,
            GOAWAY => len >= 8,
            _ => true,
        };
        if !has_length {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            DATA if self.streams.has_ended(stream) => Err(Reason::STREAM_CLOSED),
            HEADERS if self.streams.is_new(stream) || self.streams.is_open(stream) => Ok(()),
            HEADERS if self.streams.has_ended(stream) => Err(Reason::STREAM_CLOSED),
            // An even number, none, or one that was left out.
            HEADERS => Err(Reason::PROTOCOL_ERROR),
            CONTINUATION if self.block.is_none() => Err(Reason::PROTOCOL_ERROR),
            _ => Ok(()),
        }
    }

    /// What a head does to its stream, where the payload does not matter.
    fn note(&mut self, head: Head) {
        match head.kind {
            DATA if head.flags & END_STREAM != 0 => self.streams.end(head.stream),
            RST_STREAM => self.streams.end(head.stream),
            _ => {}
        }
    }

    /// Looks at the whole payload of SETTINGS, HEADERS or CONTINUATION. Returns where flags are from
    /// which END_STREAM is to be taken.
    fn payload(
        &mut self,
        head: Head,
        payload: &[u8],
        flags_at: Option<usize>,
    ) -> Result<Option<usize>, Reason> {
        match head.kind {
            SETTINGS => {
                self.has_settings = true;
                settings(payload).map(|()| None)
            }
            HEADERS => self.headers(head, payload, flags_at),
            _ => self.continuation(head, payload),
        }
    }

    fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        flags_at: Option<usize>,
    ) -> Result<Option<usize>, Reason> {
        let fragment = fragment(head, payload).ok_or(Reason::PROTOCOL_ERROR)?;
        let is_trailers = !self.streams.is_new(head.stream);
        self.streams.begin(head.stream);
        if head.flags & END_STREAM != 0 {
            self.streams.end(head.stream);
        }
        if head.flags & END_HEADERS != 0 {
            return self.follow(fragment, is_trailers, flags_at);
        }
        self.block = Some(HeaderBlock {
            stream: head.stream,
            is_trailers,
            flags_at,
            fragments: fragment.to_vec(),
        });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<Option<usize>, Reason> {
        let mut block = self.block.take().ok_or(Reason::PROTOCOL_ERROR)?;
        if block.fragments.len() + payload.len() > MAX_BLOCK {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        block.fragments.extend_from_slice(payload);
        if head.flags & END_HEADERS == 0 {
            self.block = Some(block);
            return Ok(None);
        }
        self.follow(&block.fragments, block.is_trailers, block.flags_at)
    }

    fn follow(
        &mut self,
        block: &[u8],
        is_trailers: bool,
        flags_at: Option<usize>,
    ) -> Result<Option<usize>, Reason> {
        let has_pseudo = self.table.follow(block);
        match has_pseudo.map_err(|_| Reason::COMPRESSION_ERROR)? {
            // Its HEADERS may have passed already. An error of a stream may be made one of the
            // connection (RFC 9113 §5.4.1).
            true if is_trailers => flags_at.map(Some).ok_or(Reason::PROTOCOL_ERROR),
            true | false => Ok(None),
        }
    }

    fn account(&mut self, head: Head, now: Millis) -> Result<(), Reason> {
        let cost = match head.kind {
            HEADERS => {
                self.overhead.earn(REQUEST);
                0
            }
            DATA | CONTINUATION if head.len > 0 || head.flags & END_STREAM != 0 => {
                self.overhead.earn(head.len);
                0
            }
            // These are answered.
            PING | SETTINGS if head.flags & ACK == 0 => 3,
            _ => 1,
        };
        match self.overhead.spend(cost, now) {
            true => Ok(()),
            false => Err(Reason::ENHANCE_YOUR_CALM),
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The reserved bit is ignored (RFC 9113 §4.1).
            stream: u32::from_be_bytes(stream) & MAX_WINDOW,
        })
    }

    /// The length of the whole frame, if its payload is looked at.
    const fn looked_at(self) -> Option<usize> {
        match self.kind {
            HEADERS | CONTINUATION | SETTINGS => Some(HEAD + self.len),
            _ => None,
        }
    }
}

/// Takes END_STREAM away where that was asked for.
fn finish(flags_at: Option<usize>, bytes: &mut [u8], used: usize) -> usize {
    if let Some(flags) = flags_at.and_then(|at| bytes.get_mut(at)) {
        *flags &= !END_STREAM;
    }
    used
}

/// The fragment of a header block within HEADERS; `None` if there is more padding than payload.
fn fragment(head: Head, payload: &[u8]) -> Option<&[u8]> {
    let (padding, rest) = match head.flags & PADDED {
        0 => (0, payload),
        _ => payload
            .split_first()
            .map(|(len, rest)| (usize::from(*len), rest))?,
    };
    let rest = match head.flags & WITH_PRIORITY {
        0 => rest,
        _ => rest.get(5..)?,
    };
    rest.get(..rest.len().checked_sub(padding)?)
}

/// RFC 9113 §6.5.2; RFC 8441 §3.
fn settings(payload: &[u8]) -> Result<(), Reason> {
    for setting in payload.as_chunks::<6>().0 {
        let [a, b, value @ ..] = *setting;
        let value = u32::from_be_bytes(value);
        match u16::from_be_bytes([a, b]) {
            2 | 8 if value > 1 => return Err(Reason::PROTOCOL_ERROR),
            4 if value > MAX_WINDOW => return Err(Reason::FLOW_CONTROL_ERROR),
            5 if !(16_384..1 << 24).contains(&value) => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
    }
    Ok(())
}

/// Which streams a client has opened and ended.
#[derive(Debug)]
struct Streams {
    last: u32,
    open: Vec<u32>,
    /// A ring.
    ended: Vec<u32>,
    oldest: usize,
}

impl Streams {
    const fn new() -> Self {
        Self {
            last: 0,
            open: Vec::new(),
            ended: Vec::new(),
            oldest: 0,
        }
    }

    const fn is_new(&self, stream: u32) -> bool {
        stream > self.last && stream % 2 == 1
    }

    fn is_open(&self, stream: u32) -> bool {
        self.open.contains(&stream)
    }

    /// Whether the client itself has ended it, not long ago.
    fn has_ended(&self, stream: u32) -> bool {
        self.ended.contains(&stream)
    }

    fn begin(&mut self, stream: u32) {
        if !self.is_new(stream) {
            return;
        }
        self.last = stream;
        if self.open.len() == OPEN {
            self.open.remove(0);
        }
        self.open.push(stream);
    }

    fn end(&mut self, stream: u32) {
        let Some(at) = self.open.iter().position(|open| *open == stream) else {
            return;
        };
        self.open.swap_remove(at);
        if self.ended.len() < ENDED {
            self.ended.push(stream);
            return;
        }
        if let Some(place) = self.ended.get_mut(self.oldest) {
            *place = stream;
        }
        self.oldest = (self.oldest + 1) % ENDED;
    }
}

/// Frames that ask for nothing, such as PING, SETTINGS, WINDOW_UPDATE and empty DATA
/// (CVE-2019-9511 to 9518). They are paid for by what a connection carries, and a few at any time
/// are free.
#[derive(Debug)]
struct Overhead {
    spent: u64,
    earned: u64,
    since: Millis,
}

/// Frames that are free at once, and per second.
const FREE: u64 = 2000;
const FREE_PER_SECOND: u64 = 50;
/// Bytes carried that pay for one.
const BYTES: u64 = 16;
/// Bytes that a request is worth.
const REQUEST: usize = 8 * BYTES as usize;

impl Overhead {
    const fn new() -> Self {
        Self {
            spent: 0,
            earned: 0,
            since: 0,
        }
    }

    const fn earn(&mut self, bytes: usize) {
        self.earned += bytes as u64;
    }

    /// Returns whether that was still free or paid for.
    fn spend(&mut self, frames: u64, now: Millis) -> bool {
        let paid = self.earned / BYTES + now.saturating_sub(self.since) * FREE_PER_SECOND / 1000;
        if paid > 0 {
            self.spent = self.spent.saturating_sub(paid);
            self.earned %= BYTES;
            self.since = now;
        }
        self.spent += frames;
        self.spent <= FREE
    }
}

#[cfg(test)]
mod tests;

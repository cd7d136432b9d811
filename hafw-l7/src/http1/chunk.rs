//! Where a body ends. Chunked framing (RFC 9112 §7.1) is checked byte by byte and passed on as it
//! is, so that a body is neither decoded nor encoded again.

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes.
    Length(u64),
    Chunked(Chunks),
    /// All that comes until the sender closes.
    UntilClose,
}

/// A chunked body up to some point within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Data bytes left in the chunk, or its size as far as it was read.
    size: u64,
    /// Data bytes so far, over all chunks.
    content: u64,
    /// Bytes that the size line or the trailer may still have.
    room: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// In a chunk extension.
    Extension,
    /// After the CR of a size line.
    SizeEnd,
    Data,
    /// After the last byte of the data.
    DataEnd,
    /// After the CR that ends the data.
    DataLineEnd,
    /// At the start of a trailer line, or of the last line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerEnd,
    /// After the CR of the last line.
    LastLineEnd,
    Done,
}

/// A part of a chunked body: all of its bytes are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub len: usize,
    /// Whether these are bytes of the content, not of the framing.
    pub is_data: bool,
}

/// Framing that two readers could understand differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk size that is not hexadecimal or too large")]
    Size,
    #[error("a control character in a chunk extension or trailer")]
    Control,
    #[error("a line of the chunk framing that does not end in CR LF")]
    LineEnd,
    #[error("a trailer line that is no field")]
    Trailer,
    #[error("a size line or trailer that is too long")]
    TooLong,
}

/// The longest size line with its extensions.
const MAX_SIZE_LINE: u16 = 1024;
/// The longest trailer section.
const MAX_TRAILER: u16 = 8 * 1024;

impl Body {
    /// A chunked body that has not begun.
    #[must_use]
    pub fn chunked() -> Self {
        Self::Chunked(Chunks {
            state: State::SizeStart,
            size: 0,
            content: 0,
            room: MAX_SIZE_LINE,
        })
    }

    /// Moves past the bytes at the start of `bytes` that belong to the body, and says how many
    /// these are: fewer than all only if the body ends before.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if the framing is wrong.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        match self {
            Self::Length(left) => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                Ok(len)
            }
            Self::Chunked(chunks) => {
                let mut done = 0;
                while let Some(piece) = chunks.next(bytes.get(done..).unwrap_or_default())? {
                    done += piece.len;
                }
                Ok(done)
            }
            Self::UntilClose => Ok(bytes.len()),
        }
    }

    /// Like [`Self::advance`], and moves the content of a chunked body to the front of `bytes`.
    /// Returns the bytes passed and how many bytes of content are at the front.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if the framing is wrong.
    pub fn advance_unchunked(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), ChunkError> {
        let Self::Chunked(chunks) = self else {
            let passed = self.advance(bytes)?;
            return Ok((passed, passed));
        };
        let (mut passed, mut content) = (0, 0);
        while let Some(piece) = chunks.next(bytes.get(passed..).unwrap_or_default())? {
            if piece.is_data {
                bytes.copy_within(passed..passed + piece.len, content);
                content += piece.len;
            }
            passed += piece.len;
        }
        Ok((passed, content))
    }

    /// Bytes of content that a chunked body has had so far, without its framing.
    #[must_use]
    pub fn chunked_content(&self) -> u64 {
        match self {
            Self::Chunked(chunks) => chunks.content,
            Self::Length(_) | Self::UntilClose => 0,
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == State::Done,
            Self::UntilClose => false,
        }
    }
}

impl Chunks {
    /// The next piece, at the start of `bytes`. `None` if `bytes` is empty or the body has ended.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if the framing is wrong.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, ChunkError> {
        if bytes.is_empty() || self.state == State::Done {
            return Ok(None);
        }
        if self.state == State::Data {
            return Ok(Some(self.pass_data(bytes)));
        }
        let mut len = 0;
        for byte in bytes {
            self.state = self.step(*byte)?;
            len += 1;
            if matches!(self.state, State::Data | State::Done) {
                break;
            }
        }
        Ok(Some(Piece {
            len,
            is_data: false,
        }))
    }

    fn pass_data(&mut self, bytes: &[u8]) -> Piece {
        let len = usize::try_from(self.size).map_or(bytes.len(), |size| size.min(bytes.len()));
        self.size -= len as u64;
        self.content = self.content.saturating_add(len as u64);
        if self.size == 0 {
            self.state = State::DataEnd;
        }
        Piece { len, is_data: true }
    }

    /// The state after one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.room = self.room.checked_sub(1).ok_or(ChunkError::TooLong)?;
        match (self.state, byte) {
            (State::SizeStart, _) => {
                self.size = hex(byte)?;
                Ok(State::Size)
            }
            (State::Size | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Size, b';') => Ok(State::Extension),
            (State::Size, b'\n') => Err(ChunkError::LineEnd),
            (State::Size, _) => {
                // Four bits must be free at the top.
                if self.size >> 60 != 0 {
                    return Err(ChunkError::Size);
                }
                self.size = self.size << 4 | hex(byte)?;
                Ok(State::Size)
            }
            (State::Extension, _) => text(byte).map(|()| State::Extension),
            (State::SizeEnd, b'\n') if self.size == 0 => {
                self.room = MAX_TRAILER;
                Ok(State::TrailerStart)
            }
            (State::SizeEnd, b'\n') => Ok(State::Data),
            (State::DataEnd, b'\r') => Ok(State::DataLineEnd),
            (State::DataLineEnd, b'\n') => {
                self.room = MAX_SIZE_LINE;
                Ok(State::SizeStart)
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLineEnd),
            (State::TrailerStart, _) => name(byte).map(|()| State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, _) => name(byte).map(|()| State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, _) => text(byte).map(|()| State::TrailerValue),
            (State::TrailerEnd, b'\n') => Ok(State::TrailerStart),
            (State::LastLineEnd, b'\n') => Ok(State::Done),
            (
                State::SizeEnd
                | State::DataEnd
                | State::DataLineEnd
                | State::TrailerEnd
                | State::LastLineEnd,
                _,
            ) => Err(ChunkError::LineEnd),
            (State::Data | State::Done, _) => Ok(self.state),
        }
    }
}

fn hex(byte: u8) -> Result<u64, ChunkError> {
    let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
    Ok(u64::from(digit))
}

/// A character of an extension or a field value.
fn text(byte: u8) -> Result<(), ChunkError> {
    match byte {
        b'\n' => Err(ChunkError::LineEnd),
        b'\t' | b' '..=b'~' | 0x80.. => Ok(()),
        _ => Err(ChunkError::Control),
    }
}

/// A character of a field name. White space at the start of a line would continue the line before.
fn name(byte: u8) -> Result<(), ChunkError> {
    if byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte) {
        Ok(())
    } else {
        Err(ChunkError::Trailer)
    }
}

#[cfg(test)]
mod tests;

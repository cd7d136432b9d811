//! Buffers of one worker, lent out for as long as there are bytes in them. Nothing holds one while
//! it waits for bytes, so their number follows the traffic, not the connections.

use std::{cell::RefCell, mem, rc::Rc};

use crate::http1::forward::ANSWER_GROWTH;

/// Bytes read and written at once. Measured: 16 KiB instead of 128 costs 2.8 times the CPU on large
/// bodies.
const BLOCK: usize = 132 * 1024;
/// Room before the bytes, so that a head can be replaced by a longer one in place, with some
/// configured lines.
const HEADROOM: usize = ANSWER_GROWTH + LINES;
const LINES: usize = 1024;
/// Free blocks kept; more are given back to the allocator.
const MAX_FREE_BLOCKS: usize = 16;
/// Free texts kept.
const MAX_FREE_TEXTS: usize = 1024;
/// A text that grew larger than this is not kept.
const MAX_KEPT_TEXT: usize = 64 * 1024;
/// Enough for most request heads.
const TEXT: usize = 2 * 1024;

/// The buffers that nobody uses now.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    blocks: RefCell<Vec<Box<[u8]>>>,
    texts: RefCell<Vec<Vec<u8>>>,
}

/// A large buffer with bytes from `start` to `end`.
#[derive(Debug)]
pub(crate) struct Block {
    data: Box<[u8]>,
    start: usize,
    end: usize,
    home: Rc<Buffers>,
}

/// A small buffer that grows: a head and what goes with it.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: Vec<u8>,
    home: Rc<Buffers>,
}

impl Buffers {
    /// An empty block.
    pub(crate) fn block(self: &Rc<Self>) -> Block {
        let free = self.blocks.borrow_mut().pop();
        Block {
            data: free.unwrap_or_else(|| vec![0; HEADROOM + BLOCK].into()),
            start: HEADROOM,
            end: HEADROOM,
            home: Rc::clone(self),
        }
    }

    /// An empty text.
    pub(crate) fn text(self: &Rc<Self>) -> Text {
        let free = self.texts.borrow_mut().pop();
        Text {
            bytes: free.unwrap_or_else(|| Vec::with_capacity(TEXT)),
            home: Rc::clone(self),
        }
    }
}

impl Block {
    /// The bytes in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The room after the bytes.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.data.get_mut(self.end..).unwrap_or_default()
    }

    /// `len` bytes have been written into [`Self::room`].
    pub(crate) fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.data.len());
    }

    /// Drops bytes at the front.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Keeps only the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Puts bytes before the others. Returns whether there was room.
    #[must_use]
    pub(crate) fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else {
            return false;
        };
        if let Some(room) = self.data.get_mut(start..self.start) {
            room.copy_from_slice(bytes);
            self.start = start;
        }
        true
    }

    /// Appends as many of `bytes` as there is room for, and returns how many these are.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let len = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..len), bytes.get(..len)) {
            room.copy_from_slice(bytes);
        }
        self.filled(len);
        len
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut free = self.home.blocks.borrow_mut();
        if free.len() < MAX_FREE_BLOCKS {
            free.push(mem::take(&mut self.data));
        }
    }
}

impl std::ops::Deref for Text {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl std::ops::DerefMut for Text {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut free = self.home.texts.borrow_mut();
        if free.len() < MAX_FREE_TEXTS && self.bytes.capacity() <= MAX_KEPT_TEXT {
            let mut bytes = mem::take(&mut self.bytes);
            bytes.clear();
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_replaced_in_place() {
        let buffers = Rc::new(Buffers::default());
        let mut block = buffers.block();
        assert_eq!(block.append(b"old head, body"), 14);

        block.consume(b"old head, ".len());
        assert!(block.prepend(b"a longer new head, "));

        assert_eq!(block.bytes(), b"a longer new head, body");
    }

    #[test]
    fn a_head_that_is_too_long_is_not_written() {
        let buffers = Rc::new(Buffers::default());
        let mut block = buffers.block();
        block.append(b"body");

        assert!(!block.prepend(&[0; HEADROOM + 1]));
        assert_eq!(block.bytes(), b"body");
    }

    #[test]
    fn no_more_is_appended_than_fits() {
        let buffers = Rc::new(Buffers::default());
        let mut block = buffers.block();

        assert_eq!(block.append(&vec![1; BLOCK + 5]), BLOCK);
        assert_eq!(block.append(b"x"), 0);
        block.truncate(3);
        assert_eq!(block.bytes(), [1, 1, 1]);
    }

    #[test]
    fn buffers_come_back_empty() {
        let buffers = Rc::new(Buffers::default());
        let (mut block, mut text) = (buffers.block(), buffers.text());
        block.append(b"x");
        text.push(b'x');
        drop((block, text));

        assert_eq!(buffers.blocks.borrow().len(), 1);
        assert!(buffers.block().is_empty());
        assert!(buffers.text().is_empty());
        assert_eq!(buffers.blocks.borrow().len(), 1);
    }
}

//! Arrays of 64-bit words shared with XDP: BPF arrays made with `BPF_F_MMAPABLE`, mapped here, so
//! that a word is written in one store and read in one load.

use std::{
    io,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};

/// A mapped array of words. Shared freely between threads: every access is atomic.
#[derive(Debug)]
pub struct Words {
    base: NonNull<AtomicU64>,
    words: usize,
    bytes: usize,
}

// SAFETY: the mapping lives as long as the value and is only accessed through atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `words` words of an mmapable array. The array's values must be whole
    /// multiples of 8 bytes, so that they lie without gaps.
    ///
    /// # Errors
    /// The kernel refuses the mapping: the map is not mmapable, or is shorter.
    pub fn map(map: impl AsFd, words: usize) -> io::Result<Self> {
        let bytes = (words * size_of::<u64>()).next_multiple_of(page_size());
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of
        // ours; it is unmapped only in Drop.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { base, words, bytes })
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Reads one word.
    ///
    /// # Panics
    /// `index` is not below [`Self::len`].
    #[must_use]
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Writes one word. Earlier stores of this thread are seen before it.
    ///
    /// # Panics
    /// `index` is not below [`Self::len`].
    pub fn store(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Release);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words, "word {index} of {}", self.words);
        // SAFETY: in bounds by the assertion; the mapping is page aligned and lives as long as
        // `self`; the kernel's side accesses whole aligned words.
        unsafe { self.base.add(index).as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping made in `map`, and no reference into it outlives self.
        // It fails only for a range that is not mapped.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

//! 64-bit words that another CPU, or user space through its mapping, reads or writes meanwhile.
//!
//! On the host they are atomics. The BPF target has neither atomic loads and stores (LLVM cannot
//! select them for the base instruction set) nor `fetch_add` (the target is declared without
//! compare-and-swap); an aligned 64-bit volatile access is one instruction there.

/// One word.
#[derive(Debug)]
#[repr(transparent)]
pub struct Word(imp::Cell);

impl Word {
    /// A word with this value.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(imp::Cell::new(value))
    }

    /// Reads it, in one load.
    #[must_use]
    #[inline(always)]
    pub fn load(&self) -> u64 {
        imp::load(&self.0)
    }

    /// Writes it, in one store.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        imp::store(&self.0, value);
    }

    /// Adds one, atomically.
    #[inline(always)]
    pub fn increment(&self) {
        imp::increment(&self.0);
    }
}

#[cfg(not(target_arch = "bpf"))]
mod imp {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    pub(super) type Cell = AtomicU64;

    pub(super) fn load(cell: &Cell) -> u64 {
        cell.load(Relaxed)
    }

    pub(super) fn store(cell: &Cell, value: u64) {
        cell.store(value, Relaxed);
    }

    pub(super) fn increment(cell: &Cell) {
        cell.fetch_add(1, Relaxed);
    }
}

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "volatile access and an instruction that core does not offer"
)]
mod imp {
    use core::{arch::asm, cell::UnsafeCell};

    pub(super) type Cell = UnsafeCell<u64>;

    // SAFETY: every access is one instruction on one aligned word.
    unsafe impl Sync for super::Word {}

    #[inline(always)]
    pub(super) fn load(cell: &Cell) -> u64 {
        // SAFETY: the reference proves the word valid and aligned.
        unsafe { cell.get().read_volatile() }
    }

    #[inline(always)]
    pub(super) fn store(cell: &Cell, value: u64) {
        // SAFETY: as in `load`; the cell allows writing through a shared reference.
        unsafe { cell.get().write_volatile(value) };
    }

    #[inline(always)]
    pub(super) fn increment(cell: &Cell) {
        // SAFETY: as in `store`.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) += {one}",
                word = in(reg) cell.get(),
                one = in(reg) 1u64,
                options(nostack),
            );
        }
    }
}

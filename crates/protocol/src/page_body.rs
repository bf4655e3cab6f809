//! The memory that pages are written into, used again by the next page.
//!
//! A page of fifty peers has 14 kB. So much goes the slow way through an allocator that keeps small pieces only at hand, and
//! what was just sent is still in the processor's cache.

use std::cell::Cell;

/// A finished answer that carries a list. Dropped, it leaves its memory to the next one of its thread.
#[derive(Debug)]
pub struct PageBody(Vec<u8>);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Most that a thread holds on to: a page of a hundred peers like the seed's.
const MAX_SPARE_BYTES: usize = 32 * 1024;

impl PageBody {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// Empty memory for a page of so many bytes.
    pub(crate) fn memory(bytes: usize) -> Vec<u8> {
        let mut memory = SPARE.try_with(Cell::take).unwrap_or_default();
        memory.clear();
        memory.reserve(bytes);
        memory
    }
}

impl AsRef<[u8]> for PageBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PageBody {
    fn drop(&mut self) {
        if self.0.capacity() <= MAX_SPARE_BYTES {
            let memory = std::mem::take(&mut self.0);
            // A thread that ends has no use for it.
            let _ = SPARE.try_with(|spare| spare.set(memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_where_the_one_before_it_was() {
        let mut text = PageBody::memory(1_000);
        text.extend_from_slice(b"one");
        let place = text.as_ptr();
        drop(PageBody::new(text));
        let again = PageBody::memory(500);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        let beside = PageBody::memory(500);
        assert_ne!(beside.as_ptr(), place, "what is in use is nobody else's");
    }

    #[test]
    fn the_memory_of_a_large_page_is_not_kept() {
        drop(PageBody::new(Vec::with_capacity(MAX_SPARE_BYTES + 1)));
        assert_eq!(PageBody::memory(0).capacity(), 0);
    }
}

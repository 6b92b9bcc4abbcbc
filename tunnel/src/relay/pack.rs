//! Compression that notices when it is of no use: what does not get smaller is sent as it is, and
//! not tried again for a while.

use crate::wire::frame::{LONGEST_UNPACKED, packed_head};

/// Shorter pieces are not worth it.
const WORTH: usize = 256;
/// Pieces that go by untried, at most, once nothing gets smaller.
const MOST_SKIPPED: u32 = 256;

#[derive(Debug, Default)]
pub(super) struct Packer {
    skip: u32,
    next_skip: u32,
}

impl Packer {
    /// A whole frame, if it is smaller than the bytes by a tenth.
    pub(super) fn pack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() < WORTH {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let packed = lz4_flex::block::compress_prepend_size(bytes);
        if packed.len() > bytes.len() / 10 * 9 {
            self.next_skip = (self.next_skip * 2).clamp(4, MOST_SKIPPED);
            self.skip = self.next_skip;
            return None;
        }
        self.next_skip = 0;
        let head = packed_head(packed.len())?;
        Some([head.as_slice(), &packed].concat())
    }
}

/// None: not packed by this, or into more than any piece is.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= LONGEST_UNPACKED)?;
    lz4_flex::block::decompress(rest, length).ok().filter(|bytes| bytes.len() == length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::HEAD;

    #[test]
    fn what_does_not_get_smaller_is_soon_left_alone() {
        let mut packer = Packer::default();
        let mut noise = vec![0; 10_000];
        getrandom::fill(&mut noise).unwrap();
        assert_eq!(packer.pack(&noise), None);
        assert!(packer.skip > 0);
        let text = vec![b'a'; 10_000];
        let tries = (0..10).filter(|_| packer.pack(&text).is_some()).count();
        assert!((1..10).contains(&tries), "not at once, and then again");
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = lz4_flex::block::compress_prepend_size(&vec![0; 10_000_000]);
        assert_eq!(unpack(&bomb), None);
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_and_nothing_else_harms(text in "[a-c]{300,2000}", junk: Vec<u8>) {
            if let Some(frame) = Packer::default().pack(text.as_bytes()) {
                prop_assert_eq!(unpack(&frame[HEAD..]), Some(text.into_bytes()));
            }
            let _nothing = unpack(&junk);
        }
    }
}

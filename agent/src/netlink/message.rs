//! Netlink's way to write things down: messages that hold attributes that may hold attributes.
//! What is malformed ends the reading; what comes before it is good.

const HEADER: usize = 16;
/// nfgenmsg, in front of the attributes of every message of netfilter: family, version, id.
const FAMILY: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
/// The upper two bits of an attribute's type say how it is written.
const TYPE: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;

/// One message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Subsystem in the upper byte, what it is in the lower.
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    /// The address of the socket whose request it speaks of.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let (_flags, rest) = rest.split_first_chunk::<2>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (port, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..length.checked_sub(HEADER)?)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes(*kind),
            sequence: u32::from_ne_bytes(*sequence),
            port: u32::from_ne_bytes(*port),
            payload,
        })
    })
}

impl<'a> Message<'a> {
    pub(crate) fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        attributes(self.payload.get(FAMILY..).unwrap_or_default())
    }

    /// Of an error: the kernel's number, zero for "done".
    pub(crate) fn errno(&self) -> Option<i32> {
        self.payload.first_chunk().map(|errno| i32::from_ne_bytes(*errno).saturating_neg())
    }
}

pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let value = rest.get(..length.checked_sub(ATTRIBUTE_HEADER)?)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & TYPE, value))
    })
}

pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A number as netfilter sends it: the most significant byte first.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// A message on its way to the kernel.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

pub(crate) fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Nothing that is sent from here comes near the limit.
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(aligned(bytes.len()), 0);
}

pub(crate) fn put_nested(bytes: &mut Vec<u8>, kind: u16, attributes: &[u8]) {
    put(bytes, kind | NESTED, attributes);
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        put(&mut inner, 1, b"odd");
        put(&mut inner, 2, &[]);
        put_nested(&mut outer, 7, &inner);
        put(&mut outer, 8, &9_u32.to_be_bytes());
        let first = request(0x0a0f, ACK, 5, 2, &outer);
        let both = [first.clone(), request(3, 0, 6, 0, &[])].concat();
        let read: Vec<Message<'_>> = messages(&both).collect();
        assert_eq!(
            read.iter().map(|message| (message.kind, message.sequence)).collect::<Vec<_>>(),
            [(0x0a0f, 5), (3, 6)]
        );
        assert_eq!(read[0].family(), Some(2));
        let found: Vec<_> = read[0].attributes().collect();
        assert_eq!(attributes(found[0].1).collect::<Vec<_>>(), [(1, &b"odd"[..]), (2, &[])]);
        assert_eq!((found[1].0, number(found[1].1)), (8, Some(9)));
    }

    #[test]
    fn an_error_of_the_kernel_is_told_as_a_positive_number() {
        let payload = (-2_i32).to_ne_bytes();
        assert_eq!(Message { kind: ERROR, sequence: 0, port: 0, payload: &payload }.errno(), Some(2));
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_the_reading_fail_or_last(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = messages(&bytes).map(|message| message.attributes().count()).sum();
            prop_assert!(read <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }

        #[test]
        fn a_message_that_is_cut_short_is_not_read(cut in 0_usize..28) {
            let mut value = Vec::new();
            put(&mut value, 1, b"pgw\0");
            let whole = request(0x0a00, 0, 1, 2, &value);
            prop_assert_eq!(whole.len(), 28);
            prop_assert_eq!(messages(&whole[..cut]).count(), 0);
        }
    }
}

//! The first bytes of every connection: a TLS ClientHello as a device sends it, so that a
//! forwarder has a name to find, with the bench's order in the place of its random bytes.

use anyhow::{Result, bail, ensure};

/// A name that every forwarder may read.
const NAME: &[u8] = b"www.bench.example";
const MARK: &[u8; 8] = b"pgwbench";
/// Record header, handshake header and version come before the random bytes.
const RANDOM: usize = 5 + 4 + 2;
const RECORD: usize = 5;
const LONGEST: usize = 16 * 1024;

/// What the origin is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// So many bytes are the answer.
    pub(crate) bytes: u64,
    pub(crate) then: Then,
}

/// After the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The origin ends the stream.
    End,
    /// The origin waits until the client ends it.
    Wait,
    /// The origin says back what it hears, until the client ends.
    Echo,
    /// The origin hears what comes, and says again and again how many bytes that were.
    Count,
}

impl Order {
    pub(crate) fn hello(self) -> Vec<u8> {
        let then = match self.then {
            Then::End => 0,
            Then::Wait => 1,
            Then::Echo => 2,
            Then::Count => 3,
        };
        let mut random = [&MARK[..], &self.bytes.to_be_bytes(), &[then]].concat();
        random.resize(32, 0);
        let name = block16([&[0][..], &block16(NAME.to_vec())].concat());
        let extensions = [&[0, 0][..], &block16(name), &[0, 43, 0, 3, 2, 3, 4]].concat();
        let body = [
            &[3, 3][..],
            &random,
            &[32],
            &[0x5a; 32],
            &block16(vec![0x13, 1, 0x13, 2]),
            &[1, 0],
            &block16(extensions),
        ]
        .concat();
        let handshake = [&[1, 0][..], &block16(body)].concat();
        [&[0x16, 3, 1][..], &block16(handshake)].concat()
    }

    /// From what came so far; none if it is not whole yet. Gives its length too.
    pub(crate) fn read(heard: &[u8]) -> Result<Option<(Self, usize)>> {
        let [kind, _, _, high, low, ..] = heard else { return Ok(None) };
        let length = RECORD + usize::from(u16::from_be_bytes([*high, *low]));
        ensure!(*kind == 0x16 && length <= LONGEST, "no ClientHello came through");
        let Some(record) = heard.get(..length) else { return Ok(None) };
        let Some((mark, rest)) = record.get(RANDOM..).and_then(|random| random.split_first_chunk::<8>())
        else {
            bail!("a ClientHello that is too short");
        };
        ensure!(mark == MARK, "a ClientHello of somebody else");
        let Some((bytes, [then, ..])) = rest.split_first_chunk::<8>() else { bail!("no order") };
        let then = match *then {
            0 => Then::End,
            1 => Then::Wait,
            2 => Then::Echo,
            3 => Then::Count,
            other => bail!("{other} is no order"),
        };
        Ok(Some((Self { bytes: u64::from_be_bytes(*bytes), then }, length)))
    }
}

/// Behind its length.
fn block16(bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], &bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written_and_not_before_it_is_whole() {
        for order in [
            Order { bytes: 0, then: Then::Wait },
            Order { bytes: u64::MAX, then: Then::End },
            Order { bytes: 7, then: Then::Count },
        ] {
            let hello = order.hello();
            for part in 0..hello.len() {
                assert_eq!(Order::read(&hello[..part]).unwrap(), None, "{part}");
            }
            let more = [&hello[..], b"more"].concat();
            assert_eq!(Order::read(&more).unwrap(), Some((order, hello.len())));
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let mut other = Order { bytes: 1, then: Then::End }.hello();
        other[RANDOM] ^= 1;
        assert!(Order::read(&other).is_err());
        assert!(Order::read(b"GET / HTTP/1.1").is_err());
        assert!(Order::read(&[0x16, 3, 1, 0, 0]).is_err());
    }
}

//! The ClientHello. It is read as far as it has arrived: the name mostly stands in front of
//! what makes a hello long, and a hello may be longer than what is looked at.

use super::{Missing, checked};

/// The first byte of a record that carries a handshake.
pub(super) const RECORD: u8 = 22;
const CLIENT_HELLO: usize = 1;
const SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;
/// What TLS allows in a record that is not encrypted.
const MAX_RECORD: usize = 16 * 1024;
/// The most patient servers read no longer hello.
const MAX_HELLO: usize = 128 * 1024;

/// A piece of the message: what has arrived of it, and how much of it is still to come.
#[derive(Clone, Copy)]
struct Part<'a> {
    here: &'a [u8],
    coming: usize,
}

impl<'a> Part<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Missing> {
        match self.part(count)? {
            Part { here, coming: 0 } => Ok(here),
            Part { .. } => Err(Missing::Bytes),
        }
    }

    /// The next `length` bytes, wherever they are.
    fn part(&mut self, length: usize) -> Result<Self, Missing> {
        let (here, rest) = self.here.split_at_checked(length).unwrap_or((self.here, &[]));
        let coming = length - here.len();
        // Longer than what it is in.
        let after = self.coming.checked_sub(coming).ok_or(Missing::Name)?;
        *self = Self { here: rest, coming: after };
        Ok(Self { here, coming })
    }

    /// A number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<usize, Missing> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A field that begins with its own length, written in `width` bytes.
    fn field(&mut self, width: usize) -> Result<Self, Missing> {
        let length = self.number(width)?;
        self.part(length)
    }
}

pub(super) fn server_name(arrived: &[u8]) -> Result<String, Missing> {
    let (message, end) = message(arrived);
    match name_in(Part { here: &message, coming: usize::MAX - message.len() }) {
        Ok(name) => checked(name),
        Err(Missing::Bytes) => Err(end),
        Err(Missing::Name) => Err(Missing::Name),
    }
}

/// What has arrived of the handshake, without the records around it, and what comes behind. It
/// mostly comes in one record, but some clients cut it up, so that nobody on the way finds the
/// name.
fn message(arrived: &[u8]) -> (Vec<u8>, Missing) {
    let mut message = Vec::new();
    let mut records = Part { here: arrived, coming: usize::MAX - arrived.len() };
    loop {
        match record(&mut records) {
            Ok(Part { here, coming: 0 }) => message.extend_from_slice(here),
            Ok(Part { here, .. }) => {
                message.extend_from_slice(here);
                return (message, Missing::Bytes);
            }
            Err(missing) => return (message, missing),
        }
    }
}

fn record<'a>(records: &mut Part<'a>) -> Result<Part<'a>, Missing> {
    // One by one: even from a part of a header it may be seen that this is no TLS.
    let is_handshake = records.number(1)? == usize::from(RECORD);
    if !is_handshake || records.number(1)? != 3 {
        return Err(Missing::Name);
    }
    let _minor = records.take(1)?;
    match records.number(2)? {
        length @ 1..=MAX_RECORD => records.part(length),
        _ => Err(Missing::Name),
    }
}

fn name_in<'a>(mut message: Part<'a>) -> Result<&'a [u8], Missing> {
    if message.number(1)? != CLIENT_HELLO {
        return Err(Missing::Name);
    }
    let mut hello = match message.number(3)? {
        length @ ..=MAX_HELLO => message.part(length)?,
        _ => return Err(Missing::Name),
    };
    let _version_and_random = hello.part(2 + 32)?;
    let _session = hello.field(1)?;
    let _ciphers = hello.field(2)?;
    let _compressions = hello.field(1)?;
    let mut extensions = hello.field(2)?;
    // Behind the last one there is nothing to be read, which ends this.
    loop {
        let kind = extensions.number(2)?;
        let mut extension = extensions.field(2)?;
        if kind == SERVER_NAME {
            let mut names = extension.field(2)?;
            loop {
                let kind = names.number(1)?;
                let length = names.number(2)?;
                let name = names.take(length)?;
                if kind == HOST_NAME {
                    return Ok(name);
                }
            }
        }
    }
}

//! The name that a client asks for, from the first bytes it sends: the SNI of a TLS
//! ClientHello (of the outer one where the hello is encrypted), or the Host of an HTTP/1
//! request. The bytes are looked at, never taken.

use crate::proxy::is_dns_name;

mod hello;
mod request;
#[cfg(test)]
mod tests;

/// A name that does not show up in so many bytes does not show up.
pub const MAX_SNIFF: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniff {
    NeedMore,
    /// Lower case, without a dot at the end; a name that can be asked of DNS.
    Name(String),
    NoName,
}

/// Why there is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It may yet come.
    Bytes,
    /// It will not come.
    Name,
}

/// Looks at everything that has arrived so far. What it has once found, further bytes do not
/// change.
pub fn sniff(arrived: &[u8]) -> Sniff {
    let looked_at = arrived.get(..MAX_SNIFF).unwrap_or(arrived);
    let found = match looked_at {
        [] => Err(Missing::Bytes),
        [hello::RECORD, ..] => hello::server_name(looked_at),
        [first, ..] if first.is_ascii_alphabetic() => request::host(looked_at),
        // A server that is to speak first, the hello of SSLv2, or anything else.
        [..] => Err(Missing::Name),
    };
    match found {
        Ok(name) => Sniff::Name(name),
        Err(Missing::Bytes) if looked_at.len() < MAX_SNIFF => Sniff::NeedMore,
        Err(Missing::Bytes | Missing::Name) => Sniff::NoName,
    }
}

/// Finds the name in bytes as they pass.
#[derive(Debug)]
pub struct Sniffer {
    seen: Vec<u8>,
    found: Sniff,
}

impl Sniffer {
    pub fn new() -> Self {
        Self { seen: Vec::new(), found: Sniff::NeedMore }
    }

    /// Says whether it wants to see more.
    pub fn see(&mut self, bytes: &[u8]) -> bool {
        if self.found == Sniff::NeedMore {
            let room = MAX_SNIFF.saturating_sub(self.seen.len());
            self.seen.extend(bytes.iter().take(room));
            self.found = sniff(&self.seen);
            if self.found != Sniff::NeedMore {
                self.seen = Vec::new();
            }
        }
        self.found == Sniff::NeedMore
    }

    pub fn found(&self) -> &Sniff {
        &self.found
    }

    pub fn name(&self) -> Option<&str> {
        match &self.found {
            Sniff::Name(name) => Some(name),
            Sniff::NeedMore | Sniff::NoName => None,
        }
    }
}

impl Default for Sniffer {
    fn default() -> Self {
        Self::new()
    }
}

fn checked(name: &[u8]) -> Result<String, Missing> {
    let name = std::str::from_utf8(name).ok().filter(|name| is_dns_name(name)).ok_or(Missing::Name)?;
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if means_the_asker(&name) { Err(Missing::Name) } else { Ok(name) }
}

/// RFC 6761, 6.3: a device that says `localhost` means itself, and an upstream that is asked
/// for it would look at its own services.
fn means_the_asker(name: &str) -> bool {
    name.rsplit('.').next() == Some("localhost")
}

//! The address of this machine by which it speaks to the gateway. When it is taken away, by another
//! lease or another network, nothing tells the connections that stand, which would wait for answers
//! until their heartbeat ends.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct OwnAddress(Mutex<Option<IpAddr>>);

impl OwnAddress {
    /// Of the connection that was made last; none where that is nobody's concern.
    pub(super) fn is(&self, address: Option<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    pub(super) fn now(&self) -> Option<IpAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asked of the system by binding to it, which sends nothing.
pub(super) fn is_gone(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_gone_when_it_is_not_this_machines() {
        for (address, gone) in [("127.0.0.1", false), ("0.0.0.0", false), ("192.0.2.1", true)] {
            assert_eq!(is_gone(address.parse().unwrap()), gone, "{address}");
        }
    }
}

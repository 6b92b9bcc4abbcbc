//! Where a drill takes place: a cable whose far end is taken to the LAN interface, so that what
//! is sent into it is received there as if a device had sent it. The interface may be a card, a
//! bridge or anything else, its rules are met by its own name, and nobody on the LAN sees a frame.
//!
//! All of it goes away with the value. What a drill that was killed left behind is a cable
//! without anybody, and routes to addresses that nobody has; the next one takes them away first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use rustix::fs::{FlockOperation, flock};

use super::packet::frame;
use crate::netlink::route::{self, End};
use crate::nft::drill::{CLOSED, CLOSED6, Canary, ELSEWHERE, ELSEWHERE6, STRANGER, TARGET, TARGET6};

/// Locally administered, and nobody's.
const NEAR: End = End { name: "pgw-drill0", address: [0x02, 0x70, 0x67, 0x77, 0, 2] };
const FAR: End = End { name: "pgw-drill1", address: [0x02, 0x70, 0x67, 0x77, 0, 3] };
const BEND: &str = "packets cannot be taken to PGW_LAN_IF (sch_ingress, cls_u32, act_mirred)";
const WAY: &str = "an address of the drill cannot be routed";
const FORWARDING6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    #[error("another drill is under way")]
    UnderWay,
    #[error("{setting}={name} does not exist")]
    Missing { setting: &'static str, name: String },
    #[error("{setting}={name} is down, or has no carrier")]
    Down { setting: &'static str, name: String },
    #[error("{what}: {source}")]
    Refused { what: &'static str, source: io::Error },
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Registered, closed, on the LAN.
    Closed,
    /// On the LAN; registered nowhere.
    Stranger,
    /// Not on the LAN.
    Elsewhere,
}

/// One at a time, whichever process asks for it; given back when the process ends, however.
pub struct Turn {
    _lock: File,
}

impl Turn {
    pub(super) fn new(lock: File) -> Self {
        Self { _lock: lock }
    }
}

pub trait Ground: Send + Sync {
    fn turn(&self) -> Result<Turn, GroundError>;
    fn lay(&self, turn: Turn) -> Result<Box<dyn Laid>, GroundError>;
    /// Takes away what a drill has left that was killed.
    fn sweep(&self, turn: Turn);
}

pub trait Laid: Send + Sync {
    /// One packet of this kind.
    fn send(&self, canary: Canary, sender: Sender, number: u16) -> io::Result<()>;
    /// Why IPv6 has no way out of this gateway, if so.
    fn without_ipv6(&self) -> Option<&str>;
}

/// Of this network namespace.
pub struct Kernel {
    pub state_dir: PathBuf,
    pub lan_if: String,
    pub wan_if: String,
}

struct Cable {
    socket: OwnedFd,
    near: LinkAddr,
    without_ipv6: Option<String>,
    _swept: Swept,
}

/// Takes everything away when it goes, and gives back the turn then.
struct Swept {
    _turn: Turn,
}

struct Link {
    address: LinkAddr,
    index: u32,
    runs: bool,
}

impl Ground for Kernel {
    fn turn(&self) -> Result<Turn, GroundError> {
        // A lock on a directory is given back by the kernel, and leaves no file behind.
        let refused = refused("PGW_STATE_DIR cannot be locked");
        let dir = File::open(&self.state_dir).map_err(&refused)?;
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Turn::new(dir)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(GroundError::UnderWay),
            Err(error) => Err(refused(error.into())),
        }
    }

    fn sweep(&self, turn: Turn) {
        drop(Swept { _turn: turn });
    }

    fn lay(&self, turn: Turn) -> Result<Box<dyn Laid>, GroundError> {
        sweep();
        // From here on everything is taken away again, also when the next step fails.
        let swept = Swept { _turn: turn };
        route::add_cable(NEAR, FAR).map_err(refused("a virtual cable (veth) cannot be made"))?;
        let links = links().map_err(refused("the interfaces cannot be listed"))?;
        let lan = running(&links, "PGW_LAN_IF", &self.lan_if)?;
        let wan = running(&links, "PGW_WAN_IF", &self.wan_if)?;
        let ends = links.get(NEAR.name).zip(links.get(FAR.name));
        let (near, far) = ends.ok_or_else(|| GroundError::Refused {
            what: "the virtual cable is gone",
            source: ErrorKind::NotFound.into(),
        })?;
        route::watch_egress(near.index).map_err(refused(BEND))?;
        route::redirect(near.index, CLOSED.into(), 31, lan.index).map_err(refused(BEND))?;
        for (to, link) in [(IpAddr::from(CLOSED), lan), (STRANGER.into(), lan), (ELSEWHERE.into(), far)] {
            route::add_route(to, link.index).map_err(refused(WAY))?;
        }
        route::add_route(TARGET.into(), wan.index).map_err(refused(WAY))?;
        let without_ipv6 = ipv6(near, lan, far, wan)?;
        // Protocol 0: it only sends.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|error| refused("packets cannot be made (CAP_NET_RAW)")(error.into()))?;
        Ok(Box::new(Cable { socket, near: near.address, without_ipv6, _swept: swept }))
    }
}

impl Laid for Cable {
    fn send(&self, canary: Canary, sender: Sender, number: u16) -> io::Result<()> {
        let (from, to) = match (sender, canary.is_ipv6()) {
            (Sender::Closed, false) => (CLOSED.into(), TARGET.into()),
            (Sender::Stranger, false) => (STRANGER.into(), TARGET.into()),
            (Sender::Elsewhere, false) => (ELSEWHERE.into(), TARGET.into()),
            (Sender::Closed | Sender::Stranger, true) => (CLOSED6.into(), TARGET6.into()),
            (Sender::Elsewhere, true) => (ELSEWHERE6.into(), TARGET6.into()),
        };
        let frame = frame(canary, from, to, FAR.address, number)
            .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        sendto(self.socket.as_raw_fd(), &frame, &self.near, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    fn without_ipv6(&self) -> Option<&str> {
        self.without_ipv6.as_deref()
    }
}

impl Drop for Swept {
    fn drop(&mut self) {
        sweep();
    }
}

fn sweep() {
    let routes = [
        IpAddr::from(CLOSED),
        STRANGER.into(),
        ELSEWHERE.into(),
        TARGET.into(),
        CLOSED6.into(),
        ELSEWHERE6.into(),
        TARGET6.into(),
    ];
    let gone = std::iter::once(route::delete_link(NEAR.name)).chain(routes.map(route::delete_route));
    for error in gone.filter_map(Result::err) {
        // ENODEV and ESRCH: it was not there, as is usual.
        if !matches!(error.raw_os_error(), Some(3 | 19)) {
            tracing::debug!(%error, "what a leak drill leaves cannot be taken away");
        }
    }
}

/// Why there is no such way, if so. What fails for another reason is no proof of that.
fn ipv6(near: &Link, lan: &Link, far: &Link, wan: &Link) -> Result<Option<String>, GroundError> {
    // A file that is not there: a kernel without IPv6.
    let forwards = std::fs::read_to_string(FORWARDING6).unwrap_or_default();
    if matches!(forwards.trim(), "" | "0") {
        return Ok(Some("this gateway does not forward IPv6".to_owned()));
    }
    route::redirect(near.index, CLOSED6.into(), 128, lan.index).map_err(refused(BEND))?;
    for (to, link) in [(CLOSED6, lan), (ELSEWHERE6, far), (TARGET6, wan)] {
        match route::add_route(to.into(), link.index) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Some("IPv6 is turned off on an interface of this gateway".to_owned()));
            }
            added => added.map_err(refused(WAY))?,
        }
    }
    Ok(None)
}

fn refused(what: &'static str) -> impl Fn(io::Error) -> GroundError {
    move |source| GroundError::Refused { what, source }
}

fn running<'a>(
    links: &'a BTreeMap<String, Link>,
    setting: &'static str,
    name: &str,
) -> Result<&'a Link, GroundError> {
    match links.get(name) {
        None => Err(GroundError::Missing { setting, name: name.to_owned() }),
        Some(link) if !link.runs => Err(GroundError::Down { setting, name: name.to_owned() }),
        Some(link) => Ok(link),
    }
}

fn links() -> io::Result<BTreeMap<String, Link>> {
    let link = |entry: nix::ifaddrs::InterfaceAddress| {
        let address = *entry.address?.as_link_addr()?;
        let index = u32::try_from(address.ifindex()).ok()?;
        let runs = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_LOWER_UP);
        Some((entry.interface_name, Link { address, index, runs }))
    };
    Ok(getifaddrs()?.filter_map(link).collect())
}

//! `PGW_TUNNEL_*`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Mistakes, RUN_DIR, Reader, STATE_DIR, Source};
use crate::log::LogLevels;
use crate::ports::PortRange;
use crate::proxy::Host;
use crate::tunnel::Filter;

const NETS: &str = "addresses or networks, separated by commas, such as 10.0.0.0/8,192.168.1.7";
const DOWNLOADS: &str = "/usr/share/pgw/connect";

#[derive(Debug, Clone)]
pub struct TunnelSettings {
    /// For clients, and for visitors of http tunnels.
    pub listen: SocketAddr,
    pub health_listen: SocketAddr,
    /// What clients may be given; never one of the forwarders'.
    pub ports: PortRange,
    pub forwarders: PortRange,
    /// Below it, each http tunnel has a name.
    pub domain: Option<Host>,
    /// The operator's certificate chain and its key, for visitors.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Where `pgw-connect` lies for those who download it.
    pub downloads: PathBuf,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub log: LogLevels,
}

/// What the API has to know of the tunnels' daemon.
#[derive(Debug, Clone)]
pub struct TunnelDoor {
    /// Where clients come in.
    pub port: u16,
    /// What they dial, if that is not what the API is asked by.
    pub public: Option<(Host, Option<u16>)>,
    pub ports: PortRange,
    /// Client programs, for those who have none yet.
    pub downloads: PathBuf,
    /// Where tunnels may lead, whatever a client agrees to.
    pub targets: Filter,
}

pub(super) fn read_door(r: &mut Reader<'_>) -> TunnelDoor {
    TunnelDoor {
        port: read_listen(r).port(),
        public: r.read("PGW_TUNNEL_PUBLIC", None, "a host name or address, with or without :port", |v| {
            public(v).map(Some)
        }),
        ports: read_ports(r),
        downloads: r.dir("PGW_TUNNEL_DOWNLOADS", DOWNLOADS),
        targets: Filter {
            allow: r.read("PGW_TUNNEL_ALLOW", Filter::open().allow, NETS, |v| nets(v).map(Some)),
            deny: r.read("PGW_TUNNEL_DENY", Vec::new(), NETS, nets),
        },
    }
}

/// An address alone is a network of one.
fn nets(text: &str) -> Option<Vec<IpNet>> {
    let net = |word: &str| match word.parse::<IpNet>() {
        Ok(net) => Some(net.trunc()),
        Err(_) => word.parse::<IpAddr>().ok().map(IpNet::from),
    };
    text.split(',').map(|word| net(word.trim())).collect()
}

fn public(text: &str) -> Option<(Host, Option<u16>)> {
    if let Ok(host) = text.parse() {
        return Some((host, None));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((host.parse().ok()?, Some(port.parse().ok().filter(|port| *port > 0)?)))
}

fn read_listen(r: &mut Reader<'_>) -> SocketAddr {
    r.listen("PGW_TUNNEL_LISTEN", ([0, 0, 0, 0], 8443).into())
}

fn read_ports(r: &mut Reader<'_>) -> PortRange {
    r.span(
        ("PGW_TUNNEL_BASE_PORT", 10_000),
        ("PGW_TUNNEL_MAX_PORT", 32_000),
        "not below PGW_TUNNEL_BASE_PORT",
    )
}

impl TunnelSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let file =
            |v: &str| Some(Some(PathBuf::from(v))).filter(|p| p.as_ref().is_some_and(|p| p.is_absolute()));
        let chain = r.read("PGW_TUNNEL_CERT", None, "an absolute path", file);
        let key = r.read("PGW_TUNNEL_KEY", None, "an absolute path", file);
        let certificate = match (chain, key) {
            (Some(chain), Some(key)) => Some((chain, key)),
            (None, None) => None,
            (Some(alone), None) | (None, Some(alone)) => {
                let value = alone.display().to_string();
                r.mistake("PGW_TUNNEL_CERT", value, "PGW_TUNNEL_CERT and PGW_TUNNEL_KEY, or none of them");
                None
            }
        };
        let settings = Self {
            listen: read_listen(&mut r),
            health_listen: r.listen("PGW_TUNNEL_HEALTH_LISTEN", ([127, 0, 0, 1], 8444).into()),
            ports: read_ports(&mut r),
            forwarders: r.ports(),
            domain: r.read("PGW_TUNNEL_DOMAIN", None, "a domain name, such as tunnels.example.com", |v| {
                v.parse().ok().map(Some)
            }),
            certificate,
            downloads: r.dir("PGW_TUNNEL_DOWNLOADS", DOWNLOADS),
            state_dir: r.dir("PGW_STATE_DIR", STATE_DIR),
            run_dir: r.dir("PGW_RUN_DIR", RUN_DIR),
            log: r.log(),
        };
        r.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_clients_dial_is_a_host_with_or_without_a_port() {
        let told = |text| public(text).map(|(host, port)| (host.as_str().to_owned(), port));
        for (text, host, port) in [
            ("gw.example.com", "gw.example.com", None),
            ("gw.example.com:9443", "gw.example.com", Some(9443)),
            ("192.0.2.1:9443", "192.0.2.1", Some(9443)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:9443", "2001:db8::1", Some(9443)),
        ] {
            assert_eq!(told(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["https://gw", "gw:0", "gw:x", ":9443", "gw/"] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn where_tunnels_may_lead_is_said_in_networks_and_everywhere_is_meant_if_nothing_is() {
        let door = |pairs: &[(&'static str, &'static str)]| {
            let source = pairs.iter().copied().collect::<BTreeMap<_, _>>();
            let mut reader = Reader::new(&source);
            let door = read_door(&mut reader);
            reader.finish(door.targets).map_err(|mistakes| mistakes.to_string())
        };
        assert_eq!(door(&[]), Ok(Filter::open()));
        let deny = door(&[("PGW_TUNNEL_DENY", "10.0.0.7, 192.168.0.1/16")]).unwrap();
        assert_eq!(
            deny.deny.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.7/32", "192.168.0.0/16"]
        );
        assert_eq!(deny.judge([10, 0, 0, 8].into()), Ok(()));
        assert!(deny.judge([192, 168, 3, 4].into()).is_err());
        let allow = door(&[("PGW_TUNNEL_ALLOW", "127.0.0.1,fd00::/8")]).unwrap();
        assert!(allow.judge([10, 0, 0, 8].into()).is_err());
        for wrong in ["localhost", "10.0.0.0/33", ",", "10.0.0.1;10.0.0.2"] {
            let said = door(&[("PGW_TUNNEL_ALLOW", wrong)]).unwrap_err();
            assert!(said.contains("PGW_TUNNEL_ALLOW"), "{said}");
        }
    }

    #[test]
    fn nothing_need_be_said_and_half_a_certificate_is_refused() {
        let settings = TunnelSettings::read(&BTreeMap::new()).unwrap();
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8443");
        assert_eq!((settings.ports.base(), settings.ports.max()), (10_000, 32_000));
        let half = BTreeMap::from([("PGW_TUNNEL_CERT", "/etc/pgw/cert.pem")]);
        assert!(TunnelSettings::read(&half).unwrap_err().to_string().contains("PGW_TUNNEL_KEY"));
        let wrong = BTreeMap::from([("PGW_TUNNEL_BASE_PORT", "20000"), ("PGW_TUNNEL_MAX_PORT", "10000")]);
        assert!(TunnelSettings::read(&wrong).unwrap_err().to_string().contains("PGW_TUNNEL_BASE_PORT"));
    }
}

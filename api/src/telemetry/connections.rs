//! The connections that are open now, asked of the forwarders themselves, port by port. Nothing of
//! it is kept.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use pgw_core::control::{ConnectionRow, ConnectionsPage, MAX_PAGE};
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use serde::Serialize;
use tokio::time::Instant;

use crate::board::Board;
use crate::store::traffic::MappingOwner;
use crate::store::{Store, StoreError};
use crate::units::control::{ControlError, Line};

/// Forwarders that are asked at the same time, and their rows in the memory.
const AT_ONCE: usize = 16;
/// For all of a page. Who waits is answered with what there is, and where to go on.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Connections {
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub run_dir: PathBuf,
}

/// A connection's name: the forwarder's port, and the number that it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    pub port: u16,
    pub number: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub limit: u32,
    pub after: Option<ConnectionId>,
    pub client: Option<ClientId>,
    pub proxy: Option<ProxyId>,
    /// Part of a name, of a client, of its address, of a proxy.
    pub q: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Connection {
    #[schema(example = "15001-123")]
    pub id: String,
    /// Null for a client that is being removed.
    pub client_id: Option<ClientId>,
    pub client: String,
    #[schema(example = "192.168.2.3")]
    pub ip: Option<String>,
    /// Null, like `proxy`, until there is a tunnel, and for questions to DNS.
    pub mapping_id: Option<MappingId>,
    pub proxy_id: Option<ProxyId>,
    pub proxy: Option<String>,
    /// As PGW_SNI_LOG shows it; "-" if it shows nothing, or nobody said a name.
    #[schema(example = "*.example.co.uk")]
    pub name: String,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub age_ms: u64,
    /// Since a byte last moved.
    pub idle_ms: u64,
}

#[derive(Debug, Default)]
pub struct Found {
    pub items: Vec<Connection>,
    /// Where to go on; none when that was all.
    pub next: Option<ConnectionId>,
    /// Ports whose forwarders did not answer.
    pub silent: Vec<u16>,
}

/// Whose everything is, by what operators call it.
struct Names {
    clients: HashMap<u16, (ClientId, String, String)>,
    proxies: HashMap<MappingId, (ProxyId, String)>,
}

/// The way along the ports, in the order of the ids.
struct Walk<'a> {
    names: Names,
    wanted: &'a Wanted,
    end: Instant,
    found: Found,
    /// Of the last one that was taken.
    last: Option<ConnectionId>,
}

impl Connections {
    pub async fn list(&self, wanted: &Wanted) -> Result<Found, StoreError> {
        let names = Names::of(self.store.owners().await?);
        let after = wanted.after.unwrap_or(ConnectionId { port: 0, number: 0 });
        let ready = self.board.forwarders().borrow().keys().copied().collect::<BTreeSet<u16>>();
        let ports = ready.range(after.port..).copied().filter(|port| names.may_concern(*port, wanted));
        // Several are asked at a time, and heard in order.
        let ports: Vec<u16> = ports.collect();
        let mut answers = stream::iter(ports)
            .map(|port| async move {
                let from = (port == after.port).then_some(after.number);
                (port, self.ask(port, from, wanted.limit).await)
            })
            .buffered(AT_ONCE);
        let end = Instant::now() + PATIENCE;
        let mut walk = Walk { names, wanted, end, found: Found::default(), last: None };
        while let Some((port, answer)) = answers.next().await {
            let heard = match answer {
                Ok((line, page)) => walk.along(port, line, page).await,
                Err(error) => Err(error),
            };
            match heard {
                Ok(()) => {}
                // It has ended meanwhile, and its connections with it.
                Err(ControlError::Nobody(_)) => {}
                Err(_) => walk.found.silent.push(port),
            }
            if walk.found.next.is_none() && Instant::now() > end {
                walk.found.next = Some(ConnectionId { port, number: u64::MAX });
            }
            if walk.found.next.is_some() {
                break;
            }
        }
        Ok(walk.found)
    }

    /// Ends one; says whether it was there.
    pub async fn close(&self, id: ConnectionId) -> Result<bool, ControlError> {
        match Line::open(&self.run_dir, id.port).await {
            Ok(mut line) => line.close(id.number).await,
            Err(ControlError::Nobody(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &self,
        port: u16,
        after: Option<u64>,
        limit: u32,
    ) -> Result<(Line, ConnectionsPage), ControlError> {
        let mut line = Line::open(&self.run_dir, port).await?;
        // One more: whether it comes says if the list goes on.
        let page = line.connections(after, limit.saturating_add(1)).await?;
        Ok((line, page))
    }
}

impl Walk<'_> {
    /// Takes what is wanted of one port's, until there is enough of it or no more.
    async fn along(
        &mut self,
        port: u16,
        mut line: Line,
        mut page: ConnectionsPage,
    ) -> Result<(), ControlError> {
        let most = usize::try_from(self.wanted.limit).unwrap_or(usize::MAX);
        loop {
            for row in page.connections {
                let id = ConnectionId { port, number: row.id };
                let connection = self.names.connection(id, &page.client, row);
                if !self.wanted.is(&connection) {
                    continue;
                }
                if self.found.items.len() >= most {
                    self.found.next = self.last;
                    return Ok(());
                }
                self.found.items.push(connection);
                self.last = Some(id);
            }
            let Some(after) = page.next else { return Ok(()) };
            if Instant::now() > self.end {
                self.found.next = Some(ConnectionId { port, number: after });
                return Ok(());
            }
            page = line.connections(Some(after), MAX_PAGE).await?;
        }
    }
}

impl Names {
    fn of(owners: Vec<MappingOwner>) -> Self {
        let mut names = Self { clients: HashMap::new(), proxies: HashMap::new() };
        for owner in owners {
            names.clients.insert(owner.port, (owner.client, owner.client_name, owner.client_ip));
            names.proxies.insert(owner.mapping, (owner.proxy, owner.proxy_name));
        }
        names
    }

    fn may_concern(&self, port: u16, wanted: &Wanted) -> bool {
        wanted.client.is_none_or(|client| self.clients.get(&port).is_some_and(|(id, ..)| *id == client))
    }

    /// What was renamed or removed meanwhile is called as its forwarder knows it.
    fn connection(&self, id: ConnectionId, client: &str, row: ConnectionRow) -> Connection {
        let owner = self.clients.get(&id.port);
        let proxy = row.mapping_id.and_then(|mapping| self.proxies.get(&mapping));
        Connection {
            id: id.to_string(),
            client_id: owner.map(|(id, ..)| *id),
            client: owner.map_or_else(|| client.to_owned(), |(_, name, _)| name.clone()),
            ip: owner.map(|(.., ip)| ip.strip_suffix("/32").unwrap_or(ip).to_owned()),
            mapping_id: row.mapping_id,
            proxy_id: proxy.map(|(id, _)| *id),
            proxy: proxy.map(|(_, name)| name.clone()).or(row.upstream),
            name: row.name,
            bytes_up: row.bytes_up,
            bytes_down: row.bytes_down,
            age_ms: row.age_ms,
            idle_ms: row.idle_ms,
        }
    }
}

impl Wanted {
    fn is(&self, connection: &Connection) -> bool {
        let has = |q: &str| {
            let q = q.to_lowercase();
            let words = [Some(&connection.client), connection.ip.as_ref(), connection.proxy.as_ref()];
            words.into_iter().flatten().chain([&connection.name]).any(|word| word.to_lowercase().contains(&q))
        };
        (self.client.is_none() || connection.client_id == self.client)
            && (self.proxy.is_none() || connection.proxy_id == self.proxy)
            && self.q.as_deref().is_none_or(has)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.port, self.number)
    }
}

impl ConnectionId {
    pub fn parse(text: &str) -> Option<Self> {
        let (port, number) = text.split_once('-')?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(port) || !plain(number) {
            return None;
        }
        Some(Self { port: port.parse().ok()?, number: number.parse().ok()? })
    }
}

//! From settings to a gateway that runs, and to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pgw_core::settings::TunnelSettings;
use pgw_core::tunnel::socket_path;
use quinn::Endpoint;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use super::ca::Authority;
use super::certificate::{Certificate, Unusable};
use super::{DRAIN, Fixed, Gateway, accept, control, converge, health};
use crate::carrier::quic;
use crate::gateway::tcp;
use crate::wire::ALPN;
use crate::wire::word::GatewayWord;

/// Connections to `/healthz`.
const HEALTH: usize = 64;

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot {doing}: {error}")]
    Io {
        doing: String,
        #[source]
        error: io::Error,
    },
    #[error("{setting}={address} cannot be listened on: {error}")]
    Listen {
        setting: &'static str,
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    #[error("the certificate for visitors: {0}")]
    Certificate(#[from] Unusable),
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Everything is bound, and nothing served yet.
pub struct Ready {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    health: TcpListener,
    control: UnixListener,
    tls: Arc<ServerConfig>,
    quic: Endpoint,
    certificate: Option<Arc<Certificate>>,
}

/// Starts what is to be started; `serve` does the rest.
pub fn prepare(settings: &TunnelSettings) -> Result<Ready, Failure> {
    let authority = Authority::open(&settings.state_dir).map_err(doing("read or make tunnel/ca.pem"))?;
    let certificate = settings.certificate.as_ref().map(|(chain, key)| Certificate::open(chain, key));
    let certificate = certificate.transpose()?.map(Arc::new);
    let fixed = Fixed {
        ports: settings.ports.clone(),
        forwarders: settings.forwarders.clone(),
        domain: settings.domain.as_ref().map(|domain| domain.as_str().trim_end_matches('.').to_owned()),
        pin: authority.pin(),
        downloads: settings.downloads.clone(),
    };
    let listener = tcp::bind(settings.listen).map_err(listening("PGW_TUNNEL_LISTEN", settings.listen))?;
    let health = settings.health_listen;
    let health = tcp::bind(health).map_err(listening("PGW_TUNNEL_HEALTH_LISTEN", health))?;
    let path = socket_path(&settings.run_dir);
    let control = control::bind(&path).map_err(doing(format!("make {}", path.display())))?;
    let gateway = Gateway::new(fixed, &settings.state_dir).map_err(doing("read the state directory"))?;
    let tls = authority.server_config(certificate.clone())?;
    let port = listener.local_addr().map_err(doing("look at the listener"))?;
    let for_clients = authority.server_config(None)?;
    let quic = quic::listen(port, &quic_only(&for_clients))
        .map_err(listening("PGW_TUNNEL_LISTEN (by UDP)", port))?;
    tracing::info!(listen = %settings.listen, pin = %authority.pin(), "ready for clients");
    Ok(Ready { gateway, listener, health, control, tls, quic, certificate })
}

impl Ready {
    /// Where clients come in, if the settings left the choice to the kernel.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where `/healthz` is.
    pub fn health_address(&self) -> io::Result<SocketAddr> {
        self.health.local_addr()
    }

    /// Until `stop`; then nobody new is let in, and those who are there have half a minute.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { gateway, listener, health, control, tls, quic, certificate } = self;
        let router = health::router(gateway.clone());
        let answers =
            pgw_core::serve::serve(health, router, HEALTH, gateway.tasks.clone(), gateway.over.clone());
        let mut background =
            vec![tokio::spawn(control::serve(gateway.clone(), control)), tokio::spawn(answers)];
        background.extend(certificate.map(|certificate| tokio::spawn(certificate.keep())));
        let doors = tokio::spawn(converge::run(gateway.clone()));
        gateway.tasks.spawn(accept::run_quic(gateway.clone(), quic));
        let accepting = tokio::spawn(accept::run(gateway.clone(), listener, tls));
        stop.await;
        gateway.drain();
        let _closed = doors.await;
        let _closed = accepting.await;
        gateway.leave_taking().await;
        for task in background {
            task.abort();
        }
    }
}

impl Gateway {
    /// First nobody new comes in, then the clients are told.
    fn drain(&self) {
        self.draining.cancel();
        let limit_s = u32::try_from(DRAIN.as_secs()).unwrap_or(30);
        for session in self.house().sessions.values() {
            session.say(GatewayWord::Drain { limit_s });
        }
    }

    /// Until the last visitor is gone, or the time is over.
    async fn leave_taking(&self) {
        let visitors = async {
            let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
            while self.house().tunnels.values().any(|tunnel| tunnel.status().active > 0) {
                look.tick().await;
            }
        };
        if timeout(DRAIN, visitors).await.is_err() {
            tracing::warn!("connections that were still open are cut");
        }
        for session in self.house().sessions.values() {
            session.end("the gateway stops");
        }
        self.over.cancel();
        self.tasks.close();
        let _at_most = timeout(std::time::Duration::from_secs(2), self.tasks.wait()).await;
    }
}

/// QUIC is TLS 1.3, and nobody but clients comes by it.
fn quic_only(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn listening(setting: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Listen { setting, address, error }
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let doing = what.into();
    move |error| Failure::Io { doing, error }
}

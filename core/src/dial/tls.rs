//! TLS to an upstream, verified against the certificates that the system trusts.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{DialError, Dialer, roots};
use crate::health::CheckFailure;
use crate::proxy::Host;
use crate::resources::shortage;

/// The configuration, made when it is first needed: most forwarders never look at a certificate.
/// One for all sessions, so that the later ones with the same upstream or resolver are resumed.
#[derive(Default)]
pub(super) struct Tls(OnceCell<Arc<ClientConfig>>);

impl Tls {
    async fn config(&self) -> Result<Arc<ClientConfig>, DialError> {
        let config = self.0.get_or_try_init(|| async {
            // Reading certificates waits for the disk.
            tokio::task::spawn_blocking(system_config).await.map_err(io::Error::other).flatten().map(Arc::new)
        });
        config.await.cloned().map_err(|told| {
            let source = shortage().unwrap_or(told);
            let detail = format!("reading the system's trusted certificates: {source}");
            DialError::new(CheckFailure::Tls, detail, Some(source))
        })
    }
}

fn system_config() -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // The first random number of a process is made of the machine's jitter, which takes 25 ms. Here
    // it holds up nobody's bytes.
    provider.secure_random.fill(&mut [0]).map_err(rustls::Error::from).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let trusting = match roots::bundle() {
        Some(bundle) => builder.with_root_certificates(roots::read(&bundle)?),
        None => builder.with_platform_verifier().map_err(io::Error::other)?,
    };
    Ok(trusting.with_no_client_auth())
}

impl Dialer {
    /// Trusts what `config` trusts, and not the system's certificates.
    pub fn with_tls(config: ClientConfig) -> Self {
        Self { tls: Tls(OnceCell::new_with(Some(Arc::new(config)))), ..Self::default() }
    }

    /// TLS with `name` over any stream, such as a tunnel.
    pub async fn tls_over<S>(&self, name: &Host, stream: S) -> Result<TlsStream<S>, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |source: io::Error| {
            let detail = format!("TLS with {name}: {source}");
            DialError::new(CheckFailure::Tls, detail, Some(source))
        };
        let server = ServerName::try_from(name.as_str().to_owned())
            .map_err(|bad_name| failed(io::Error::new(io::ErrorKind::InvalidInput, bad_name)))?;
        let connector = TlsConnector::from(self.tls.config().await?);
        connector.connect(server, stream).await.map_err(failed)
    }
}

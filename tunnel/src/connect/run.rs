//! Sessions, one after the other, for as long as the program runs.

use std::sync::Arc;

use rand::Rng as _;
use tokio::time::{Instant, sleep};

use super::arguments::Call;
use super::carrier::{Carrier, Look};
use super::config::{self, ConfigError};
use super::session::{Failed, Session};
use super::token;
use crate::backoff::Backoff;

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use the token in {path}: {error}")]
    Token { path: String, error: std::io::Error },
    #[error("there is no token: say `enroll` with a code, or `token`, in the configuration")]
    NoToken,
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Session(#[from] Failed),
}

/// Makes this client known to the gateway, and ends.
pub async fn enroll(call: &Call) -> Result<(), Failure> {
    let (carrier, token) = prepare(call)?;
    let session = Session::begin(carrier, looks(call, 0), &call.config, &token, false).await?;
    session.leave().await.map_err(Failed::from)?;
    tracing::info!(token_file = %call.token_file.display(), "enrolled");
    Ok(())
}

/// Until `stop`.
pub async fn run(call: &Call, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let (carrier, token) = prepare(call)?;
    let mut stop = std::pin::pin!(stop);
    let (mut backoff, mut attempt) = (Backoff::default(), 0_usize);
    loop {
        let look = looks(call, attempt);
        let begun = Session::begin(carrier.clone(), look, &call.config, &token, true);
        let begun = tokio::select! {
            begun = begun => begun,
            () = &mut stop => return Ok(()),
        };
        match begun {
            Ok(session) => {
                let since = Instant::now();
                tracing::info!(server = %call.config.server.host, ?look, "connected");
                let mut stopped = false;
                let stopping = async {
                    stop.as_mut().await;
                    stopped = true;
                };
                let reason = session.run(&call.config, stopping).await;
                tracing::warn!(reason, "the session is over");
                if stopped {
                    return Ok(());
                }
                backoff.lasted(since.elapsed());
            }
            // Whatever it is, an operator can change it at the gateway while this goes on asking.
            Err(Failed::Refused(refusal)) => {
                tracing::error!(code = refusal.code.as_str(), "{}", refusal.detail)
            }
            Err(Failed::Unreachable(error)) => {
                tracing::warn!(%error, ?look, "the gateway cannot be reached");
                attempt += 1;
            }
        }
        let wait = backoff.next(rand::rng().random());
        tracing::info!(wait_ms = wait.as_millis(), "next attempt");
        tokio::select! {
            () = sleep(wait) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

fn prepare(call: &Call) -> Result<(Arc<Carrier>, pgw_core::redact::Secret), Failure> {
    let config = &call.config;
    let carrier = Arc::new(Carrier::new(config, config.pin()?)?);
    if let Some(token) = &config.token {
        return Ok((carrier, token.clone()));
    }
    let told = |error| Failure::Token { path: call.token_file.display().to_string(), error };
    let token = match (&config.enroll, token::load(&call.token_file)) {
        (_, Ok(token)) => token,
        (Some(_), Err(_none)) => token::load_or_make(&call.token_file).map_err(told)?,
        (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(Failure::NoToken),
        (None, Err(error)) => return Err(told(error)),
    };
    Ok((carrier, token))
}

/// Where one does not get through, another may. No proxy carries QUIC.
fn looks(call: &Call, attempt: usize) -> Look {
    let by_proxy = call.config.proxy.is_some();
    match call.config.carrier {
        config::Carrier::Tls => Look::Tls,
        config::Carrier::Websocket => Look::WebSocket,
        config::Carrier::Quic => Look::Quic,
        config::Carrier::Auto => match attempt % 3 {
            0 => Look::Tls,
            2 if !by_proxy => Look::Quic,
            _ => Look::WebSocket,
        },
    }
}

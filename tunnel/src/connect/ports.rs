//! What became of the ports that this client asked for, told to people.

use pgw_core::tunnel::State;

use crate::wire::hello::OpenPort;
use crate::wire::word::GatewayWord;

/// One line each, as a program's user wants to read it.
pub(super) fn tell(asked: &[OpenPort], word: &GatewayWord, gateway: &str) {
    let GatewayWord::Port { index, state, public_port, reason } = word else { return };
    let at = usize::try_from(*index).unwrap_or(usize::MAX);
    let Some(OpenPort { local_host, local_port, protocol, .. }) = asked.get(at) else { return };
    let target = format!("{local_host}:{local_port}");
    match (state, public_port) {
        (State::Active, Some(port)) => {
            tracing::info!(?protocol, target, "open: {gateway}:{port} leads to {target}");
        }
        (State::Failed, _) => {
            let why = reason.as_ref().map_or("for no reason that it told", |reason| reason.detail.as_str());
            tracing::error!(?protocol, target, "not open: {why}");
        }
        (State::Active | State::Pending | State::Offline, _) => tracing::info!(?state, target, "waits"),
    }
}

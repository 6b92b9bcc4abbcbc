//! The gateway's end of reverse tunnels. It starts and runs without the API, by what the API said last.

use std::process::ExitCode;

use pgw_core::resources::raise_file_limit;
use pgw_core::settings::{Environment, Mistakes, TunnelSettings};
use pgw_tunnel::gateway::run;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] Mistakes),
    #[error(transparent)]
    Start(#[from] run::Failure),
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

fn main() -> ExitCode {
    match served() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgw-tunneld: {failure}");
            // As sysexits.h has them: 64 is a mistake in the call.
            if matches!(failure, Failure::Settings(_)) { ExitCode::from(64) } else { ExitCode::FAILURE }
        }
    }
}

fn served() -> Result<(), Failure> {
    let settings = TunnelSettings::read(&Environment)?;
    settings.log.clone().start_json();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let ready = run::prepare(&settings)?;
        let _told = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        ready
            .serve(async {
                tokio::select! {
                    _signal = terminate.recv() => {}
                    _signal = interrupt.recv() => {}
                }
            })
            .await;
        Ok(())
    });
    runtime.shutdown_background();
    served
}

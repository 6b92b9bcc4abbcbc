//! Keeps reverse tunnels from this machine to a gateway.

use std::io::Write as _;
use std::process::ExitCode;

use pgw_core::log::LogLevels;
use pgw_core::settings::{Environment, Source as _};
use pgw_tunnel::connect::arguments;
use pgw_tunnel::connect::run::{self, Failure};

fn main() -> ExitCode {
    if let Some(answer) = arguments::answer(std::env::args_os().skip(1)) {
        // Whoever asked and has gone away needs no answer.
        let _unread = writeln!(std::io::stdout(), "{answer}");
        return ExitCode::SUCCESS;
    }
    let levels = Environment.get("PGW_LOG").and_then(|text| LogLevels::parse(&text)).unwrap_or_default();
    levels.start();
    match connected() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgw-connect: {failure}");
            // As sysexits.h has them: 78 is a mistake in the configuration.
            match failure {
                Failure::Config(_) | Failure::NoToken => ExitCode::from(78),
                Failure::Token { .. } | Failure::Tls(_) | Failure::Session(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn connected() -> Result<(), Failure> {
    let call = arguments::parse(std::env::args_os().skip(1))?;
    let unable = |error| Failure::Session(run_failed(error));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(unable)?;
    let done = runtime.block_on(async {
        if call.only_enroll { run::enroll(&call).await } else { run::run(&call, told_to_stop()).await }
    });
    runtime.shutdown_background();
    done
}

fn run_failed(error: std::io::Error) -> pgw_tunnel::connect::Failed {
    error.into()
}

#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _signal = terminate.recv() => {}
        _signal = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn told_to_stop() {
    let _signal = tokio::signal::ctrl_c().await;
}

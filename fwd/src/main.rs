//! The transparent forwarder of one client: `pgw-fwd --port 15001`. Its flag file is its whole
//! configuration, so that it starts and runs without the API.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::Arc;

use pgw_core::control::{flag_path, socket_path};
use pgw_core::dial::Dialer;
use pgw_core::flag::FlagFile;
use pgw_core::resources::raise_file_limit;
use pgw_core::settings::{Environment, FwdSettings};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

mod asleep;
mod carry;
mod conn;
mod control;
mod current;
mod dns;
mod experience;
mod failover;
mod files;
mod flagfile;
mod forwarder;
mod ledger;
mod lines;
mod listener;
mod live;
mod origdst;
mod peek;
mod race;
mod relay;
mod serve;
mod start;
#[cfg(test)]
mod tests;

use asleep::Asleep;
use control::{Control, Desk, LastWords};
use current::Current;
use dns::Dns;
use dns::udp::Datagrams;
use experience::Experience;
use flagfile::FlagSource;
use lines::Lines;
use live::Live;
use relay::{MOST_PIPES, Pipes};
use serve::Shared;
use start::Failure;

/// Wishes to stop that nobody has heard yet. One more says nothing new.
const STOPS: usize = 4;

fn main() -> ExitCode {
    match prepared() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgw-fwd: {failure}");
            failure.exit_code()
        }
    }
}

fn prepared() -> Result<(), Failure> {
    let port = start::port(std::env::args_os().skip(1))?;
    let settings = FwdSettings::read(&Environment)?;
    settings.log.clone().start_json();
    let source = FlagSource::new(flag_path(&settings.state_dir, port), port);
    let flag = source.load().map_err(|error| Failure::Flag(source.path().to_owned(), error))?;
    raise_file_limit();
    // A connection is a task, and a forwarder has one client: one thread serves it, and idle
    // forwarders cost next to nothing. The others resolve names.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
    let runtime = runtime.map_err(Failure::Runtime)?;
    let served = runtime.block_on(serve(port, &settings, source, flag));
    // A question to DNS may still wait in a thread; nobody waits for it.
    runtime.shutdown_background();
    served
}

async fn serve(port: u16, settings: &FwdSettings, source: FlagSource, flag: FlagFile) -> Result<(), Failure> {
    let listener = listener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    let datagrams = Datagrams::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    let path = socket_path(&settings.run_dir, port);
    let control = Control::bind(&path).map_err(|error| Failure::Control(path, error))?;
    let reload = Arc::new(Notify::new());
    let (stop, stopped) = mpsc::channel(STOPS);
    start::signals(reload.clone(), stop.clone()).map_err(Failure::Runtime)?;
    tracing::info!(port, client = %flag.client.name, revision = %flag.revision, "listening");
    let live = Arc::new(Live::default());
    let current = Current::new(flag, live.clone());
    let experience = Arc::<Experience>::default();
    let last_words = LastWords::default();
    let desk = Desk {
        flag: current.subscribe(),
        live: live.clone(),
        experience: experience.clone(),
        stop,
        last_words: last_words.clone(),
    };
    let shared = Arc::new(Shared {
        flag: current.subscribe(),
        live: live.clone(),
        lines: Lines::new(Dialer::new(), current.subscribe()),
        experience,
        lookup: origdst::kernel(),
        pipes: Pipes::new(MOST_PIPES),
        dns: Dns::default(),
        asleep: Asleep::new(live).map_err(Failure::Runtime)?,
        tasks: TaskTracker::new(),
    });
    let _told = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = forwarder::run(listener, datagrams, shared, stopped) => {}
        () = source.watch(&current, &reload) => {}
        () = control.serve(desk) => {}
    }
    last_words.say().await;
    Ok(())
}

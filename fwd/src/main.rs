//! The transparent forwarder of one client: `pgw-fwd --port 15001`. Its flag file is its whole
//! configuration, so that it starts and runs without the API.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use pgw_core::control::{flag_path, socket_path};
use pgw_core::dial::Dialer;
use pgw_core::flag::FlagFile;
use pgw_core::resources::raise_file_limit;
use pgw_core::service::Service;
use pgw_core::settings::{Environment, FwdSettings};
use tokio::net::TcpListener;
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
mod sockets;
mod start;
mod succession;
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
use start::{Failure, Task};
use succession::Predecessor;

/// Wishes to stop that nobody has heard yet. One more says nothing new.
const STOPS: usize = 4;

fn main() -> ExitCode {
    if let Some(answer) = start::answer(std::env::args_os().skip(1)) {
        // Whoever asked and has gone away needs no answer.
        let _unread = writeln!(std::io::stdout(), "{answer}");
        return ExitCode::SUCCESS;
    }
    match prepared() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgw-fwd: {failure}");
            failure.exit_code()
        }
    }
}

fn prepared() -> Result<(), Failure> {
    let (port, task) = start::call(std::env::args_os().skip(1))?;
    if task == Task::HandOver {
        return succession::start_successor(port);
    }
    let settings = FwdSettings::read(&Environment)?;
    settings.log.clone().start_json();
    let source = FlagSource::new(flag_path(&settings.state_dir, port), port);
    let flag = source.load().map_err(|error| Failure::Flag(source.path().to_owned(), error))?;
    raise_file_limit();
    // A connection is a task, and a forwarder has one client: one thread serves it, and idle
    // forwarders cost next to nothing. The others resolve names.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
    let runtime = runtime.map_err(Failure::Runtime)?;
    let served = runtime.block_on(async {
        match task {
            Task::Serve | Task::HandOver => start(port, &settings, source, flag).await,
            Task::TakeOver => take_over(port, &settings, source, flag).await,
        }
    });
    // A question to DNS may still wait in a thread; nobody waits for it.
    runtime.shutdown_background();
    served
}

async fn start(port: u16, settings: &FwdSettings, source: FlagSource, flag: FlagFile) -> Result<(), Failure> {
    let service = Service::default();
    let sockets = sockets::open(port, &service)?;
    let path = socket_path(&settings.run_dir, port);
    let control = Control::bind(&path).map_err(|error| Failure::Control(path, error))?;
    serve(sockets, control, service, source, flag, || Ok(())).await
}

/// The old one goes on until the new one is ready, and also if it never is.
async fn take_over(
    port: u16,
    settings: &FwdSettings,
    source: FlagSource,
    flag: FlagFile,
) -> Result<(), Failure> {
    let path = socket_path(&settings.run_dir, port);
    let unable = |error| Failure::Relieve(port, error);
    let (predecessor, sockets) = Predecessor::ask(&path).map_err(unable)?;
    let sockets = sockets.take(port)?;
    let service = Service::watched(predecessor.watchdog);
    let control = Control::bind(&path).map_err(|error| Failure::Control(path, error))?;
    let relieve = || {
        predecessor.relieve().map_err(unable)?;
        succession::announce();
        Ok(())
    };
    serve(sockets, control, service, source, flag, relieve).await
}

async fn serve(
    (listener, datagrams): (TcpListener, Datagrams),
    control: Control,
    service: Service,
    source: FlagSource,
    flag: FlagFile,
    relieve: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let reload = Arc::new(Notify::new());
    let (stop, stopped) = mpsc::channel(STOPS);
    let (heirs, waiting) = mpsc::channel(1);
    start::signals(reload.clone(), stop.clone()).map_err(Failure::Runtime)?;
    tracing::info!(port = flag.port, client = %flag.client.name, revision = %flag.revision, "listening");
    let (live, service) = (Arc::new(Live::default()), Arc::new(service));
    let current = Current::new(flag, live.clone());
    let experience = Arc::<Experience>::default();
    let last_words = LastWords::default();
    let desk = Desk {
        flag: current.subscribe(),
        live: live.clone(),
        experience: experience.clone(),
        stop,
        heirs,
        service: service.clone(),
        left_alone: Arc::default(),
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
        service: service.clone(),
        tasks: TaskTracker::new(),
    });
    relieve()?;
    service.ready();
    tokio::select! {
        () = forwarder::run(listener, datagrams, shared, stopped, waiting) => {}
        () = source.watch(&current, &reload) => {}
        () = control.serve(desk) => {}
    }
    last_words.say().await;
    Ok(())
}

//! The gateway's programs but for the forwarder in one file, as the package ships them: most of each is
//! what all of them are built of (TLS, HTTP, the runtime), and so it is installed, and in memory, once.
//! Each is called by its own name, and is what it is in its own crate.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

#[path = "../../agent/src/main.rs"]
mod agent;
#[path = "../../api/src/main.rs"]
mod api;
#[path = "../../tunnel/src/bin/pgw-tunneld.rs"]
mod tunneld;

/// As sysexits.h has it: a mistake in the call.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(OsStr::to_str) {
        Some("pgw") => pgw_cli::main(),
        Some("pgw-agent") => agent::main(),
        Some("pgw-api") => api::main(),
        Some("pgw-tunneld") => tunneld::main(),
        Some("pgw-ui") => pgw_ui::main(),
        Some(_) | None => {
            eprintln!(
                "pgw: {called:?} is none of pgw, pgw-agent, pgw-api, pgw-tunneld and pgw-ui, by which names this is called"
            );
            ExitCode::from(USAGE)
        }
    }
}

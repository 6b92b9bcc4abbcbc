//! pgw: the operator's command line. It asks the REST API and tells people what it said; what it
//! cannot ask there, it looks up on the machine itself (`doctor`).

mod args;
mod desk;
mod doctor;
mod error;
mod file;
mod gateway;
mod installed;
mod named;
mod noun;
mod place;
mod problem;
mod secret;
mod sse;
mod table;
#[cfg(test)]
mod tests;
mod verb;
mod words;

use std::process::ExitCode;

use clap::Parser as _;
use pgw_core::settings::Environment;

use args::Arguments;
use desk::Desk;
use error::Error;

/// As it is called: the arguments are those of the process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Whoever asked for help and has gone away needs none.
            let _unread = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(error::USAGE));
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(&Error::Failed(format!("it cannot be run: {error}"))),
    };
    let mut desk = Desk::of_this_process(arguments.global.output, &Environment);
    match runtime.block_on(arguments.run(&Environment, &mut desk)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever was under way stands on the line on which this is told.
            desk.progress("");
            told(&error)
        }
    }
}

fn told(error: &Error) -> ExitCode {
    if !error.is_told() {
        eprintln!("pgw: {error}");
    }
    ExitCode::from(error.code())
}

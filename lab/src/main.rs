//! `pgw-lab up`: a whole gateway in private namespaces, to look at and to play with.
//! `pgw-lab bench`: measures it.

use std::path::Path;
use std::process::ExitCode;

use pgw_lab::sandbox::{self, Stage};
use pgw_lab::{bench, demo};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let result = match Stage::of_this_process() {
        Stage::Init(words) => return sandbox::init(&words),
        Stage::Inside(words) => match words.as_slice() {
            [up, folder] if up == "up" => {
                sandbox::work(demo::inside(Path::new(folder))).map(|()| ExitCode::SUCCESS)
            }
            [command, rest @ ..] if command == bench::BENCH => {
                sandbox::work(bench::inside(rest)).map(|()| ExitCode::SUCCESS)
            }
            _ => return usage(),
        },
        Stage::Outside(words) => match words.as_slice() {
            [up] if up == "up" => sandbox::work(demo::outside()),
            [command, rest @ ..] if command == bench::BENCH => sandbox::work(bench::outside(rest)),
            [part, what] if part == bench::PART => bench::part(what).map(|()| ExitCode::SUCCESS),
            _ => return usage(),
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("pgw-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn usage() -> ExitCode {
    eprintln!("pgw-lab up: starts a LAN, a gateway with pgw, upstreams and an internet; Ctrl-C ends it all");
    eprintln!("{}: measures pgw beside its peers", bench::USAGE);
    ExitCode::from(USAGE)
}

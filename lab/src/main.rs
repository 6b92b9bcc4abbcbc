//! `pgw-lab up`: a whole gateway in private namespaces, to look at and to play with.

use std::path::Path;
use std::process::ExitCode;

use pgw_lab::demo;
use pgw_lab::sandbox::{self, Stage};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let result = match Stage::of_this_process() {
        Stage::Init(words) => return sandbox::init(&words),
        Stage::Inside(words) => match words.as_slice() {
            [up, folder] if up == "up" => {
                sandbox::work(demo::inside(Path::new(folder))).map(|()| ExitCode::SUCCESS)
            }
            _ => return usage(),
        },
        Stage::Outside(words) => match words.as_slice() {
            [up] if up == "up" => sandbox::work(demo::outside()),
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
    ExitCode::from(USAGE)
}

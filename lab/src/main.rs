//! `pgw-lab up`: a whole gateway in private namespaces, to look at and to play with.
//! `pgw-lab matrix`: the same, with everything in it dying at random.

use std::path::Path;
use std::process::ExitCode;

use pgw_lab::demo;
use pgw_lab::matrix::{self, play};
use pgw_lab::sandbox::{self, Stage};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let result = match Stage::of_this_process() {
        Stage::Init(words) => return sandbox::init(&words),
        Stage::Inside(words) => match words.as_slice() {
            [up, folder] if up == "up" => {
                sandbox::work(demo::inside(Path::new(folder))).map(|()| ExitCode::SUCCESS)
            }
            [matrix, sequences, seed] if matrix == "matrix" => match (sequences.parse(), seed.parse()) {
                (Ok(sequences), Ok(seed)) => {
                    sandbox::work(play::inside(sequences, seed)).map(|()| ExitCode::SUCCESS)
                }
                _no_numbers => return usage(),
            },
            _ => return usage(),
        },
        Stage::Outside(words) => match words.as_slice() {
            [up] if up == "up" => sandbox::work(demo::outside()),
            [matrix, sequences] if matrix == "matrix" => match sequences.parse() {
                Ok(sequences) => matrix::seed().and_then(|seed| play::outside(sequences, seed)),
                Err(_no_number) => return usage(),
            },
            _ => return usage(),
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("pgw-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn usage() -> ExitCode {
    eprintln!(
        "pgw-lab up: starts a LAN, a gateway with pgw, upstreams and an internet; Ctrl-C ends it all\n\
         pgw-lab matrix <sequences>: random faults, and nothing may leak; PGW_LAB_SEED repeats a run"
    );
    ExitCode::from(USAGE)
}

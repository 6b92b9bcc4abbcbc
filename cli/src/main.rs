//! pgw: see the library, which may be part of another program as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgw_cli::main()
}

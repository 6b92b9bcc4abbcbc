//! pgw-ui, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgw_ui::main()
}

//! One file, and a program for each name.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::disallowed_methods, reason = "the program itself is tried here")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

fn called(name: &str, argument: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgw-bundle")).arg0(name).arg(argument).output().unwrap()
}

#[test]
fn each_name_is_its_program_wherever_it_lies() {
    for name in ["pgw", "pgw-agent", "pgw-api", "pgw-tunneld", "pgw-ui"] {
        let done = called(&format!("/usr/bin/{name}"), "--version");
        let [said, complained] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(done.status.success() && complained.is_empty(), "{name}: {complained}");
        assert_eq!(said.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn any_other_name_is_told_which_there_are() {
    let done = called("pgw-bundle", "--version");
    assert_eq!(done.status.code(), Some(64));
    assert!(String::from_utf8(done.stderr).unwrap().contains("pgw-tunneld"));
}

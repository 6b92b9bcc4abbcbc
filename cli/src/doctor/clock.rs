//! The clock: certificates, sessions and the journal go by it.

use jiff::Timestamp;

use super::machine::Machine;
use super::{Finding, Findings, exists};

/// This program was not there before.
const BUILT_AFTER: i64 = 1_780_000_000;
const FIX: &str =
    "timedatectl set-ntp true, or apt install systemd-timesyncd; behind a firewall, allow udp 123 out";

pub(super) fn look(machine: &Machine) -> Vec<Finding> {
    judged(machine, Timestamp::now())
}

pub(super) fn judged(machine: &Machine, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings::of("clock");
    if now.as_second() < BUILT_AFTER {
        findings.bad(format!("it is said to be {now}: certificates are not taken yet"), FIX);
        return findings.found;
    }
    let synchronized = (machine.run)(&["timedatectl", "show", "--property=NTPSynchronized", "--value"]);
    match synchronized.as_deref().map(str::trim) {
        Ok("yes") => findings.ok("it is synchronized"),
        Ok(_) if exists(&machine.root, "/run/systemd/timesync/synchronized") => {
            findings.ok("it is synchronized")
        }
        Ok(_) => findings.warn("nobody keeps it right", FIX),
        Err(why) => findings.unknown(format!("whether anybody keeps it right: {why}"), "timedatectl"),
    }
    findings.found
}

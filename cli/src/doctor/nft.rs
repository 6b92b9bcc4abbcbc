//! nftables: is it there, new enough, and does it hold what it should?

use super::machine::Machine;
use super::{Finding, Findings};

const OLDEST: [u32; 3] = [1, 0, 6];
const TABLES: [&str; 2] = ["table ip pgw", "table inet pgw_filter"];

pub(super) fn look(machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("nftables");
    match (machine.run)(&["nft", "--version"]) {
        Err(why) => {
            findings.bad(format!("nft cannot be run: {why}"), "apt install nftables");
            return findings.found;
        }
        Ok(told) => match version(&told) {
            Some(version) if version < OLDEST => findings.bad(
                format!("nft is {}, and 1.0.6 or newer is needed", told.trim()),
                "upgrade the distribution: Debian 12 and later have it",
            ),
            Some(_) => findings.ok(told.trim().to_owned()),
            None => findings.unknown(format!("nft says {:?} of its version", told.trim()), "nft --version"),
        },
    }
    match (machine.run)(&["nft", "list", "tables"]) {
        Ok(tables) => {
            let missing: Vec<&str> = TABLES
                .into_iter()
                .filter(|table| !tables.lines().any(|line| line.trim() == *table))
                .collect();
            if missing.is_empty() {
                findings.ok("pgw's tables are in the kernel");
            } else {
                findings.bad(
                    format!(
                        "not in the kernel: {}. Registered devices are not held back",
                        missing.join(", ")
                    ),
                    "systemctl start pgw-agent, and read its journal: journalctl -u pgw-agent",
                );
            }
        }
        Err(why) => findings.unknown(format!("the tables cannot be listed: {why}"), "run it as root"),
    }
    findings.found
}

/// Of `nftables v1.0.6 (Lester Gooch #5)`.
fn version(told: &str) -> Option<[u32; 3]> {
    let word = told.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(|number| number.parse::<u32>());
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next().unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_number_by_number() {
        for (told, want) in [
            ("nftables v1.0.6 (Lester Gooch #5)", Some([1, 0, 6])),
            ("nftables v1.1.3 (Commodore Bullmoose #4)", Some([1, 1, 3])),
            ("nftables v0.9.10 (x)", Some([0, 9, 10])),
            ("nftables v2.0", Some([2, 0, 0])),
            ("nothing", None),
        ] {
            assert_eq!(version(told), want, "{told}");
        }
        assert!([1, 0, 10] > OLDEST && [0, 9, 10] < OLDEST);
    }
}

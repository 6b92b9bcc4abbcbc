//! The house's one command. Nothing here but what cargo brings: it runs on a fresh machine.
#![expect(clippy::disallowed_methods, reason = "running programs is what it is for")]
#![expect(clippy::print_stdout, reason = "it talks to the person who called it")]

mod contract;
mod deb;
#[cfg(test)]
mod documents;
mod fuzz;
#[cfg(test)]
mod guarantees;
mod install;
mod package;
mod rootfs;
mod run;
mod tools;
mod web;

use std::process::ExitCode;

use install::Package;
use run::{Failed, cargo, step};

const HELP: &str = "\
cargo xtask <command>

  up       installs what is missing, builds, and starts a whole gateway in a lab of network
           namespaces: devices, real upstream proxies, an origin. Ctrl-C ends all of it.
  test     installs what the tests need and runs all of them: format, lints, unit, end to end, a browser,
           the package's life cycle, and a few seconds of each fuzz target
  matrix   [sequences] [seed]: the lab's fault matrix, 500 sequences unless it is told otherwise: everything
           is killed, frozen, flushed and filled at random, and nothing may leak; a seed repeats a run
  fuzz     [target] [seconds]: hostile bytes for the readers of such, all or one of them, for a
           minute each or for as long as it is told
  contract schemathesis (from PyPI) asks a pgw-api of its own thousands of right and wrong things, and no
           answer may be one of which the API's description does not tell; about a minute
  check    the minute before a commit: format, lints, unit tests
  golden   rewrites the golden rulesets and the API's description for the pages, and shows what changed
  web      builds the pages of pgw-ui into target/web, where `cargo build` takes them from
  bench    fwd: measures the forwarder beside its peers on a quiet machine, about a quarter of an
           hour, and writes docs/bench/fwd.{md,json,svg}. --repeat N, --only <word>, --quick: what
           is not the whole of it goes to target/bench/ instead
           agent: the same for the agent's rules, at 1 to 10,000 clients; about five minutes
           api: the same for the control plane with 1,000 devices; about ten minutes
           tunnel: the same for reverse tunnels, beside rathole and bore; about twelve minutes
           ui: the pages with 1,000 devices in Chromium, into docs/bench/ui.md; about three minutes
  deb      [--arch arm64]: builds the Debian packages, target/deb/<package>_<version>_<architecture>.deb,
           and shows them to lintian: pgw, pgw-connect, and pgw-connect-files, which holds clients
           that a gateway hands out
  lifecycle
           [test]: installs them in a Debian that systemd boots in the lab, and lives through what happens
           to a gateway: power cuts, upgrades, faults, removal; some minutes once they are built. All
           of it writes docs/bench/package.md
";

/// Seconds for a fuzz target, unless it is told otherwise.
const LONG_ENOUGH: u32 = 60;

/// What the lab is made of.
const LAB: &[Package] = &[
    Package { name: "iproute2", why: "network namespaces" },
    Package { name: "nftables", why: "the firewall" },
    Package { name: "openssl", why: "hashed passwords for the upstreams" },
    Package { name: "curl", why: "requests as a device makes them" },
    Package { name: "jq", why: "the examples in docs/rest.md" },
    Package { name: "squid", why: "an upstream that speaks HTTP CONNECT with a password" },
    Package { name: "tinyproxy-bin", why: "the HTTP upstream behind TLS" },
    Package { name: "stunnel4", why: "TLS in front of it" },
    Package { name: "microsocks", why: "a SOCKS5 upstream" },
    Package { name: "dante-server", why: "another SOCKS5 upstream" },
];

/// A server for the tests, which start it themselves.
const DATABASE: &[Package] =
    &[Package { name: "postgresql", why: "the store's tests run on PostgreSQL as well" }];

/// In which the pages are tried.
const BROWSER: &[Package] = &[Package { name: "chromium", why: "the pages are tried in a real browser" }];

/// The lab's programs that a bench needs as well.
const BENCH: &[&str] = &["iproute2", "nftables", "openssl", "curl", "microsocks"];

const DISTANCE: Package =
    Package { name: "iptables", why: "a bench's distance: packets that wait in a queue" };

/// What the forwarder is measured against; what Debian does not have is left out of the table.
const PEERS: &[Package] = &[
    Package { name: "redsocks", why: "a transparent forwarder to compare with" },
    Package { name: "haproxy", why: "another, with a fixed origin" },
    Package { name: "v2ray", why: "another, in Go" },
];

/// What tunnels are measured against.
const TUNNEL_PEERS: &[install::Crate] = &[
    install::Crate { name: "rathole", version: "0.5.0", program: "rathole" },
    install::Crate { name: "bore-cli", version: "0.6.0", program: "bore" },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["up", rest @ ..] => up(rest),
        ["test"] => test(),
        ["check"] => check(),
        ["golden"] => golden(),
        ["web"] => web::build(),
        ["fuzz", rest @ ..] => fuzz(rest),
        ["contract"] => build().and_then(|()| contract::run()),
        [contract::INSIDE] => contract::inside(),
        ["matrix", rest @ ..] => matrix(rest),
        ["bench", "ui"] => bench_pages(),
        ["bench", rest @ ..] => bench(rest),
        ["deb", rest @ ..] => deb::run(rest),
        ["lifecycle", rest @ ..] => lifecycle(rest),
        ["help" | "--help" | "-h"] | [] => {
            println!("{HELP}");
            Ok(())
        }
        [other, ..] => Err(Failed(format!("{other:?} is no command; see `cargo xtask help`"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn up(rest: &[&str]) -> Result<(), Failed> {
    install::missing(LAB)?;
    build()?;
    Err(run::instead(&run::built("pgw-lab")?, &[&["up"], rest].concat()))
}

fn matrix(rest: &[&str]) -> Result<(), Failed> {
    install::missing(LAB)?;
    build()?;
    Err(run::instead(&run::built("pgw-lab")?, &[&["matrix"], rest].concat()))
}

fn test() -> Result<(), Failed> {
    install::missing(LAB.iter().chain(DATABASE).chain(BROWSER))?;
    install::missing(fuzz::COMPILER)?;
    web::test()?;
    tools::PROMTOOL.fetch()?;
    format_and_lints()?;
    one_crypto_provider()?;
    build()?;
    contract::run()?;
    step("tests: unit and end to end", || cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    life_cycle(&[])?;
    fuzz::run(None, fuzz::SHORT)
}

fn lifecycle(rest: &[&str]) -> Result<(), Failed> {
    install::missing(LAB)?;
    build()?;
    package::forget()?;
    life_cycle(rest)?;
    // Some of the tests make some of the numbers.
    if rest.is_empty() { package::publish() } else { Ok(()) }
}

/// The package's life in a real systemd; `rest` names some of its tests. What it needs is made once,
/// and again when it has changed.
fn life_cycle(rest: &[&str]) -> Result<(), Failed> {
    deb::for_tests()?;
    rootfs::make()?;
    // Of the whole workspace: with the lab alone, cargo would choose other features for the dependencies.
    let test = ["test", "--workspace", "--test", "lifecycle", "--"];
    step("life cycle", || cargo(&[&test, rest].concat()))
}

fn fuzz(rest: &[&str]) -> Result<(), Failed> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let (target, seconds) = match rest {
        [] => (None, LONG_ENOUGH),
        [one] => number(one).map_or((Some(*one), LONG_ENOUGH), |seconds| (None, seconds)),
        [target, seconds] => {
            let seconds =
                number(seconds).ok_or_else(|| Failed(format!("{seconds:?} is no number of seconds")))?;
            (Some(*target), seconds)
        }
        [_, _, more, ..] => return Err(Failed(format!("what is {more:?}? see `cargo xtask help`"))),
    };
    install::missing(fuzz::COMPILER)?;
    fuzz::run(target, seconds)
}

fn check() -> Result<(), Failed> {
    install::missing(DATABASE)?;
    web::test()?;
    format_and_lints()?;
    step("unit tests", || cargo(&["test", "--workspace", "--exclude", "pgw-lab"]))
}

fn golden() -> Result<(), Failed> {
    // The whole workspace even here: with one crate alone, cargo would choose other features for
    // the dependencies and build them a second time.
    step("goldens", || {
        run::with_env(&["test", "--workspace", "--lib", "golden"], &[("PGW_GOLDEN", "write")])
    })?;
    run::foreground(
        "git".as_ref(),
        &["--no-pager", "diff", "--stat", "-p", "--", "agent/tests/golden", "ui/web/openapi.json"],
    )
}

fn bench(rest: &[&str]) -> Result<(), Failed> {
    install::missing(LAB.iter().filter(|package| BENCH.contains(&package.name)).chain([&DISTANCE]))?;
    let (peers, crates): (&[Package], &[install::Crate]) = match rest.first() {
        Some(&"fwd") => (PEERS, &[]),
        Some(&"tunnel") => (&[], TUNNEL_PEERS),
        _ => (&[], &[]),
    };
    let absent = |name: &str, Failed(why): Failed| eprintln!("xtask: {why}; it is measured without {name}");
    for peer in peers {
        install::missing([peer]).unwrap_or_else(|failed| absent(peer.name, failed));
    }
    for peer in crates {
        peer.fetch("target/bench/peers").unwrap_or_else(|failed| absent(peer.name, failed));
    }
    let measured: &[&str] = match rest.first() {
        Some(&"tunnel") => &["-p", "pgw-tunnel"],
        _ => &["-p", "pgw-api", "-p", "pgw-fwd", "-p", "pgw-agent", "-p", "pgw-ui"],
    };
    step("build what is measured", || cargo(&[&["build", "--release", "-p", "pgw-lab"], measured].concat()))?;
    Err(run::instead(&run::built_to_ship("pgw-lab")?, &[&["bench"], rest].concat()))
}

/// A story of the browser is what measures them, before programs as they are shipped.
fn bench_pages() -> Result<(), Failed> {
    install::missing(LAB.iter().chain(BROWSER))?;
    web::for_browser()?;
    step("build what is measured", || cargo(&["build", "--release", "--workspace"]))?;
    let test = ["test", "--release", "--workspace", "--test", "browser", "--", "thousand"];
    step("pages, with a thousand devices", || run::with_env(&test, &[("PGW_BENCH", "write")]))
}

fn build() -> Result<(), Failed> {
    web::build()?;
    step("build", || cargo(&["build", "--workspace"]))
}

fn format_and_lints() -> Result<(), Failed> {
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("lints", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// With two crypto providers in one program rustls panics at its first use.
fn one_crypto_provider() -> Result<(), Failed> {
    let found = run::output("cargo", &["tree", "--workspace", "--edges", "normal", "--prefix", "none"])?;
    match found.lines().find(|line| line.starts_with("ring ")) {
        Some(line) => {
            Err(Failed(format!("{line} is in the tree beside aws-lc-rs; see `cargo tree -i ring`")))
        }
        None => Ok(()),
    }
}

//! Runs each test inside a fresh lab and tells the outcome as `cargo test` does.

use std::future::Future;
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use pgw_lab::sandbox::{self, FIX, Sandbox, Stage};
use pgw_lab::{Lab, gateway};

/// Much longer than any test takes: whoever exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(240);
/// A lab is mostly waiting, but for the start of its programs.
const AT_A_TIME: usize = 2;
const TAIL: usize = 40;
/// What a test that passed still has to say begins with this.
pub(crate) const MEASURED: &str = "measured:";

pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Lab) -> Outcome,
}

/// A list of tests: the name of each is the guarantee.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[$($crate::harness::Test {
            name: stringify!($name),
            run: |lab| Box::pin($name(lab)),
        }),+];
    };
}

pub(crate) fn main(groups: &[&'static [Test]]) -> ExitCode {
    let tests = || groups.iter().copied().flatten();
    match Stage::of_this_process() {
        Stage::Init(words) => sandbox::init(&words),
        Stage::Inside(words) => {
            let wanted = tests().find(|test| words.first().is_some_and(|name| name == test.name));
            match wanted.context("there is no such test").and_then(in_a_lab) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error:#}\n\n{}", gateway::log_tails(TAIL));
                    ExitCode::FAILURE
                }
            }
        }
        Stage::Outside(_) => outside(tests().copied().collect()),
    }
}

fn in_a_lab(test: &Test) -> Result<()> {
    sandbox::work(async { (test.run)(Lab::start().await?).await })
}

fn outside(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    if !arguments.list
        && let Err(error) = build()
    {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let aloud = arguments.nocapture;
    let trial = |test: Test| Trial::test(test.name, move || run(test.name, aloud).map_err(Failed::from));
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

/// A test of yesterday's programs would prove nothing about today's. Within `cargo test` this
/// is a look at the clock, as all has been built.
fn build() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the test runner asks cargo for the programs it tests")]
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(["build", "--quiet", "--workspace"]);
    // Those that this test starts are of its own kind.
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo tells a test about its own package must not reach build scripts.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR")
    {
        cargo.env_remove(name);
    }
    let status = cargo.status().context("cargo cannot be started")?;
    anyhow::ensure!(status.success(), "the programs to be tested do not build");
    Ok(())
}

fn run(name: &str, aloud: bool) -> Result<()> {
    let output = if aloud { Stdio::inherit } else { Stdio::piped };
    let sandbox = Sandbox::start(&[name.to_owned()], output)?;
    let lifeline = sandbox.lifeline();
    let (finished, waiting) = mpsc::channel();
    std::thread::spawn(move || finished.send(sandbox.output()));
    let (status, text) = match waiting.recv_timeout(LIMIT) {
        Ok(outcome) => outcome?,
        Err(_still_running) => {
            lifeline.cut();
            let text = waiting.recv().context("the lab is lost")??.1;
            bail!("did not end within {LIMIT:?}\n{text}");
        }
    };
    if !status.success() {
        let refused = if text.contains("unshare: ") { FIX } else { "" };
        bail!("{status}\n{text}{refused}");
    }
    if !aloud {
        text.lines().filter(|line| line.starts_with(MEASURED)).for_each(|line| eprintln!("{line}"));
    }
    Ok(())
}

//! What the API's description promises, tried by schemathesis: thousands of requests, right and
//! wrong ones, and no answer that the description does not tell of. In a network namespace of its
//! own: proxies whose hosts were made up are never dialled.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::install::{self, Package};
use crate::run::{self, Failed, step};

const VERSION: &str = "4.32.5";
const PACKAGES: &[Package] = &[
    Package { name: "python3-venv", why: "a place of its own for schemathesis" },
    Package { name: "iproute2", why: "network namespaces" },
];
/// What it may do, and which answers it cannot foresee.
const RULES: &str = "xtask/schemathesis.toml";
const SECONDS: &str = "60";
const PLACE: &str = "target/contract";
const LISTEN: &str = "127.0.0.1:8080";
const TOKEN: &str = "asked-by-schemathesis";
/// pgw-api makes its tables before it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// The word by which this program calls itself, inside of the namespace.
pub(crate) const INSIDE: &str = "contract-inside";

/// With pgw-api built already.
pub(crate) fn run() -> Result<(), Failed> {
    install::missing(PACKAGES)?;
    step("schemathesis", installed)?;
    step("the API's description against its answers", || {
        let own = std::env::current_exe().map_err(|error| Failed(format!("where am I? {error}")))?;
        let own = own.display().to_string();
        let alone = ["--net", "--map-root-user", "--", &own, INSIDE];
        run::foreground("unshare".as_ref(), &alone)
    })
}

fn program() -> PathBuf {
    Path::new(PLACE).join(format!("schemathesis-{VERSION}/bin/schemathesis"))
}

fn installed() -> Result<(), Failed> {
    if program().exists() {
        return Ok(());
    }
    let place = Path::new(PLACE).join(format!("schemathesis-{VERSION}"));
    let pip = place.join("bin/pip");
    run::foreground("python3".as_ref(), &["-m", "venv", &place.display().to_string()])?;
    let wanted = format!("schemathesis=={VERSION}");
    run::foreground(
        pip.as_os_str(),
        &["install", "--quiet", "--disable-pip-version-check", "--no-input", &wanted],
    )
    .map_err(|Failed(why)| {
        Failed(format!(
            "{why}; without {wanted} from PyPI nobody knows whether the API answers as it is described"
        ))
    })
}

/// In the namespace, where nobody else is.
pub(crate) fn inside() -> Result<(), Failed> {
    run::foreground("ip".as_ref(), &["link", "set", "lo", "up"])?;
    let place = Path::new(PLACE);
    let state = place.join("state");
    match fs::remove_dir_all(&state) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(&state, &error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(&state).map_err(|error| cannot(&state, &error))?;
    let log = place.join("pgw-api.log");
    let api = Api(start(&state, &log)?);
    let done = awaited().and_then(|()| ask());
    drop(api);
    let told = fs::read_to_string(&log).map_err(|error| cannot(&log, &error))?;
    // What is only the tunnel daemon's to answer cannot be answered here, where there is none.
    let expected = |line: &&str| line.contains("the tunnel daemon does not answer");
    let failed = |line: &&str| line.contains("a call failed") || line.contains("panicked");
    match told.lines().find(|line| failed(line) && !expected(line)) {
        Some(line) => Err(Failed(format!("pgw-api failed at a call, see {}: {line}", log.display()))),
        None => done,
    }
}

/// Ended with us.
struct Api(Child);

impl Drop for Api {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start(state: &Path, log: &Path) -> Result<Child, Failed> {
    let here = std::env::current_dir().map_err(|error| Failed(format!("where am I? {error}")))?;
    let log = File::create(log).map_err(|error| cannot(log, &error))?;
    let mut api = Command::new(run::built("pgw-api")?);
    api.env("PGW_API_LISTEN", LISTEN)
        .env("PGW_ADMIN_TOKEN", TOKEN)
        .env("PGW_UNITS", "spawn")
        .env("PGW_STATE_DIR", here.join(state))
        .env("PGW_RUN_DIR", here.join(state))
        .stderr(log);
    api.spawn().map_err(|error| Failed(format!("pgw-api cannot be run: {error}")))
}

fn awaited() -> Result<(), Failed> {
    let begun = Instant::now();
    while TcpStream::connect(LISTEN).is_err() {
        if begun.elapsed() > STARTS_WITHIN {
            return Err(Failed(format!("pgw-api does not listen; see {PLACE}/pgw-api.log")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn ask() -> Result<(), Failed> {
    let (base, document) = (format!("http://{LISTEN}"), format!("http://{LISTEN}/openapi.json"));
    let token = format!("Authorization: Bearer {TOKEN}");
    run::foreground(
        program().as_os_str(),
        &[
            "--config-file",
            RULES,
            "run",
            "--no-color",
            "--checks",
            "all",
            "--continue-on-failure",
            "--max-time",
            SECONDS,
            "--generation-database",
            "none",
            "--url",
            &base,
            "--header",
            &token,
            &document,
        ],
    )
}

fn cannot(path: &Path, error: &std::io::Error) -> Failed {
    Failed(format!("{}: {error}", path.display()))
}

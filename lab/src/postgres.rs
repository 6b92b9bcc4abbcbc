//! A PostgreSQL server of a test's own: on a socket in a directory of its own, as a user without
//! rights, and gone with whoever started it, by whatever death.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;

/// Where Debian keeps it, a directory for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// As root it refuses to work; this one owns nothing else.
const NOBODY: u32 = 65534;
const START: Duration = Duration::from_secs(60);

/// Watches over the server: the pipe that it reads has its only writing end in the process that
/// wants the server. At its end everything goes; at a word only the server does.
const KEEPER: &str = r#"
directory=$1; shift
"$@" >>"$directory/log" 2>&1 &
server=$!
read -r word
kill -INT "$server"
wait "$server"
[ -n "$word" ] || rm -rf "$directory"
"#;

pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    keeper: Option<(Child, ChildStdin)>,
}

/// A database that goes when it is dropped.
pub struct Database<'a> {
    server: &'a Postgres,
    name: String,
}

impl Postgres {
    /// Answers when it takes connections.
    pub fn start() -> Result<Self> {
        Self::start_in(&std::env::temp_dir())
    }

    /// In a directory of its own below this one.
    pub fn start_in(below: &Path) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = below.join(format!("pgw-postgres-{}-{number}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        if geteuid().is_root() {
            chown(&directory, Some(NOBODY), Some(NOBODY))?;
        }
        let mut server = Self { programs, directory, keeper: None };
        let data = server.data();
        server.ran(
            "initdb",
            &["--no-sync", "--auth=trust", "--username=pgw", "--encoding=UTF8", "--pgdata", &data],
        )?;
        server.again()?;
        Ok(server)
    }

    /// As a restart of the machine that it runs on would have it.
    pub fn stop(&mut self) {
        if let Some((mut keeper, mut pipe)) = self.keeper.take() {
            let _gone = pipe.write_all(b"stop\n");
            let _status = keeper.wait();
        }
    }

    pub fn again(&mut self) -> Result<()> {
        let socket = self.directory.display().to_string();
        let settings = [
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={socket}"),
            "max_connections=300".to_owned(),
            // What a machine without power would lose is no matter here.
            "fsync=off".to_owned(),
        ];
        let mut command = plain("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&self.directory).args(self.as_whom());
        command.arg(self.programs.join("postgres")).args(["-D", &self.data()]);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut keeper = command.spawn().context("sh cannot be started")?;
        let pipe = keeper.stdin.take().context("a pipe was asked for")?;
        self.keeper = Some((keeper, pipe));
        let patient_until = Instant::now() + START;
        while !self.run("pg_isready", &["--quiet", "--host", &socket])?.status.success() {
            if Instant::now() > patient_until {
                bail!("PostgreSQL does not start: {}", fs::read_to_string(self.directory.join("log"))?);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// An empty one.
    pub fn database(&self) -> Result<Database<'_>> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", MADE.fetch_add(1, Ordering::Relaxed));
        let socket = self.directory.display().to_string();
        self.ran("createdb", &["--host", &socket, "--username=pgw", "--template=template0", &name])?;
        Ok(Database { server: self, name })
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }

    fn as_whom(&self) -> Vec<String> {
        if !geteuid().is_root() {
            return Vec::new();
        }
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        ["setpriv", &user, &group, "--clear-groups", "--"].map(str::to_owned).to_vec()
    }

    fn ran(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let done = self.run(program, arguments)?;
        if !done.status.success() {
            bail!(
                "{program}: {}{}",
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let path = self.programs.join(program).display().to_string();
        let mut words = self.as_whom();
        words.push(path);
        let (first, rest) = words.split_first().context("there is a program")?;
        let mut command = plain(first);
        command.args(rest).args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command.output().with_context(|| format!("{program} cannot be started"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((mut keeper, pipe)) = self.keeper.take() {
            drop(pipe);
            let _status = keeper.wait();
        } else {
            let _gone = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Database<'_> {
    pub fn url(&self) -> String {
        format!("postgres://pgw@localhost/{}?host={}", self.name, self.server.directory.display())
    }
}

impl Database<'_> {
    /// Its address; it goes with its server.
    pub fn keep(self) -> String {
        let url = self.url();
        std::mem::forget(self);
        url
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let socket = self.server.directory.display().to_string();
        let arguments = ["--host", &socket, "--username=pgw", "--force", "--if-exists", &self.name];
        if let Err(error) = self.server.ran("dropdb", &arguments) {
            eprintln!("a test's database stays until its server goes: {error:#}");
        }
    }
}

/// Of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let found = fs::read_dir(DEBIAN).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let newest = found.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| version(path));
    let missing =
        "there is no PostgreSQL server to test with: apt-get install postgresql, or cargo xtask test";
    Ok(newest.context(missing)?.join("bin"))
}

#[expect(clippy::disallowed_methods, reason = "a lab consists of programs")]
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8");
    command
}

//! What somebody runs on a machine that shall become a tunnel client: a script that fetches the program
//! from the gateway, compares it with what the gateway has, and connects with a code that works once.

use std::io;
use std::path::Path;

use pgw_core::redact::Secret;
use sha2::{Digest as _, Sha256};

/// The name by which the daemon shows its own certificate. The file that comes is known by its hash,
/// and the gateway by its pin, so nobody else's word is needed for either.
const SERVER_NAME: &str = "tunnel.pgw.internal";
/// A program that is larger is not one of ours.
const LARGEST: u64 = 256 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Linux,
    Windows,
    Macos,
}

/// A client program that is installed for others to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    arch: &'static str,
    file: String,
    sha256: String,
}

/// What a machine needs to come in.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// `host:port`.
    pub host: String,
    pub port: u16,
    pub ca: String,
    /// Of letters that no shell takes for something else.
    pub client: String,
    pub code: Secret,
}

impl System {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "linux" => Self::Linux,
            "windows" => Self::Windows,
            "macos" => Self::Macos,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Macos => "macos",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Windows => "bat",
            Self::Linux | Self::Macos => "sh",
        }
    }

    /// Those that are there. Reads each of them whole.
    pub fn programs(self, downloads: &Path) -> Vec<Program> {
        let program = |arch| {
            let end = if self == Self::Windows { ".exe" } else { "" };
            let file = format!("pgw-connect-{}-{arch}{end}", self.word());
            let sha256 = sha256(&downloads.join(&file)).ok()?;
            Some(Program { arch, file, sha256 })
        };
        ["x86_64", "aarch64"].into_iter().filter_map(program).collect()
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Invitation {
    pub fn server(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// What to type where the program is installed.
    pub fn command(&self) -> String {
        format!("pgw-connect {} --token-file {}.token", self.flags(), self.client)
    }

    fn flags(&self) -> String {
        let (server, ca, client, code) = (self.server(), &self.ca, &self.client, self.code.expose());
        format!("--server {server} --ca {ca} --id {client} --enroll {code}")
    }

    pub fn script(&self, system: System, programs: &[Program]) -> String {
        match system {
            System::Windows => self.batch(programs),
            System::Linux => self.shell(programs, "sha256sum"),
            System::Macos => self.shell(programs, "shasum -a 256"),
        }
    }

    /// From the daemon, whatever its name on the internet is.
    fn curl(&self, output: &str, file: &str) -> String {
        let (port, host) = (self.port, self.bracketed());
        format!(
            "-fsSk --connect-to {SERVER_NAME}:{port}:{host}:{port} -o {output} https://{SERVER_NAME}:{port}/download/{file}"
        )
    }

    fn shell(&self, programs: &[Program], sha256: &str) -> String {
        let mut cases = String::new();
        for Program { arch, file, sha256 } in programs {
            let also = if *arch == "x86_64" { "amd64" } else { "arm64" };
            cases += &format!("{arch} | {also}) file={file} sum={sha256} ;;\n");
        }
        let (flags, client, server) = (self.flags(), &self.client, self.server());
        let curl = self.curl("\"$program.new\"", "\"$file\"");
        format!(
            r#"#!/bin/sh
# Connects this machine to {server} as {client}. The code in it makes one machine known, once, within a
# day; after that the machine has a token of its own, and this file connects it again.
set -eu
umask 077
case "$(uname -m)" in
{cases}*)
    echo "the gateway has no pgw-connect for $(uname -m)" >&2
    exit 1
    ;;
esac
dir="${{PGW_CONNECT_DIR:-$HOME/.pgw-connect}}"
program="$dir/pgw-connect"
mkdir -p "$dir"
is_right() {{
    [ -f "$1" ] && [ "$({sha256} "$1" | cut -d ' ' -f 1)" = "$sum" ]
}}
if ! is_right "$program"; then
    curl {curl}
    if ! is_right "$program.new"; then
        rm -f "$program.new"
        echo "what came is not the gateway's program; get this file again" >&2
        exit 1
    fi
    chmod 700 "$program.new"
    mv "$program.new" "$program"
fi
exec "$program" {flags} --token-file "$dir/{client}.token"
"#
        )
    }

    fn batch(&self, programs: &[Program]) -> String {
        let none = || Program { arch: "", file: String::new(), sha256: String::new() };
        let Program { file, sha256, .. } = programs.first().cloned().unwrap_or_else(none);
        let (flags, client, server) = (self.flags(), &self.client, self.server());
        let curl = self.curl("\"%program%.new\"", &file);
        let text = format!(
            r#"@echo off
rem Connects this machine to {server} as {client}. The code in it makes one machine known, once, within a
rem day; after that the machine has a token of its own, and this file connects it again.
setlocal
set "dir=%LOCALAPPDATA%\pgw-connect"
set "program=%dir%\pgw-connect.exe"
if not exist "%dir%" mkdir "%dir%"
call :is_right "%program%" && goto connect
curl.exe {curl}
if errorlevel 1 (
    echo The gateway cannot be reached.
    pause
    exit /b 1
)
call :is_right "%program%.new" || (
    del "%program%.new"
    echo What came is not the gateway's program; get this file again.
    pause
    exit /b 1
)
move /y "%program%.new" "%program%" >nul
:connect
"%program%" {flags} --token-file "%dir%\{client}.token"
pause
exit /b %errorlevel%
:is_right
if not exist %1 exit /b 1
certutil -hashfile %1 SHA256 | findstr /i /x "{sha256}" >nul
exit /b %errorlevel%
"#
        );
        text.replace('\n', "\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            host: "2001:db8::1".into(),
            port: 8443,
            ca: "sha256:dd".into(),
            client: "office-pc".into(),
            code: Secret::new("c0de"),
        }
    }

    #[test]
    fn a_program_is_known_by_its_hash_and_what_is_not_there_is_not_offered() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(System::Linux.programs(dir.path()), []);
        std::fs::write(dir.path().join("pgw-connect-linux-aarch64"), "program").unwrap();
        std::fs::create_dir(dir.path().join("pgw-connect-linux-x86_64")).unwrap();
        let programs = System::Linux.programs(dir.path());
        assert_eq!((programs.len(), programs[0].arch), (1, "aarch64"));
        let script = invitation().script(System::Linux, &programs);
        assert!(script.contains(&format!("sum={}", programs[0].sha256)), "{script}");
        assert!(script.contains("--connect-to tunnel.pgw.internal:8443:[2001:db8::1]:8443"), "{script}");
        assert!(!script.contains("amd64"), "{script}");
    }

    #[test]
    fn windows_is_told_in_its_own_lines() {
        let program =
            Program { arch: "x86_64", file: "pgw-connect-windows-x86_64.exe".into(), sha256: "ab".into() };
        let script = invitation().script(System::Windows, &[program]);
        assert!(script.lines().count() > 20 && !script.replace("\r\n", "").contains('\n'));
        assert!(script.contains("/download/pgw-connect-windows-x86_64.exe") && script.contains("\"ab\""));
    }
}

//! What is installed where: everything of every package stands here, but for what the package manager
//! reads, which is a folder of the package's name in `packaging/debian`.

use super::copyright::Runtime;

pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) programs: &'static [Program],
    /// What goes where. A folder's files go there all.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// A name by which pages and completions are asked for: they are made of what can be typed.
    pub(super) command_line: Option<&'static str>,
    /// For `cargo tree`: whose crates are in its programs.
    pub(super) crates: &'static [&'static str],
    /// What the bundler put into the pages is in its programs, too.
    pub(super) has_pages: bool,
    /// C libraries that are linked into its programs for good.
    pub(super) runtimes: &'static [Runtime],
}

/// One file, and every name by which it is called: the first is the file's, the others lead to it. Each
/// has a page in `packaging/man`, but for the one that writes its own.
pub(super) struct Program {
    pub(super) built: &'static str,
    pub(super) names: &'static [&'static str],
}

/// What cargo builds, and nothing beside it.
pub(super) const BUILT: &[&str] = &[
    "-p",
    "pgw-bundle",
    "-p",
    "pgw-fwd",
    "-p",
    "pgw-tunnel",
    "--bin",
    "pgw-bundle",
    "--bin",
    "pgw-fwd",
    "--bin",
    "pgw-connect",
];

pub(super) const GATEWAY: Package = Package {
    name: "pgw",
    programs: &[
        Program { built: "pgw-bundle", names: &["pgw-api", "pgw-agent", "pgw-tunneld", "pgw-ui", "pgw"] },
        Program { built: "pgw-fwd", names: &["pgw-fwd"] },
    ],
    files: &[
        ("systemd", "usr/lib/systemd/system"),
        ("packaging/pgw.sysusers", "usr/lib/sysusers.d/pgw.conf"),
        ("packaging/pgw.tmpfiles", "usr/lib/tmpfiles.d/pgw.conf"),
        ("packaging/50-pgw.rules", "usr/share/polkit-1/rules.d/50-pgw.rules"),
        ("packaging/pgw.env", "etc/pgw/pgw.env"),
        ("packaging/grafana/pgw.json", "usr/share/doc/pgw/examples/grafana.json"),
        ("docs/quick-start.md", "usr/share/doc/pgw/quick-start.md"),
        ("docs/network.md", "usr/share/doc/pgw/network.md"),
        ("docs/operations.md", "usr/share/doc/pgw/operations.md"),
        ("docs/settings.md", "usr/share/doc/pgw/settings.md"),
        ("docs/troubleshooting.md", "usr/share/doc/pgw/troubleshooting.md"),
        ("docs/problems.md", "usr/share/doc/pgw/problems.md"),
        ("docs/rest.md", "usr/share/doc/pgw/rest.md"),
        ("docs/tunnels.md", "usr/share/doc/pgw/tunnels.md"),
        ("docs/security.md", "usr/share/doc/pgw/security.md"),
        ("docs/guarantees.md", "usr/share/doc/pgw/guarantees.md"),
        ("docs/known-issues.md", "usr/share/doc/pgw/known-issues.md"),
        ("docs/out-of-scope.md", "usr/share/doc/pgw/out-of-scope.md"),
    ],
    command_line: Some("pgw"),
    crates: &["-p", "pgw-bundle", "-p", "pgw-fwd"],
    has_pages: true,
    runtimes: &[],
};

/// The other end of a tunnel, on a machine of its own.
pub(super) const CONNECT: Package = Package {
    name: "pgw-connect",
    programs: &[Program { built: "pgw-connect", names: &["pgw-connect"] }],
    files: &[
        ("packaging/pgw-connect.service", "usr/lib/systemd/system/pgw-connect.service"),
        ("packaging/connect.example.yaml", "usr/share/doc/pgw-connect/examples/config.yaml"),
    ],
    command_line: None,
    crates: OF_CLIENTS,
    has_pages: false,
    runtimes: &[],
};

/// The same program for whoever gets it from the gateway. The files come from `clients.rs`.
pub(super) const HANDED_OUT: Package = Package {
    name: "pgw-connect-files",
    programs: &[],
    files: &[(
        "packaging/debian/pgw-connect-files/lintian-overrides",
        "usr/share/lintian/overrides/pgw-connect-files",
    )],
    command_line: None,
    // And what only the one for Windows has.
    crates: &["-p", "pgw-tunnel", "--no-default-features", "--target", LINUX, "--target", WINDOWS],
    has_pages: false,
    runtimes: &[
        Runtime {
            name: "musl",
            licence: "MIT",
            home: "https://musl.libc.org",
            told_in: "/usr/share/doc/musl-dev/copyright",
        },
        Runtime {
            name: "mingw-w64",
            licence: "ZPL-2.1",
            home: "https://www.mingw-w64.org",
            told_in: "/usr/share/doc/mingw-w64-common/copyright",
        },
        Runtime {
            name: "libgcc",
            licence: "GPL-3 with GCC-Runtime-Library exception",
            home: "https://gcc.gnu.org",
            told_in: "/usr/share/doc/gcc-mingw-w64-base/copyright",
        },
    ],
};

/// For which the clients are built that a gateway hands out, whatever it is itself.
pub(super) const LINUX: &str = "x86_64-unknown-linux-musl";
pub(super) const WINDOWS: &str = "x86_64-pc-windows-gnu";

const OF_CLIENTS: &[&str] = &["-p", "pgw-tunnel", "--no-default-features"];

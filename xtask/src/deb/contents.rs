//! What is installed where: everything of every package stands here, but for what the package manager
//! reads, which is a folder of the package's name in `packaging/debian`.

pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) programs: &'static [Program],
    /// What goes where. A folder's files go there all.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// A name by which pages and completions are asked for: they are made of what can be typed.
    pub(super) command_line: Option<&'static str>,
    /// For `cargo tree`: whose crates are in its programs.
    pub(super) crates: &'static [&'static str],
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
        ("docs/operations.md", "usr/share/doc/pgw/operations.md"),
        ("docs/guarantees.md", "usr/share/doc/pgw/guarantees.md"),
        ("docs/known-issues.md", "usr/share/doc/pgw/known-issues.md"),
    ],
    command_line: Some("pgw"),
    crates: &["-p", "pgw-bundle", "-p", "pgw-fwd"],
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
};

/// The same program for whoever gets it from the gateway. The files come from `clients.rs`.
pub(super) const HANDED_OUT: Package =
    Package { name: "pgw-connect-files", programs: &[], files: &[], command_line: None, crates: OF_CLIENTS };

const OF_CLIENTS: &[&str] = &["-p", "pgw-tunnel", "--no-default-features"];

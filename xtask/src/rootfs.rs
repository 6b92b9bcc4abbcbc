//! The Debian in which the life cycle test installs the package: made once, from where this
//! machine's own packages come from, and kept under `target/`.

use std::fs;
use std::path::Path;

use crate::install::{self, Package};
use crate::run::{Failed, cannot, foreground, output, step};

pub(crate) const TOOLS: &[Package] = &[
    Package { name: "debootstrap", why: "a Debian to install the package in" },
    Package { name: "systemd-container", why: "to boot it" },
];

const PLACE: &str = "target/lifecycle/rootfs";
/// What the package depends on, and what a machine has that boots. `libpam-systemd` stands for
/// whichever package is the session manager; `libfaketime` tells programs a wrong time.
const HOLDS: &str = "ca-certificates,dbus,init-system-helpers,iproute2,libfaketime,libpam-systemd,nftables,polkitd,systemd,systemd-sysv";

/// Returns when it is there, which takes minutes the first time.
pub(crate) fn make() -> Result<(), Failed> {
    install::missing(TOOLS)?;
    let (site, release) = mirror()?;
    let recipe = format!("{release} {HOLDS}");
    let note = format!("{PLACE}.recipe");
    if fs::read_to_string(&note).is_ok_and(|known| known == recipe) && Path::new(PLACE).is_dir() {
        return Ok(());
    }
    step("a Debian for the life cycle test", || {
        // Half a one from the last time is of no use.
        foreground("rm".as_ref(), &["-rf", PLACE])?;
        fs::create_dir_all(PLACE).map_err(cannot(PLACE))?;
        let include = format!("--include={HOLDS}");
        foreground("debootstrap".as_ref(), &["--variant=minbase", &include, &release, PLACE, &site])?;
        foreground("chroot".as_ref(), &[PLACE, "apt-get", "clean"])?;
        fs::write(&note, &recipe).map_err(cannot(&note))
    })
}

/// As the machine's own apt is set up: the site of its main packages, and their release.
fn mirror() -> Result<(String, String), Failed> {
    let format = "$(SITE) $(CODENAME) $(ORIGIN) $(LABEL) $(COMPONENT)";
    let found = output("apt-get", &["indextargets", "--format", format, "Identifier: Packages"])?;
    let main = found.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [site, release, "Debian", "Debian", "main"] if !release.contains('-') => {
            Some(((*site).to_owned(), (*release).to_owned()))
        }
        _ => None,
    });
    main.ok_or_else(|| {
        Failed("apt on this machine knows no Debian main; run apt-get update, or look at its sources".into())
    })
}

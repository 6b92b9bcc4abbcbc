//! Doing something in another network namespace of the lab. A socket belongs for life to the
//! namespace in which it was made, whoever uses it later.

use std::fs::File;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps the names; the lab has a `/run` of its own.
pub fn path(ns: &str) -> String {
    format!("/run/netns/{ns}")
}

/// Runs `work` on a thread of its own, inside `ns`; the thread ends with it, so that no other
/// work ever finds itself in the wrong network.
pub fn inside<T: Send>(ns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let handle = File::open(path(ns)).with_context(|| format!("there is no namespace {ns}"))?;
    let visit = || {
        move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("namespace {ns} cannot be entered"))?;
        work()
    };
    std::thread::scope(|scope| {
        scope.spawn(visit).join().map_err(|_panic| anyhow!("the work inside namespace {ns} panicked"))
    })?
}

/// A kernel setting of one namespace, such as `net/ipv4/ip_forward`.
pub fn sysctl(ns: &str, name: &str, value: &str) -> Result<()> {
    inside(ns, || {
        std::fs::write(format!("/proc/sys/{name}"), value).with_context(|| format!("setting {name}={value}"))
    })
}

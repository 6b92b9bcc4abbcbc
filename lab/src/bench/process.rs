//! What a process costs, as the kernel counts it.

use std::fs;

use anyhow::{Context as _, Result};

/// Of one process, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Seconds of a processor so far, in user space and in the kernel. Work that the kernel does
    /// elsewhere on its behalf is not in it.
    pub(crate) fn cpu(self) -> Result<f64> {
        let stat = self.read("stat")?;
        let ticks = ticks(&stat).with_context(|| format!("not understood: {stat}"))?;
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(ticks / f64::from(per_second))
    }

    /// Memory in KiB; what is shared counts by its share.
    pub(crate) fn pss(self) -> Result<f64> {
        kib(&self.read("smaps_rollup")?, "Pss:").context("no Pss in smaps_rollup")
    }

    /// Memory in KiB that is in use, whoever else uses it too.
    pub(crate) fn rss(self) -> Result<f64> {
        kib(&self.read("status")?, "VmRSS:").context("no VmRSS in status")
    }

    pub(crate) fn descriptors(self) -> Result<f64> {
        let count = fs::read_dir(format!("/proc/{}/fd", self.0))?.count();
        Ok(f64::from(u32::try_from(count)?))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).context(path)
    }
}

/// KiB of the kernel's own small objects, of the whole machine: sockets are among them.
pub(crate) fn slab() -> Result<f64> {
    kib(&fs::read_to_string("/proc/meminfo")?, "Slab:").context("no Slab in meminfo")
}

/// A name in parentheses may hold anything, so counting begins behind the last one.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_found_where_the_kernel_writes_them() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 101 0 0 0 150 25 9 9 20 0 1 0 77 5000 60";
        assert_eq!(ticks(stat), Some(175.0));
        assert_eq!(ticks("7 (x) S 1"), None);
        let rollup = "5580 rollup\nRss:   9 kB\nPss:    412 kB\nPss_Dirty:  7 kB\n";
        assert_eq!(kib(rollup, "Pss:"), Some(412.0));
        assert_eq!(kib(rollup, "Slab:"), None);
    }

    #[test]
    fn this_process_has_used_and_holds_something() {
        let this = Process(std::process::id());
        assert!(this.pss().unwrap() > 100.0 && this.descriptors().unwrap() >= 3.0);
        assert!(this.cpu().unwrap() >= 0.0 && slab().unwrap() > 0.0);
    }
}

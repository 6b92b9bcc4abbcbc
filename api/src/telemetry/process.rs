//! The program itself, under the names that every program's metrics have.

use std::fs;

/// What the kernel counts a process's time in, for programs.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_fds: u64,
    /// Seconds since 1970.
    pub(super) started_at: f64,
}

impl Process {
    /// What cannot be read is zero.
    pub(super) fn look() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let open_fds = fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
        Self { open_fds: u64::try_from(open_fds).unwrap_or_default(), ..Self::of(&stat, &status, &machine) }
    }

    fn of(stat: &str, status: &str, machine: &str) -> Self {
        // The program's name may hold anything, but ends with the last bracket.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        let line = |text: &str, name: &str| -> f64 {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size in KiB as the kernel writes it"
        )]
        let resident_bytes = line(status, "VmRSS:") as u64 * 1024;
        Self {
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            resident_bytes,
            open_fds: 0,
            started_at: line(machine, "btime") + ticks(19) / TICKS_PER_SECOND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "42 (pgw) api) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 1200 1000 500";
        let process = Process::of(stat, "Name:\tx\nVmRSS:\t  2048 kB\n", "cpu 1\nbtime 1000\n");
        let want = Process { cpu_seconds: 3.0, resident_bytes: 2048 * 1024, open_fds: 0, started_at: 1012.0 };
        assert_eq!(process, want);
        assert_eq!(Process::of("", "", ""), Process::default());
    }

    #[test]
    fn this_program_has_memory_and_files() {
        let own = Process::look();
        assert!(own.resident_bytes > 0 && own.open_fds > 0 && own.started_at > 1e9, "{own:?}");
    }
}

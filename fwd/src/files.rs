//! Open files: a connection takes two, and the forwarder needs some for itself.

use pgw_core::resources::file_limit;

/// For pipes, DNS, the control socket and the flag file. A forwarder without them could not even
/// be told to let go of an upstream.
const RESERVE: usize = 256;

/// For so many connections there are files. Asked for each of them: the limit can be changed
/// from outside, and the kernel's answer takes less than a microsecond.
pub(crate) fn room() -> u32 {
    connections(file_limit())
}

fn connections(files: usize) -> u32 {
    let own = RESERVE.min(files / 2);
    u32::try_from(files.saturating_sub(own) / 2).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_some_files_to_the_forwarder_itself() {
        for (files, want) in [(20_000, 9_872), (1_024, 384), (512, 128), (64, 16), (1, 0), (0, 0)] {
            assert_eq!(connections(files), want, "{files}");
        }
        assert_eq!(connections(usize::MAX), u32::MAX);
    }
}

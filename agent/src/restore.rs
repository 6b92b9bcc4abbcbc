//! Before the API has been reached: the saved ruleset, or closed. Nothing here opens anything.

use std::fmt;

use pgw_core::settings::Unregistered;

use crate::nft::kernel::{Kernel, KernelError};
use crate::nft::plan::{Known, Policy, all_closed, skeleton};
use crate::nft::render;
use crate::saved::{Saved, SavedError};

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// Our tables were there. What is saved may be older than they are.
    AlreadyThere,
    Saved,
    /// Nothing was ever saved here.
    Nothing,
    KnownClosed {
        clients: usize,
        why: String,
    },
    /// Nobody knows who is registered.
    AllClosed {
        why: String,
    },
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyThere => f.write_str("the kernel holds pgw's rules already; nothing was changed"),
            Self::Saved => f.write_str("the saved ruleset was loaded"),
            Self::Nothing => {
                f.write_str("nothing is saved yet: no device is registered, rules without clients")
            }
            Self::KnownClosed { clients, why } => {
                write!(f, "{clients} registered clients are closed until pgw-api is reached: {why}")
            }
            Self::AllClosed { why } => write!(
                f,
                "the whole LAN is closed until pgw-api is reached, as nobody knows who is registered: {why}"
            ),
        }
    }
}

impl Restored {
    pub fn log(&self) {
        match self {
            Self::AlreadyThere | Self::Saved | Self::Nothing => tracing::info!("{self}"),
            Self::KnownClosed { .. } | Self::AllClosed { .. } => tracing::warn!("{self}"),
        }
    }
}

/// While the system runs: what is in the kernel is left alone.
pub async fn restore(kernel: &dyn Kernel, saved: &Saved, policy: &Policy) -> Result<Restored, KernelError> {
    if kernel.read().await?.is_some() {
        return Ok(Restored::AlreadyThere);
    }
    load(kernel, saved, policy).await
}

/// At boot: whatever is in the kernel by then was loaded by somebody else, from a copy that may
/// be older than a registration, and is replaced.
pub async fn load(kernel: &dyn Kernel, saved: &Saved, policy: &Policy) -> Result<Restored, KernelError> {
    let unloadable = match saved.ruleset(&skeleton(policy)) {
        Ok(batch) => match kernel.apply(&batch).await {
            Ok(()) => return Ok(Restored::Saved),
            Err(KernelError::Refused(why)) => {
                Unloadable::Spoilt(format!("nft refused the saved ruleset: {why}"))
            }
            // Another batch would fare no better.
            Err(error) => return Err(error),
        },
        Err(error @ SavedError::Missing(_)) => Unloadable::Missing(error.to_string()),
        Err(error) => Unloadable::Spoilt(error.to_string()),
    };
    let (ruleset, restored) = match (saved.known(), unloadable) {
        (Ok(known), Unloadable::Missing(why) | Unloadable::Spoilt(why)) => {
            let clients = known.len();
            (all_closed(&known, policy), Restored::KnownClosed { clients, why })
        }
        (Err(SavedError::Missing(_)), Unloadable::Missing(_)) if !saved.shows_life() => {
            (all_closed(&Known::new(), policy), Restored::Nothing)
        }
        (Err(error), Unloadable::Missing(why) | Unloadable::Spoilt(why)) => {
            let closed = Policy { unregistered: Unregistered::Drop, ..policy.clone() };
            (all_closed(&Known::new(), &closed), Restored::AllClosed { why: format!("{why}; {error}") })
        }
    };
    kernel.apply(&render::replace(&ruleset)).await?;
    Ok(restored)
}

/// Why there is no saved ruleset to load.
enum Unloadable {
    Missing(String),
    Spoilt(String),
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use pgw_core::active::Desired;
    use pgw_core::ids::Generation;

    use super::*;
    use crate::nft::fake::FakeKernel;
    use crate::nft::plan::plan;
    use crate::nft::ruleset::{Elements, Ruleset};
    use crate::testing::policy;

    const MAC: &str = "02:00:5e:10:00:04";

    /// 10.0.0.3 is open, 10.0.0.4 is closed and pinned.
    fn ruleset() -> Ruleset {
        let mapped = [([10, 0, 0, 3].into(), 15001)].into();
        let closed = [[10, 0, 0, 4].into()].into();
        let pins = [([10, 0, 0, 4].into(), MAC.parse().unwrap())].into();
        plan(&Desired { mapped, closed, pins, ..Desired::default() }, &policy()).unwrap()
    }

    fn both_closed() -> Elements {
        let known = [([10, 0, 0, 3].into(), None), ([10, 0, 0, 4].into(), MAC.parse().ok())];
        all_closed(&known.into(), &policy()).elements
    }

    async fn after(spoil: impl FnOnce(&Path), policy: &Policy) -> (Restored, Elements, String) {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        saved.store(&ruleset(), Generation(1)).unwrap();
        spoil(&state.path().join("agent"));
        let kernel = FakeKernel::default();
        let restored = restore(&kernel, &saved, policy).await.unwrap();
        let found = kernel.read().await.unwrap().unwrap();
        (restored, found.elements, found.printed)
    }

    #[tokio::test]
    async fn a_good_ruleset_is_loaded_as_it_was_saved() {
        let (restored, elements, _) = after(|_| {}, &policy()).await;
        assert_eq!((restored, elements), (Restored::Saved, ruleset().elements));
    }

    #[tokio::test]
    async fn without_a_readable_ruleset_every_known_client_is_closed() {
        let spoils: [fn(&Path); 3] = [
            |dir| fs::remove_file(dir.join("ruleset.nft")).unwrap(),
            |dir| fs::write(dir.join("ruleset.nft"), "garbage").unwrap(),
            |dir| {
                fs::remove_file(dir.join("ruleset.nft")).unwrap();
                fs::create_dir(dir.join("ruleset.nft")).unwrap();
            },
        ];
        for spoil in spoils {
            let (restored, elements, _) = after(spoil, &policy()).await;
            assert!(matches!(restored, Restored::KnownClosed { clients: 2, .. }), "{restored}");
            assert_eq!(elements, both_closed());
        }
    }

    #[tokio::test]
    async fn a_ruleset_for_another_interface_is_not_loaded() {
        let other = Policy { lan_if: "br0".to_owned(), ..policy() };
        let (restored, elements, printed) = after(|_| {}, &other).await;
        assert!(matches!(restored, Restored::KnownClosed { clients: 2, .. }), "{restored}");
        assert_eq!(elements, both_closed());
        assert!(printed.contains("\"br0\"") && !printed.contains("\"ens19\""), "{printed}");
    }

    #[tokio::test]
    async fn when_nobody_knows_who_is_registered_the_whole_lan_is_closed() {
        let spoil = |dir: &Path| {
            fs::write(dir.join("ruleset.nft"), "garbage").unwrap();
            fs::write(dir.join("known-clients"), "garbage").unwrap();
        };
        let (restored, elements, printed) = after(spoil, &policy()).await;
        assert!(matches!(restored, Restored::AllClosed { .. }), "{restored}");
        assert_eq!(elements, all_closed(&Known::new(), &policy()).elements);
        assert!(printed.contains("who is not registered stays in"), "{printed}");
    }

    #[tokio::test]
    async fn a_ruleset_that_nft_refuses_closes_every_known_client() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        saved.store(&ruleset(), Generation(1)).unwrap();
        let kernel = FakeKernel::default();
        *kernel.failure.lock().unwrap() = Some(KernelError::Refused("syntax error".to_owned()));
        let restored = restore(&kernel, &saved, &policy()).await.unwrap();
        assert!(matches!(restored, Restored::KnownClosed { clients: 2, .. }), "{restored}");
        assert_eq!(kernel.read().await.unwrap().unwrap().elements, both_closed());
    }

    #[tokio::test]
    async fn rules_that_are_there_are_never_replaced_by_older_ones() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        saved.store(&ruleset(), Generation(1)).unwrap();
        let kernel = FakeKernel::default();
        kernel
            .apply(&render::replace(&all_closed(&[([10, 0, 0, 3].into(), None)].into(), &policy())))
            .await
            .unwrap();
        assert_eq!(restore(&kernel, &saved, &policy()).await.unwrap(), Restored::AlreadyThere);
        assert_eq!(kernel.times_applied(), 1);
    }

    #[tokio::test]
    async fn on_a_first_start_nobody_is_closed_and_nobody_is_redirected() {
        let (kernel, state) = (FakeKernel::default(), tempfile::tempdir().unwrap());
        let restored = restore(&kernel, &Saved::new(state.path()), &policy()).await.unwrap();
        assert_eq!(restored, Restored::Nothing);
        assert_eq!(
            kernel.read().await.unwrap().unwrap().elements,
            all_closed(&Known::new(), &policy()).elements
        );
    }

    #[tokio::test]
    async fn where_a_gateway_has_been_missing_state_closes_the_lan_until_the_api_has_spoken() {
        let lives: [fn(&Path); 3] = [
            |state| fs::write(state.join("internal.token"), "token").unwrap(),
            |state| {
                fs::create_dir(state.join("ports")).unwrap();
                fs::write(state.join("ports/15001"), "{}").unwrap();
            },
            |state| {
                fs::create_dir(state.join("agent")).unwrap();
                fs::write(state.join("agent/database"), "id").unwrap();
            },
        ];
        for life in lives {
            let (kernel, state) = (FakeKernel::default(), tempfile::tempdir().unwrap());
            life(state.path());
            let restored = load(&kernel, &Saved::new(state.path()), &policy()).await.unwrap();
            assert!(matches!(restored, Restored::AllClosed { .. }), "{restored}");
            let printed = kernel.read().await.unwrap().unwrap().printed;
            assert!(printed.contains("who is not registered stays in"), "{printed}");
        }
        // What a package makes before the first start says nothing.
        let (kernel, state) = (FakeKernel::default(), tempfile::tempdir().unwrap());
        fs::create_dir(state.path().join("ports")).unwrap();
        let restored = load(&kernel, &Saved::new(state.path()), &policy()).await.unwrap();
        assert_eq!(restored, Restored::Nothing);
    }
}

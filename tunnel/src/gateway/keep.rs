//! What outlives a restart: the document that holds, and the codes that were used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pgw_core::files;
use pgw_core::tunnel::{Desired, Enrolled, desired_path};

const MODE: u32 = 0o600;

pub(super) struct Keep {
    desired: PathBuf,
    enrolled: PathBuf,
    used: Mutex<Vec<Enrolled>>,
}

impl Keep {
    /// And the document that held last. One that cannot be read opens nothing: the API has another.
    pub(super) fn open(state_dir: &Path) -> io::Result<(Self, Desired)> {
        let desired = desired_path(state_dir);
        let dir = state_dir.join("tunnel");
        fs::create_dir_all(&dir)?;
        let enrolled = dir.join("enrolled.json");
        // A code that was used must never count as new: this one is not guessed at.
        let used: Vec<Enrolled> = match fs::read(&enrolled) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let held = match fs::read(&desired) {
            Ok(text) => read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Desired::nothing()),
            Err(error) => Err(error.to_string()),
        };
        let held = held.unwrap_or_else(|error| {
            tracing::error!(file = %desired.display(), error, "nothing is open until the API says what shall be");
            Desired::nothing()
        });
        Ok((Self { desired, enrolled, used: Mutex::new(used) }, held))
    }

    /// Kept before it counts: what is open after a restart is what was open before.
    pub(super) fn apply(&self, desired: &Desired) -> io::Result<()> {
        files::replace(&self.desired, MODE, &serde_json::to_vec(desired)?)?;
        let mut used = self.used();
        let is_asked_for = |one: &Enrolled| desired.enrolments.iter().any(|known| known.id == one.enrolment);
        if used.iter().all(is_asked_for) {
            return Ok(());
        }
        let still: Vec<_> = used.iter().filter(|one| is_asked_for(one)).cloned().collect();
        files::replace(&self.enrolled, MODE, &serde_json::to_vec(&still)?)?;
        *used = still;
        Ok(())
    }

    pub(super) fn enrolled(&self) -> Vec<Enrolled> {
        self.used().clone()
    }

    /// False: somebody else was faster with this code.
    pub(super) fn enrol(&self, one: Enrolled) -> io::Result<bool> {
        let mut used = self.used();
        if used.iter().any(|other| other.enrolment == one.enrolment) {
            return Ok(false);
        }
        let mut all = used.clone();
        all.push(one);
        files::replace(&self.enrolled, MODE, &serde_json::to_vec(&all)?)?;
        *used = all;
        Ok(true)
    }

    fn used(&self) -> MutexGuard<'_, Vec<Enrolled>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(text: &[u8]) -> Result<Desired, String> {
    let desired: Desired = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    desired.check().map_err(|error| error.to_string())?;
    Ok(desired)
}

#[cfg(test)]
mod tests {
    use pgw_core::ids::{EnrolmentId, TunnelClientId};
    use pgw_core::redact::Secret;
    use uuid::Uuid;

    use super::*;
    use crate::secret;

    fn enrolled(n: u128) -> Enrolled {
        Enrolled {
            enrolment: EnrolmentId(Uuid::from_u128(n)),
            client: TunnelClientId(Uuid::from_u128(n)),
            token: secret::hash(&Secret::new(n.to_string())).unwrap(),
        }
    }

    #[test]
    fn a_code_is_used_up_across_restarts_until_the_api_has_heard_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (keep, desired) = Keep::open(dir.path()).unwrap();
        assert_eq!(desired, Desired::nothing());
        assert!(keep.enrol(enrolled(1)).unwrap());
        assert!(!keep.enrol(enrolled(1)).unwrap());
        let (keep, _) = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.enrolled(), [enrolled(1)]);
        keep.apply(&Desired::nothing()).unwrap();
        assert_eq!(keep.enrolled(), []);
    }

    #[test]
    fn a_damaged_document_opens_nothing_and_a_damaged_list_of_codes_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let golden: Desired =
            serde_json::from_str(include_str!("../../../core/tests/golden/tunnels.json")).unwrap();
        Keep::open(dir.path()).unwrap().0.apply(&golden).unwrap();
        assert_eq!(Keep::open(dir.path()).unwrap().1, golden);
        fs::write(desired_path(dir.path()), "{").unwrap();
        assert_eq!(Keep::open(dir.path()).unwrap().1, Desired::nothing());
        fs::write(dir.path().join("tunnel/enrolled.json"), "{").unwrap();
        assert!(Keep::open(dir.path()).is_err());
    }
}

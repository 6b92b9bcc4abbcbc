//! Random words that open something, and their hashes.

use pgw_core::redact::Secret;
use pgw_core::tunnel::TokenHash;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// 256 random bits, as 64 hexadecimal digits.
pub fn random() -> std::io::Result<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(Secret::new(hex(&bytes)))
}

/// A fast hash will do: what is hashed cannot be guessed.
pub fn hash(secret: &Secret) -> Option<TokenHash> {
    TokenHash::try_from(hex(&Sha256::digest(secret.expose()))).ok()
}

/// In the same time, wherever they differ.
pub fn is(secret: &Secret, hash: &TokenHash) -> bool {
    hex(&Sha256::digest(secret.expose())).as_bytes().ct_eq(hash.as_str().as_bytes()).into()
}

/// Of the same length as those that are made here; shorter ones could be guessed.
pub fn is_long_enough(secret: &Secret) -> bool {
    secret.expose().len() == 64 && secret.expose().bytes().all(|b| b.is_ascii_hexdigit())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_no_other_is() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert!(is_long_enough(&one) && !is_long_enough(&Secret::new("short")));
        assert!(is(&one, &hash(&one).unwrap()));
        assert!(!is(&other, &hash(&one).unwrap()));
    }
}

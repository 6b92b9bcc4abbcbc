//! Who sent it: the signature of Standard Webhooks (standardwebhooks.com), which libraries for many
//! languages check. Over id, time and body, so that none of them can be exchanged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use pgw_core::redact::Secret;
use sha2::Sha256;

pub const PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;

/// The three headers of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's secret is not one that pgw made")]
pub struct NoSecret;

/// As its receiver enters it.
pub fn fresh_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(Secret::new(format!("{PREFIX}{}", BASE64.encode(bytes.as_slice()))))
}

/// The time is that of the attempt: a receiver refuses what is too old.
pub fn sign(secret: &Secret, id: &str, at: Timestamp, body: &[u8]) -> Result<Signed, NoSecret> {
    let encoded = secret.expose().strip_prefix(PREFIX).ok_or(NoSecret)?;
    let key = zeroize::Zeroizing::new(BASE64.decode(encoded).map_err(|_not_base64| NoSecret)?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_any_length_will_do| NoSecret)?;
    let timestamp = at.as_second().to_string();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    Ok(Signed { id: id.to_owned(), timestamp, signature })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_signature_of_the_standard() {
        // The example of the standard's own libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signed.timestamp, "1614265330");
    }

    #[test]
    fn whatever_is_another_has_another_signature() {
        let (secret, at) = (fresh_secret().unwrap(), Timestamp::from_second(1_000).unwrap());
        let sign = |secret: &Secret, id: &str, at: i64, body: &str| {
            sign(secret, id, Timestamp::from_second(at).unwrap(), body.as_bytes()).unwrap().signature
        };
        let first = sign(&secret, "a", at.as_second(), "{}");
        let others = [
            sign(&fresh_secret().unwrap(), "a", 1_000, "{}"),
            sign(&secret, "b", 1_000, "{}"),
            sign(&secret, "a", 1_001, "{}"),
            sign(&secret, "a", 1_000, "{ }"),
        ];
        assert!(others.iter().all(|other| *other != first));
        assert_eq!(sign(&secret, "a", 1_000, "{}"), first);
    }

    #[test]
    fn a_secret_that_is_none_signs_nothing() {
        for secret in ["", "hunter2", "whsec_not base64!"] {
            let at = Timestamp::UNIX_EPOCH;
            assert_eq!(sign(&Secret::new(secret), "a", at, b"{}"), Err(NoSecret), "{secret}");
        }
    }
}

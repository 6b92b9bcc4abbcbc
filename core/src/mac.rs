//! The hardware address of a device, as far as the gateway can see it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Of one device; written `aa:bb:cc:dd:ee:ff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "02:00:5e:10:00:03"))]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Why this cannot be the hardware address of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    #[error("is not a MAC address, such as 02:00:5e:10:00:03")]
    Malformed,
    #[error("is a MAC address of nobody, all zero")]
    Zero,
    #[error("is a broadcast or multicast MAC address; a device has one of its own")]
    Group,
}

impl Mac {
    pub fn new(octets: [u8; 6]) -> Result<Self, MacError> {
        match octets {
            [0, 0, 0, 0, 0, 0] => Err(MacError::Zero),
            [first, ..] if first & 1 == 1 => Err(MacError::Group),
            octets => Ok(Self(octets)),
        }
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Six pairs of digits with colons, or with hyphens as labels on devices have them.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let text = text.trim();
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut pairs = text.split(separator);
        for octet in &mut octets {
            let pair = pairs.next().ok_or(MacError::Malformed)?;
            // `from_str_radix` alone would take a sign.
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacError::Malformed);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_no_number| MacError::Malformed)?;
        }
        if pairs.next().is_some() {
            return Err(MacError::Malformed);
        }
        Self::new(octets)
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_that_of_one_device_and_has_one_spelling() {
        for (text, want) in [
            ("02:00:5e:10:00:03", Ok("02:00:5e:10:00:03")),
            (" 02:00:5E:AB:CD:EF ", Ok("02:00:5e:ab:cd:ef")),
            ("02-00-5E-AB-CD-EF", Ok("02:00:5e:ab:cd:ef")),
            ("00:00:00:00:00:01", Ok("00:00:00:00:00:01")),
            ("00:00:00:00:00:00", Err(MacError::Zero)),
            ("ff:ff:ff:ff:ff:ff", Err(MacError::Group)),
            ("01:00:5e:00:00:fb", Err(MacError::Group)),
            ("02:00:5e:10:00", Err(MacError::Malformed)),
            ("02:00:5e:10:00:03:04", Err(MacError::Malformed)),
            ("02:00-5e:10:00:03", Err(MacError::Malformed)),
            ("2:0:5e:10:0:3", Err(MacError::Malformed)),
            ("02:00:5e:10:00:+3", Err(MacError::Malformed)),
            ("02005e100003", Err(MacError::Malformed)),
            ("", Err(MacError::Malformed)),
            ("phone", Err(MacError::Malformed)),
        ] {
            let got = text.parse::<Mac>().map(|mac| mac.to_string());
            assert_eq!(got, want.map(str::to_owned), "{text:?}");
        }
    }
}

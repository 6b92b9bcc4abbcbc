//! The lab's own certificate authority. Programs trust it through `SSL_CERT_FILE`.

use std::fs;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub const CA_FILE: &str = "/run/lab/ca.pem";

pub struct Authority(Issuer<'static, KeyPair>);

pub struct Issued {
    pub chain: String,
    pub key: String,
}

impl Authority {
    /// A new authority, its certificate written to [`CA_FILE`].
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "pgw lab");
        let key = KeyPair::generate()?;
        fs::write(CA_FILE, params.self_signed(&key)?.pem())?;
        Ok(Self(Issuer::new(params, key)))
    }

    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.0)?;
        Ok(Issued { chain: certificate.pem(), key: key.serialize_pem() })
    }
}

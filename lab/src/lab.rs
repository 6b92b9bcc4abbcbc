//! The whole of it, for tests and for the demonstration.

use std::collections::BTreeMap;
use std::ops::AsyncFnMut;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::gateway::{self, GLANCE, Gateway, Program};
use crate::leaks::{self, Leaks};
use crate::net::Device;
use crate::rest::{Mapped, Rest};
use crate::upstream::{self, Kind, Upstream};
use crate::{command, net, origin, pki};

/// Longer than anything here takes on a slow machine, with the longest backoff in it.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Ends, with everything in it, when its process does.
pub struct Lab {
    pub upstreams: BTreeMap<Kind, Upstream>,
}

/// A gateway that is ready, and the operator's way to it.
pub struct Ready {
    pub gateway: Gateway,
    pub rest: Rest,
}

/// Asks again and again until there is an answer, and tells what was waited for if none comes.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asking = async {
        let mut last = None;
        loop {
            match ask().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) if error.to_string() == last.unwrap_or_default() => return Err(error),
                Err(error) => last = Some(error.to_string()),
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    match tokio::time::timeout(LONGEST, asking).await {
        Ok(answer) => answer.with_context(|| format!("while waiting until {what}")),
        Err(_elapsed) => bail!("waited {LONGEST:?}, in vain, until {what}"),
    }
}

impl Lab {
    /// The network, the origin and the counters; no upstream yet and no pgw.
    pub async fn start() -> Result<Self> {
        net::build().await.context("the lab's network cannot be built")?;
        leaks::install().await?;
        let authority = pki::Authority::new()?;
        upstream::prepare(&authority)?;
        origin::start(&authority)?;
        Ok(Self { upstreams: BTreeMap::new() })
    }

    /// With its right password.
    pub async fn upstream(&mut self, kind: Kind) -> Result<()> {
        self.upstream_with(kind, kind.password()).await
    }

    pub async fn upstream_with(&mut self, kind: Kind, password: &str) -> Result<()> {
        self.upstreams.insert(kind, Upstream::start(kind, password).await?);
        Ok(())
    }

    pub async fn kill_upstream(&mut self, kind: Kind) -> Result<()> {
        self.upstreams.remove(&kind).context("this upstream is not running")?.kill().await
    }

    /// It stays there, and answers nothing more.
    pub fn freeze_upstream(&mut self, kind: Kind) -> Result<()> {
        self.upstreams.get(&kind).context("this upstream is not running")?.freeze()
    }

    /// All programs, ready.
    pub async fn gateway(&self) -> Result<Ready> {
        self.gateway_with(&[]).await
    }

    /// With some settings other than a lab's usual ones.
    pub async fn gateway_with(&self, other: &[(&str, &str)]) -> Result<Ready> {
        let mut settings = gateway::settings();
        settings.extend(other.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut gateway = Gateway::new(settings)?;
        for program in Program::ALL {
            gateway.launch(program, &[])?;
        }
        for program in Program::ALL {
            gateway.answers(program).await?;
        }
        let rest = Rest::new(admin_token().await?)?;
        rest.wait_ready().await?;
        Ok(Ready { gateway, rest })
    }

    /// The usual beginning: these upstreams run, and this device is open through the first,
    /// with the others to fall back on.
    pub async fn mapped(&mut self, ready: &Ready, device: Device, kinds: &[Kind]) -> Result<Vec<Mapped>> {
        let client = ready.rest.add_client(device).await?;
        let mut mappings = Vec::new();
        for (kind, priority) in kinds.iter().zip(1..) {
            if !self.upstreams.contains_key(kind) {
                self.upstream(*kind).await?;
            }
            let proxy = ready.rest.add_proxy(*kind).await?;
            mappings.push(ready.rest.add_mapping(&client, &proxy, priority).await?);
        }
        for mapping in &mappings {
            ready.rest.wait_state(mapping, "APPLIED").await?;
        }
        Ok(mappings)
    }

    pub async fn leaks(&self, who: &str) -> Result<Leaks> {
        leaks::count(who).await
    }

    /// Without `-f`: an answer with any status is an answer. `Err` tells curl's own words.
    pub async fn curl(&self, ns: &str, words: &[&str]) -> Result<String> {
        let usual = ["curl", "-sS", "--max-time", "10", "--cacert", pki::CA_FILE];
        command::ok(ns, &[&usual[..], words].concat()).await
    }

    /// The address under which the origin sees a device, or curl's complaint.
    pub async fn seen_as(&self, device: Device, url: &str) -> Result<String> {
        Ok(self.curl(device.name, &["--max-time", "3", url]).await?.trim().to_owned())
    }
}

/// The first admin token is made on the API's first start.
pub async fn admin_token() -> Result<String> {
    let path = PathBuf::from(gateway::STATE).join("admin.token");
    eventually("the first admin token is there", async || {
        Ok(std::fs::read_to_string(&path)
            .ok()
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty()))
    })
    .await
}

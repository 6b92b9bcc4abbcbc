//! `pgw map import`: as `pgw map` of each line, but for the waiting.

use serde_json::{Value, json};

use super::bring::{Bring, Device};
use super::of_client;
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::noun::lines::{Became, Lines};

pub(super) async fn run(gateway: &Gateway, desk: &mut Desk, lines: &Lines) -> Result<(), Error> {
    lines.each(desk, async |words| line(gateway, words, lines.dry_run).await).await
}

async fn line(gateway: &Gateway, words: &[String], dry_run: bool) -> Result<(String, Became), Error> {
    let (client, proxies) = words
        .split_first()
        .filter(|(_, proxies)| !proxies.is_empty())
        .ok_or_else(|| Error::Usage("a device and at least one proxy are needed".to_owned()))?;
    let bring = Bring::of(client, proxies);
    let proxies = bring.proxies(gateway).await?;
    let client = match bring.client(gateway).await? {
        Device::Known(client) => client,
        Device::New(address) if dry_run => return Ok((address.to_string(), Became::Created)),
        Device::New(address) => bring.register(gateway, address).await?,
    };
    let before = of_client(gateway, &client).await?;
    let is_mapped = |proxy: &Value| {
        let mut ways = before.iter().filter(|way| field(way, "proxy_id") == field(proxy, "id"));
        ways.any(|way| way.get("enabled") != Some(&json!(false)))
    };
    let became = if proxies.iter().all(is_mapped) { Became::Unchanged } else { Became::Created };
    if !dry_run {
        bring.ways(gateway, &client, &before, &proxies).await?;
    }
    Ok((field(&client, "name").to_owned(), became))
}

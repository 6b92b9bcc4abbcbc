//! Which mapping is meant: by its id, or by its device and its proxy.

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::{CLIENT, PATH, PROXY, of_client, with_names};
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::words::plain;

#[derive(Args)]
pub(crate) struct Which {
    /// A device, or the id of a mapping
    client: String,
    /// Its proxy, if it has several
    proxy: Option<String>,
}

pub(super) fn called(mapping: &Value) -> String {
    format!("the mapping of {} to {}", plain(field(mapping, "client")), plain(field(mapping, "proxy")))
}

impl Which {
    pub(super) async fn one(&self, gateway: &Gateway) -> Result<Value, Error> {
        if self.proxy.is_none()
            && let Ok(id) = self.client.parse::<Uuid>()
        {
            match gateway.get(&format!("{PATH}/{id}")).await {
                Ok(mapping) => {
                    let named = with_names(gateway, vec![mapping]).await?.into_iter().next();
                    return named.ok_or_else(|| Error::NotFound("it has just gone".to_owned()));
                }
                // Perhaps a device's.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let mut ways = self.all(gateway).await?;
        if let Some(word) = &self.proxy {
            let proxy = PROXY.find(gateway, word).await?;
            ways.retain(|way| field(way, "proxy_id") == field(&proxy, "id"));
        }
        let client = plain(&self.client);
        match (ways.pop(), ways.is_empty()) {
            (Some(way), true) => Ok(way),
            (Some(last), false) => {
                ways.push(last);
                let names: Vec<String> = ways.iter().map(|way| plain(field(way, "proxy"))).collect();
                Err(Error::Usage(format!("{client} is mapped to {}; say which", names.join(", "))))
            }
            (None, _) => match &self.proxy {
                Some(proxy) => Err(Error::NotFound(format!("{client} is not mapped to {}", plain(proxy)))),
                None => Err(Error::NotFound(format!("{client} is not mapped"))),
            },
        }
    }

    /// Of the device.
    pub(super) async fn all(&self, gateway: &Gateway) -> Result<Vec<Value>, Error> {
        let client = CLIENT.find(gateway, &self.client).await?;
        of_client(gateway, &client).await
    }
}

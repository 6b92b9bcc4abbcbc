//! A script for the client's machine. It holds a code that is good for one use: a file is made for
//! its owner's eyes only.

use std::path::Path;

use reqwest::Method;

use super::TUNNEL;
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::Gateway;

pub(super) async fn write(
    gateway: &Gateway,
    desk: &mut Desk,
    word: &str,
    os: String,
    to: &Path,
) -> Result<(), Error> {
    let tunnel = TUNNEL.find(gateway, word).await?;
    let call = gateway.call(Method::GET, &TUNNEL.at(&tunnel, "client-file"));
    let script = call.query("os", Some(os)).answer().await?;
    if to.as_os_str() == "-" {
        return Ok(desk.out.write_all(&script)?);
    }
    pgw_core::files::create(to, 0o600, &script)
        .map_err(|error| Error::Failed(format!("{} cannot be made: {error}", to.display())))?;
    desk.note(&format!("{} is written; it holds a code for one use", to.display()));
    Ok(())
}

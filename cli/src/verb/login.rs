//! `pgw login`, `logout`, `whoami`: a token that is kept for its owner. It is tried before it is kept.

use pgw_core::files;
use pgw_core::settings::Source;

use crate::args::Global;
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::place::{Place, Token, checked, kept_in};
use crate::secret;
use crate::table::{Column, text, time};
use crate::words::plain;

const ME: &[Column] =
    &[text("NAME", "/name"), text("ROLE", "/role"), text("BY", "/kind"), time("EXPIRES", "/expires_at")];

pub(crate) async fn login(global: &Global, source: &dyn Source, desk: &mut Desk) -> Result<(), Error> {
    let file =
        kept_in(source).ok_or_else(|| Error::Failed("HOME is not set: nowhere to keep it".to_owned()))?;
    let given = secret::ask(desk, "token", global.token_file.as_deref())?;
    let token = checked(given.expose().trim().to_owned(), "standard input")?;
    let bare = Global { url: global.url.clone(), agent_url: global.agent_url.clone(), ..Global::default() };
    let place = Place::find(&bare, source)?;
    let from = "standard input".to_owned();
    let gateway =
        Gateway::new(Place { token: Some(Token { secret: token.clone(), from, is_open: false }), ..place })?;
    let me = gateway.get("/v1/me").await?;
    let cannot =
        |error: std::io::Error| Error::Failed(format!("{} cannot be written: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    files::replace(&file, 0o600, format!("{}\n", token.expose()).as_bytes()).map_err(cannot)?;
    let role = plain(field(&me, "role"));
    desk.done(
        &me,
        &format!(
            "{} knows you as {}, {role}; kept in {}",
            gateway.url(),
            plain(field(&me, "name")),
            file.display()
        ),
    )
}

pub(crate) fn logout(source: &dyn Source, desk: &mut Desk) -> Result<(), Error> {
    let Some(file) = kept_in(source) else { return Ok(()) };
    if !file.exists() {
        return desk.line("no token is kept");
    }
    files::remove(&file)
        .map_err(|error| Error::Failed(format!("{} cannot be removed: {error}", file.display())))?;
    desk.line(&format!("{} is removed; the token itself opens what it did: pgw token rm", file.display()))
}

pub(crate) async fn whoami(gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
    let me = gateway.get("/v1/me").await?;
    desk.thing(&me, ME)
}

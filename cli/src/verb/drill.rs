//! `pgw drill`: closed is tried, not believed.

use reqwest::Method;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::table::{Column, text};
use crate::words::plain;

const KINDS: &[Column] = &[
    text("WAY OUT", "/kind"),
    text("SENT", "/sent"),
    text("MET THE RULES", "/met"),
    text("LEAKED", "/leaked"),
    text("CONTROL", "/control"),
    text("NOT TRIED", "/not_tried"),
];

pub(crate) async fn run(gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
    let drill = match gateway.call_agent(Method::POST, "/agent/drill").value().await {
        Err(Error::Unreachable(why)) if !gateway.is_here() => {
            return Err(Error::Unreachable(format!(
                "{why}\n  the agent listens on the gateway itself: run it there, or say --agent-url and where pgw-ui is"
            )));
        }
        drill => drill?,
    };
    let outcome = field(&drill, "outcome");
    if desk.is_script() {
        desk.value(&drill)?;
    } else {
        desk.line(&desk.colour(&plain(field(&drill, "detail")), outcome))?;
        desk.line("")?;
        desk.list(drill.get("kinds").and_then(|kinds| kinds.as_array()).cloned().unwrap_or_default(), KINDS)?;
    }
    if outcome == "closed" { Ok(()) } else { Err(Error::Shown) }
}

//! `pgw top`: what moves, by device.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::noun::client::CLIENT;
use crate::table::{Column, Table, address, speed, text};
use crate::words::{plural, rate};

const LIST: &[Column] = &[
    text("CLIENT", "/client"),
    address("ADDRESS", "/ip_cidr"),
    speed("DOWN", "/down_bps"),
    speed("UP", "/up_bps"),
    text("CONNECTIONS", "/connections"),
];
/// The busiest first, as many as a page holds; where it is not known how many that is, so many.
const MOST_SHOWN: usize = 40;
/// The sum, a line below it, the titles, how many more there are, what is wrong, and the cursor.
const AROUND: usize = 6;
/// Names change seldom, and there may be thousands.
const NAMES_FOR: u32 = 15;
/// Home, and whatever was below it goes.
const HOME: &str = "\u{1b}[H\u{1b}[J";
/// A page of its own, and the one that was before.
const ASIDE: &str = "\u{1b}[?1049h";
const BACK: &str = "\u{1b}[?1049l";

#[derive(Args)]
pub(crate) struct Top {
    /// A new page each so often
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// One page, and no more; as when standard output is no terminal
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let fits = |time: &Duration| *time >= Duration::from_millis(500);
    pgw_core::settings::parse_duration(text)
        .filter(fits)
        .ok_or_else(|| "a time from 500ms, such as 2s".to_owned())
}

impl Top {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let mut names = gateway.all(CLIENT.path, &[], usize::MAX).await?;
        let first = now(gateway, &names).await?;
        if self.once || desk.look.is_none() || desk.is_script() {
            return show(desk, &first, MOST_SHOWN);
        }
        write(desk, ASIDE)?;
        let ended = tokio::select! {
            ended = self.pages(gateway, desk, &mut names, first) => ended,
            _interrupted = tokio::signal::ctrl_c() => Ok(()),
        };
        write(desk, BACK)?;
        ended
    }

    async fn pages(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        names: &mut Vec<Value>,
        mut page: Value,
    ) -> Result<(), Error> {
        let mut age = 0;
        let mut silent = None;
        loop {
            desk.look_again();
            write(desk, HOME)?;
            let height = desk.look.and_then(|look| look.height);
            show(desk, &page, height.map_or(MOST_SHOWN, |height| height.saturating_sub(AROUND).max(1)))?;
            if let Some(why) = silent.take() {
                desk.line(&format!("{why}; it is tried again"))?;
            }
            desk.out.flush()?;
            sleep(self.interval).await;
            age += 1;
            match next(gateway, names, age >= NAMES_FOR).await {
                Ok(next) => page = next,
                // As while it is upgraded.
                Err(error) if error.may_pass() => silent = Some(error.to_string()),
                Err(error) => return Err(error),
            }
            age %= NAMES_FOR;
        }
    }
}

async fn next(gateway: &Gateway, names: &mut Vec<Value>, renew: bool) -> Result<Value, Error> {
    if renew {
        *names = gateway.all(CLIENT.path, &[], usize::MAX).await?;
    }
    now(gateway, names).await
}

fn write(desk: &mut Desk, text: &str) -> Result<(), Error> {
    desk.out.write_all(text.as_bytes())?;
    Ok(desk.out.flush()?)
}

async fn now(gateway: &Gateway, clients: &[Value]) -> Result<Value, Error> {
    let mut now = gateway.get("/v1/telemetry/now").await?;
    if let Some(moving) = now.get_mut("clients").and_then(Value::as_array_mut) {
        for one in moving.iter_mut() {
            let client = clients.iter().find(|client| field(client, "id") == field(one, "client_id"));
            if let (Some(client), Some(fields)) = (client, one.as_object_mut()) {
                fields.insert("client".to_owned(), json!(field(client, "name")));
                fields.insert("ip_cidr".to_owned(), json!(field(client, "ip_cidr")));
            }
        }
        let count = |one: &Value, name: &str| one.get(name).and_then(Value::as_u64).unwrap_or_default();
        moving.sort_by_key(|one| {
            let moved = count(one, "down_bps") + count(one, "up_bps");
            std::cmp::Reverse((moved, count(one, "connections")))
        });
    }
    Ok(now)
}

fn show(desk: &mut Desk, now: &Value, most: usize) -> Result<(), Error> {
    if desk.is_script() {
        return desk.value(now);
    }
    let count = |name: &str| now.get(name).and_then(Value::as_u64).unwrap_or_default();
    let open = usize::try_from(count("connections")).unwrap_or(usize::MAX);
    let (down, up) = (rate(count("down_bps")), rate(count("up_bps")));
    desk.line(&format!("{down} down, {up} up, {}\n", plural(open, "connection")))?;
    let rows = now.get("clients").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shown = rows.get(..most.min(rows.len())).unwrap_or_default();
    let table = Table { columns: LIST, rows: shown }.render(desk.look, Timestamp::now());
    desk.out.write_all(table.as_bytes())?;
    if rows.len() > shown.len() {
        desk.line(&format!("and {} more", rows.len() - shown.len()))?;
    }
    Ok(())
}

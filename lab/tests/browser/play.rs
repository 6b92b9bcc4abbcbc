//! Plays a story: the browser runs on the LAN, and what it needs of the world around it (an
//! upstream that dies, a service that is stopped) it wishes for, line by line.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use pgw_lab::gateway::Program;
use pgw_lab::lab::{Ready, admin_token};
use pgw_lab::net::{C1, C2, Device, STRANGER};
use pgw_lab::upstream::{Kind, PLAIN_PASSWORD};
use pgw_lab::{Lab, command};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/web/browser/run.mjs");
/// A line that begins with it wants something; it is answered by a line.
const WISH: &str = "wish: ";

pub(crate) async fn play(mut lab: Lab, story: &'static str) -> Result<()> {
    let mut ready = lab.gateway().await?;
    // On a laptop of the LAN: within the gateway its cables come and go with each drill, and a browser
    // gives up what it is loading when they do.
    let mut node = command::program(STRANGER.name, &["node", SCRIPT, story]);
    node.env("PGW_TOKEN", admin_token().await?);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut browser = node.spawn().context("nsenter cannot be started")?;
    let mut answers = browser.stdin.take().context("no way to answer")?;
    let mut lines = BufReader::new(browser.stdout.take().context("nothing to hear")?).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(wish) = line.strip_prefix(WISH) else {
            eprintln!("{line}");
            continue;
        };
        let answer = match grant(&mut lab, &mut ready, wish).await {
            Ok(text) => json!({ "granted": text }),
            Err(error) => json!({ "refused": format!("{error:#}") }),
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    let ended = browser.wait().await?;
    ensure!(ended.success(), "{story}: {ended}; pictures of its last moment are in target/screens");
    Ok(())
}

async fn grant(lab: &mut Lab, ready: &mut Ready, wish: &str) -> Result<String> {
    let (what, of) = wish.split_once(' ').unwrap_or((wish, ""));
    match what {
        "upstream" => lab.upstream(kind(of)?).await?,
        // With the password that stands in the documents.
        "upstream_plain" => lab.upstream_with(kind(of)?, PLAIN_PASSWORD).await?,
        "kill" => lab.kill_upstream(kind(of)?).await?,
        "stop" => drop(ready.gateway.stop(program(of)?).await?),
        "start" => ready.gateway.start(program(of)?).await?,
        // As which address the origin sees a device; refused where it does not get out.
        "seen" => return lab.seen_as(device(of)?, "http://origin/").await,
        // Some traffic, for the charts.
        "carry" => {
            let device = device(of)?.name;
            lab.curl(device, &["-o", "/dev/null", "http://origin/down?bytes=6000000"]).await?;
        }
        _ => bail!("nobody grants {wish:?}"),
    }
    Ok(String::new())
}

fn kind(name: &str) -> Result<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).with_context(|| format!("no upstream is {name:?}"))
}

fn program(name: &str) -> Result<Program> {
    let is_it = |program: &Program| program.name() == name;
    Program::ALL
        .into_iter()
        .chain([Program::Tunneld])
        .find(is_it)
        .with_context(|| format!("no program is {name:?}"))
}

fn device(name: &str) -> Result<Device> {
    let is_it = |device: &Device| device.name == name;
    [C1, C2, STRANGER].into_iter().find(is_it).with_context(|| format!("no device is {name:?}"))
}

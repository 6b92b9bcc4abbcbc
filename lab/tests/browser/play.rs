//! Plays a story: the browser runs on the LAN, and what it needs of the world around it (an
//! upstream that dies, a service that is stopped) it wishes for, line by line.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use pgw_lab::gateway::{self, Program};
use pgw_lab::home::{self, Home};
use pgw_lab::lab::{Ready, admin_token};
use pgw_lab::net::{C1, C2, Device, GATEWAY_WAN, STRANGER, wan};
use pgw_lab::upstream::{self, Kind, PLAIN_PASSWORD};
use pgw_lab::{Lab, command, mmdb};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/web/browser/run.mjs");
/// A line that begins with it wants something; it is answered by a line.
const WISH: &str = "wish: ";
const COUNTRIES: &str = "/run/lab/country.mmdb";
/// The other address of the upstream that has two.
const ELSEWHERE: u8 = 31;

/// All that is around the browser.
struct World {
    lab: Lab,
    ready: Ready,
    /// A machine behind NAT, once somebody has wished for it.
    home: Option<Home>,
    /// Those who came by a tunnel and stay.
    visitors: Vec<TcpStream>,
}

pub(crate) async fn play(lab: Lab, story: &'static str) -> Result<()> {
    std::fs::write(COUNTRIES, countries())?;
    let public = GATEWAY_WAN.to_string();
    let ready =
        lab.gateway_with(&[("PGW_GEOIP_FILE", COUNTRIES), ("PGW_TUNNEL_PUBLIC", public.as_str())]).await?;
    let mut world = World { lab, ready, home: None, visitors: Vec::new() };
    // On a laptop of the LAN: within the gateway its cables come and go with each drill, and a browser
    // gives up what it is loading when they do.
    let mut node = command::program(STRANGER.name, &["node", SCRIPT, story]);
    node.env("PGW_TOKEN", admin_token().await?);
    node.env("PGW_BUILD", if cfg!(debug_assertions) { "debug" } else { "release" });
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut browser = node.spawn().context("nsenter cannot be started")?;
    let mut answers = browser.stdin.take().context("no way to answer")?;
    let mut lines = BufReader::new(browser.stdout.take().context("nothing to hear")?).lines();
    while let Some(line) = lines.next_line().await? {
        let Some(wish) = line.strip_prefix(WISH) else {
            eprintln!("{line}");
            continue;
        };
        let answer = match world.grant(wish).await {
            Ok(text) => json!({ "granted": text }),
            Err(error) => json!({ "refused": format!("{error:#}") }),
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    let ended = browser.wait().await?;
    ensure!(ended.success(), "{story}: {ended}; pictures of its last moment are in target/screens");
    Ok(())
}

/// Where the upstreams come out.
fn countries() -> Vec<u8> {
    mmdb::countries(&[(Kind::Squid.ip(), "NL"), (wan(ELSEWHERE), "NL"), (Kind::Microsocks.ip(), "DE")])
}

impl World {
    async fn grant(&mut self, wish: &str) -> Result<String> {
        let (what, of) = wish.split_once(' ').unwrap_or((wish, ""));
        match what {
            "upstream" => self.lab.upstream(kind(of)?).await?,
            // With the password that stands in the documents.
            "upstream_plain" => self.lab.upstream_with(kind(of)?, PLAIN_PASSWORD).await?,
            "kill" => self.lab.kill_upstream(kind(of)?).await?,
            // It comes out by another address from now on.
            "move" => upstream::go_out_by(kind(of)?, ELSEWHERE).await?,
            "stop" => drop(self.ready.gateway.stop(program(of)?).await?),
            "start" => self.ready.gateway.start(program(of)?).await?,
            // As which address the origin sees a device; refused where it does not get out.
            "seen" => return self.lab.seen_as(device(of)?, "http://origin/").await,
            // Some traffic, for the charts.
            "carry" => {
                let device = device(of)?.name;
                self.lab.curl(device, &["-o", "/dev/null", "http://origin/down?bytes=6000000"]).await?;
            }
            // What the pages say is to be typed on a machine behind NAT is typed there.
            "home" => self.type_at_home(of).await?,
            // Somebody comes by a tunnel from the internet, is answered, and stays.
            "visit" => {
                let mut visitor = home::visitor(of.parse()?).await?;
                home::say(&mut visitor).await?;
                self.visitors.push(visitor);
            }
            _ => bail!("nobody grants {wish:?}"),
        }
        Ok(String::new())
    }

    async fn type_at_home(&mut self, line: &str) -> Result<()> {
        let programs = gateway::path("pgw-connect")?;
        let programs = programs.parent().context("a program that is nowhere")?.display().to_string();
        let home = match &mut self.home {
            Some(home) => home,
            none => none.insert(Home::build().await?),
        };
        home.run(&["sh", "-c", &format!("cd \"$HOME\" && PATH={programs}:$PATH && exec {line}")])
    }
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

//! A question through the client's own upstreams: each upstream in its order, and of each
//! the resolvers in theirs. Who hangs is given a moment, then the next one runs beside him.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pgw_core::dns::Resolver;
use pgw_core::flag::{FlagFile, FlagUpstream};
use tokio::time::{sleep, timeout};

use super::message::{Answer, Key};
use super::wire::Wire;
use crate::serve::{Shared, still_allowed};

/// A client asks again, or another server, after about this time.
const WHOLE: Duration = Duration::from_secs(5);
/// How long one attempt is waited for before the next one starts beside it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connection that waited may be dead without anybody having said so.
const STALE: Duration = Duration::from_millis(1500);
const MAX_WORDS: usize = 200;

/// One upstream and one resolver.
type Way<'a> = (&'a FlagUpstream, &'a Resolver);

/// The error says of each way why there is no answer, and no name.
pub(super) async fn exchange(shared: &Shared, flag: &FlagFile, key: &Key) -> Result<Answer, String> {
    let resolvers = flag.dns.as_ref().map_or(&[][..], |dns| &dns.resolvers);
    let ways = flag.upstreams.iter().flat_map(|up| resolvers.iter().map(move |resolver| (up, resolver)));
    let mut failures = Vec::new();
    match timeout(WHOLE, first_answer(shared, flag, key, ways.collect(), &mut failures)).await {
        Ok(Some(answer)) => return Ok(answer),
        Ok(None) => {}
        Err(_elapsed) => failures.push(format!("no answer within {WHOLE:?}")),
    }
    Err(failures.join("; "))
}

async fn first_answer(
    shared: &Shared,
    flag: &FlagFile,
    key: &Key,
    ways: Vec<Way<'_>>,
    failures: &mut Vec<String>,
) -> Option<Answer> {
    let mut waiting = ways.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        match waiting.next() {
            Some(way) => running.push(attempt(shared, flag, key, way)),
            None if running.is_empty() => return None,
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(tried) = running.next() => match tried {
                Ok(answer) => return Some(answer),
                Err(why) => failures.push(why),
            },
            () = sleep(PATIENCE), if more => {}
        }
    }
}

/// By one way, for as long as the operator leaves it to the client.
async fn attempt(
    shared: &Shared,
    flag: &FlagFile,
    key: &Key,
    (upstream, resolver): Way<'_>,
) -> Result<Answer, String> {
    let mut now = shared.flag.clone();
    let removed = now.wait_for(|now| !still_allowed(now, flag, upstream));
    let asked = tokio::select! {
        biased;
        _flag = removed => Err("was taken away".to_owned()),
        asked = ask(shared, key, upstream, resolver) => asked,
    };
    asked.map_err(|why| {
        let why: String = why.chars().take(MAX_WORDS).collect();
        format!("{} to {resolver}: {why}", upstream.upstream.name)
    })
}

async fn ask(
    shared: &Shared,
    key: &Key,
    upstream: &FlagUpstream,
    resolver: &Resolver,
) -> Result<Answer, String> {
    let dns = &shared.dns;
    let _place = dns.wires.acquire().await.map_err(|closed| closed.to_string())?;
    if let Some(mut wire) = dns.idle.take(upstream, resolver)
        && let Ok(Ok(answer)) = timeout(STALE, wire.ask(key)).await
    {
        dns.idle.put(wire, upstream, resolver);
        return Ok(answer);
    }
    let mut wire = Box::pin(Wire::connect(&shared.dialer, &upstream.upstream, resolver, WHOLE)).await?;
    let answer = wire.ask(key).await?;
    // Taken away in this very moment, it is closed when the flag file is next looked at.
    dns.idle.put(wire, upstream, resolver);
    Ok(answer)
}

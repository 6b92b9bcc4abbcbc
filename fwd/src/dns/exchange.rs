//! A question through the client's own upstreams: each upstream in its order, and of each
//! the resolvers in theirs. Who hangs is given a moment, then the next one runs beside him, and
//! for a while he is asked last.

use std::time::Duration;

use pgw_core::dial::Destination;
use pgw_core::dns::Resolver;
use pgw_core::flag::{FlagFile, FlagUpstream};
use tokio::time::{sleep, timeout};

use super::detours::Way;
use super::message::{Answer, Key};
use super::wire::Wire;
use crate::experience::in_short;
use crate::race::race;
use crate::serve::{Shared, still_allowed};

/// A client asks again, or another server, after about this time.
const WHOLE: Duration = Duration::from_secs(5);
/// How long one attempt is waited for before the next one starts beside it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connection that waited may be dead without anybody having said so.
const STALE: Duration = Duration::from_millis(1500);

/// The error says of each way why there is no answer, and no name.
pub(super) async fn exchange(shared: &Shared, flag: &FlagFile, key: &Key) -> Result<Answer, String> {
    let resolvers = flag.dns.as_ref().map_or(&[][..], |dns| &dns.resolvers);
    let upstreams = shared.experience.order(flag);
    let ways = upstreams.into_iter().flat_map(|up| resolvers.iter().map(move |resolver| (up, resolver)));
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
    // Of the question and not of each way: ways that hang would keep the places from those that answer.
    let _place = shared.dns.exchanges.acquire().await.ok()?;
    // Who waited for a place has others' silence behind him.
    let ways = shared.dns.detours.order(ways);
    let mut failed = Vec::new();
    let attempt = |way, _alone| attempt(shared, flag, key, way);
    let won = race(
        &ways,
        attempt,
        |_way| sleep(PATIENCE),
        |way, why| {
            failed.push(way);
            failures.push(why);
        },
    );
    let (place, answer) = won.await?;
    let silent = ways.iter().take(place).filter(|way| !failed.contains(way));
    shared.dns.detours.avoid(silent);
    Some(answer)
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
    asked.map_err(|why| format!("{} to {resolver}: {}", upstream.upstream.name, in_short(&why)))
}

async fn ask(
    shared: &Shared,
    key: &Key,
    upstream: &FlagUpstream,
    resolver: &Resolver,
) -> Result<Answer, String> {
    let dns = &shared.dns;
    if let Some(mut wire) = dns.idle.take(upstream, resolver)
        && let Ok(Ok(answer)) = timeout(STALE, wire.ask(key)).await
    {
        dns.idle.put(wire, upstream, resolver);
        return Ok(answer);
    }
    let destination = Destination::Addr(resolver.address());
    let dialling = shared.lines.reach(&upstream.upstream, &destination, None, true, WHOLE);
    let tunnel = Box::pin(shared.experience.of(upstream, dialling)).await;
    let tunnel = tunnel.map_err(|error| error.to_string())?;
    let mut wire = Box::pin(Wire::over(&shared.lines.dialer, tunnel, resolver)).await?;
    let answer = wire.ask(key).await?;
    // Taken away in this very moment, it is closed when the flag file is next looked at.
    dns.idle.put(wire, upstream, resolver);
    Ok(answer)
}

//! `/v1/apply`: making a document true.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use jiff::Timestamp;
use pgw_core::ids::ApplyId;
use pgw_core::settings::parse_duration;
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Sent;
use super::error::Error;
use super::fields::Read;
use super::input::{Id, Params, all_of};
use super::media::Media;
use super::{Api, values};
use crate::converge::Settled;
use crate::declarative::document::{ClientEntry, Document};
use crate::declarative::effect::bring_about;
use crate::declarative::told::ToldPlan;
use crate::declarative::wanted::Mistake;
use crate::declarative::{Refused, prepare};
use crate::own::OwnAddresses;
use crate::store::StoreError;
use crate::store::applies::{Applied, ApplyRecord, ApplyState, Terms};

/// Long enough to type a confirmation in, and short enough to be what somebody means who waits.
const CONFIRM_WITHIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(waiting, apply)).routes(routes!(confirm))
}

/// What was done, or, in a dry run, what would be.
#[derive(Serialize, utoipa::ToSchema)]
struct ApplyAnswer {
    dry_run: bool,
    plan: ToldPlan,
    /// If it has to be confirmed, which nothing has that changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    apply_id: Option<ApplyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    confirm_by: Option<Timestamp>,
    /// What is not brought about yet, in words; it goes on by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Applies {
    /// What is rolled back unless somebody confirms it.
    waiting: Option<ApplyRecord>,
    /// What was confirmed or rolled back last.
    ended: Option<ApplyRecord>,
}

/// Makes a document true, in one transaction: what it does not name of a section that it has is
/// removed, and what is as it says is not touched. ?dry_run=true tells what would be done. With
/// ?confirm_within=60s all that was touched is put back unless it is confirmed in time. The answer
/// waits until whatever it closes is closed, though not for an agent that does not answer.
#[utoipa::path(post, path = "/v1/apply", tag = "config",
    params(("dry_run" = Option<bool>, Query), ("confirm_within" = Option<String>, Query, example = "60s")),
    request_body(content((Document = "application/yaml"), (Document = "application/json"))),
    responses((status = 200, body = ApplyAnswer)))]
async fn apply(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
    request: Request,
) -> Result<Json<ApplyAnswer>, Error> {
    let dry_run = fields.optional("dry_run", values::boolean_word).unwrap_or(false);
    let confirm_within = fields.optional("confirm_within", confirm_within);
    fields.finish()?;
    let media = Media::sent(request.headers());
    let media = media.ok_or(Error::UnsupportedMedia("application/yaml or application/json"))?;
    let sent = Sent::new(media, all_of(request).await?);
    let document = sent.read()?;
    let mistakes = no_devices(&document, &(api.own)());
    if !mistakes.is_empty() {
        return Err(sent.mistaken(mistakes));
    }
    let refused = |refused| match refused {
        Refused::Document(mistakes) => sent.mistaken(mistakes),
        Refused::Conflict(conflict) => StoreError::Conflict(conflict).into(),
    };
    if dry_run {
        let plan = prepare(document, &api.store.snapshot().await?, &api.tunnels.ground()).map_err(refused)?;
        return Ok(Json(ApplyAnswer {
            dry_run,
            plan: plan.told(),
            apply_id: None,
            confirm_by: None,
            unfinished: None,
        }));
    }
    let terms = Terms { ground: api.tunnels.ground(), confirm_within };
    let Applied { plan, touched, record } = api.store.apply(document, &terms).await?.map_err(refused)?;
    if record.is_some() {
        api.deadlines.notify_one();
    }
    let unfinished = match bring_about(api.engine.as_ref(), &api.tunnels, &touched).await {
        Settled::Yes => None,
        Settled::Shut(why) | Settled::No(why) => Some(why),
    };
    Ok(Json(ApplyAnswer {
        dry_run,
        plan: plan.told(),
        apply_id: record.as_ref().map(|record| record.id),
        confirm_by: record.map(|record| record.confirm_by),
        unfinished,
    }))
}

/// What waits to be confirmed.
#[utoipa::path(get, path = "/v1/apply", tag = "config", responses((status = 200, body = Applies)))]
async fn waiting(State(api): State<Arc<Api>>) -> Result<Json<Applies>, Error> {
    let last = api.store.last_apply().await?;
    let (waiting, ended) = match last {
        Some(last) if last.state == ApplyState::Waiting => (Some(last), None),
        ended => (None, ended),
    };
    Ok(Json(Applies { waiting, ended }))
}

/// What was applied stays.
#[utoipa::path(post, path = "/v1/apply/{id}/confirm", tag = "config", params(("id" = ApplyId, Path)),
    responses((status = 200, body = ApplyRecord)))]
async fn confirm(State(api): State<Arc<Api>>, Id(id): Id<ApplyId>) -> Result<Json<ApplyRecord>, Error> {
    let record = api.store.confirm_apply(id).await?;
    api.deadlines.notify_one();
    Ok(Json(record))
}

/// Clients with addresses that no device can have. A document is of this gateway's clients.
fn no_devices(document: &Document, own: &OwnAddresses) -> Vec<Mistake> {
    let mistake = |(at, client): (usize, &ClientEntry)| {
        let detail = own.why_not(client.ip_cidr.addr())?.to_owned();
        Some(Mistake { pointer: format!("/clients/{at}/ip_cidr"), detail })
    };
    document.clients.iter().flatten().enumerate().filter_map(mistake).collect()
}

fn confirm_within(value: &Value) -> Read<Duration> {
    let given = parse_duration(values::text(value)?).filter(|given| CONFIRM_WITHIN.contains(given));
    given.ok_or_else(|| "must be a time from 1s to 24h, such as 60s or 5m".to_owned())
}

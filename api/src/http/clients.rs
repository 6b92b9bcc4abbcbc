//! `/v1/clients`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, ClientIp};
use pgw_core::state::MappingState;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditional::{Meant, Tagged, tag};
use super::error::{Error, FieldError};
use super::fields::Fields;
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::removal::{self, Removing};
use super::sort::Listed;
use super::{Api, List, created, values};
use crate::store::{ClientPatch, ListQuery, NewClient, Owner, SortBy};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, remove))
}

/// A device by its one IPv4 address.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `new_client` reads it and tells every mistake at once"
)]
struct ClientCreate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// With or without /32.
    #[schema(example = "192.168.2.3")]
    ip_cidr: String,
    /// The hardware address that alone may use this address; without it any may. A device with
    /// another one is closed there, and this one is closed at every address that is not pinned
    /// to it. Only for devices on the LAN itself: behind a router the gateway sees the router's.
    /// Several clients may have the same. GET /agent/neighbours shows what the gateway sees.
    #[schema(example = "02:00:5e:10:00:03")]
    mac: Option<String>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
    /// The gateway to which the device is connected; the one that is asked when it is left out.
    #[schema(min_length = 1, max_length = 64, nullable = false)]
    gateway: Option<String>,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `client_patch` reads it and tells every mistake at once"
)]
struct ClientUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(example = "192.168.2.3", nullable = false)]
    ip_cidr: Option<String>,
    /// Null lets every hardware address use the client's address again.
    #[schema(example = "02:00:5e:10:00:03")]
    mac: Option<String>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
}

/// What a list of clients may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ClientState {
    Pending,
    Applied,
    Failed,
    /// None of its mappings is APPLIED.
    Closed,
}

impl ClientState {
    fn of_a_mapping(self) -> Option<MappingState> {
        match self {
            Self::Pending => Some(MappingState::Pending),
            Self::Applied => Some(MappingState::Applied),
            Self::Failed => Some(MappingState::Failed),
            Self::Closed => None,
        }
    }
}

const LISTED: Listed =
    Listed { name: "clients", sorts: &[SortBy::Name, SortBy::Address, SortBy::Created, SortBy::Updated] };

/// Every registered client of every gateway, oldest first or by ?sort=name, ip_cidr, created_at or
/// updated_at; `-name` the other way round. ?state= gives those with a mapping in that state, and
/// CLOSED those without an APPLIED one.
#[utoipa::path(get, path = "/v1/clients", tag = "clients",
    params(
        ListParams,
        ("sort" = Option<String>, Query),
        ("state" = Option<ClientState>, Query),
        ("gateway" = Option<String>, Query),
    ),
    responses((status = 200, body = List<Client>)))]
async fn list(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<List<Client>>, Error> {
    let state = fields.optional("state", values::word("PENDING, APPLIED, FAILED, CLOSED"));
    let query = ListQuery {
        state: state.and_then(ClientState::of_a_mapping),
        closed: state == Some(ClientState::Closed),
        gateway: fields.optional("gateway", values::gateway),
        ..Params::list(&mut fields, &LISTED)
    };
    fields.finish()?;
    Ok(Json(List::of(api.store.clients(&query).await?, &query, &LISTED)))
}

/// Registers a client. From then on it is closed until a mapping opens it. The answer waits until
/// it is, though not for an agent that does not answer: /readyz tells of that.
#[utoipa::path(post, path = "/v1/clients", tag = "clients", request_body = ClientCreate,
    responses((status = 201, body = Client)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let client = api.store.create_client(new_client(&api, fields)?).await?;
    removal::settle(&api, Owner { client: client.id, gateway: client.gateway.clone() }).await;
    Ok(([(header::ETAG, tag(client.revision))], created(format!("/v1/clients/{}", client.id), client)))
}

#[utoipa::path(get, path = "/v1/clients/{id}", tag = "clients", params(("id" = ClientId, Path)),
    responses((status = 200, body = Client)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<ClientId>) -> Result<Tagged<Client>, Error> {
    let client = api.store.client(id).await?;
    Ok(Tagged(client.revision, client))
}

/// Changes a client. With a new address, the answer waits until that one is closed and the old one
/// no longer registered, and with a new MAC address until that one holds; though not for an agent
/// that does not answer: /readyz tells of that.
#[utoipa::path(patch, path = "/v1/clients/{id}", tag = "clients", params(("id" = ClientId, Path), IfMatchHeader),
    request_body = ClientUpdate, responses((status = 200, body = Client)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<ClientId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Tagged<Client>, Error> {
    let patch = client_patch(fields, if_revision)?;
    if let Some(ip) = patch.ip_cidr {
        can_be_moved(&api, id, ip).await?;
    }
    let may_close = patch.ip_cidr.is_some() || patch.mac.is_some();
    let client = api.store.update_client(id, patch).await?;
    if may_close {
        removal::settle(&api, Owner { client: id, gateway: client.gateway.clone() }).await;
    } else {
        api.engine.wake(id);
    }
    Ok(Tagged(client.revision, client))
}

/// Unregisters a client: the gateway no longer touches its traffic. With ?cascade=true its
/// mappings go too. 204 means that nothing leaves by them any more, 202 that something still may.
#[utoipa::path(delete, path = "/v1/clients/{id}", tag = "clients",
    params(("id" = ClientId, Path), IfMatchHeader, ("cascade" = Option<bool>, Query)), responses((status = 204), (status = 202, body = Removing)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<ClientId>,
    Meant(if_revision): Meant,
    params: Params,
) -> Result<Response, Error> {
    let owner = api.store.remove_client(id, params.cascade()?, if_revision).await?;
    Ok(removal::answer(removal::settle(&api, owner).await))
}

fn new_client(api: &Api, mut fields: Fields) -> Result<NewClient, Error> {
    let name = fields.required("name", values::name);
    let ip_cidr = fields.required("ip_cidr", values::client_ip);
    let mac = fields.nullable("mac", values::mac).flatten();
    let note = fields.optional("note", values::note).unwrap_or_default();
    let gateway = fields.optional("gateway", values::gateway);
    // What another gateway's own addresses are is known there.
    let here = gateway.as_deref().is_none_or(|gateway| gateway == api.store.gateway());
    if let Some(why) = ip_cidr.filter(|_| here).and_then(|ip| (api.own)().why_not(ip.addr())) {
        fields.wrong("ip_cidr", why);
    }
    let (name, ip_cidr) = fields.finish_with(name.zip(ip_cidr))?;
    Ok(NewClient { name, ip_cidr, mac, note, gateway })
}

/// One that has such an address already keeps it: it may be the gateway that has come later.
async fn can_be_moved(api: &Api, id: ClientId, to: ClientIp) -> Result<(), Error> {
    let Some(why) = (api.own)().why_not(to.addr()) else { return Ok(()) };
    let client = api.store.client(id).await?;
    if client.gateway != api.store.gateway() || client.ip_cidr == to {
        return Ok(());
    }
    Err(Error::Validation(vec![FieldError::new("ip_cidr", why)]))
}

fn client_patch(mut fields: Fields, if_revision: Option<i64>) -> Result<ClientPatch, Error> {
    let patch = ClientPatch {
        name: fields.optional("name", values::name),
        ip_cidr: fields.optional("ip_cidr", values::client_ip),
        mac: fields.nullable("mac", values::mac),
        note: fields.optional("note", values::note),
        if_revision,
    };
    fields.finish()?;
    Ok(patch)
}

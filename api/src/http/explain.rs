//! `/v1/explain`: why a device gets out, or does not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pgw_core::explain::{DEFAULT_PORT, Destination, Explanation, Subject, explain};
use pgw_core::ids::{ClientId, ClientIp};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Error, FieldError, Problem};
use super::input::Params;
use super::{Api, values};
use crate::store::KnownAs;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(why))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the parameters as documented; `why` reads them")]
struct Question {
    /// Its id, its address or its name.
    #[param(max_length = 100)]
    client: String,
    /// A name, which is not looked up, or an address. Left out: anywhere beyond the gateway.
    host: Option<String>,
    #[param(minimum = 1, default = 443)]
    port: Option<u16>,
}

enum Asked {
    Address(ClientIp),
    Id(ClientId),
    Name(String),
}

/// Would this device get there, by which upstream and seen as whom? If not, what would have to
/// change?
#[utoipa::path(get, path = "/v1/explain", tag = "explain", params(Question),
    responses((status = 200, body = Explanation),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn why(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<Explanation>, Error> {
    let client = fields.required("client", values::name);
    let host = fields.optional("host", values::host);
    let port = fields.optional("port", values::port_word).unwrap_or(DEFAULT_PORT);
    let subject = subject(&api, Asked::from(fields.finish_with(client)?)).await?;
    // A name is not looked up.
    let address = host.as_ref().and_then(|host| host.as_str().parse().ok());
    let at_gateway = address.is_some_and(|address| (api.own)().is_itself(address));
    let host = host.map(|host| host.to_string());
    Ok(Json(explain(subject, Destination { host, port, at_gateway })))
}

impl From<String> for Asked {
    fn from(word: String) -> Self {
        if let Ok(ip) = word.parse() {
            Self::Address(ip)
        } else if let Ok(id) = word.parse() {
            Self::Id(ClientId(id))
        } else {
            Self::Name(word)
        }
    }
}

async fn subject(api: &Api, asked: Asked) -> Result<Subject, Error> {
    let (found, stranger) = match asked {
        Asked::Id(id) => {
            is_here(api, id).await?;
            (vec![id], None)
        }
        Asked::Address(ip) => (api.store.clients_known_as(&KnownAs::Address(ip)).await?, Some(ip)),
        Asked::Name(name) => (api.store.clients_known_as(&KnownAs::Name(name)).await?, None),
    };
    let known = match found.as_slice() {
        [id] => api.engine.known(*id).await?,
        [] => None,
        _several => {
            let detail = "is the name of several clients; ask by address or by id";
            return Err(Error::Validation(vec![FieldError::new("client", detail)]));
        }
    };
    let nobodys = |ip: ClientIp| {
        if (api.own)().is_itself(ip.addr()) { Subject::Gateway(ip) } else { Subject::Stranger(ip) }
    };
    known.map(Subject::Registered).or(stranger.map(nobodys)).ok_or(Error::NotFound("client"))
}

/// What is true of a device is known where it is.
async fn is_here(api: &Api, id: ClientId) -> Result<(), Error> {
    let client = api.store.client(id).await?;
    if client.gateway == api.store.gateway() {
        return Ok(());
    }
    let detail = format!("is a client of the gateway {}; ask there", client.gateway);
    Err(Error::Validation(vec![FieldError::new("client", detail)]))
}

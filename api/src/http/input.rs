//! The parts of a request as the handlers take them; what cannot be read is a problem in words.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use pgw_core::ids::{
    ApplyId, ClientId, MappingId, ProxyId, TokenId, TunnelClientId, TunnelId, UserId, WebhookId,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::{Error, FieldError};
use super::fields::Fields;
use super::media::Media;
use super::sort::Listed;
use super::{strict_json, values};
use crate::store::{ListQuery, Sort};

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 500;

/// The body, a JSON object.
pub(super) struct Body(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        Self::of(request).await
    }
}

impl Body {
    /// For handlers that look at the request itself, too.
    pub(super) async fn of(request: Request) -> Result<Self, Error> {
        if Media::sent(request.headers()) != Some(Media::Json) {
            return Err(Error::UnsupportedMedia("application/json"));
        }
        let bytes = all_of(request).await?;
        match strict_json::parse(&bytes).map_err(Error::MalformedJson)? {
            Value::Object(given) => Ok(Self(Fields::of_body(given))),
            _ => Err(Error::Validation(vec![FieldError {
                pointer: String::new(),
                detail: "the body must be a JSON object".to_owned(),
            }])),
        }
    }
}

/// The body as it is, within the bound.
pub(super) async fn all_of(request: Request) -> Result<Bytes, Error> {
    Bytes::from_request(request, &()).await.map_err(unread)
}

fn unread(rejection: BytesRejection) -> Error {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Error::TooLarge
    } else {
        Error::BrokenBody(axum::Error::new(rejection))
    }
}

/// The query parameters; one that is given twice means nobody knows what.
pub(super) struct Params(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let pairs: Vec<(String, String)> = match Query::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => pairs,
            Err(_unreadable) => {
                let mut fields = Fields::of_query(Map::new());
                fields.wrong("query", "cannot be read");
                return Err(fields.finish().err().unwrap_or(Error::NoSuchPath));
            }
        };
        let mut given = Map::new();
        let mut twice = Vec::new();
        for (name, value) in pairs {
            if given.insert(name.clone(), Value::String(value)).is_some() {
                twice.push(name);
            }
        }
        let mut fields = Fields::of_query(given);
        for name in twice {
            fields.wrong(&name, "is given twice");
        }
        Ok(Self(fields))
    }
}

impl Params {
    /// What every list takes; further parameters may be read from the fields before `finish`.
    pub(super) fn list(fields: &mut Fields, listed: &Listed) -> ListQuery {
        let sort = listed.sort(fields);
        let q = fields.optional("q", values::search).filter(|q| !q.is_empty());
        ListQuery { q, ..Self::page(fields, listed, sort) }
    }

    /// Of a list that has one order and cannot be searched.
    pub(super) fn page(fields: &mut Fields, listed: &Listed, sort: Sort) -> ListQuery {
        let limit = Self::limit(fields);
        let after = listed.cursor(fields, sort);
        ListQuery { limit, sort, after, ..ListQuery::default() }
    }

    pub(super) fn limit(fields: &mut Fields) -> u32 {
        let limit = fields.optional("limit", |value| values::number_word(value, 1, LARGEST_LIMIT));
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// With nothing besides.
    pub(super) fn only_list(self, listed: &Listed) -> Result<ListQuery, Error> {
        let Self(mut fields) = self;
        let query = Self::list(&mut fields, listed);
        fields.finish()?;
        Ok(query)
    }

    pub(super) fn cascade(self) -> Result<bool, Error> {
        let Self(mut fields) = self;
        let cascade = fields.optional("cascade", values::boolean_word);
        fields.finish()?;
        Ok(cascade.unwrap_or(false))
    }
}

/// The id in the path. Something that is no UUID names nothing, like any other unknown id.
pub(super) struct Id<T>(pub(super) T);

pub(super) trait Named {
    const WHAT: &'static str;
    fn of(id: Uuid) -> Self;
}

macro_rules! named {
    ($($id:ident $what:literal),+) => {$(
        impl Named for $id {
            const WHAT: &'static str = $what;

            fn of(id: Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}
named!(
    ProxyId "proxy",
    ClientId "client",
    MappingId "mapping",
    TokenId "token",
    UserId "user",
    WebhookId "webhook",
    ApplyId "apply",
    TunnelClientId "tunnel client",
    TunnelId "tunnel"
);

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(T::of(id))),
            Err(_no_uuid) => Err(Error::NotFound(T::WHAT)),
        }
    }
}

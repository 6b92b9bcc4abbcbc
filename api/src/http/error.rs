//! What can go wrong with a call, and what is said of it: one match.

use std::sync::Arc;

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use pgw_core::cause;
use pgw_core::tunnel::PortConflict;

use super::conditional::tag;
use super::problem::Code;
pub(super) use super::problem::{FieldError, Problem};
use crate::credentials::RandomError;
use crate::events::Full;
use crate::health::checks::NotChecked;
use crate::passwords::PasswordError;
use crate::store::{Conflict, NotVerified, Role, StoreError};
use crate::tunnels::Silent;
use crate::units::control::ControlError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the request was not understood")]
    Validation(Vec<FieldError>),
    #[error("the body is not JSON")]
    MalformedJson(#[source] serde_json::Error),
    /// What is wrong, and where; never the text itself.
    #[error("{0}")]
    MalformedYaml(String),
    #[error("the body could not be read to its end")]
    BrokenBody(#[source] axum::Error),
    #[error("the body is larger than this call takes")]
    TooLarge,
    /// What it should be.
    #[error("send the body as Content-Type: {0}")]
    UnsupportedMedia(&'static str),
    #[error("nobody was recognised")]
    Unauthorized,
    #[error("the name or the password is wrong")]
    WrongCredentials,
    #[error("this needs the role {}", role_word(*.0))]
    Forbidden(Role),
    #[error("the internal token may only read the active mappings")]
    ForbiddenToAgent,
    #[error("a token has no password; log in first")]
    NoPassword,
    #[error("the request comes from a page that is not of this gateway")]
    ForeignOrigin,
    #[error("this service is not asked under that name")]
    HostNotAllowed,
    #[error("the first admin cannot be made any more")]
    SetupClosed,
    #[error("too many attempts to log in")]
    TooManyAttempts(Duration),
    #[error("a change must say which revision it means")]
    PreconditionRequired,
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    #[error("the first request with this Idempotency-Key is still under way")]
    KeyInProgress,
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the path does not take this method")]
    MethodNotAllowed,
    #[error("the call took too long")]
    Timeout,
    #[error(transparent)]
    Store(StoreError),
    /// A health check that was asked for could not be made.
    #[error(transparent)]
    NotChecked(NotChecked),
    /// Nobody knows whether it did what was asked of it.
    #[error("{0}; try again")]
    Forwarder(#[source] ControlError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the answer cannot be written: {0}")]
    Unwritable(String),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    TooManyReaders(#[from] Full),
    /// Nothing is known of a client at that time.
    #[error("the journal does not tell of that time")]
    NotInJournal { known_from: Option<Timestamp> },
    /// The daemon that keeps this gateway's tunnels, which alone can answer.
    #[error("{0}; try again")]
    TunnelDaemon(#[source] Silent),
    #[error("the tunnel client is not connected")]
    TunnelClientOffline,
    #[error("this belongs to gateway {0}: ask that one")]
    OtherGateway(String),
    #[error("no client program for this system is installed in PGW_TUNNEL_DOWNLOADS")]
    NoClientBinary,
    #[error("{}", not_verified(*.0))]
    NotVerified(NotVerified),
    #[error("this code verifies nothing: it was used, replaced, or never given out")]
    UnknownCode,
    #[error("a handler panicked: {0}")]
    Panic(String),
    /// An error answer that none of our handlers made.
    #[error("{0}")]
    Foreign(StatusCode),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Conflict(Conflict::Missing(what)) => {
                let detail = Conflict::Missing(what).to_string();
                let field = if what == "gateway" {
                    what.to_owned()
                } else {
                    format!("{}_id", what.replace(' ', "_"))
                };
                Self::Validation(vec![FieldError::new(&field, detail)])
            }
            StoreError::Conflict(Conflict::PasswordAlone) => {
                Self::Validation(vec![FieldError::new("password", Conflict::PasswordAlone.to_string())])
            }
            StoreError::Conflict(Conflict::Unfit { field, detail }) => {
                Self::Validation(vec![FieldError::new(field, detail)])
            }
            other => Self::Store(other),
        }
    }
}

impl From<Silent> for Error {
    fn from(error: Silent) -> Self {
        Self::TunnelDaemon(error)
    }
}

impl From<NotVerified> for Error {
    fn from(error: NotVerified) -> Self {
        Self::NotVerified(error)
    }
}

impl From<NotChecked> for Error {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::NoSuchProxy => Self::NotFound("proxy"),
            NotChecked::Gateway(_) => Self::NotChecked(error),
        }
    }
}

impl Error {
    /// For the log: with all that lies behind it.
    pub(super) fn chain(&self) -> String {
        cause::chain(self)
    }

    pub(super) fn problem(&self) -> Problem {
        let (code, detail) = self.said();
        let status = match self {
            Self::Foreign(status) => *status,
            _ => code.status(),
        };
        let errors = match self {
            Self::Validation(errors) => errors.clone(),
            Self::Store(StoreError::Conflict(conflict)) => conflict_field(conflict),
            _ => Vec::new(),
        };
        let title = status.canonical_reason().unwrap_or("Error");
        let status = status.as_u16();
        Problem { kind: "about:blank", title, status, detail, code, errors, request_id: None }
    }

    fn said(&self) -> (Code, String) {
        match self {
            Self::Validation(errors) => (Code::ValidationFailed, summary(errors)),
            // Where, but not what: serde may quote the text, and the text may be a password.
            Self::MalformedJson(error) => (
                Code::MalformedJson,
                format!("the body is not JSON: see line {}, column {}", error.line(), error.column()),
            ),
            Self::MalformedYaml(_) => (Code::MalformedYaml, self.to_string()),
            Self::BrokenBody(_) => (Code::MalformedJson, self.to_string()),
            Self::TooLarge => (Code::PayloadTooLarge, self.to_string()),
            Self::UnsupportedMedia(_) => (Code::UnsupportedMediaType, self.to_string()),
            Self::Unauthorized => (
                Code::Unauthorized,
                "log in, or send a valid token as Authorization: Bearer <token>; the first admin's is in admin.token in PGW_STATE_DIR"
                    .to_owned(),
            ),
            Self::WrongCredentials => (Code::WrongCredentials, self.to_string()),
            Self::Forbidden(_) | Self::ForbiddenToAgent | Self::NoPassword => (Code::Forbidden, self.to_string()),
            Self::ForeignOrigin => (
                Code::ForeignOrigin,
                "a write with a session's cookie must come from a page of this gateway: Origin must name the host and port that were asked; programs send a token instead"
                    .to_owned(),
            ),
            Self::HostNotAllowed => (
                Code::HostNotAllowed,
                "this service is not asked under the name in Host; use its address, or add the name to PGW_ALLOWED_HOSTS"
                    .to_owned(),
            ),
            Self::SetupClosed => (
                Code::SetupClosed,
                "the first admin can be made while there is no user, for 30 minutes after the database was made, and not where PGW_ADMIN_TOKEN is set; use an admin's token"
                    .to_owned(),
            ),
            Self::TooManyAttempts(wait) => (
                Code::TooManyAttempts,
                format!("too many attempts to log in; try again in {} s", whole_seconds(*wait)),
            ),
            Self::PreconditionRequired => (
                Code::PreconditionRequired,
                "send If-Match with the ETag of what you mean to change (PGW_IF_MATCH=required)".to_owned(),
            ),
            Self::KeyReused => (
                Code::IdempotencyKeyReused,
                "this Idempotency-Key was used for another request; take a new key for each request".to_owned(),
            ),
            Self::KeyInProgress => (
                Code::IdempotencyInProgress,
                "the first request with this Idempotency-Key has no answer yet; ask again in a while".to_owned(),
            ),
            Self::NoSuchPath | Self::NotFound(_) | Self::Store(StoreError::NotFound(_)) => {
                (Code::NotFound, self.to_string())
            }
            Self::MethodNotAllowed => (
                Code::MethodNotAllowed,
                "the path does not take this method; Allow tells which it takes".to_owned(),
            ),
            Self::Timeout => (
                Code::Timeout,
                "the call took too long; a write that had begun goes on, so look before you repeat it".to_owned(),
            ),
            Self::Store(StoreError::Conflict(conflict)) => (conflict_code(conflict), conflict.to_string()),
            Self::Store(StoreError::Stale { .. }) => (
                Code::PreconditionFailed,
                "it was changed meanwhile; read it again, and send If-Match with the ETag that it has now".to_owned(),
            ),
            Self::Store(StoreError::Unavailable { .. }) => (Code::DatabaseUnavailable, self.to_string()),
            Self::TooManyReaders(_) => (Code::TooManyReaders, self.to_string()),
            Self::NotInJournal { known_from } => (Code::NotInJournal, not_in_journal(*known_from)),
            Self::NotChecked(_) => (Code::CheckImpossible, self.to_string()),
            Self::Forwarder(_) => (Code::ForwarderSilent, self.to_string()),
            Self::TunnelDaemon(_) => (Code::TunnelDaemonSilent, self.to_string()),
            Self::TunnelClientOffline => (Code::TunnelClientOffline, self.to_string()),
            Self::OtherGateway(_) => (Code::OtherGateway, self.to_string()),
            Self::NoClientBinary => (Code::ClientBinaryMissing, self.to_string()),
            Self::UnknownCode => (Code::VerificationUnknown, self.to_string()),
            Self::NotVerified(NotVerified::Wrong) => (Code::VerificationWrong, self.to_string()),
            Self::NotVerified(NotVerified::Spent) => (Code::VerificationSpent, self.to_string()),
            Self::NotVerified(NotVerified::Expired) => (Code::VerificationExpired, self.to_string()),
            Self::NotVerified(NotVerified::NotAsked) => (Code::TunnelVerified, self.to_string()),
            Self::Store(StoreError::Sealed { .. }) => (Code::Internal, self.to_string()),
            Self::Store(StoreError::Database(_)) | Self::Random(_) | Self::Password(_) | Self::Unwritable(_) | Self::Panic(_) => {
                (Code::Internal, INTERNAL.to_owned())
            }
            Self::Foreign(status) if status.is_client_error() => {
                (Code::RequestRefused, "the request was refused".to_owned())
            }
            Self::Foreign(_) => (Code::Internal, INTERNAL.to_owned()),
        }
    }

    /// What the answer says beside its body.
    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::TooManyAttempts(wait) => Some((header::RETRY_AFTER, whole_seconds(*wait).into())),
            Self::KeyInProgress => Some((header::RETRY_AFTER, 1.into())),
            Self::Store(StoreError::Stale { revision }) => Some((header::ETAG, tag(*revision))),
            _ => None,
        }
    }
}

fn not_verified(why: NotVerified) -> &'static str {
    match why {
        NotVerified::Wrong => "this is not the tunnel's code",
        NotVerified::Spent => "wrong codes were given too often; get a new one",
        NotVerified::Expired => "the code is too old; get a new one",
        NotVerified::NotAsked => "this tunnel waits for no code",
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

pub(super) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

const INTERNAL: &str = "pgw-api failed; its log tells more under this request_id";

fn summary(errors: &[FieldError]) -> String {
    match errors {
        // Of the body as a whole.
        [FieldError { pointer, detail }] if pointer.is_empty() => detail.clone(),
        [FieldError { pointer, detail }] => format!("{}: {detail}", pointer.trim_start_matches('/')),
        several => format!("{} things are wrong with the request; see errors", several.len()),
    }
}

fn not_in_journal(known_from: Option<Timestamp>) -> String {
    match known_from {
        Some(from) => format!("the journal tells of this client from {from:.3} on, and not of that time"),
        None => {
            "the journal knows nothing of this client: it was never registered here, or that was forgotten"
                .to_owned()
        }
    }
}

fn conflict_code(conflict: &Conflict) -> Code {
    match conflict {
        Conflict::NameTaken(_) | Conflict::SameProxy => Code::NameTaken,
        Conflict::AddressTaken => Code::AddressTaken,
        Conflict::PairTaken => Code::PairTaken,
        Conflict::PortsExhausted { .. } => Code::PortsExhausted,
        Conflict::InUse { .. } | Conflict::HasClients { .. } => Code::InUse,
        Conflict::Online { .. } => Code::GatewayOnline,
        Conflict::LastAdmin => Code::LastAdmin,
        Conflict::TooMany { .. } => Code::TooMany,
        Conflict::SetUp => Code::SetupClosed,
        Conflict::ApplyPending { .. } => Code::ApplyPending,
        Conflict::RolledBack => Code::RolledBack,
        Conflict::Port(conflict) | Conflict::PortOf { conflict, .. } => match conflict {
            PortConflict::PortInUse => Code::PortInUse,
            PortConflict::PortReserved => Code::PortReserved,
            PortConflict::PortNotAllowed => Code::PortNotAllowed,
            PortConflict::PortQuota => Code::PortQuota,
        },
        Conflict::RouteTaken => Code::RouteInUse,
        Conflict::HasTunnels { .. } => Code::InUse,
        Conflict::TunnelOfClient => Code::TunnelOfClient,
        Conflict::Verified => Code::TunnelVerified,
        Conflict::Missing(_) | Conflict::PasswordAlone | Conflict::Unfit { .. } => Code::ValidationFailed,
    }
}

/// Forms can put the message where it belongs.
fn conflict_field(conflict: &Conflict) -> Vec<FieldError> {
    let field = match conflict {
        Conflict::NameTaken(_) | Conflict::SameProxy => "name",
        Conflict::AddressTaken => "ip_cidr",
        Conflict::PairTaken => "proxy_id",
        Conflict::Port(PortConflict::PortQuota) => "tunnel_client_id",
        Conflict::Port(_) => "public_port",
        Conflict::RouteTaken => "host",
        Conflict::PortsExhausted { .. }
        | Conflict::InUse { .. }
        | Conflict::HasClients { .. }
        | Conflict::Online { .. }
        | Conflict::ApplyPending { .. }
        | Conflict::RolledBack
        | Conflict::LastAdmin
        | Conflict::TooMany { .. }
        | Conflict::SetUp
        | Conflict::PortOf { .. }
        | Conflict::HasTunnels { .. }
        | Conflict::TunnelOfClient
        | Conflict::Verified
        | Conflict::Unfit { .. }
        | Conflict::Missing(_)
        | Conflict::PasswordAlone => return Vec::new(),
    };
    vec![FieldError::new(field, conflict.to_string())]
}

/// The body is written by the outermost layer, which knows the request's id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(self.problem().status).unwrap_or_default();
        response.headers_mut().extend(self.header());
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

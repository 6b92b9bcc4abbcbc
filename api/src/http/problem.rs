//! How an error is said (RFC 9457), and under which code. `docs/problems.md` tells of each code
//! what to do about it.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($name:ident $word:literal $status:ident,)+) => {
        /// Stable: for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $($name,)+
        }

        impl Code {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }
        }
    };
}

codes! {
    ValidationFailed "validation_failed" BAD_REQUEST,
    MalformedJson "malformed_json" BAD_REQUEST,
    MalformedYaml "malformed_yaml" BAD_REQUEST,
    RequestRefused "request_refused" BAD_REQUEST,
    Unauthorized "unauthorized" UNAUTHORIZED,
    WrongCredentials "wrong_credentials" UNAUTHORIZED,
    Forbidden "forbidden" FORBIDDEN,
    ForeignOrigin "foreign_origin" FORBIDDEN,
    SetupClosed "setup_closed" FORBIDDEN,
    NotFound "not_found" NOT_FOUND,
    NotInJournal "not_in_journal" NOT_FOUND,
    VerificationUnknown "verification_unknown" NOT_FOUND,
    ClientBinaryMissing "client_binary_missing" NOT_FOUND,
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED,
    NameTaken "name_taken" CONFLICT,
    AddressTaken "address_taken" CONFLICT,
    PairTaken "pair_taken" CONFLICT,
    PortsExhausted "ports_exhausted" CONFLICT,
    InUse "in_use" CONFLICT,
    GatewayOnline "gateway_online" CONFLICT,
    ApplyPending "apply_pending" CONFLICT,
    RolledBack "rolled_back" CONFLICT,
    LastAdmin "last_admin" CONFLICT,
    PortInUse "port_in_use" CONFLICT,
    PortReserved "port_reserved" CONFLICT,
    PortNotAllowed "port_not_allowed" CONFLICT,
    PortQuota "port_quota" CONFLICT,
    RouteInUse "route_in_use" CONFLICT,
    TunnelOfClient "tunnel_of_client" CONFLICT,
    TunnelClientOffline "tunnel_client_offline" CONFLICT,
    TunnelVerified "tunnel_verified" CONFLICT,
    OtherGateway "other_gateway" CONFLICT,
    VerificationSpent "verification_spent" GONE,
    VerificationExpired "verification_expired" GONE,
    TooMany "too_many" CONFLICT,
    IdempotencyInProgress "idempotency_in_progress" CONFLICT,
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED,
    PayloadTooLarge "payload_too_large" PAYLOAD_TOO_LARGE,
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE,
    HostNotAllowed "host_not_allowed" MISDIRECTED_REQUEST,
    VerificationWrong "verification_wrong" UNPROCESSABLE_ENTITY,
    IdempotencyKeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY,
    PreconditionRequired "precondition_required" PRECONDITION_REQUIRED,
    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS,
    Internal "internal" INTERNAL_SERVER_ERROR,
    Timeout "timeout" SERVICE_UNAVAILABLE,
    DatabaseUnavailable "database_unavailable" SERVICE_UNAVAILABLE,
    ForwarderSilent "forwarder_silent" SERVICE_UNAVAILABLE,
    TunnelDaemonSilent "tunnel_daemon_silent" SERVICE_UNAVAILABLE,
    CheckImpossible "check_impossible" SERVICE_UNAVAILABLE,
    TooManyReaders "too_many_readers" SERVICE_UNAVAILABLE,
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// What is wrong with one field of a body, or with one query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct FieldError {
    /// A JSON pointer into the body; a query parameter is told as if it were a field.
    #[schema(example = "/name")]
    pub(super) pointer: String,
    pub(super) detail: String,
}

/// Every error's body, as `application/problem+json`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    /// What happened, and what can be done about it.
    pub(super) detail: String,
    /// Stable: for programs.
    #[schema(value_type = String, example = "validation_failed")]
    pub(super) code: Code,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<FieldError>,
    /// Also in the header x-request-id and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
}

impl FieldError {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        let escaped = field.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("/{escaped}"), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_code_is_in_the_operators_list_with_its_status_and_what_to_do() {
        let list = include_str!("../../../docs/problems.md");
        let listed: BTreeMap<&str, (&str, &str)> = list
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
                Some((cells[0].trim_end_matches('`'), (cells[1], cells[2].trim_end_matches(" |"))))
            })
            .collect();
        for code in Code::ALL {
            let (status, advice) =
                listed.get(code.word()).unwrap_or_else(|| panic!("docs/problems.md lacks {}", code.word()));
            assert_eq!(*status, code.status().as_u16().to_string(), "{}", code.word());
            assert!(advice.len() > 20, "{}: {advice}", code.word());
        }
        let known: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        let unknown: Vec<_> = listed.keys().filter(|word| !known.contains(word)).collect();
        assert!(unknown.is_empty(), "in docs/problems.md, and said by nobody: {unknown:?}");
    }
}

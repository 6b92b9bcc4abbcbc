//! What a value must look like, as far as a schema can say it: the same field means the same in
//! every request. `values.rs` is what decides; programs that read the description are told here.

use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{Object, OpenApi as Document, RefOr, Schema};

/// Text of a line that can be read, and not nothing but spaces.
const NAME: &str = concat!(
    r"^\s*",
    r"[^\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*",
    r"[^\s\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]",
    r"[^\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*",
    r"\s*$"
);
/// The same in several lines, or nothing.
const NOTE: &str =
    r"^([^\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\t\n])*$";
const ADDRESS: &str = concat!(
    r"^(?!0\.|127\.)(?!22[4-9]\.|23[0-9]\.|24[0-9]\.|25[0-5]\.)(?!192\.0\.2\.24[0-7](/|$))",
    r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])",
    r"(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}(/32)?$"
);
/// Of one device and not of many; not all zeros.
const MAC: &str = r"^(?!00([:-]00){5}$)[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$|^(?!00(-00){5}$)[0-9A-Fa-f][02468ACEace](-[0-9A-Fa-f]{2}){5}$";
const GATEWAY: &str = r"^[A-Za-z0-9._-]{1,64}$";

/// In what is sent, and not in what is answered, which may be older than a bound.
pub(super) fn narrow(document: &mut Document) {
    let schemas = document.components.iter_mut().flat_map(|components| components.schemas.values_mut());
    for schema in schemas {
        if let RefOr::T(Schema::Object(whole)) = schema
            && takes_nothing_else(whole)
        {
            for (name, field) in &mut whole.properties {
                if let RefOr::T(Schema::Object(field)) = field {
                    narrow_field(name, field);
                }
            }
        }
    }
}

/// As each request says of itself.
fn takes_nothing_else(schema: &Object) -> bool {
    matches!(schema.additional_properties.as_deref(), Some(AdditionalProperties::FreeForm(false)))
}

fn narrow_field(name: &str, field: &mut Object) {
    let pattern = match name {
        "name" => NAME,
        "note" => NOTE,
        "ip_cidr" => ADDRESS,
        "mac" => MAC,
        "gateway" => GATEWAY,
        "priority" | "port" => {
            field.maximum = Some(u16::MAX.into());
            return;
        }
        _ => return,
    };
    field.pattern = Some(pattern.to_owned());
}

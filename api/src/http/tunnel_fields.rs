//! What is said of a new tunnel, or of a new tunnel client: in a call of its own, or in a document.

use pgw_core::tunnel::{PortSpan, Protocol};
use serde_json::Value;

use super::fields::{Fields, Read};
use super::{tunnel_values as read, values};
use crate::store::{NewLogin, Wish};

const USUAL_UDP_IDLE_S: u32 = 30;
const USUAL_TUNNELS: u32 = 16;
const USUAL_CONNECTIONS: u32 = 1024;

pub(super) struct Tunnel {
    pub(super) name: String,
    pub(super) enabled: bool,
    /// 0: the gateway picks one.
    pub(super) public_port: u16,
    pub(super) wish: Wish,
}

pub(super) struct Client {
    pub(super) name: String,
    pub(super) note: String,
    pub(super) enabled: bool,
    pub(super) allowed_ports: Vec<PortSpan>,
    pub(super) max_tunnels: u32,
    pub(super) max_connections: u32,
    pub(super) bandwidth: Option<u64>,
}

pub(super) fn protocol(value: &Value) -> Read<Protocol> {
    values::word("tcp, udp, both, http")(value)
}

pub(super) fn local_host(value: &Value) -> Read<String> {
    values::host(value).map(|host| host.as_str().to_owned())
}

/// None if something is missing or wrong, which `fields` remembers.
pub(super) fn tunnel(fields: &mut Fields) -> Option<Tunnel> {
    let name = fields.required("name", values::name);
    let protocol = fields.required("protocol", protocol);
    let local_host = fields.required("local_host", local_host);
    let local_port = fields.required("local_port", values::port);
    let enabled = fields.optional("enabled", values::boolean).unwrap_or(true);
    let public_port = fields.optional("public_port", read::public_port).unwrap_or(0);
    let host = fields.nullable("host", read::http_host).flatten().unwrap_or_default();
    let path = fields.nullable("path", read::path).flatten().unwrap_or_default();
    let header = fields.nullable("header", read::header).flatten();
    let bandwidth = fields.nullable("bandwidth", read::bandwidth).flatten();
    let max_connections = fields.nullable("max_connections", read::count).flatten();
    let max_per_visitor = fields.nullable("max_per_visitor", read::count).flatten();
    let requests_per_minute = fields.nullable("requests_per_minute", read::count).flatten();
    let visitor_allow = fields.optional("visitor_allow", read::nets).unwrap_or_default();
    let basic_auth: Vec<NewLogin> = fields.optional("basic_auth", read::logins).unwrap_or_default();
    let compression = fields.optional("compression", values::boolean).unwrap_or(false);
    let proxy_protocol = fields.optional("proxy_protocol", values::boolean).unwrap_or(false);
    let udp_idle_s = fields.optional("udp_idle_s", read::udp_idle_s).unwrap_or(USUAL_UDP_IDLE_S);
    let wish = Wish {
        protocol: protocol?,
        host,
        path,
        header,
        local_host: local_host?,
        local_port: local_port?,
        bandwidth,
        max_connections,
        max_per_visitor,
        requests_per_minute,
        visitor_allow,
        basic_auth,
        compression,
        proxy_protocol,
        udp_idle_s,
    };
    Some(Tunnel { name: name?, enabled, public_port, wish })
}

/// None if something is missing or wrong, which `fields` remembers.
pub(super) fn client(fields: &mut Fields) -> Option<Client> {
    let name = fields.required("name", values::name);
    let client = Client {
        name: String::new(),
        note: fields.optional("note", values::note).unwrap_or_default(),
        enabled: fields.optional("enabled", values::boolean).unwrap_or(true),
        allowed_ports: fields.optional("allowed_ports", read::spans).unwrap_or_default(),
        max_tunnels: fields.optional("max_tunnels", read::max_tunnels).unwrap_or(USUAL_TUNNELS),
        max_connections: fields.optional("max_connections", read::count).unwrap_or(USUAL_CONNECTIONS),
        bandwidth: fields.nullable("bandwidth", read::bandwidth).flatten(),
    };
    Some(Client { name: name?, ..client })
}

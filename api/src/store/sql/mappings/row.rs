//! A row of `mappings`, with its client's port.

use std::net::IpAddr;

use jiff::Timestamp;
use pgw_core::country::Country;
use pgw_core::exit::{ExitNet, Expect};
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::mapping::{Mapping, Target};
use pgw_core::state::MappingState;
use sqlx::types::Text;
use uuid::Uuid;

use super::super::values::{Number, Word};

#[derive(Clone, sqlx::FromRow)]
pub(in super::super) struct Row {
    pub(super) id: Uuid,
    pub(super) client_id: Uuid,
    pub(in super::super) proxy_id: Uuid,
    pub(super) priority: Number<u16>,
    pub(super) target: Word<Target>,
    pub(super) enabled: bool,
    #[sqlx(flatten)]
    pub(super) expect: ExpectColumns,
    pub(super) exclusive: bool,
    pub(super) stable_exit_ip: Option<Text<IpAddr>>,
    pub(super) gateway: String,
    pub(super) port: Number<u16>,
    pub(super) state: Word<MappingState>,
    pub(super) reason: String,
    pub(super) revision: i64,
    pub(super) applied_at: Option<Text<Timestamp>>,
    pub(super) created_at: Text<Timestamp>,
    pub(super) updated_at: Text<Timestamp>,
    pub(in super::super) removed_at: Option<Text<Timestamp>>,
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct ExpectColumns {
    expect_exit: Option<Text<ExitNet>>,
    expect_country: Option<Text<Country>>,
    expect_stable: bool,
}

impl From<Expect> for ExpectColumns {
    fn from(expect: Expect) -> Self {
        Self {
            expect_exit: expect.exit_ip.map(Text),
            expect_country: expect.country.map(Text),
            expect_stable: expect.stable,
        }
    }
}

impl ExpectColumns {
    pub(super) fn expect(&self) -> Expect {
        Expect {
            exit_ip: self.expect_exit.map(|Text(net)| net),
            country: self.expect_country.map(|Text(country)| country),
            stable: self.expect_stable,
        }
    }
}

impl From<Row> for Mapping {
    fn from(row: Row) -> Self {
        Self {
            id: MappingId(row.id),
            client_id: ClientId(row.client_id),
            proxy_id: ProxyId(row.proxy_id),
            priority: row.priority.0,
            target: row.target.0,
            enabled: row.enabled,
            expect: row.expect.expect(),
            exclusive: row.exclusive,
            stable_exit_ip: row.stable_exit_ip.map(|Text(ip)| ip),
            gateway: row.gateway,
            port: row.port.0,
            state: row.state.0,
            reason: row.reason,
            revision: row.revision,
            applied_at: row.applied_at.map(|Text(at)| at),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

//! What becomes of it when countries are told anew: every upstream is checked, and with it where its
//! exit is.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::checks::HealthChecks;
use crate::board::Board;
use crate::geoip::GeoIp;
use crate::store::Store;

pub struct Countries {
    pub geoip: Arc<GeoIp>,
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub checks: HealthChecks,
}

impl Countries {
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.geoip.changed()).await.is_some() {
            self.board.set_no_countries(self.geoip.trouble());
            match self.store.upstreams().await {
                Ok(upstreams) => upstreams.iter().for_each(|upstream| self.checks.check_soon(upstream.id)),
                // Each is checked within the interval.
                Err(error) => tracing::debug!(error = %error, "upstreams cannot be checked anew"),
            }
        }
    }
}

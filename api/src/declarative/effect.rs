//! What follows a change that is written down: those whom it concerns are looked at, nobody else.

use futures_util::future::{join, join_all};

use crate::converge::Settled;
use crate::engine::Engine;
use crate::store::applies::Touched;
use crate::tunnels::Link;

/// Waits, bounded by the engine, until whatever the change closes is closed.
pub async fn bring_about(engine: &dyn Engine, tunnels: &Link, touched: &Touched) -> Settled {
    for proxy in &touched.redialled {
        engine.proxy_changed(*proxy).await;
    }
    for proxy in touched.needed.difference(&touched.redialled) {
        engine.check_soon(*proxy);
    }
    for client in touched.opened.difference(&touched.closed) {
        engine.wake(*client);
    }
    let devices = join_all(touched.closed.iter().map(|client| engine.settle(*client)));
    let ports = async { if touched.tunnels { tunnels.settle().await } else { Settled::Yes } };
    let (devices, ports) = join(devices, ports).await;
    devices.into_iter().fold(ports, Settled::and)
}

//! What the API does to the world: each effect is two points at which it may be killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pgw_api::active::Generations;
use pgw_api::agent_client::{AgentError, Transport};
use pgw_api::board::Board;
use pgw_api::units::{UnitError, Units};
use pgw_core::active::{AppliedRule, ReconcileReport};
use pgw_core::control::{Answer, FwdStatus, socket_path};
use pgw_core::ids::ClientIp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::{Mood, World};

pub(crate) struct UnitsOf(pub(crate) Arc<World>);

/// The kernel as the agent would fill it from this process's active set.
pub(crate) struct KernelOf {
    pub(crate) world: Arc<World>,
    pub(crate) board: Arc<Board>,
    pub(crate) generations: Generations,
}

#[async_trait]
impl Units for UnitsOf {
    async fn start(&self, port: u16) -> Result<(), UnitError> {
        self.0.takes_in_hand(port);
        self.0.effect().await;
        if !self.0.forwarders().contains(&port) {
            self.0.start_forwarder(port);
        }
        self.0.effect().await;
        self.0.lets_go_of(port);
        Ok(())
    }

    async fn stop(&self, port: u16) -> Result<(), UnitError> {
        let World { dir, forwarders, .. } = &*self.0;
        self.0.takes_in_hand(port);
        self.0.effect().await;
        self.0.stops.acquire().await.unwrap().forget();
        self.0.stops.add_permits(1);
        // Without an agent nobody can take the rule away first.
        if self.0.mood() == Mood::Answers {
            let open: Vec<_> = self.0.redirects().into_iter().filter(|(_, to)| *to == port).collect();
            assert!(open.is_empty(), "the forwarder on {port} stops while {open:?} lead to it");
        }
        if let Some(end) = forwarders.lock().unwrap().remove(&port) {
            end.cancel();
            std::fs::remove_file(socket_path(dir.path(), port)).unwrap();
        }
        self.0.effect().await;
        self.0.lets_go_of(port);
        Ok(())
    }

    async fn running(&self) -> Result<BTreeSet<u16>, UnitError> {
        Ok(self.0.forwarders())
    }

    async fn keeps(&self, port: u16) -> bool {
        self.0.kept.lock().unwrap().contains(&port)
    }

    fn kind(&self) -> &'static str {
        "world"
    }
}

#[async_trait]
impl Transport for KernelOf {
    async fn reconcile(&self) -> Result<ReconcileReport, AgentError> {
        self.world.effect().await;
        self.world.asked.notify_one();
        let mut mood = self.world.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        if mood == Mood::Fails {
            return Err(AgentError("it fails, as the test asked for".into()));
        }
        let plans = self.world.plans().await;
        let desired = self.generations.active_set(&plans, &self.board, None).desired().unwrap();
        {
            let mut kernel = self.world.kernel.lock().unwrap();
            kernel.registered = desired.mapped.keys().chain(&desired.closed).copied().collect();
            kernel.redirects = desired.mapped.clone();
        }
        self.world.effect().await;
        let applied = desired.mapped.iter();
        Ok(ReconcileReport {
            generation: desired.generation,
            changed: true,
            clients: desired.mapped.len() + desired.closed.len(),
            applied: applied
                .map(|(ip, port)| AppliedRule { ip_cidr: ClientIp::new(*ip).unwrap(), port: *port })
                .collect(),
            ..ReconcileReport::default()
        })
    }
}

pub(super) async fn serve(world: Arc<World>, listener: UnixListener, port: u16, end: CancellationToken) {
    while let Some(Ok((stream, _))) = end.run_until_cancelled(listener.accept()).await {
        if world.silent.load(Ordering::SeqCst) {
            continue;
        }
        let Some(flag) = world.served(port) else { continue };
        let status =
            FwdStatus { version: "0".into(), pid: 1, port, revision: flag.revision, ..FwdStatus::default() };
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(_ask)) = lines.next_line().await {
            let mut answer = serde_json::to_string(&Answer::Status(status.clone())).unwrap();
            answer.push('\n');
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    }
}

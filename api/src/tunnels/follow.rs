//! What goes on by itself: a look every few seconds, and one whenever the daemon says that something
//! happened.

use std::sync::Arc;
use std::time::Duration;

use pgw_core::seldom::Seldom;
use pgw_core::tunnel::{Answer, Ask, Event};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::socket::{Line, Silent};
use super::{Link, MOST_NEWS, Trouble};
use crate::store::SessionNews;

/// How old counts may be.
const EVERY: Duration = Duration::from_secs(5);
/// What happens within this is one look.
const TOGETHER: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_secs(1);

impl Link {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let both = async { tokio::join!(self.keep_looking(), self.follow()) };
        stop.run_until_cancelled(both).await;
    }

    async fn keep_looking(&self) {
        let mut complaints = Seldom::default();
        loop {
            match self.look().await {
                Ok(_is_so) => {}
                // Nobody who has no tunnels needs the daemon.
                Err(Trouble::Silent(Silent::Nobody(_))) if self.has_nobody().await => {}
                Err(error) => {
                    if let Some(before) = complaints.due(Instant::now().into_std()) {
                        tracing::warn!(%error, before, "tunnels stay as they are");
                    }
                }
            }
            // Either will do.
            let _woken = timeout(EVERY, self.wake.notified()).await;
            sleep(TOGETHER).await;
        }
    }

    async fn has_nobody(&self) -> bool {
        let desired = self.store.desired_tunnels(&self.door.targets).await;
        desired.is_ok_and(|desired| desired.clients.is_empty())
    }

    async fn follow(&self) {
        let mut complaints = Seldom::default();
        loop {
            // The looks tell of what is wrong.
            let _ended: Result<(), Silent> = self.hear_all(&mut complaints).await;
            self.wake();
            sleep(RETRY).await;
        }
    }

    async fn hear_all(&self, complaints: &mut Seldom) -> Result<(), Silent> {
        let mut line = Line::open(&self.socket).await?;
        line.say(&Ask::Follow).await?;
        loop {
            match line.hear().await? {
                Answer::Event(event) => self.note(event, complaints),
                Answer::Status(_) => {}
                other => return Err(Silent::unasked(&other)),
            }
            self.wake();
        }
    }

    /// What a look cannot see: why a session ended, and one that came and went in between.
    fn note(&self, event: Event, complaints: &mut Seldom) {
        let news = match event {
            Event::ClientOnline { client, session } => SessionNews { client, session, ended: None },
            Event::ClientOffline { client, session, reason } => {
                SessionNews { client, session, ended: Some(reason) }
            }
            Event::Refused { address, name, code } => {
                if let Some(before) = complaints.due(Instant::now().into_std()) {
                    tracing::warn!(%address, name, code, before, "a tunnel client was not let in");
                }
                return;
            }
            Event::Tunnel(_) | Event::TunnelGone { .. } | Event::Enrolled(_) => return,
        };
        let mut all = self.news();
        if all.len() < MOST_NEWS {
            all.push(news);
        }
    }
}

//! What the agent tells as it happens, written down once: with the events goes how far it has been
//! heard, so neither a restart here nor one there loses or repeats anything that the agent still has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::news::News;
use tokio_util::sync::CancellationToken;

use super::{AgentState, NewEvent};
use crate::agent_client::{AgentError, Http};
use crate::store::{Heard, Store};

/// While it does not answer: its board tells of that.
const RETRY: Duration = Duration::from_millis(500);

#[async_trait]
pub trait Tells: Send + Sync {
    /// What came after `heard`, as soon as there is something or it took long enough.
    async fn news(&self, heard: Option<Heard>) -> Result<News, AgentError>;
}

#[async_trait]
impl Tells for Http {
    async fn news(&self, heard: Option<Heard>) -> Result<News, AgentError> {
        Self::news(self, heard).await
    }
}

pub struct Listener {
    pub agent: Arc<dyn Tells>,
    pub store: Arc<dyn Store>,
}

impl Listener {
    pub async fn run(self, stop: CancellationToken) {
        let _never: Option<()> = stop.run_until_cancelled(self.listen()).await;
    }

    async fn listen(&self) {
        let mut heard = loop {
            match self.store.heard().await {
                Ok(heard) => break heard,
                Err(error) => tracing::debug!(error = %error, "how far the agent was heard cannot be read"),
            }
            tokio::time::sleep(RETRY).await;
        };
        loop {
            match self.hear(heard).await {
                Ok(now) => heard = now,
                Err(why) => {
                    tracing::debug!(error = why, "the agent's news are not heard");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn hear(&self, heard: Option<Heard>) -> Result<Option<Heard>, String> {
        let news = self.agent.news(heard).await.map_err(|error| error.to_string())?;
        let now = Heard { run: news.run, number: news.last };
        if heard == Some(now) {
            return Ok(heard);
        }
        let events = told(heard, news);
        self.store.record_news(now, &events).await.map_err(|error| error.to_string())?;
        Ok(Some(now))
    }
}

fn told(heard: Option<Heard>, news: News) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let known = match heard {
        Some(heard) if heard.run == news.run => heard.number,
        Some(_former) => {
            events.push(NewEvent::agent(AgentState::Answers, "it was started anew"));
            0
        }
        None => 0,
    };
    let first = news.items.first().map_or(news.last + 1, |item| item.number);
    let forgotten = first.saturating_sub(known + 1);
    if forgotten > 0 {
        let detail = format!("it could not keep {forgotten} of its reports until they were asked for");
        events.push(NewEvent::agent(AgentState::Warns, detail));
    }
    events.extend(news.items.into_iter().map(NewEvent::told));
    events
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use pgw_core::drill::Drill;
    use pgw_core::news::{Item, What};
    use uuid::Uuid;

    use super::*;
    use crate::events::Kind;

    fn news(run: u128, numbers: std::ops::RangeInclusive<u64>) -> News {
        let last = *numbers.end();
        let item = |number| Item { number, at: Timestamp::UNIX_EPOCH, what: What::Drill(Drill::default()) };
        News { run: Uuid::from_u128(run), last, items: numbers.map(item).collect() }
    }

    #[test]
    fn a_restart_and_what_was_forgotten_are_told_beside_the_news() {
        let heard = |run, number| Some(Heard { run: Uuid::from_u128(run), number });
        let kinds = |heard, news| told(heard, news).into_iter().map(|event| event.kind).collect::<Vec<_>>();
        let details = |heard, news| -> Vec<String> {
            let told = told(heard, news).into_iter().filter(|event| event.kind == Kind::Agent);
            told.map(|event| event.data["detail"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(kinds(None, news(1, 1..=2)), [Kind::Drill; 2], "the first contact is no restart");
        assert_eq!(kinds(heard(1, 2), news(1, 3..=3)), [Kind::Drill]);
        assert_eq!(kinds(heard(2, 9), news(1, 1..=1)), [Kind::Agent, Kind::Drill]);
        assert_eq!(details(heard(2, 9), news(1, 1..=1)), ["it was started anew"]);
        let forgotten = details(heard(1, 2), news(1, 8..=9));
        assert!(matches!(&forgotten[..], [one] if one.contains("keep 5 of")), "{forgotten:?}");
        assert_eq!(told(heard(1, 2), News { items: vec![], ..news(1, 1..=2) }), []);
    }
}

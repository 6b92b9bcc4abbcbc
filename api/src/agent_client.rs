//! The API's side of the conversation with the agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::active::{AgentStatus, ReconcileReport};
use pgw_core::news::News;
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Unanswered};
use crate::events::recorder::Recorder;
use crate::events::{AgentState, NewEvent};
use crate::store::Heard;

/// A full load of thousands of clients takes well under a second; what is slower is stuck.
const PATIENCE: Duration = Duration::from_secs(15);
/// So long the agent may wait for something to tell; shorter than anything between the two would
/// keep a silent connection.
const NEWS_WITHIN: Duration = Duration::from_secs(20);
/// A report names each of ten thousand clients.
const LARGEST_ANSWER: usize = 16 << 20;

/// Why there is no report, in words for `reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

type Outcome = Result<Arc<ReconcileReport>, AgentError>;

/// Asks for reconciles. Requests that arrive while one is under way share the next one: it
/// began after all of them, so it has seen what they want to see.
#[derive(Clone)]
pub struct AgentClient {
    requests: mpsc::UnboundedSender<oneshot::Sender<Outcome>>,
}

pub struct AgentTask {
    requests: mpsc::UnboundedReceiver<oneshot::Sender<Outcome>>,
    transport: Arc<dyn Transport>,
    board: Arc<Board>,
    recorder: Recorder,
}

/// What the agent says of itself, for those who only look.
#[async_trait::async_trait]
pub trait AgentView: Send + Sync {
    async fn status(&self) -> Result<AgentStatus, AgentError>;
}

/// One reconcile over the wire.
#[async_trait::async_trait]
pub trait Transport: Send + Sync {
    async fn reconcile(&self) -> Result<ReconcileReport, AgentError>;
}

pub fn connect(
    transport: Arc<dyn Transport>,
    board: Arc<Board>,
    recorder: Recorder,
) -> (AgentClient, AgentTask) {
    let (send, receive) = mpsc::unbounded_channel();
    (AgentClient { requests: send }, AgentTask { requests: receive, transport, board, recorder })
}

impl AgentClient {
    pub async fn reconcile(&self) -> Outcome {
        let (send, receive) = oneshot::channel();
        let stopping = || AgentError("pgw-api is stopping".to_owned());
        self.requests.send(send).map_err(|_closed| stopping())?;
        receive.await.unwrap_or_else(|_dropped| Err(stopping()))
    }
}

impl AgentTask {
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(first)) = stop.run_until_cancelled(self.requests.recv()).await {
            let mut waiting = vec![first];
            while let Ok(more) = self.requests.try_recv() {
                waiting.push(more);
            }
            let Some(outcome) = stop.run_until_cancelled(self.transport.reconcile()).await else { return };
            self.note(&outcome);
            let outcome = outcome.map(Arc::new);
            for waiter in waiting {
                // A caller that has gone away needs no answer.
                let _gone = waiter.send(outcome.clone());
            }
        }
    }
}

impl AgentTask {
    fn note(&self, outcome: &Result<ReconcileReport, AgentError>) {
        match outcome {
            Ok(report) => {
                let news = self.board.kernel_reported(report);
                if news.answers {
                    tracing::info!(generation = %report.generation, clients = report.clients, "the agent answers");
                    self.recorder.note(NewEvent::agent(AgentState::Answers, ""));
                }
                if news.warns {
                    self.recorder.note(NewEvent::agent(AgentState::Warns, report.warnings.join("; ")));
                }
            }
            Err(AgentError(why)) => match self.board.kernel_unanswered(why) {
                Unanswered::AsBefore => {}
                Unanswered::ForAnotherReason => tracing::warn!(error = why, "the agent did not reconcile"),
                Unanswered::FromNowOn => {
                    tracing::warn!(error = why, "the agent did not reconcile");
                    self.recorder.note(NewEvent::agent(AgentState::Silent, why));
                }
            },
        }
    }
}

pub struct Http {
    client: reqwest::Client,
    url: String,
    token_file: PathBuf,
}

impl Http {
    pub fn new(agent_url: &str, token_file: PathBuf) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, url: agent_url.to_owned(), token_file })
    }

    /// What happened after `heard`, as soon as there is something.
    pub async fn news(&self, heard: Option<Heard>) -> Result<News, AgentError> {
        let url = match heard {
            Some(Heard { run, number }) => {
                let wait = NEWS_WITHIN.as_secs();
                format!("{}/agent/events?run={run}&after={number}&wait={wait}", self.url)
            }
            None => format!("{}/agent/events", self.url),
        };
        self.ask(self.client.get(url).timeout(NEWS_WITHIN + PATIENCE)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AgentError> {
        let token = tokio::fs::read_to_string(&self.token_file)
            .await
            .map_err(|error| AgentError(format!("the internal token cannot be read: {error}")))?;
        let mut answer = request.bearer_auth(token.trim()).send().await.map_err(|error| {
            AgentError(format!("the agent does not answer: {}", pgw_core::cause::root(&error)))
        })?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| {
            AgentError(format!("the agent's answer broke off: {}", pgw_core::cause::root(&error)))
        })? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err(AgentError(format!("the agent's answer is larger than {LARGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            serde_json::from_slice(&body)
                .map_err(|error| AgentError(format!("the agent's answer cannot be read: {error}")))
        } else {
            let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let detail = problem.as_ref().and_then(|p| p.get("detail")).and_then(|d| d.as_str());
            Err(AgentError(format!(
                "the agent answered {}: {}",
                status.as_u16(),
                detail.unwrap_or("no reason given")
            )))
        }
    }
}

#[async_trait::async_trait]
impl Transport for Http {
    async fn reconcile(&self) -> Result<ReconcileReport, AgentError> {
        self.ask(self.client.post(format!("{}/agent/reconcile", self.url))).await
    }
}

#[async_trait::async_trait]
impl AgentView for Http {
    async fn status(&self) -> Result<AgentStatus, AgentError> {
        self.ask(self.client.get(format!("{}/agent/status", self.url))).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pgw_core::ids::Generation;
    use tokio::sync::Semaphore;

    use super::*;

    struct Counting {
        calls: AtomicUsize,
        gate: Semaphore,
    }

    #[async_trait::async_trait]
    impl Transport for Counting {
        async fn reconcile(&self) -> Result<ReconcileReport, AgentError> {
            let generation = Generation(self.calls.fetch_add(1, Ordering::SeqCst) as u64);
            self.gate.acquire().await.unwrap().forget();
            Ok(ReconcileReport { generation, ..ReconcileReport::default() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_made_during_a_reconcile_gets_one_that_began_after_it() {
        let transport = Arc::new(Counting { calls: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let (client, task) =
            connect(transport.clone(), Arc::new(Board::new(Duration::from_secs(1))), Recorder::deaf());
        tokio::spawn(task.run(CancellationToken::new()));

        let ask = || {
            tokio::spawn({
                let client = client.clone();
                async move { client.reconcile().await.unwrap().generation }
            })
        };
        let first = ask();
        while transport.calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late = [ask(), ask(), ask()];
        tokio::task::yield_now().await;
        transport.gate.add_permits(2);

        assert_eq!(first.await.unwrap(), Generation(0));
        for one in late {
            assert_eq!(one.await.unwrap(), Generation(1), "all that came late share the second reconcile");
        }
        assert_eq!(transport.calls.load(Ordering::SeqCst), 2);
    }
}

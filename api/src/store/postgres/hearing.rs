//! What other gateways say, heard on a connection that also holds this gateway's name: while it
//! lives nobody else is called so.

use std::time::Duration;

use async_trait::async_trait;
use pgw_core::seldom::Seldom;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::time::Instant;

use crate::store::open::{OpenError, Opening};
use crate::store::{Neighbours, News};

pub(super) const CHANNEL: &str = "pgw";
/// Keeps names apart from other locks.
pub(super) const NAMES: i64 = 0x7067_772d_6e61_6d65;
/// A connection of which nothing is heard may be one that is gone.
const ASK_AFTER: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// A gateway that lost its power holds its name for a while, until the server notices.
const PATIENCES_FOR_NAME: u32 = 4;

pub(super) struct Hearing {
    gateway: String,
    pool: PgPool,
    listener: Option<PgListener>,
    patience: Duration,
    /// Since when somebody else has the name.
    taken: Option<Instant>,
    complaints: Seldom,
}

enum Name {
    Held,
    Taken,
}

impl Hearing {
    /// Takes the name, or says that somebody has it.
    pub(super) async fn begin(
        options: &PgConnectOptions,
        database: &str,
        opening: &Opening,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Database { database: database.to_owned(), source };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(opening.patience);
        let pool = match pool.connect_with(options.clone()).await {
            Ok(pool) => pool,
            Err(error) => return Err(failed(why(error, options, opening.patience).await)),
        };
        let (gateway, patience) = (opening.gateway.clone(), opening.patience);
        let mut hearing =
            Self { gateway, pool, listener: None, patience, taken: None, complaints: Seldom::default() };
        let until = Instant::now() + opening.patience * PATIENCES_FOR_NAME;
        loop {
            match hearing.listen().await.map_err(failed)? {
                Name::Held => return Ok(hearing),
                Name::Taken if Instant::now() > until => {
                    let (gateway, database) = (opening.gateway.clone(), database.to_owned());
                    return Err(OpenError::NameTaken { gateway, database });
                }
                Name::Taken => tokio::time::sleep(opening.patience / 20).await,
            }
        }
    }

    async fn listen(&mut self) -> Result<Name, sqlx::Error> {
        let listening = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.eager_reconnect(false);
            let held: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, $2))")
                .bind(&self.gateway)
                .bind(NAMES)
                .fetch_one(&mut listener)
                .await?;
            if !held {
                return Ok(None);
            }
            listener.listen(CHANNEL).await?;
            Ok(Some(listener))
        };
        let listener = tokio::time::timeout(self.patience * 2, listening).await;
        self.listener = listener.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        Ok(if self.listener.is_some() { Name::Held } else { Name::Taken })
    }

    /// None: the connection is gone, or silent for longer than one that works.
    async fn hear(listener: &mut PgListener, patience: Duration) -> Option<String> {
        loop {
            match tokio::time::timeout(ASK_AFTER, listener.try_recv()).await {
                Ok(Ok(Some(said))) => return Some(said.payload().to_owned()),
                Ok(Ok(None) | Err(_)) => return None,
                Err(_nothing_said) => {
                    let asked = sqlx::query("select 1").execute(&mut *listener);
                    tokio::time::timeout(patience, asked).await.ok()?.ok()?;
                }
            }
        }
    }

    /// What another one says; what it says in words of a later version may be anything.
    fn understood(&self, said: &str) -> Option<News> {
        let (who, what) = said.split_once(' ')?;
        (who != self.gateway).then(|| what.parse().unwrap_or(News::Missed))
    }
}

/// A pool that tries again and again says only that it took too long. Whoever tries once says why.
async fn why(error: sqlx::Error, options: &PgConnectOptions, patience: Duration) -> sqlx::Error {
    match error {
        sqlx::Error::PoolTimedOut => match tokio::time::timeout(patience, options.connect()).await {
            Ok(Err(why)) => why,
            Ok(Ok(_)) | Err(_) => error,
        },
        why => why,
    }
}

#[async_trait]
impl Neighbours for Hearing {
    async fn next(&mut self) -> News {
        loop {
            if let Some(listener) = &mut self.listener {
                match Self::hear(listener, self.patience).await {
                    Some(said) => match self.understood(&said) {
                        Some(news) => return news,
                        None => continue,
                    },
                    None => {
                        tracing::warn!(
                            "other gateways cannot be heard: the connection to the database broke"
                        );
                        (self.listener, self.taken) = (None, None);
                    }
                }
            }
            match self.listen().await {
                Ok(Name::Held) => {
                    tracing::info!("other gateways can be heard again");
                    self.taken = None;
                    return News::Missed;
                }
                Ok(Name::Taken) => {
                    tokio::time::sleep(RETRY).await;
                    // Until then it may be this very gateway, on a connection that broke.
                    if self.taken.get_or_insert_with(Instant::now).elapsed()
                        > self.patience * PATIENCES_FOR_NAME
                    {
                        return News::Doubled;
                    }
                }
                Err(error) => {
                    if let Some(before) = self.complaints.due(Instant::now().into_std()) {
                        tracing::warn!(error = %error, before, "other gateways cannot be heard");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

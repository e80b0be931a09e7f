//! A connection to a Redis, which is made when it is needed, and again after it broke.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Mutex;

use crate::BrokerUrl;

/// How long the server may take to answer.
pub const ANSWER: Duration = Duration::from_secs(5);

/// One connection.
pub struct Link {
    client: Client,
    patience: Duration,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    /// A connection to the server at this URL, whose commands may wait for so long beyond what the server needs.
    pub fn new(url: &BrokerUrl, waits: Duration) -> Result<Self, String> {
        let client = Client::open(url.redis()).map_err(|error| error.to_string())?;
        Ok(Self { client, patience: waits + ANSWER, open: Mutex::default() })
    }

    /// Does something over the connection. An error says why it cannot be done.
    pub async fn with<T>(
        &self,
        act: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, String> {
        let mut connection = {
            let mut slot = self.open.lock().await;
            match &*slot {
                Some(open) => open.clone(),
                None => slot.insert(self.connect().await?).clone(),
            }
        };
        let done = act(&mut connection).await;
        if done.as_ref().is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error()) {
            *self.open.lock().await = None;
        }
        done.map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(self.patience));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        made.map_err(|error| error.to_string())
    }
}

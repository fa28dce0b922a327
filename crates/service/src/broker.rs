//! Opens the queue that the settings name.

use std::sync::Arc;

use queue::{Broker, OpenError, RedisBroker, RedisOptions, SqliteBroker};

use crate::settings::{QueueLocation, Settings};

/// Opens the queue. A Redis that can't be reached now is not an error: until it can, every operation returns
/// [`BrokerError::Unavailable`](queue::BrokerError::Unavailable).
///
/// # Errors
/// If the address is invalid, or the embedded queue's folder cannot be used.
pub fn open(settings: &Settings) -> Result<Arc<dyn Broker>, OpenError> {
    Ok(match &settings.queue {
        QueueLocation::Redis(url) => {
            let partitions = settings.redis_partitions;
            let ca_file = settings.redis_ca_file.clone();
            let sentinel_password = settings.redis_sentinel_password.as_ref();
            let key_prefix = settings.redis_key_prefix.clone();
            let allow_eviction = settings.redis_allow_eviction;
            let options = RedisOptions {
                partitions,
                ca_file,
                key_prefix,
                sentinel_username: settings.redis_sentinel_username.clone(),
                sentinel_password: sentinel_password.map(|text| text.reveal().to_owned()),
                allow_eviction,
                ..RedisOptions::new(url.reveal())
            };
            Arc::new(RedisBroker::connect(options)?)
        }
        QueueLocation::Embedded(dir) => Arc::new(SqliteBroker::open(dir)?),
    })
}

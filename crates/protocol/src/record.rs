//! The envelope of stored records: `{"v": 2, …}`. A record of the previous version is converted; one of any other
//! version is refused with a clear error, never misread.

mod previous;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that this code writes. Increase it when a stored type changes in a way that serde's
/// defaults cannot handle, and make [`decode`] read the older version.
pub const VERSION: u32 = 2;

/// Why a stored record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error(
        "the stored record has version {found}, this build reads version {VERSION}: \
         run the version that wrote it, or let it finish its tasks before upgrading"
    )]
    Version {
        /// The record's version.
        found: u32,
    },
    /// The text is not a record.
    #[error("the stored record can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// Serializes `value` as a versioned JSON object. `T` must serialize as a JSON object.
///
/// # Errors
/// When `T` does not serialize as an object, which is a bug.
pub fn encode<T: Serialize>(value: &T) -> Result<String, RecordError> {
    Ok(serde_json::to_string(&Envelope { v: VERSION, value })?)
}

/// Deserializes what [`encode`] wrote.
///
/// # Errors
/// [`RecordError::Version`] for a record of another version, [`RecordError::Malformed`] for a text
/// that is not a record.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    let VersionOnly { v } = serde_json::from_str(text)?;
    match v {
        VERSION => Ok(serde_json::from_str(text)?),
        previous::VERSION => {
            let mut record: Value = serde_json::from_str(text)?;
            previous::upgrade(&mut record);
            Ok(serde_json::from_value(record)?)
        }
        found => Err(RecordError::Version { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn a_record_carries_its_version() {
        let text = encode(&Outcome::CANCELLED).unwrap();
        assert_eq!(text, r#"{"v":2,"state":"cancelled"}"#);
        assert_eq!(decode::<Outcome>(&text).unwrap(), Outcome::CANCELLED);
    }

    #[test]
    fn record_of_another_version_is_refused() {
        let error = decode::<Outcome>(r#"{"v":3,"state":"cancelled"}"#).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 3 }), "{error}");
        assert!(matches!(decode::<Outcome>("{}").unwrap_err(), RecordError::Malformed(_)));
    }
}

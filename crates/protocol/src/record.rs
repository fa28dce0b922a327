//! The envelope of everything stored: `{"v": 1, …}`. An old or foreign record is read or refused
//! with a clear error, never misread.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version this code writes. Raise it when a stored shape changes in a way that serde defaults
/// can't bridge, and teach [`decode`] the older one.
pub const VERSION: u32 = 1;

/// A stored record can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error(
        "the stored record has version {found}, this build reads version {VERSION}: \
         run the version that wrote it, or let it finish its tasks before upgrading"
    )]
    Version {
        /// The version it names.
        found: u32,
    },
    /// Not a record at all.
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

/// Writes `value` as a versioned JSON object. `T` must serialize as a JSON object.
///
/// # Errors
/// When `T` does not serialize as an object, which is a bug.
pub fn encode<T: Serialize>(value: &T) -> Result<String, RecordError> {
    Ok(serde_json::to_string(&Envelope { v: VERSION, value })?)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`RecordError::Version`] for a record of another version, [`RecordError::Malformed`] for
/// anything that is no record.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    let VersionOnly { v } = serde_json::from_str(text)?;
    if v != VERSION {
        return Err(RecordError::Version { found: v });
    }
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn a_record_carries_its_version() {
        let text = encode(&Outcome::Cancelled).unwrap();
        assert_eq!(text, r#"{"v":1,"state":"cancelled"}"#);
        assert_eq!(decode::<Outcome>(&text).unwrap(), Outcome::Cancelled);
    }

    #[test]
    fn another_version_is_refused_not_misread() {
        let error = decode::<Outcome>(r#"{"v":2,"state":"cancelled"}"#).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 2 }), "{error}");
        assert!(matches!(decode::<Outcome>("{}").unwrap_err(), RecordError::Malformed(_)));
    }
}

//! What can go wrong with the table, and what each error code of DynamoDB means.
//!
//! The error of a request can hold whole items, and with them personal data, so none is kept: an error holds
//! the operation, DynamoDB's own code, and at most the ids by which an item is found. What becomes of
//! each code is in ARCHITECTURE.md.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;

use crate::table::client::RequestError;

/// Why an operation on the table failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The table cannot be reached or is overloaded, in all tries of the client. Whether the
    /// operation took effect is not known.
    #[error("the table did not respond to {operation}: {code}; try again later")]
    Unavailable {
        /// The DynamoDB operation.
        operation: &'static str,
        /// DynamoDB's code, or how the transport failed.
        code: String,
    },
    /// The table refuses the operation: the table or an index is missing, or credentials or
    /// permissions are wrong.
    #[error("the table refused {operation}: {code}; check TABLE_NAME, credentials and permissions")]
    Refused {
        /// The DynamoDB operation.
        operation: &'static str,
        /// The code of DynamoDB's error, such as `ResourceNotFoundException`.
        code: String,
    },
    /// An item that was to be created exists, or one changed while it was being decided about.
    #[error("the table has another {what} under the same key; send the request again")]
    Conflict {
        /// What the item is: `event`.
        what: &'static str,
    },
    /// An item is not what this code expects under its key.
    #[error(
        "the {name} in the table cannot be read: newer code wrote it, or it is damaged; deploy this \
         function again, and correct the item if that does not help"
    )]
    CorruptItem {
        /// What the item is, with the ids by which it is found: `delivery <lead>/<delivery>`.
        name: String,
    },
    /// A request to the table could not be built: a mistake in the code.
    #[error(
        "no request to the table could be built for a {what}; report this as a mistake in Funil"
    )]
    InvalidRequest {
        /// What was to be read or written: `receipt`.
        what: &'static str,
    },
    /// `HASH_KEY` is not the key that this table was made with.
    #[error(
        "HASH_KEY is not the key this table was made with; set the original key, \
         because every alias and receipt depends on it"
    )]
    WrongHashKey,
}

/// The codes by which the table says that the same request may succeed at once, so that the client tries it
/// again.
pub(crate) const BUSY: [&str; 8] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
];

/// Further codes after which the same request may succeed. What is written after a conflict with a transaction is
/// up to the caller, and the other two come with a status by which the client tries again.
const TRANSIENT: [&str; 3] =
    ["TransactionConflictException", "InternalServerError", "ServiceUnavailable"];

/// The codes by which the table says that it has too much to do.
const OVERLOADED: [&str; 6] = [
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    // Of the reasons why a transaction was cancelled.
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
];

impl StoreError {
    /// Whether the table refused the operation, in the last try, because it has too much to
    /// do.
    pub fn is_overload(&self) -> bool {
        matches!(self, Self::Unavailable { code, .. } if OVERLOADED.contains(&code.as_str()))
    }

    /// Reduces the error of a request to what may be logged.
    pub(crate) fn of<E>(operation: &'static str, error: &RequestError<E>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let unavailable = |code: &str| Self::Unavailable { operation, code: code.to_owned() };
        match error {
            RequestError::Timeout => unavailable("timeout"),
            RequestError::NoConnection => unavailable("no connection"),
            RequestError::Unreadable => unavailable("a response that cannot be read"),
            RequestError::Service(error) => match error.code() {
                Some(code) if BUSY.contains(&code) || TRANSIENT.contains(&code) => {
                    unavailable(code)
                }
                Some(code) => Self::Refused { operation, code: code.to_owned() },
                // Whatever stands before the table responded, not the table.
                None => unavailable("an error without a code"),
            },
            RequestError::Unbuilt => Self::InvalidRequest { what: operation },
        }
    }

    /// An item that cannot be read; `name` says which, without personal data.
    pub(crate) fn corrupt(name: impl Into<String>) -> Self {
        Self::CorruptItem { name: name.into() }
    }
}

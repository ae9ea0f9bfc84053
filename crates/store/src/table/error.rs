//! What can go wrong with the table, and what each answer of DynamoDB means.
//!
//! An SDK error can hold whole items, with the person's data in them, so none is kept: only the
//! operation and DynamoDB's own code. ARCHITECTURE.md has the table of what becomes of each code.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// The table did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or is overloaded, after the SDK's own retries. Nothing is known to be
    /// kept: try again.
    #[error("the table did not answer {operation}: {code}")]
    Unavailable {
        /// The DynamoDB operation.
        operation: &'static str,
        /// DynamoDB's code, or how the transport failed.
        code: String,
    },
    /// It refuses: the table or an index is missing, or credentials or permissions are wrong.
    #[error("the table refused {operation}: {code}; check TABLE_NAME, credentials and permissions")]
    Refused {
        /// The DynamoDB operation.
        operation: &'static str,
        /// DynamoDB's code.
        code: String,
    },
    /// An item cannot be read or written as what it should be.
    #[error("an item of the table is not a valid {what}")]
    Unreadable {
        /// What it should have been.
        what: &'static str,
    },
    /// `HASH_KEY` is not the key that this table was made with.
    #[error(
        "HASH_KEY is not the key this table was made with; set the original key, \
         because every alias and receipt depends on it"
    )]
    WrongHashKey,
}

/// Codes after which the same call may succeed.
const TRANSIENT: [&str; 9] = [
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "TransactionConflictException",
    "InternalServerError",
    "ServiceUnavailable",
];

impl StoreError {
    pub(crate) fn of<E, R>(operation: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let unavailable = |code: &str| Self::Unavailable { operation, code: code.to_owned() };
        match error {
            SdkError::TimeoutError(_) => unavailable("timeout"),
            SdkError::DispatchFailure(_) => unavailable("no connection"),
            SdkError::ResponseError(_) => unavailable("an answer that cannot be read"),
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or("unknown");
                if TRANSIENT.contains(&code) {
                    unavailable(code)
                } else {
                    Self::Refused { operation, code: code.to_owned() }
                }
            }
            _ => Self::Refused { operation, code: "a request that cannot be made".to_owned() },
        }
    }
}

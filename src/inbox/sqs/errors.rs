//! What a failed call means for the caller.

use std::error::Error as StdError;
use std::fmt::Write as _;

use aws_sdk_sqs::Error;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::Failed;
use crate::inbox::{InboxError, InboxErrorClass};

/// Codes of AWS services that ask for fewer requests.
const THROTTLING: [&str; 14] = [
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "LimitExceededException",
    "OverLimit",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Codes by which AWS turns away who asks: no pause changes the answer.
const REFUSING: [&str; 20] = [
    "AWS.SimpleQueueService.NonExistentQueue",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidAddress",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "QueueDoesNotExist",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "UnsupportedOperation",
    "AWS.SimpleQueueService.UnsupportedOperation",
];

/// Tells what a failure of the SDK means, with the operation in front.
pub(super) fn explain<E>(operation: &str, error: SdkError<E, HttpResponse>) -> Failed
where
    E: StdError + ProvideErrorMetadata + Into<Error> + 'static,
{
    let message = format!("{operation}: {}", text(&error));
    let unsent = is_unsent(&error);
    let class = match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            class_of_answer(&context.into_err().into(), status)
        }
        // The request could not even be built: region or endpoint is missing or wrong.
        SdkError::ConstructionFailure(_) => InboxErrorClass::Refused,
        // The request may have been carried out: connection lost, no answer in time, an answer that is no answer.
        _ => InboxErrorClass::Away,
    };
    Failed { error: InboxError { class, message }, unsent }
}

/// The class of an error that SQS answered.
fn class_of_answer(error: &Error, status: u16) -> InboxErrorClass {
    match error {
        Error::OverLimit(_) | Error::RequestThrottled(_) | Error::KmsThrottled(_) => InboxErrorClass::Throttled,
        Error::QueueDoesNotExist(_)
        | Error::InvalidAddress(_)
        | Error::InvalidSecurity(_)
        | Error::UnsupportedOperation(_)
        | Error::KmsAccessDenied(_)
        | Error::KmsDisabled(_)
        | Error::KmsInvalidKeyUsage(_)
        | Error::KmsInvalidState(_)
        | Error::KmsNotFound(_)
        | Error::KmsOptInRequired(_) => InboxErrorClass::Refused,
        other => class_of_code(other.code().unwrap_or_default(), status),
    }
}

/// The class of an error that the SDK has no type for. The code comes first: a throttling answer may be a 403.
fn class_of_code(code: &str, status: u16) -> InboxErrorClass {
    if is_throttling(code) || status == 429 {
        InboxErrorClass::Throttled
    } else if REFUSING.contains(&code) || matches!(status, 401 | 403) {
        InboxErrorClass::Refused
    } else {
        InboxErrorClass::Away
    }
}

/// Whether the code asks for fewer requests.
pub(super) fn is_throttling(code: &str) -> bool {
    THROTTLING.contains(&code)
}

/// The error and what is behind it in one line.
fn text<E: StdError + ProvideErrorMetadata + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    if let SdkError::ServiceError(context) = error {
        let answer = context.err();
        let status = context.raw().status().as_u16();
        return match (answer.code(), answer.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, Some(message)) => format!("HTTP {status}: {message}"),
            (None, None) => format!("HTTP {status}"),
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        write!(text, ": {cause}").expect("a String takes any text");
        source = cause.source();
    }
    text
}

/// Whether the connection was refused, so that the request certainly was not carried out.
fn is_unsent<E: StdError + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::error as typed;

    use super::*;

    #[test]
    fn typed_errors_have_their_class_whatever_the_status() {
        let rows = [
            (Error::OverLimit(typed::OverLimit::builder().build()), InboxErrorClass::Throttled),
            (Error::RequestThrottled(typed::RequestThrottled::builder().build()), InboxErrorClass::Throttled),
            (Error::KmsThrottled(typed::KmsThrottled::builder().build()), InboxErrorClass::Throttled),
            (Error::QueueDoesNotExist(typed::QueueDoesNotExist::builder().build()), InboxErrorClass::Refused),
            (Error::InvalidAddress(typed::InvalidAddress::builder().build()), InboxErrorClass::Refused),
            (Error::InvalidSecurity(typed::InvalidSecurity::builder().build()), InboxErrorClass::Refused),
            (Error::UnsupportedOperation(typed::UnsupportedOperation::builder().build()), InboxErrorClass::Refused),
            (Error::KmsAccessDenied(typed::KmsAccessDenied::builder().build()), InboxErrorClass::Refused),
            (Error::KmsDisabled(typed::KmsDisabled::builder().build()), InboxErrorClass::Refused),
            (Error::KmsInvalidKeyUsage(typed::KmsInvalidKeyUsage::builder().build()), InboxErrorClass::Refused),
            (Error::KmsInvalidState(typed::KmsInvalidState::builder().build()), InboxErrorClass::Refused),
            (Error::KmsNotFound(typed::KmsNotFound::builder().build()), InboxErrorClass::Refused),
            (Error::KmsOptInRequired(typed::KmsOptInRequired::builder().build()), InboxErrorClass::Refused),
            (Error::EmptyBatchRequest(typed::EmptyBatchRequest::builder().build()), InboxErrorClass::Away),
        ];
        for (error, class) in rows {
            assert_eq!(class_of_answer(&error, 400), class, "{error:?}");
        }
    }

    #[test]
    fn codes_without_a_type_have_their_class() {
        for code in THROTTLING {
            assert_eq!(class_of_code(code, 403), InboxErrorClass::Throttled, "{code}");
        }
        for code in REFUSING {
            assert_eq!(class_of_code(code, 400), InboxErrorClass::Refused, "{code}");
        }
        assert_eq!(class_of_code("", 429), InboxErrorClass::Throttled);
        assert_eq!(class_of_code("SomethingNew", 403), InboxErrorClass::Refused);
        assert_eq!(class_of_code("SomethingNew", 400), InboxErrorClass::Away);
        assert_eq!(class_of_code("InternalError", 500), InboxErrorClass::Away);
        assert_eq!(class_of_code("ServiceUnavailable", 503), InboxErrorClass::Away);
    }
}

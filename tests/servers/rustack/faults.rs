//! What can go wrong between a client and SQS, on demand.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::response::json_response;
use rustack_sqs_model::error::SqsError;
use rustack_sqs_model::operations::SqsOperation;
use serde_json::{Value, json};

/// How many attempt ids are remembered.
const ATTEMPTS: usize = 1_000;

/// One thing that goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not carried out; answered with this code and HTTP status.
    Error {
        /// As in `RequestThrottled`.
        code: &'static str,
        /// As in 400.
        status: u16,
    },
    /// Not carried out; the connection breaks.
    Break,
    /// Carried out; the connection breaks instead of an answer. A receive on a FIFO queue gives the same messages
    /// when it is asked again with the same attempt id, as SQS does.
    LoseReply,
    /// Not carried out, never answered.
    Hang,
    /// Carried out after a pause.
    Delay(Duration),
    /// Batch calls: these entries (by their place in the request) are not carried out and answered as failed.
    FailEntries {
        /// Their places, from 0.
        entries: Vec<usize>,
        /// What SQS says whose fault it is.
        sender_fault: bool,
    },
    /// Batch calls: these entries are carried out, and missing in the answer.
    LeaveOut(Vec<usize>),
    /// Receives: the messages are delivered once more by a later receive that has room, whatever became of them.
    DeliverAgain,
    /// Receives: this much is added to every `SequenceNumber`.
    RaiseSequenceNumbers(u128),
    /// Receives: so many blanks are added to every body. SQS's queues may carry more than this server takes.
    EnlargeBodies(usize),
}

impl Fault {
    /// A service error of the kind that goes away.
    pub(crate) const INTERNAL: Fault = Fault::Error { code: "InternalError", status: 500 };
    /// Too many requests.
    pub(crate) const THROTTLED: Fault = Fault::Error { code: "RequestThrottled", status: 400 };
    /// Too many messages in flight.
    pub(crate) const OVER_LIMIT: Fault = Fault::Error { code: "OverLimit", status: 403 };
    /// No permission.
    pub(crate) const ACCESS_DENIED: Fault = Fault::Error { code: "AccessDenied", status: 403 };
}

/// Which calls of an operation a fault meets, counted from when it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// This one, from 1.
    Nth(u64),
    /// So many.
    First(u64),
    /// Each so manieth.
    Every(u64),
    /// Each.
    Always,
}

/// The server's operations behind a layer of faults.
pub(crate) struct Faults {
    inner: Arc<RustackSqsHandler>,
    state: Arc<Mutex<State>>,
}

/// Marks an answer whose connection is to break.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost;

#[derive(Default)]
struct State {
    calls: HashMap<SqsOperation, u64>,
    fired: HashMap<SqsOperation, u64>,
    rules: Vec<Rule>,
    again: VecDeque<Value>,
    copies: u64,
    attempts: VecDeque<String>,
    lost_replies: HashMap<String, Bytes>,
}

struct Rule {
    operation: SqsOperation,
    when: When,
    fault: Fault,
    seen: u64,
}

type Answer = Result<Response<SqsResponseBody>, SqsError>;

impl Faults {
    pub(super) fn new(inner: RustackSqsHandler) -> Self {
        Self { inner: Arc::new(inner), state: Arc::default() }
    }

    /// From now on this goes wrong with calls of this operation. Of several that meet one call the oldest counts.
    pub(crate) fn set(&self, operation: SqsOperation, when: When, fault: Fault) {
        self.lock().rules.push(Rule { operation, when, fault, seen: 0 });
    }

    /// From now on nothing goes wrong. Calls that hang go on hanging.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How many calls of this operation came in.
    pub(crate) fn calls(&self, operation: SqsOperation) -> u64 {
        self.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// How many calls of this operation met a fault.
    pub(crate) fn fired(&self, operation: SqsOperation) -> u64 {
        self.lock().fired.get(&operation).copied().unwrap_or(0)
    }

    /// How many messages [`Fault::DeliverAgain`] has delivered once more, or is about to.
    pub(crate) fn copies(&self) -> u64 {
        self.lock().copies
    }

    /// The attempt ids of receives, in their order (the last 1,000).
    pub(crate) fn attempt_ids(&self) -> Vec<String> {
        self.lock().attempts.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic inside")
    }
}

impl State {
    fn fault_of(&mut self, operation: SqsOperation) -> Option<Fault> {
        *self.calls.entry(operation).or_default() += 1;
        let mut fault = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.operation == operation) {
            rule.seen += 1;
            let meets = match rule.when {
                When::Nth(nth) => rule.seen == nth,
                When::First(many) => rule.seen <= many,
                When::Every(nth) => rule.seen.is_multiple_of(nth),
                When::Always => true,
            };
            if meets && fault.is_none() {
                fault = Some(rule.fault.clone());
            }
        }
        if fault.is_some() {
            *self.fired.entry(operation).or_default() += 1;
        }
        fault
    }

    /// Takes note of a receive's attempt id, and gives the reply that was lost under it.
    fn asked_again(&mut self, attempt: &str) -> Option<Bytes> {
        if self.attempts.len() == ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt.to_owned());
        self.lost_replies.remove(attempt)
    }
}

impl SqsHandler for Faults {
    fn handle_operation(&self, operation: SqsOperation, body: Bytes) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let attempt = if operation == SqsOperation::ReceiveMessage { attempt_id(&body) } else { None };
        let mut state = self.lock();
        let fault = state.fault_of(operation);
        if let Some(reply) = attempt.as_ref().and_then(|attempt| state.asked_again(attempt)) {
            return Box::pin(async move { Ok(json_response(reply.to_vec(), "asked-again")) });
        }
        if operation == SqsOperation::ReceiveMessage && fault.is_none() && !state.again.is_empty() {
            let messages: Vec<Value> = {
                let room = state.again.len().min(10);
                state.again.drain(..room).collect()
            };
            return Box::pin(async move { Ok(answer(&json!({ "Messages": messages }))) });
        }
        drop(state);
        match fault {
            None => self.inner.handle_operation(operation, body),
            Some(fault) => Box::pin(go_wrong(self.inner.clone(), self.state.clone(), operation, body, attempt, fault)),
        }
    }
}

async fn go_wrong(
    inner: Arc<RustackSqsHandler>,
    state: Arc<Mutex<State>>,
    operation: SqsOperation,
    body: Bytes,
    attempt: Option<String>,
    fault: Fault,
) -> Answer {
    match fault {
        Fault::Error { code, status } => Ok(error(code, status)),
        Fault::Break => Ok(lost()),
        Fault::Hang => pending().await,
        Fault::Delay(pause) => {
            tokio::time::sleep(pause).await;
            inner.handle_operation(operation, body).await
        }
        Fault::LoseReply => {
            let reply = bytes_of(inner.handle_operation(operation, body).await?).await;
            if let Some(attempt) = attempt {
                state.lock().expect("no panic inside").lost_replies.insert(attempt, reply);
            }
            Ok(lost())
        }
        Fault::FailEntries { entries, sender_fault } => {
            fail_entries(&inner, operation, &body, &entries, sender_fault).await
        }
        Fault::LeaveOut(entries) => {
            let ids = split_entries(&mut parse(&body), &entries);
            let mut reply = parse(&bytes_of(inner.handle_operation(operation, body).await?).await);
            for list in ["Successful", "Failed"] {
                if let Some(list) = reply.get_mut(list).and_then(Value::as_array_mut) {
                    list.retain(|entry| !ids.contains(&entry["Id"]));
                }
            }
            Ok(answer(&reply))
        }
        Fault::DeliverAgain => {
            let reply = parse(&bytes_of(inner.handle_operation(operation, body).await?).await);
            let messages = reply["Messages"].as_array().cloned().unwrap_or_default();
            let mut state = state.lock().expect("no panic inside");
            state.copies += messages.len() as u64;
            state.again.extend(messages);
            drop(state);
            Ok(answer(&reply))
        }
        Fault::RaiseSequenceNumbers(by) => {
            let mut reply = parse(&bytes_of(inner.handle_operation(operation, body).await?).await);
            for message in reply["Messages"].as_array_mut().into_iter().flatten() {
                if let Some(number) = message.pointer_mut("/Attributes/SequenceNumber") {
                    let small: u128 = number.as_str().and_then(|text| text.parse().ok()).expect("a number");
                    *number = Value::String((small + by).to_string());
                }
            }
            Ok(answer(&reply))
        }
        Fault::EnlargeBodies(by) => {
            let mut reply = parse(&bytes_of(inner.handle_operation(operation, body).await?).await);
            for message in reply["Messages"].as_array_mut().into_iter().flatten() {
                let text = message["Body"].as_str().expect("every message has a body");
                message["Body"] = Value::String(format!("{text}{:by$}", ""));
            }
            Ok(answer(&reply))
        }
    }
}

/// Carries out the other entries, and adds these to those that failed.
async fn fail_entries(
    inner: &RustackSqsHandler,
    operation: SqsOperation,
    body: &Bytes,
    entries: &[usize],
    sender_fault: bool,
) -> Answer {
    let mut request = parse(body);
    let ids = split_entries(&mut request, entries);
    let mut reply = if request["Entries"].as_array().is_some_and(|rest| !rest.is_empty()) {
        let body = Bytes::from(request.to_string());
        parse(&bytes_of(inner.handle_operation(operation, body).await?).await)
    } else {
        json!({})
    };
    let code = if sender_fault { "ReceiptHandleIsInvalid" } else { "InternalError" };
    let failed = ids.into_iter().map(|id| json!({ "Id": id, "Code": code, "SenderFault": sender_fault }));
    let all = reply["Failed"].as_array().cloned().unwrap_or_default().into_iter().chain(failed).collect();
    reply["Failed"] = Value::Array(all);
    Ok(answer(&reply))
}

/// Takes these entries out of a batch request, and gives their ids.
fn split_entries(request: &mut Value, places: &[usize]) -> Vec<Value> {
    let mut ids = Vec::new();
    let mut place = 0;
    request["Entries"].as_array_mut().expect("a batch call").retain(|entry| {
        let taken = places.contains(&place);
        place += 1;
        if taken {
            ids.push(entry["Id"].clone());
        }
        !taken
    });
    ids
}

fn attempt_id(body: &Bytes) -> Option<String> {
    // Parsing is for FIFO queues alone: a bench of a standard queue does not pay for it.
    const KEY: &[u8] = b"\"ReceiveRequestAttemptId\"";
    body.windows(KEY.len()).any(|window| window == KEY).then(|| parse(body))?["ReceiveRequestAttemptId"]
        .as_str()
        .map(str::to_owned)
}

async fn bytes_of(answer: Response<SqsResponseBody>) -> Bytes {
    answer.into_body().collect().await.expect("the answer is in memory").to_bytes()
}

fn parse(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("the SDK and the server speak JSON")
}

fn answer(body: &Value) -> Response<SqsResponseBody> {
    json_response(body.to_string().into_bytes(), "decorated")
}

fn lost() -> Response<SqsResponseBody> {
    let mut response = Response::new(SqsResponseBody::empty());
    response.extensions_mut().insert(Lost);
    response
}

fn error(code: &str, status: u16) -> Response<SqsResponseBody> {
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "on demand" });
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-query-error", format!("{code};{fault}"))
        .body(SqsResponseBody::from_json(body.to_string().into_bytes()))
        .expect("code and status are valid")
}

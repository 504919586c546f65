//! What is taken from a request, strictly: whatever is wrong with it is a [`Problem`].
//!
//! | header | what |
//! |---|---|
//! | `Cloakroom-Operation` | 32 hexadecimal digits: which operation this is, in all its attempts |
//! | `Cloakroom-Bound` | what an earlier attempt of it with an unknown outcome was bound to |
//! | `Cloakroom-Again` | `true`: the request was sent before, and is not carried out unless it is remembered, or bound |
//! | `Cloakroom-Timeout-Ms` | how long the node tries, 1 to 60,000 |
//!
//! Invariants: REST-1: a request's fingerprint covers all that decides what it does.
//!
//! What it does not do: know what a path does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use cloakroom_register::{OperationId, Version};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::App;
use super::allocations::MOST_RECOVER_BYTES;
use crate::memory::{Doubt, Ended, Named, Refused};
use crate::problem::{Answer, Kind, Problem};

const OPERATION: &str = "cloakroom-operation";
const BOUND: &str = "cloakroom-bound";
const AGAIN: &str = "cloakroom-again";
const TIMEOUT_MS: &str = "cloakroom-timeout-ms";
const DEFAULT_MS: u64 = 10_000;
const MOST_MS: u64 = 60_000;
/// Of an answer that is remembered.
const MOST_KEPT_BYTES: usize = 16 * 1024;
/// A whole body comes within this time: who sends it holds a request's place.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// So does a large one: 16 MiB come within it by a line of 2.3 Mbit/s. There is room for few of them.
const LARGE_BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// What a path names.
#[derive(Clone, Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        unescaped("path", parts.uri.path())?;
        let axum::extract::Path(path) =
            axum::extract::Path::<T>::from_request_parts(parts, state).await?;
        Ok(Self(path))
    }
}

/// What stands behind the question mark.
#[derive(Clone, Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        unescaped("query", parts.uri.query().unwrap_or_default())?;
        let axum::extract::Query(query) = axum::extract::Query::try_from_uri(&parts.uri)?;
        Ok(Self(query))
    }
}

/// Others put a stand-in for what is no text, and leave an escape that is none as it is: then a request is
/// about another tag than its sender's.
fn unescaped(what: &str, text: &str) -> Result<(), Problem> {
    let wrong = |detail| Err(Problem::new(Kind::MALFORMED, format!("{what}: {detail}")));
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte != b'%' {
            bytes.push(byte);
            at += 1;
            continue;
        }
        let digits =
            text.get(at + 1..at + 3).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) => bytes.push(byte),
            _ => return wrong(format!("expected two hexadecimal digits behind % at byte {at}")),
        }
        at += 3;
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(()),
        Err(error) => wrong(format!("expected UTF-8, got other bytes at {}", error.valid_up_to())),
    }
}

/// A body as it is.
#[derive(Clone, Debug)]
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(whole_body(request, state, BODY_TIMEOUT).await?))
    }
}

/// REST-3: all of a body, in a time that does not begin anew with each of its parts.
async fn whole_body<S: Send + Sync>(
    request: Request,
    state: &S,
    within: Duration,
) -> Result<Bytes, Problem> {
    let read = timeout(within, Bytes::from_request(request, state)).await.map_err(|_| {
        let detail = format!("body: expected all of it within {} s", within.as_secs());
        Problem::new(Kind::TOO_SLOW, detail)
    })?;
    Ok(read?)
}

/// A body that says that it is JSON. A page of another site can make a browser send other bodies unasked,
/// not this one.
#[derive(Clone, Debug)]
pub(super) struct Document(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::within(BODY_TIMEOUT, request, state).await
    }
}

impl Document {
    async fn within<S: Send + Sync>(
        within: Duration,
        request: Request,
        state: &S,
    ) -> Result<Self, Problem> {
        let kind = text(request.headers(), "content-type")?.unwrap_or("nothing");
        let essence = kind.split(';').next().unwrap_or_default().trim();
        // REST-4: before the body is read.
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = format!("content-type: expected application/json, got {kind}");
            return Err(Problem::new(Kind::MEDIA_TYPE, detail));
        }
        Ok(Self(whole_body(request, state, within).await?))
    }
}

/// A document that may be large, with its share of the room for all of them: as long as it is kept, nobody
/// else has that.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) body: Bytes,
    pub(super) room: OwnedSemaphorePermit,
}

impl FromRequest<App> for Large {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let most = MOST_RECOVER_BYTES as u64;
        let announced = number(request.headers(), "content-length")?.unwrap_or(most);
        let kib = u32::try_from(announced.min(most) / 1024 + 1).unwrap_or(u32::MAX);
        // REST-3: before the body is read.
        let room = Arc::clone(&app.0.room).try_acquire_many_owned(kib).map_err(|_| {
            Problem::new(Kind::OVERLOADED, format!("there is no room for {kib} KiB more"))
        })?;
        let Document(body) = Document::within(LARGE_BODY_TIMEOUT, request, app).await?;
        Ok(Self { body, room })
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(of_status(rejection.status()), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Kind::MALFORMED, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::MALFORMED, rejection.body_text())
    }
}

fn of_status(status: StatusCode) -> Kind {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Kind::TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::MEDIA_TYPE,
        _ => Kind::MALFORMED,
    }
}

/// Until when a request may take, and which operation it is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) until: Instant,
    operation: Option<OperationId>,
    bound: Option<Version>,
    again: bool,
    method: Method,
    uri: Uri,
    conditions: Vec<u8>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let number = |name| number(headers, name);
        let ms = number(TIMEOUT_MS)?.unwrap_or(DEFAULT_MS);
        if !(1..=MOST_MS).contains(&ms) {
            let detail = format!("{TIMEOUT_MS}: expected 1 to {MOST_MS}, got {ms}");
            return Err(Problem::new(Kind::MALFORMED, detail));
        }
        let operation = text(headers, OPERATION)?.map(operation).transpose()?;
        let bound = number(BOUND)?.map(Version);
        let again = match text(headers, AGAIN)? {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                let detail = format!("{AGAIN}: expected true or false, got {other:?}");
                return Err(Problem::new(Kind::MALFORMED, detail));
            }
        };
        if (bound.is_some() || again) && operation.is_none() {
            let detail = format!("{BOUND}, {AGAIN}: expected {OPERATION} beside it, got none");
            return Err(Problem::new(Kind::CONDITION, detail));
        }
        let mut conditions = Vec::new();
        for name in ["if-match", "if-none-match"] {
            conditions.extend(headers.get(name).map_or(&b""[..], |value| value.as_bytes()));
            conditions.push(b'\n');
        }
        let until = Instant::now() + Duration::from_millis(ms);
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        Ok(Self { until, operation, bound, again, method, uri, conditions })
    }
}

impl Asked {
    /// Carries out what changes something: once, if the client has named the operation.
    pub(super) async fn once<F>(
        &self,
        app: &App,
        body: &[u8],
        work: impl FnOnce(OperationId, Option<Doubt>) -> F,
    ) -> Response
    where
        F: Future<Output = Result<Answer, Problem>> + Send + 'static,
    {
        let id = match self.operation {
            Some(id) => id,
            None => match fresh() {
                Ok(id) => id,
                Err(problem) => return problem.into_response(),
            },
        };
        let told = self.bound.map(|bound| Doubt(Some(bound)));
        let begin = |doubt: Option<Doubt>| {
            let work = work(id, told.or(doubt));
            async move { judged(work.await) }
        };
        // What is bound is carried out at most once in any case.
        let again = self.again && self.bound.is_none();
        let named = Named { request: self.fingerprint(body), again };
        let answer = match self.operation {
            Some(_) => app.0.memory.once(id, named, begin).await,
            None => Ok(app.0.memory.unnamed(id, named.request, begin(None)).await),
        };
        let mut response = match answer {
            Ok(Some(answer)) => answer.into_response(),
            Ok(None) => Problem::broken("the operation has broken off").into_response(),
            Err(Refused::Forgotten) => {
                let detail = "this node does not remember the operation";
                Problem::unknown(detail, None).into_response()
            }
            Err(Refused::Reused) => {
                let detail = format!("{OPERATION}: expected the request that it came with before");
                Problem::new(Kind::OPERATION_REUSED, detail).into_response()
            }
        };
        let shown = format!("{id:#}");
        if let Ok(value) = shown.trim_start_matches('o').parse() {
            response.headers_mut().insert(OPERATION, value);
        }
        response
    }

    /// Carries out what may be carried out any number of times: once, if the client has named the operation
    /// and its answer is not too large to be kept. It goes on when the client has gone.
    pub(super) async fn harmless(
        &self,
        app: &App,
        body: &[u8],
        work: impl Future<Output = Result<Answer, Problem>> + Send + 'static,
    ) -> Response {
        if self.operation.is_some() {
            let work = |_, doubt: Option<Doubt>| async move {
                work.await.map_err(|problem| problem.after(doubt))
            };
            return self.once(app, body, work).await;
        }
        match tokio::spawn(work).await {
            Ok(Ok(answer)) => answer.into_response(),
            Ok(Err(problem)) => problem.into_response(),
            Err(_) => Problem::broken("the operation has broken off").into_response(),
        }
    }

    /// REST-1: two requests with one fingerprint ask for the same.
    fn fingerprint(&self, body: &[u8]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let uri = self.uri.to_string();
        for part in [self.method.as_str().as_bytes(), uri.as_bytes(), &self.conditions, body] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// What the next attempt must know of this one.
fn judged(outcome: Result<Answer, Problem>) -> Ended<Answer> {
    match outcome {
        // REST-3: only what is harmless has so large an answer.
        Ok(answer) if answer.body.len() > MOST_KEPT_BYTES => Ended::Undone(answer),
        Ok(answer) => Ended::With(answer),
        Err(problem) => {
            let doubt = Doubt(problem.bound());
            let (unknown, undone) = (problem.is_unknown(), problem.is_undone());
            let answer = problem.into_answer();
            // REST-1: what did not happen may be tried again; what may have happened, only as itself.
            if unknown {
                Ended::Doubted(answer, doubt)
            } else if undone {
                Ended::Undone(answer)
            } else {
                Ended::With(answer)
            }
        }
    }
}

/// A body that is part of a fingerprint, as a JSON object.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let before = body.len() - body.trim_ascii_start().len();
    // Else its elements would be taken for fields, in their order.
    if body.get(before) == Some(&b'[') {
        let lines: Vec<&[u8]> = body[..before].split(|byte| *byte == b'\n').collect();
        let (line, column) = (lines.len(), lines.last().map_or(0, |line| line.len()) + 1);
        let detail = format!("expected an object, got a list at line {line} column {column}");
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    serde_json::from_slice(body).map_err(|cause| Problem::new(Kind::MALFORMED, cause))
}

fn fresh() -> Result<OperationId, Problem> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id)
        .map_err(|_| Problem::new(Kind::INTERNAL, "the system gives no entropy"))?;
    Ok(OperationId(id))
}

fn operation(text: &str) -> Result<OperationId, Problem> {
    let wrong = || {
        let detail = format!("{OPERATION}: expected 32 hexadecimal digits, got {text:?}");
        Problem::new(Kind::MALFORMED, detail)
    };
    let is_digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_digits);
    number.map(|number| OperationId(number.to_be_bytes())).ok_or_else(wrong)
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let wrong = |got: &str| {
        Problem::new(Kind::MALFORMED, format!("{name}: expected one value in ASCII, got {got}"))
    };
    if second.is_some() {
        return Err(wrong("several"));
    }
    first.map(|value| value.to_str().map_err(|_| wrong("other bytes"))).transpose()
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    text(headers, name)?.map(|text| whole(name, text)).transpose()
}

/// A number in digits alone.
pub(super) fn whole(name: &str, text: &str) -> Result<u64, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        Problem::new(Kind::MALFORMED, format!("{name}: expected a number, got {text:?}"))
    })
}

/// REST-4: whether a request was sent to loopback by name, as far as it names a host: a name of somebody
/// else's may point here, and then its pages would be ours to a browser.
pub(super) fn is_for_us(headers: &HeaderMap) -> bool {
    // All of them: whoever stands between may go by another one than we.
    headers.get_all("host").iter().all(|host| {
        let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |address: IpAddr| address.is_loopback();
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
    })
}

/// REST-4: whether no page of another site has made a browser send it. Browsers say for whose page they send what may
/// change something; whoever is none does not.
pub(super) fn is_of_our_page(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let sites = headers.get_all("sec-fetch-site");
    let is_ours = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        origin.is_some_and(|(_, authority)| Some(authority) == host)
    };
    sites.iter().all(|site| site == "same-origin" || site == "none")
        && headers.get_all("origin").iter().all(is_ours)
}

/// What a write to a key expects to find there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: "7"`
    Version(Version),
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let (matched, unmatched) =
            (text(&parts.headers, "if-match")?, text(&parts.headers, "if-none-match")?);
        let wrong = |kind| {
            let detail =
                "expected If-None-Match: * (absent) or If-Match: \"VERSION\", and not both";
            Err(Problem::new(kind, detail))
        };
        let some = |text: &&str| !text.is_empty();
        match (matched.filter(some), unmatched.filter(some)) {
            (None, Some("*")) => Ok(Self::Absent),
            (Some(tag), None) => {
                let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let digits = digits.filter(|digits| digits.bytes().all(|it| it.is_ascii_digit()));
                match digits.and_then(|digits| digits.parse().ok()) {
                    Some(version) => Ok(Self::Version(Version(version))),
                    None => wrong(Kind::MALFORMED),
                }
            }
            (None, None) | (Some(_), Some(_)) => wrong(Kind::CONDITION),
            _ => wrong(Kind::MALFORMED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REST-3: a thousand clients may name their recoveries.
    #[test]
    fn an_answer_that_is_large_is_not_remembered() {
        let answer = |bytes: usize| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: vec![b' '; bytes].into(),
        };
        assert!(matches!(judged(Ok(answer(MOST_KEPT_BYTES))), Ended::With(_)));
        assert!(matches!(judged(Ok(answer(MOST_KEPT_BYTES + 1))), Ended::Undone(_)));
    }

    #[test]
    fn escapes_are_whole_and_text() {
        for text in ["", "a", "%61%2f", "%ef%bf%bd", "a=%C3%A9&b=\u{e9}", "a+b"] {
            assert!(unescaped("query", text).is_ok(), "{text}");
        }
        for text in ["%", "a%", "%f", "%zz", "%+1", "%ff", "%c3", "%c3&a=%a9%", "%\u{e9}"] {
            assert!(unescaped("query", text).is_err(), "{text}");
        }
    }
}

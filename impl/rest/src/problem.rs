//! What went wrong, as `application/problem+json` (RFC 9457) with a stable `type`.
//!
//! Invariants:
//! * REST-2: an unknown outcome is 504 with `outcome: unknown`, and never looks like a failure; what is
//!   answered with `outcome: none` has not happened and will not;
//! * every answer that is no success has such a body.
//!
//! What it does not do: choose the status of a success.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cloakroom_pool::MapError;
use cloakroom_register::Version;
use serde::Serialize;
use utoipa::ToSchema;

use crate::memory::Doubt;

/// When whoever may come again may.
pub(crate) const RETRY_AFTER: (header::HeaderName, &str) = (header::RETRY_AFTER, "1");
/// What `type` begins with.
const TYPES: &str = "urn:cloakroom:problem:";

/// What became of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Happened {
    /// Nothing: it was not done, and will not be.
    None,
    /// It may have been done, may still be done once, or never.
    Unknown,
}

/// Why a request was not answered as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Which kind of problem: stable, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:cloakroom:problem:mismatch")]
    kind: String,
    /// The kind, for people.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was expected, and what came.
    detail: String,
    /// What became of it.
    outcome: Happened,
    /// Of a mismatch: the version that the key has, if it has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// Of an unknown outcome: what a retry must send as `Cloakroom-Bound`.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<u64>,
}

/// A kind of problem: its name, title and status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(&'static str, &'static str, StatusCode);

macro_rules! kinds {
    ($($name:ident $text:literal $title:literal $status:ident),* $(,)?) => {
        impl Kind {$(
            pub(crate) const $name: Self = Self($text, $title, StatusCode::$status);
        )*}

        /// All of them, for the API's description.
        #[cfg(test)]
        const KINDS: &[Kind] = &[$(Kind::$name),*];
    };
}

kinds! {
    MALFORMED "malformed" "The request is malformed" BAD_REQUEST,
    NO_SUCH_PATH "no-such-path" "There is nothing at this path" NOT_FOUND,
    NO_SUCH_KEY "no-such-key" "The key has no value" NOT_FOUND,
    NO_SUCH_POOL "no-such-pool" "There is no such pool" NOT_FOUND,
    NO_SUCH_ID "no-such-id" "The pool has no such id" NOT_FOUND,
    NO_SUCH_MEMBER "no-such-member" "The cluster has no such member" NOT_FOUND,
    NO_SUCH_RECORD "no-such-record" "There is no such record" NOT_FOUND,
    NO_SUCH_NODE "no-such-node" "No node of this id is known" NOT_FOUND,
    METHOD "method-not-allowed" "The path does not take this method" METHOD_NOT_ALLOWED,
    TOO_SLOW "too-slow" "The request took too long to arrive" REQUEST_TIMEOUT,
    POOL_EXISTS "pool-exists" "The pool exists already" CONFLICT,
    POOL_FULL "pool-full" "All ids of the pool are held" CONFLICT,
    POOL_IN_USE "pool-in-use" "Ids of the pool are held" CONFLICT,
    NOT_OWNER "not-owner" "The id is held under another tag" CONFLICT,
    TOO_MANY_POOLS "too-many-pools" "There is no room for another pool of this name's page" CONFLICT,
    NOT_LISTED "not-listed" "The list of members cannot be changed so" CONFLICT,
    MEMBER_ACTIVE "member-active" "The member answers, and has not been told to drain" CONFLICT,
    OPERATION_REUSED "operation-reused" "The operation id came with another request before" CONFLICT,
    MISMATCH "mismatch" "The key does not hold what was expected" PRECONDITION_FAILED,
    TOO_LARGE "too-large" "The request is too large" PAYLOAD_TOO_LARGE,
    MEDIA_TYPE "unsupported-media-type" "The request is of another media type" UNSUPPORTED_MEDIA_TYPE,
    CERTIFICATE "certificate-required" "A client's certificate is required" FORBIDDEN,
    ORIGIN "foreign-page" "A page of another site has made a browser send the request" FORBIDDEN,
    HOST "wrong-host" "The request names a host that is not loopback" MISDIRECTED_REQUEST,
    CONDITION "precondition-required" "A precondition is required" PRECONDITION_REQUIRED,
    TOO_FAST "too-many-requests" "The client sends too many requests" TOO_MANY_REQUESTS,
    OVERLOADED "overloaded" "The node has too much to do" SERVICE_UNAVAILABLE,
    UNAVAILABLE "unavailable" "No majority can be reached, or this node takes part no more" SERVICE_UNAVAILABLE,
    UNREACHABLE "unreachable" "The node does not answer" BAD_GATEWAY,
    UNKNOWN "outcome-unknown" "The outcome is unknown" GATEWAY_TIMEOUT,
    INTERNAL "internal" "The node is at fault" INTERNAL_SERVER_ERROR,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl std::fmt::Display) -> Self {
        let Kind(name, title, status) = kind;
        Self {
            kind: format!("{TYPES}{name}"),
            title,
            status: status.as_u16(),
            detail: detail.to_string(),
            outcome: Happened::None,
            version: None,
            bound: None,
        }
    }

    /// It may have happened.
    pub(crate) fn unknown(detail: impl std::fmt::Display, bound: Option<Version>) -> Self {
        let mut problem = Self::new(Kind::UNKNOWN, detail);
        // REST-2: said, and not left to be guessed from the status.
        problem.outcome = Happened::Unknown;
        problem.bound = bound.map(|bound| bound.0);
        problem
    }

    /// Something broke while it was carried out.
    pub(crate) fn broken(detail: impl std::fmt::Display) -> Self {
        let mut problem = Self::new(Kind::INTERNAL, detail);
        problem.outcome = Happened::Unknown;
        problem
    }

    /// The same of a later look at an operation that an earlier attempt has left in doubt.
    pub(crate) fn after(mut self, doubt: Option<Doubt>) -> Self {
        let Some(Doubt(bound)) = doubt else { return self };
        // REST-2: what is not done now may have been done then, or may still be.
        if !self.is_unknown() {
            let detail = format!("an earlier attempt may have done it; later: {}", self.detail);
            return Self::unknown(detail, bound);
        }
        self.bound = self.bound.or(bound.map(|bound| bound.0));
        self
    }

    pub(crate) fn with_version(mut self, version: Option<Version>) -> Self {
        self.version = version.map(|version| version.0);
        self
    }

    pub(crate) fn bound(&self) -> Option<Version> {
        self.bound.map(Version)
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.outcome == Happened::Unknown
    }

    /// Whether nothing has happened for want of a majority: it may be tried again as if for the first time.
    pub(crate) fn is_undone(&self) -> bool {
        self.outcome == Happened::None && self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
    }
}

impl From<MapError> for Problem {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Unknown { .. } => Self::unknown(error, None),
            MapError::Unavailable { .. } => Self::new(Kind::UNAVAILABLE, error),
            error => Self::new(Kind::INTERNAL, error),
        }
    }
}

impl Problem {
    pub(crate) fn into_answer(self) -> Answer {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Answer::json(status, &self);
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers.insert(header::CONTENT_TYPE, kind);
        // Of an unknown outcome also: what is remembered of it is the same in an instant.
        let again = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        if again.contains(&status) {
            let (name, value) = RETRY_AFTER;
            answer.headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_answer().into_response()
    }
}

/// An answer that can be given twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("texts and numbers are JSON").into();
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, kind);
        Self { status, headers, body }
    }

    /// With the version of a key.
    pub(crate) fn tagged(mut self, version: Version) -> Self {
        let tag = format!("\"{}\"", version.0).parse();
        self.headers.extend(tag.ok().map(|tag| (header::ETAG, tag)));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_unknown_outcome_is_a_504_that_says_so_and_no_other_kind_does() {
        let unknown = Problem::from(MapError::Unknown { cause: "lost".into() });
        assert_eq!((unknown.status, unknown.outcome), (504, Happened::Unknown));
        for kind in KINDS.iter().filter(|kind| kind.0 != Kind::UNKNOWN.0) {
            let problem = Problem::new(*kind, "");
            assert_eq!(problem.outcome, Happened::None);
            assert_ne!(problem.status, 504);
        }
        let unavailable = Problem::from(MapError::Unavailable { cause: "cut off".into() });
        assert!(unavailable.is_undone() && !unavailable.is_unknown());
    }

    #[test]
    fn what_is_not_done_after_a_doubt_is_unknown_and_bound_as_before() {
        for kind in KINDS {
            let problem = Problem::new(*kind, "this came");
            assert_eq!(problem.clone().after(None), problem);
            let later = problem.after(Some(Doubt(Some(Version(7)))));
            assert_eq!(
                (later.status, later.outcome, later.bound),
                (504, Happened::Unknown, Some(7))
            );
            assert!(later.detail.ends_with("this came"), "{}", later.detail);
        }
        let unknown = Problem::unknown("lost", None);
        assert_eq!(unknown.clone().after(Some(Doubt(None))), unknown);
        assert_eq!(unknown.after(Some(Doubt(Some(Version(7))))).bound, Some(7));
    }

    #[test]
    fn who_may_come_again_is_told_when() {
        let when = |kind| Problem::new(kind, "").into_answer().headers.get("retry-after").cloned();
        for kind in [Kind::UNKNOWN, Kind::UNAVAILABLE, Kind::OVERLOADED, Kind::TOO_FAST] {
            assert_eq!(when(kind), Some(HeaderValue::from_static("1")), "{kind:?}");
        }
        assert_eq!((when(Kind::MALFORMED), when(Kind::POOL_FULL)), (None, None));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.0).collect();
        assert_eq!(names.len(), KINDS.len());
    }
}

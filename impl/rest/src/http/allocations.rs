//! The ids of a pool: allocate, free, list, find, recover.
//!
//! Invariants:
//! * POOL-1, POOL-2: all of it is the pool's own machines, and an answer says what they have said;
//! * REST-1: an allocation that comes again after an unknown outcome looks for its tag, and takes no
//!   second id;
//! * REST-2: after an unknown outcome nothing is said to be not done.
//!
//! What it does not do: judge which tags are alive. Whoever recovers says which are dead.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cloakroom_pool::{Find, FreeOutcome, Id, Interrupted, List, MAX_SIZE, Recover, Tag, Want};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::pools::{defined, known, limit};
use super::request::{Asked, Document, Large, Path, Query, json, whole};
use crate::desk::Done;
use crate::drive;
use crate::memory::Doubt;
use crate::problem::{Answer, Kind, Problem};
use crate::registers::Registers;

/// Allocations on one page of a list.
const MOST_LISTED: usize = 10_000;
/// Bytes of a body that names dead tags.
pub(super) const MOST_RECOVER_BYTES: usize = 16 << 20;

/// For whom.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAllocation {
    /// 1 to 128 bytes, written down durably before, and new for each allocation.
    #[schema(min_length = 1, max_length = 128, example = "web-1")]
    tag: String,
}

/// An id with the tag that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Allocation {
    /// The id.
    id: u64,
    /// The tag.
    tag: String,
}

/// Allocations, in the order of their ids.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Allocations {
    /// Some of them.
    allocations: Vec<Allocation>,
    /// The `after` of the next page, if there is one.
    next: Option<u64>,
}

/// What a free has done.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FreedHow {
    /// The id is free now.
    Freed,
    /// It was free already: harmless.
    AlreadyFree,
}

/// An id that is free.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FreedId {
    /// The id.
    id: u64,
    /// What was done.
    outcome: FreedHow,
}

/// Tags whose callers are dead.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dead {
    /// Tags that nobody has written down: list the allocations first, look at your notebook then,
    /// and name those that are not in it.
    dead: BTreeSet<String>,
    /// Tell what would be freed, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a recovery has done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Recovered {
    /// What was freed, or would be.
    freed: Vec<Allocation>,
    /// How many ids are still held.
    held: u64,
    /// How many counts were wrong, and have been put right.
    counts_repaired: u64,
    /// Whether nothing was changed.
    dry_run: bool,
}

/// Which allocations.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Ids behind this one.
    #[param(maximum = 281_474_976_710_656_u64)]
    after: Option<u64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// Those under exactly this tag.
    #[param(min_length = 1, max_length = 128)]
    tag: Option<String>,
    /// Those whose tag begins so.
    prefix: Option<String>,
}

/// Whose id.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// The tag that holds the id.
    #[param(min_length = 1, max_length = 128)]
    tag: String,
}

impl Allocation {
    fn of((id, tag): &(Id, Tag)) -> Self {
        Self { id: id.0, tag: tag.to_string() }
    }
}

fn tag(text: &str) -> Result<Tag, Problem> {
    Tag::new(text).map_err(|error| Problem::new(Kind::MALFORMED, error))
}

/// Take a free id, and hold it under a tag
///
/// With an unknown outcome the tag may hold an id, now or later: send it again with the same
/// `Cloakroom-Operation`, list the allocations of the tag, or strike the tag out and let a recovery free it.
#[utoipa::path(
    post, path = "/v1/pools/{pool}/allocations", tag = "allocations", request_body = NewAllocation,
    params(
        ("pool" = String, Path),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Bound" = Option<u64>, Header),
        ("Cloakroom-Again" = Option<bool>, Header),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    responses(
        (status = 201, body = Allocation),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn allocate(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
    Document(body): Document,
) -> Result<Response, Problem> {
    let new: NewAllocation = json(&body)?;
    let tag = tag(&new.tag)?;
    let registers = app.registers(asked.until);
    let (desk, until) = (app.clone(), asked.until);
    let work = |_, doubt: Option<Doubt>| async move {
        let id = match doubt {
            Some(_) => held_under(&registers, &name, &tag).await,
            None => match desk.call(&name, Want::Allocate(tag.clone()), until).await {
                Ok(Done::Taken(id)) => Ok(id),
                Ok(Done::Freed(_)) => unreachable!("an allocation frees nothing"),
                Err(problem) => Err(problem),
            },
        };
        let id = id.map_err(|problem| problem.after(doubt))?;
        Ok(Answer::json(StatusCode::CREATED, &Allocation::of(&(id, tag))))
    };
    Ok(asked.once(&app, &body, work).await)
}

/// What an allocation with an unknown outcome has taken.
async fn held_under(registers: &Registers, name: &str, tag: &Tag) -> Result<Id, Problem> {
    let pool = defined(registers, name).await?;
    let machine = Find::new(pool.tree, tag.clone());
    let (found, cause) = drive::walk(registers, &pool.tree, machine).await;
    let found = found.map_err(|Interrupted| Problem::new(Kind::UNAVAILABLE, known(cause)))?;
    found.first().copied().ok_or_else(|| {
        let detail = "the tag holds no id yet; an earlier attempt may still be on its way";
        Problem::unknown(detail, None)
    })
}

/// Give an id back
///
/// The id must be out of use. Send it again and again until it is answered with a success; freeing twice
/// is harmless.
#[utoipa::path(
    delete, path = "/v1/pools/{pool}/allocations/{id}", tag = "allocations",
    params(
        ("pool" = String, Path), ("id" = u64, Path), Whose,
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    responses(
        (status = 200, body = FreedId),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn free(
    State(app): State<App>,
    asked: Asked,
    Path((name, id)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let id = whole("id", &id)?;
    let tag = tag(&whose.tag)?;
    let (desk, until) = (app.clone(), asked.until);
    let work = |_, doubt: Option<Doubt>| async move {
        let done = desk.call(&name, Want::Free(Id(id), tag), until).await;
        let outcome = match done.map_err(|problem| problem.after(doubt))? {
            Done::Freed(FreeOutcome::Freed) => FreedHow::Freed,
            Done::Freed(FreeOutcome::AlreadyFree) => FreedHow::AlreadyFree,
            Done::Freed(FreeOutcome::NotOwner) if doubt.is_some() => {
                let detail = "held under another tag now: it was freed, if this tag held it";
                return Err(Problem::unknown(detail, None).after(doubt));
            }
            Done::Freed(FreeOutcome::NotOwner) => {
                let detail = format!("id {id} is held under another tag, and stays so");
                return Err(Problem::new(Kind::NOT_OWNER, detail));
            }
            Done::Taken(_) => unreachable!("a free takes nothing"),
        };
        Ok(Answer::json(StatusCode::OK, &FreedId { id, outcome }))
    };
    Ok(asked.once(&app, &[], work).await)
}

/// Which ids are held, and under which tags
///
/// Every pair held throughout the call is listed, every pair listed was held at some moment during it.
/// A page costs a walk from `after` on, to the last of what it lists.
#[utoipa::path(
    get, path = "/v1/pools/{pool}/allocations", tag = "allocations",
    params(("pool" = String, Path), Wanted),
    responses(
        (status = 200, body = Allocations),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<axum::Json<Allocations>, Problem> {
    let limit = limit(wanted.limit, MOST_LISTED)?;
    if let Some(after) = wanted.after.filter(|after| *after > MAX_SIZE) {
        let detail = format!("after: expected at most {MAX_SIZE}, got {after}");
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    let exactly = wanted.tag.as_deref().map(tag).transpose()?;
    let prefix = wanted.prefix.unwrap_or_default();
    let registers = app.registers(asked.until);
    let pool = defined(&registers, &name).await?;
    let is_wanted = |tag: &Tag| {
        exactly.as_ref().is_none_or(|exactly| exactly == tag)
            && tag.as_bytes().starts_with(prefix.as_bytes())
    };
    // One more than asked for: whether there is one. Where few may be wanted, many are looked at at a time.
    let is_choosy = exactly.is_some() || !prefix.is_empty();
    let enough = 1 + if is_choosy { MOST_LISTED } else { limit };
    let (mut found, mut first) = (Vec::new(), wanted.after.map_or(0, |after| after + 1));
    while let Some(part) = List::page(pool.tree, Id(first), enough) {
        let (held, cause) = drive::walk(&registers, &pool.tree, part).await;
        let held = held.map_err(|Interrupted| Problem::new(Kind::UNAVAILABLE, known(cause)))?;
        let was_last = held.len() < enough;
        first = held.last().map_or(first, |(id, _)| id.0 + 1);
        found.extend(held.into_iter().filter(|(_, tag)| is_wanted(tag)));
        if was_last || found.len() > limit {
            break;
        }
    }
    let more = found.len() > limit;
    let allocations: Vec<Allocation> = found.iter().take(limit).map(Allocation::of).collect();
    let next = allocations.last().filter(|_| more).map(|last| last.id);
    Ok(axum::Json(Allocations { allocations, next }))
}

/// Free what dead callers left behind, and put stale counts right
///
/// Only ids under the tags that are named are freed, so callers may go on working throughout; they must
/// not use a tag again. With no tag it only puts counts right.
#[utoipa::path(
    post, path = "/v1/pools/{pool}/recover", tag = "allocations", request_body = Dead,
    params(
        ("pool" = String, Path),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Timeout-Ms" = Option<u64>, Header, minimum = 1, maximum = 60_000),
    ),
    responses(
        (status = 200, body = Recovered),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn recover(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
    Large { body, room }: Large,
) -> Result<Response, Problem> {
    let Dead { dead, dry_run } = json(&body)?;
    // What is no tag holds nothing.
    let dead: BTreeSet<Tag> = dead.iter().filter_map(|text| Tag::new(text).ok()).collect();
    let registers = app.registers(asked.until);
    let work = async move {
        // As long as it goes on.
        let _room = room;
        let pool = defined(&registers, &name).await?;
        let recovered = if dry_run {
            let (held, cause) = drive::walk(&registers, &pool.tree, List::new(pool.tree)).await;
            let held = held.map_err(|Interrupted| Problem::new(Kind::UNAVAILABLE, known(cause)))?;
            let freed = held.iter().filter(|(_, tag)| dead.contains(tag));
            let freed: Vec<Allocation> = freed.map(Allocation::of).collect();
            Recovered { freed, held: held.len() as u64, counts_repaired: 0, dry_run }
        } else {
            let machine = Recover::new(pool.tree);
            // POOL-2: nobody is judged dead whom the caller has not named.
            let is_live = |tag: &Tag| !dead.contains(tag);
            let (done, cause) = drive::run_asking(&registers, &pool.tree, machine, is_live).await;
            let done = done.map_err(|Interrupted| {
                let detail = format!("what was freed stays freed, send it again: {}", known(cause));
                Problem::unknown(detail, None)
            })?;
            let freed = done.freed.iter().map(Allocation::of).collect();
            let (held, counts_repaired) = (done.held, done.counts_repaired);
            Recovered { freed, held, counts_repaired, dry_run }
        };
        Ok(Answer::json(StatusCode::OK, &recovered))
    };
    Ok(asked.harmless(&app, &body, work).await)
}
